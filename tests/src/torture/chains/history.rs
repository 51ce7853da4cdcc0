//! Which lists a chain has had, and which of them a call may have seen.
//!
//! Each edit makes a version, whose list is announced before the edit begins and published when it has returned:
//!
//! ```text
//!   announced   5     6           7
//!   edit              |-- to 6 --||-- to 7 --|
//!   published   5                6            7
//!   call              |---- sees 5 or 6 ----|         not 4: stale; not a mixture: torn
//! ```
//!
//! A call may see every version from what was published when it began to what was announced when it ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotcall_work::stage::{FREED, Fold, KINDS, MIXED, stops};

use crate::torture::tally::{TALLY, count};

/// How many versions are remembered.
const REMEMBERED: u64 = 1 << 14;
/// How far back a list is looked for that a call must not see any more.
const BACK: u64 = 256;

/// How far a method goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// To the first element that stops.
    ToStop,
}

/// A version's list, as far as answers tell of it. Written before the version is announced.
#[derive(Debug, Default)]
struct Version {
    whole: [AtomicU64; 2],
    to_stop: [AtomicU64; 2],
}

/// The lists of one chain.
#[derive(Debug)]
pub struct History {
    published: AtomicU64,
    announced: AtomicU64,
    versions: Box<[Version]>,
    list: Mutex<Vec<u64>>,
    next: AtomicU64,
}

impl History {
    pub fn new() -> Self {
        let history = Self {
            published: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            versions: (0..REMEMBERED).map(|_| Version::default()).collect(),
            list: Mutex::default(),
            next: AtomicU64::new(1),
        };
        history.write(0, &[]);
        history
    }

    /// A number for an element of this type that no element of this chain has had.
    pub fn number(&self, kind: u64) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) * KINDS + kind
    }

    /// The numbers in the list. Held over an edit and its announcement.
    pub fn list(&self) -> MutexGuard<'_, Vec<u64>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, version: u64, list: &[u64]) {
        let entry = &self.versions[(version % REMEMBERED) as usize];
        let first = list.iter().position(|number| stops(*number)).map_or(list.len(), |at| at + 1);
        for (place, fold) in [
            (&entry.whole, Fold::of(list.iter().copied())),
            (&entry.to_stop, Fold::of(list[..first].iter().copied())),
        ] {
            place[0].store(fold.factor, Ordering::Relaxed);
            place[1].store(fold.sum, Ordering::Relaxed);
        }
    }

    fn fold(&self, version: u64, extent: Extent) -> Fold {
        let entry = &self.versions[(version % REMEMBERED) as usize];
        let place = if extent == Extent::Whole { &entry.whole } else { &entry.to_stop };
        Fold { factor: place[0].load(Ordering::Relaxed), sum: place[1].load(Ordering::Relaxed) }
    }

    /// An edit is about to make this list, and the lock of [`Self::list`] or of the chain is held. Its version.
    pub fn announce(&self, list: &[u64]) -> u64 {
        let version = self.announced.load(Ordering::Relaxed) + 1;
        self.write(version, list);
        // Release, partner of the Acquire in `judge`.
        self.announced.store(version, Ordering::Release);
        version
    }

    /// The edit that made the version has returned.
    pub fn publish(&self, version: u64) {
        // Release, partner of the Acquire in `floor`.
        self.published.fetch_max(version, Ordering::Release);
    }

    /// What a call that begins after this must at least see.
    pub fn floor(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Judges an answer to a call that began after `floor` was asked. The version that was seen, if that is right.
    pub fn judge(&self, question: u64, answer: u64, floor: u64, extent: Extent) -> Option<u64> {
        count(&TALLY.chain_calls);
        match answer {
            FREED => count(&TALLY.chain_freed_in_use),
            MIXED => count(&TALLY.chain_torn),
            _ => return self.find(question, answer, floor, extent),
        }
        None
    }

    fn find(&self, question: u64, answer: u64, floor: u64, extent: Extent) -> Option<u64> {
        let last = self.announced.load(Ordering::Acquire);
        let is = |version: &u64| self.fold(*version, extent).apply(question) == answer;
        if let Some(seen) = (floor..=last).find(is) {
            return Some(seen);
        }
        if last - floor.saturating_sub(BACK) >= REMEMBERED / 2 {
            // A thread that slept so long that what it may have seen is forgotten.
            count(&TALLY.chain_unjudged);
        } else if (floor.saturating_sub(BACK)..floor).rev().any(|version| is(&version)) {
            count(&TALLY.chain_stale);
        } else {
            count(&TALLY.chain_torn);
        }
        None
    }
}

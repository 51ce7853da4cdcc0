//! Who lives, who may die, and what was found.
//!
//! An instance carries a number; what is known of it is kept here, in memory that is never freed. So a destructor can be
//! judged in the moment that it runs, on whatever thread, and a method that runs on dead memory knows it.
//!
//! # What must hold
//!
//! 1. An instance is dropped once, and no method runs on it afterwards, nor while it is dropped.
//! 2. One that is installed is not dropped.
//! 3. One that was retired is not dropped while a section lasts that had begun before: a call or a guard, of whatever slot.
//! 4. One that was leaked is not dropped.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of what has no life of its own: the defaults of slots.
pub const DEFAULT: usize = 0;
/// So many instances may be there at once, those included that earlier programs have leaked.
const MOST: usize = 1 << 16;

const UNBORN: u8 = 0;
const ALIVE: u8 = 1;
const DEAD: u8 = 2;

/// Where an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Place {
    /// Some owner's, who may drop it.
    Owned,
    /// In a slot, a chain, a handle.
    Installed,
    /// It has left that.
    Retired,
    /// Nobody's: for ever.
    Leaked,
}

impl Place {
    fn of(byte: u8) -> Self {
        [Self::Owned, Self::Installed, Self::Retired, Self::Leaked][usize::from(byte) % 4]
    }
}

/// What its destructor does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    Quiet,
    Panics,
    /// Calls a slot, and holds a guard.
    Calls,
    /// Replaces in a slot, and waits, which is refused or ends.
    Replaces,
}

impl Ending {
    /// Mostly quiet.
    pub fn of(byte: u8) -> Self {
        match byte % 8 {
            0 => Self::Panics,
            1 => Self::Calls,
            2 => Self::Replaces,
            _ => Self::Quiet,
        }
    }
}

struct Life {
    state: AtomicU8,
    place: AtomicU8,
    ending: AtomicU8,
    inside: AtomicU32,
    since: AtomicU64,
}

static LIVES: [Life; MOST] = [const {
    Life {
        state: AtomicU8::new(UNBORN),
        place: AtomicU8::new(0),
        ending: AtomicU8::new(0),
        inside: AtomicU32::new(0),
        since: AtomicU64::new(0),
    }
}; MOST];

#[derive(Default)]
struct Ledger {
    /// Numbers to be used again.
    free: Vec<usize>,
    next: usize,
    /// Those of this program.
    born: Vec<usize>,
    found: Vec<String>,
}

static LEDGER: Mutex<Option<Ledger>> = Mutex::new(None);
/// Sections that are open, by when they began.
static OPEN: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
static CLOCK: AtomicU64 = AtomicU64::new(1);

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<R>(work: impl FnOnce(&mut Ledger) -> R) -> R {
    work(lock(&LEDGER).get_or_insert_default())
}

fn now() -> u64 {
    CLOCK.fetch_add(1, SeqCst)
}

/// Something is wrong.
pub fn report(what: impl Into<String>) {
    with(|ledger| ledger.found.push(what.into()));
}

/// The first that was found.
pub fn found() -> Option<String> {
    with(|ledger| ledger.found.first().cloned())
}

/// A program begins.
pub fn begin() {
    with(|ledger| {
        ledger.found.clear();
        ledger.born.clear();
    });
}

/// Of the program's instances, those that are neither dropped nor leaked.
pub fn left() -> Vec<usize> {
    let is_left = |id: &usize| {
        LIVES[*id].state.load(SeqCst) != DEAD && Place::of(LIVES[*id].place.load(SeqCst)) != Place::Leaked
    };
    with(|ledger| ledger.born.iter().copied().filter(is_left).collect())
}

/// A program is over, and all is well: its numbers may be used again, but for what is leaked.
pub fn end() {
    with(|ledger| {
        let born = std::mem::take(&mut ledger.born);
        ledger.free.extend(born.into_iter().filter(|id| LIVES[*id].state.load(SeqCst) == DEAD));
    });
}

/// A new instance, which its maker owns.
pub fn born(ending: Ending) -> usize {
    let id = with(|ledger| {
        let id = ledger.free.pop().unwrap_or_else(|| {
            ledger.next += 1;
            assert!(ledger.next < MOST, "too many instances were leaked");
            ledger.next
        });
        ledger.born.push(id);
        id
    });
    let life = &LIVES[id];
    life.place.store(Place::Owned as u8, SeqCst);
    life.ending.store(ending as u8, SeqCst);
    life.inside.store(0, SeqCst);
    life.state.store(ALIVE, SeqCst);
    id
}

/// From now on it is there. It must still be alive, except where its owner may drop it.
pub fn put(id: usize, place: Place) {
    if id == DEFAULT {
        return;
    }
    let life = &LIVES[id];
    if place == Place::Retired {
        life.since.store(now(), SeqCst);
    }
    life.place.store(place as u8, SeqCst);
    if place != Place::Owned && life.state.load(SeqCst) != ALIVE {
        report(format!("instance {id} is {place:?}, and was dropped before"));
    }
}

pub fn is_dead(id: usize) -> bool {
    id != DEFAULT && LIVES[id].state.load(SeqCst) == DEAD
}

/// Why it must not be dropped, or be had back, if it must not.
pub fn must_live(id: usize) -> Option<String> {
    if id == DEFAULT {
        return None;
    }
    let life = &LIVES[id];
    let inside = life.inside.load(SeqCst);
    if inside != 0 {
        return Some(format!("{inside} calls are inside instance {id}"));
    }
    match Place::of(life.place.load(SeqCst)) {
        Place::Owned => None,
        place @ (Place::Installed | Place::Leaked) => Some(format!("instance {id} is {place:?}")),
        Place::Retired => {
            let since = life.since.load(SeqCst);
            let first = lock(&OPEN).first().copied();
            first.filter(|began| *began < since).map(|began| {
                format!("instance {id} was retired at {since}, and a section lasts since {began}")
            })
        }
    }
}

/// It is dropped. What its destructor is to do.
pub fn died(id: usize) -> Ending {
    let why = must_live(id);
    let life = &LIVES[id];
    if life.state.swap(DEAD, SeqCst) != ALIVE {
        report(format!("instance {id} is dropped twice"));
    } else if let Some(why) = why {
        report(format!("dropped: {why}"));
    }
    [Ending::Quiet, Ending::Panics, Ending::Calls, Ending::Replaces]
        [usize::from(life.ending.load(SeqCst)) % 4]
}

/// A call is inside an instance.
pub struct Inside(usize);

impl Inside {
    pub fn new(id: usize) -> Self {
        let life = &LIVES[id];
        life.inside.fetch_add(1, SeqCst);
        if life.state.load(SeqCst) != ALIVE {
            report(format!("instance {id} is called, and is dead"));
        }
        Self(id)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let life = &LIVES[self.0];
        if life.state.load(SeqCst) != ALIVE {
            report(format!("instance {} died while a call was inside", self.0));
        }
        life.inside.fetch_sub(1, SeqCst);
    }
}

/// A section that is open: made after it began, dropped before it ends.
pub struct Open(u64);

impl Open {
    pub fn new() -> Self {
        let began = now();
        lock(&OPEN).insert(began);
        Self(began)
    }

    /// Whether there is any.
    pub fn any() -> bool {
        !lock(&OPEN).is_empty()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&OPEN).remove(&self.0);
    }
}

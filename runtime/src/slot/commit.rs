//! Replacing, and turning keys: one change or many, all or nothing, under one lock and one barrier.
//!
//! A commit has three steps. *Prepare* does everything that may be refused, and changes nothing that a
//! caller can see. *Publish* is stores that cannot fail, then one heavy barrier. *Finish* hands out what was
//! replaced and defers its release past a grace period.

use core::cell::Cell;
use std::sync::Arc;

use super::SlotCore;
use super::backend::Writer;
use super::inspect::News;
use crate::drain;
use crate::error::Error;
use crate::gated::{Gated, GatedGuard};
use crate::installed::Installed;
use crate::instance::RawInstance;
use crate::key::{KeyChange, Want};
#[cfg(patched)]
use crate::quiesce::linked;
use crate::quiesce::stand_in;
use crate::turn::{self, Turn};

/// What one slot is to hold.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) slot: &'static SlotCore,
    pub(crate) new: Arc<Installed>,
}

impl Change {
    pub(crate) fn new(slot: &'static SlotCore, instance: RawInstance) -> Self {
        Self { slot, new: Arc::new(Installed::new(instance)) }
    }

    fn into_instance(self) -> Option<RawInstance> {
        self.new.take_unretired()
    }
}

/// What is to take effect together.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) slots: Vec<Change>,
    pub(crate) keys: Vec<KeyChange>,
}

impl Changes {
    /// Changes of slots alone.
    pub(crate) fn of_slots(slots: Vec<Change>) -> Self {
        Self { slots, keys: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.keys.is_empty()
    }
}

/// All writers, one at a time.
static WRITER: Gated<Writer> = Gated::new(Writer::new());

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread holds the writers' lock, or is about to.
pub(crate) fn is_writing() -> bool {
    WRITING.get()
}

/// The writers' lock, and the mark that this thread holds it.
pub(crate) struct Writing {
    writer: GatedGuard<'static, Writer>,
}

impl Writing {
    /// Waits for other writers.
    ///
    /// # Errors
    ///
    /// [`Error::Reentrant`] where this very thread is writing.
    pub(crate) fn begin() -> Result<Self, Error> {
        crate::quiesce::register_fork();
        if WRITING.replace(true) {
            return Err(Error::Reentrant);
        }
        Ok(Self { writer: WRITER.lock() })
    }
}

impl core::ops::Deref for Writing {
    type Target = Writer;
    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl core::ops::DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

/// Commits one change.
pub(crate) fn commit_one(change: Change) -> Result<Arc<Installed>, (Error, RawInstance)> {
    match commit(Changes::of_slots(vec![change])) {
        Ok(mut old) => Ok(old.swap_remove(0)),
        Err((error, mut changes)) => {
            let raw = changes.slots.swap_remove(0).into_instance();
            Err((error, raw.expect("an instance that was never published is still there")))
        }
    }
}

/// What came of a change that was to be made of what the slot held: `None` where it was not made.
pub(crate) type Made = Result<Option<Arc<Installed>>, (Error, Option<RawInstance>)>;

/// Commits the change that `make` makes of what the slot holds, if it makes one.
pub(crate) fn commit_with(
    slot: &'static SlotCore,
    make: impl FnOnce(&Arc<Installed>) -> Option<RawInstance>,
) -> Made {
    let mut make = Some(make);
    let mut made = |old: &Arc<Installed>| match make.take() {
        Some(make) => make(old),
        None => unreachable!("a commit makes one instance"),
    };
    #[cfg(patched)]
    if let Some(host) = linked::host() {
        return host.commit_with(slot, &mut made);
    }
    commit_with_here(slot, &mut made)
}

/// The same, by this copy of hotcall. What `make` runs is the user's: no lock is held meanwhile, but the slot's turn, so that no
/// other thread replaces what it reads.
pub(crate) fn commit_with_here(
    slot: &'static SlotCore,
    make: &mut dyn FnMut(&Arc<Installed>) -> Option<RawInstance>,
) -> Made {
    let _span = tracing::debug_span!(target: "hotcall::retarget", "retarget", slots = 1).entered();
    let turn = Turn::begin(turn_of(slot)).map_err(|error| (error, None))?;
    let old = installed(slot).map_err(|error| (error, None))?;
    let Some(made) = make(&old) else { return Ok(None) };
    let change = Change::new(slot, made);
    drop(old);
    let result = commit_in_turn(Changes::of_slots(vec![change]));
    drop(turn);
    stand_in::help();
    match result {
        Ok(mut old) => Ok(Some(old.swap_remove(0))),
        Err((error, mut changes)) => Err((error, changes.slots.swap_remove(0).into_instance())),
    }
}

fn installed(slot: &'static SlotCore) -> Result<Arc<Installed>, Error> {
    let _writing = Writing::begin()?;
    slot.check_is_own()?;
    Ok(slot.installed())
}

/// What stands for a slot in the table of turns.
fn turn_of(slot: &'static SlotCore) -> usize {
    core::ptr::from_ref(slot).addr()
}

/// What was replaced in slots, in the order of the changes; or the reason and the changes, none of which took effect.
pub(crate) type Outcome = Result<Vec<Arc<Installed>>, (Error, Changes)>;

/// Commits many changes: all of them, or none. Where this copy of hotcall follows another, that commits them.
pub(crate) fn commit(changes: Changes) -> Outcome {
    #[cfg(patched)]
    if let Some(host) = linked::host() {
        return host.commit(changes);
    }
    commit_here(changes)
}

/// The same, by this copy of hotcall. Waits for those who have the turn of a slot that is to change. That a key is held no more is
/// never refused: it is taken in later.
pub(crate) fn commit_here(changes: Changes) -> Outcome {
    let result = commit_waiting(changes);
    stand_in::help();
    if let Err((_, changes)) = &result {
        changes.keys.iter().filter(|one| one.want == Want::Release).for_each(|one| one.key.release_later());
    }
    result
}

fn commit_waiting(changes: Changes) -> Outcome {
    let (slots, keys) = (changes.slots.len(), changes.keys.len());
    let _span = tracing::debug_span!(target: "hotcall::retarget", "retarget", slots, keys).entered();
    let mut turns = Vec::new();
    loop {
        let writing = match Writing::begin() {
            Ok(writing) => writing,
            Err(error) => return Err((error, changes)),
        };
        let taken = |slot: &'static SlotCore| {
            turn::is_taken(turn_of(slot)) && !turns.iter().any(|turn: &Turn| turn.is_of(turn_of(slot)))
        };
        let Some(slot) = changes.slots.iter().map(|change| change.slot).find(|slot| taken(slot)) else {
            return commit_writing(writing, changes);
        };
        drop(writing);
        match Turn::begin(turn_of(slot)) {
            Ok(turn) => turns.push(turn),
            Err(error) => return Err((error, changes)),
        }
    }
}

/// Commits changes of slots whose turn the calling thread has.
fn commit_in_turn(changes: Changes) -> Outcome {
    match Writing::begin() {
        Ok(writing) => commit_writing(writing, changes),
        Err(error) => Err((error, changes)),
    }
}

fn commit_writing(mut writing: Writing, changes: Changes) -> Outcome {
    let result = commit_locked(&mut writing, changes);
    let news = writing.news();
    drop(writing);
    report(&result, &news);
    result
}

fn commit_locked(writing: &mut Writing, changes: Changes) -> Outcome {
    let count = changes.slots.len() as u64;
    // Before it can be freed: nobody sees more freed than retired.
    drain::retired(count);
    let result = writing.commit(changes);
    if result.is_err() {
        drain::not_retired(count);
    }
    result
}

/// Events are emitted after the lock was released: a subscriber may itself be behind a slot.
fn report(outcome: &Outcome, news: &[News]) {
    #[cfg(asymmetric)]
    crate::sys::barrier::tell_if_refused();
    for one in news {
        match one {
            News::PagesMapped { image, start, length } => {
                tracing::debug!(
                    target: "hotcall::arena", image, start, length,
                    "pages with calls and branches are mapped from a memfd"
                );
            }
            News::ArenaGrew { start, length, chunks } => {
                tracing::debug!(target: "hotcall::arena", start, length, chunks, "arena created");
            }
            News::CodeRefused { reason } => {
                tracing::warn!(
                    target: "hotcall::arena", reason,
                    "code memory is refused: calls go through their stubs, and slots are swapped without it"
                );
            }
        }
    }
    match outcome {
        Ok(old) => tracing::debug!(target: "hotcall::retarget", slots = old.len(), "retargeted"),
        Err((error, changes)) => {
            let (slots, keys) = (changes.slots.len(), changes.keys.len());
            tracing::warn!(target: "hotcall::retarget", slots, keys, %error, "retarget refused");
        }
    }
}

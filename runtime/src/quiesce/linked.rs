//! Other copies of hotcall in this process that call this one's slots.
//!
//! A plugin in a shared library has a runtime of its own: its threads' records, its guards, its fork handlers. Where it
//! calls a slot of the program (see `slot::patched::link`), its calls are sections of *its* runtime. So who frees what the
//! slot held must wait for the readers of both.
//!
//! A runtime says how others reach it in a table of functions, which the record of each of its slots leads to. The tables
//! of two copies agree because a library is linked only after its header was found to name this compiler and this version.
//! So do the types that the functions take, which are hotcall's own; and what one copy allocates the other frees: a
//! library with an allocator of its own is not linked.
//!
//! # Who writes
//!
//! The calls of a library lie side by side, those that follow the program's and those that do not. So one writer has all of
//! them. A copy is [`UNDECIDED`] until it first replaces something, or is linked; then it writes for itself or through
//! the program that it follows ([`host`]), for ever.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;

use crossbeam_epoch::{self as epoch, Atomic, Owned};

use super::{reclaimer, section};
use crate::installed::Installed;
use crate::instance::RawInstance;
use crate::plugin::{Allocator, Kin};
use crate::sabotage::{self, Sabotage};
use crate::slot::SlotCore;
use crate::slot::backend::{Linked, Refused};
use crate::slot::commit::{self, Changes, Made, Outcome};

/// What a slot is to hold, made of what it holds.
pub(crate) type Make<'a> = &'a mut dyn FnMut(&Arc<Installed>) -> Option<RawInstance>;

/// How another copy of hotcall reaches this one.
#[doc(hidden)]
#[derive(Debug)]
#[repr(C)]
pub struct Runtime {
    /// Keeps its records right in forked children.
    register_fork: extern "C" fn(),
    /// Waits until the sections and guards that are there at the call are gone. The heavy barrier is the caller's.
    wait_for_readers: extern "C" fn(),
    /// Visits the numbers of the threads that are waited for there.
    for_each_waited_for: fn(&mut dyn FnMut(u32)),
    /// Code was written, and there is no `membarrier`: its threads serialise themselves.
    code_written: extern "C" fn(),
    /// Whether the calling thread is in one of its sections, or holds one of its guards.
    is_protected: extern "C" fn() -> bool,
    /// Whether it would.
    may_follow: fn(&'static Runtime) -> bool,
    /// From now on it writes through the other. Not where it has begun to write for itself.
    follow: fn(&'static Runtime) -> bool,
    /// Commits changes of a copy that follows this one.
    commit: fn(Changes) -> Outcome,
    /// The same, of what is made of what the slot holds.
    commit_with: fn(&'static SlotCore, Make<'_>) -> Made,
    /// Links what has been loaded by a copy that follows this one.
    link: fn(usize, &'static Runtime) -> Result<Linked, Refused>,
    /// Somebody waits for what is deferred here.
    hurry: fn(),
    /// Whether the calling thread must not wait for a grace period.
    would_deadlock: fn() -> bool,
    /// Where its memory comes from: what one copy allocates for a slot another frees.
    allocator: &'static Allocator,
}

/// This copy.
pub(crate) static OWN: Runtime = Runtime {
    register_fork: register_fork_here,
    wait_for_readers: wait_for_readers_here,
    for_each_waited_for: section::for_each_waited_for,
    code_written: code_written_here,
    is_protected: is_protected_here,
    may_follow,
    follow,
    commit: commit::commit_here,
    commit_with: commit::commit_with_here,
    link: crate::slot::backend::link_here,
    hurry: reclaimer::hurry,
    would_deadlock: super::would_deadlock,
    allocator: &Allocator::THIS,
};

const UNDECIDED: *mut Runtime = ptr::null_mut();

/// Whom this copy writes through; [`OWN`] where it writes for itself. It leaves [`UNDECIDED`] once.
static WRITER: AtomicPtr<Runtime> = AtomicPtr::new(UNDECIDED);

/// Decides, where that is undecided. What was decided, now or before.
fn decide(writer: &'static Runtime) -> *mut Runtime {
    let wanted = ptr::from_ref(writer).cast_mut();
    // AcqRel, partner of itself in other threads: who finds a program's copy here finds what `link` prepared.
    match WRITER.compare_exchange(UNDECIDED, wanted, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => wanted,
        Err(decided) => decided,
    }
}

fn may_follow(host: &'static Runtime) -> bool {
    let decided = WRITER.load(Ordering::Acquire);
    decided == UNDECIDED || ptr::eq(decided, host)
}

fn follow(host: &'static Runtime) -> bool {
    ptr::eq(decide(host), host)
}

/// A decision, as a copy other than this one.
fn other(decided: *mut Runtime) -> Option<&'static Runtime> {
    if decided == UNDECIDED || ptr::eq(decided, &raw const OWN) {
        return None;
    }
    // SAFETY: only `decide` stores to `WRITER`, what was a `&'static Runtime`.
    Some(unsafe { &*decided })
}

/// The copy that this one writes through. Where there is none, this one writes for itself from now on.
pub(crate) fn host() -> Option<&'static Runtime> {
    other(decide(&OWN))
}

/// The copy that this one follows, if it does.
fn followed() -> Option<&'static Runtime> {
    other(WRITER.load(Ordering::Acquire))
}

/// Hurries the copy that this one follows: what this one has replaced is deferred there. Whether there is one.
pub(crate) fn hurry_host() -> bool {
    followed().map(|host| (host.hurry)()).is_some()
}

/// Whether the calling thread would wait for itself in the copy that this one follows.
pub(crate) fn would_deadlock_in_host() -> bool {
    followed().is_some_and(|host| (host.would_deadlock)())
}

impl Runtime {
    /// Whether it has an allocator of its own.
    pub(crate) fn allocates_elsewhere(&self) -> bool {
        self.allocator.kin(&Allocator::THIS) == Kin::Differ
    }

    /// See the field.
    pub(crate) fn may_follow(&self, host: &'static Self) -> bool {
        (self.may_follow)(host)
    }

    /// See the field.
    pub(crate) fn begin_to_follow(&self, host: &'static Self) -> bool {
        (self.follow)(host)
    }

    /// See the field.
    pub(crate) fn commit(&self, changes: Changes) -> Outcome {
        (self.commit)(changes)
    }

    /// See the field.
    pub(crate) fn commit_with(&self, slot: &'static SlotCore, make: Make<'_>) -> Made {
        (self.commit_with)(slot, make)
    }

    /// See the field.
    pub(crate) fn link(&self, address: usize, from: &'static Self) -> Result<Linked, Refused> {
        (self.link)(address, from)
    }
}

extern "C" fn register_fork_here() {
    super::register_fork();
}
extern "C" fn wait_for_readers_here() {
    reclaimer::wait_for_readers();
}
extern "C" fn code_written_here() {
    section::code_written();
}
extern "C" fn is_protected_here() -> bool {
    section::is_protected_here()
}

/// The copies that call this one's slots; null where there is none. They stay: a library that is linked is not unloaded.
///
/// Whoever waits asks them all, on threads of any kind and from inside the writers' lock. So the list is read without a lock:
/// it is replaced whole, and the old one is freed by its own epochs. (Not by grace periods, which read it.)
static LINKED: Atomic<Vec<&'static Runtime>> = Atomic::null();

fn for_each_linked(mut visit: impl FnMut(&'static Runtime)) {
    // SAFETY: it is compared with null, and not followed.
    let is_empty = unsafe { LINKED.load(Ordering::Relaxed, epoch::unprotected()) }.is_null();
    if is_empty {
        return;
    }
    let linked = {
        let guard = epoch::pin();
        // Acquire, partner of the AcqRel in `add`.
        let linked = LINKED.load(Ordering::Acquire, &guard);
        // SAFETY: null, or a list that is destroyed by deferral only, and the guard was there before.
        unsafe { linked.as_ref() }.cloned().unwrap_or_default()
    };
    linked.into_iter().for_each(&mut visit);
}

/// From now on, whoever frees something waits for the readers of `runtime`, too. The caller holds the writers' lock.
pub(crate) fn add(runtime: &'static Runtime) {
    (runtime.register_fork)();
    let guard = epoch::pin();
    let old = LINKED.load(Ordering::Acquire, &guard);
    // SAFETY: as in `for_each_linked`.
    let mut linked = unsafe { old.as_ref() }.cloned().unwrap_or_default();
    if linked.iter().any(|known| ptr::eq(*known, runtime)) {
        return;
    }
    linked.push(runtime);
    let old = LINKED.swap(Owned::new(linked), Ordering::AcqRel, &guard);
    if !old.is_null() {
        // SAFETY: nobody finds it any more, and who has found it is pinned.
        unsafe { guard.defer_destroy(old) };
    }
}

/// Whether calls of another copy's are waited for.
pub(crate) fn is_any() -> bool {
    let mut any = false;
    for_each_linked(|_| any = true);
    any
}

/// See [`Runtime::wait_for_readers`].
pub(crate) fn wait_for_readers() {
    if sabotage::is(Sabotage::UnlinkedReaders) {
        return;
    }
    for_each_linked(|runtime| (runtime.wait_for_readers)());
}

/// See [`Runtime::for_each_waited_for`].
pub(crate) fn for_each_waited_for(visit: &mut dyn FnMut(u32)) {
    for_each_linked(|runtime| (runtime.for_each_waited_for)(visit));
}

/// See [`Runtime::code_written`].
pub(crate) fn code_written() {
    for_each_linked(|runtime| (runtime.code_written)());
}

/// See [`Runtime::is_protected`].
pub(crate) fn is_protected() -> bool {
    let mut protected = false;
    for_each_linked(|runtime| protected |= (runtime.is_protected)());
    protected
}

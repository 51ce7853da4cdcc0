//! All records: given to threads, taken back when they have ended, walked by reclaimers.
//!
//! # Problem
//!
//! A thread may make its first call from a signal handler that has interrupted `malloc`, or from inside the global allocator, and its
//! last one from a destructor of its storage, whichever runs last. So giving out a record takes no lock and no allocation. And
//! nothing tells when a thread has ended: a thread-specific key allocates past the 31st, its destructor is code that a plugin
//! may take with it when it is unloaded, and no destructor is the last.
//!
//! # Idea
//!
//! A record's *owner* is a word: process, thread, generation. Nobody gives a record back. Who needs one looks, in this order:
//!
//! 1. for one whose owner has this thread's number: that was a thread that has ended, or this one, interrupted while it claimed it;
//! 2. for one without an owner;
//! 3. for those whose owner the system says does not exist any more;
//! 4. for memory: a page of further records.
//!
//! Each is claimed by one compare-and-swap. The third asks the system once for each record, so it is done only where it is
//! due: when it last freed less than a quarter, there must be a quarter more records before it is done again.
//!
//! # Invariants
//!
//! 1. Blocks are only ever added to the list, and never freed: a `&'static Record` stays valid.
//! 2. A record whose owner is not [`NOBODY`] is used by that thread alone, and so is its `now`. The generation changes with every
//!    claim: a compare-and-swap that succeeds has not missed one.
//! 3. A record changes hands only while nothing is counted in it. What a thread that has ended is still inside of is held for
//!    ever: it has leaked a guard, or a coroutine in the middle of a call, and what these protect may be lent to threads that go on.
//! 4. `KEPT` is a record that the calling thread owns. `RECORD` is the same, or the sentinel.
//!
//! A child that `fork` has made without hotcall's handlers (before anything was replaced) has the records of threads that it
//! has not. Their owners name another process, so they are left alone.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::grace::{GracePeriods, Records};
use super::record::{Counter, Record};
use super::recordless;
use crate::sabotage::{self, Sabotage};
use crate::sys::thread::{self, Thread};

/// So many that a block is a page.
const PER_BLOCK: usize = 30;

#[repr(C)]
struct Block {
    /// Apart from the records: a claim looks at all of them.
    owners: [AtomicU64; PER_BLOCK],
    next: AtomicPtr<Block>,
    records: [Record; PER_BLOCK],
}

impl Block {
    const fn new() -> Self {
        Self {
            owners: [const { AtomicU64::new(NOBODY) }; PER_BLOCK],
            next: AtomicPtr::new(ptr::null_mut()),
            records: [const { Record::new() }; PER_BLOCK],
        }
    }
}

static FIRST: Block = Block::new();
/// Of the sentinel; see also [`recordless`].
pub(super) static NEGATIVE: Counter = Counter::negative();
static SENTINEL: Record = Record::sentinel(&NEGATIVE);
/// How many records there must be before it is asked again whose owners have ended.
static REAP_FROM: AtomicUsize = AtomicUsize::new(0);
/// The grace periods that all these records pass.
pub(super) static GRACE: GracePeriods = GracePeriods::new();

thread_local! {
    /// The record that the thread's fast path uses. A pointer, and no destructor, so that reading it is one load.
    static RECORD: Cell<&'static Record> = const { Cell::new(&SENTINEL) };
    /// The thread's record, whether or not its fast path uses it.
    static KEPT: Cell<Option<&'static Record>> = const { Cell::new(None) };
}

/// The calling thread's record, as far as its fast path is concerned; else the sentinel.
#[inline(always)]
pub(crate) fn current() -> &'static Record {
    RECORD.get()
}

/// The calling thread's record.
pub(crate) fn own() -> Option<&'static Record> {
    KEPT.get()
}

/// Whether the fast path of the calling thread uses its record.
pub(crate) fn choose(fast: bool) {
    RECORD.set(if fast { KEPT.get().unwrap_or(&SENTINEL) } else { &SENTINEL });
}

/// Who uses a record: the generation of the claim in 20 bits, the process and the thread in 22 each, which is what Linux has.
mod owner {
    use crate::sys::thread::Thread;

    /// Of a record that is free, in its first generation.
    pub(super) const NOBODY: u64 = 0;
    const BITS: u32 = 22;
    const MASK: u64 = (1 << BITS) - 1;

    /// The thread claims a record that had this owner.
    pub(super) fn claimed_by(before: u64, thread: Thread) -> u64 {
        freed(before) | u64::from(thread.process) << BITS & MASK << BITS | u64::from(thread.number) & MASK
    }

    /// Nobody has it any more, or nobody yet.
    pub(super) fn freed(before: u64) -> u64 {
        ((before >> (2 * BITS)) + 1) << (2 * BITS)
    }

    pub(super) fn is_free(owner: u64) -> bool {
        owner & (MASK << BITS | MASK) == 0
    }

    /// `None` where it is free.
    pub(super) fn thread(owner: u64) -> Option<Thread> {
        let field = |shift: u32| u32::try_from(owner >> shift & MASK).unwrap_or(0);
        (!is_free(owner)).then(|| Thread { process: field(BITS), number: field(0) })
    }
}
use owner::NOBODY;

fn blocks() -> impl Iterator<Item = &'static Block> {
    let mut next = Some(&FIRST);
    core::iter::from_fn(move || {
        let block = next?;
        // Acquire, partner of the Release half of the swap in `grow`: the block's contents are there.
        let pointer = block.next.load(Ordering::Acquire);
        // SAFETY: invariant 1: the pointer is null or to a block that is never freed.
        next = unsafe { pointer.as_ref() };
        Some(block)
    })
}

fn entries() -> impl Iterator<Item = (&'static AtomicU64, &'static Record)> {
    blocks().flat_map(|block| block.owners.iter().zip(&block.records))
}

/// What [`GRACE`] walks over.
pub(super) struct All;

impl Records for All {
    fn from(&self, position: usize) -> impl Iterator<Item = &Record> {
        let blocks = blocks().skip(position / PER_BLOCK).enumerate();
        let records = blocks.flat_map(move |(nth, block)| {
            let first = if nth == 0 { position % PER_BLOCK } else { 0 };
            block.records[first..].iter()
        });
        // Last, and of no block: those that come after it are looked at again, which does no harm.
        records.chain(core::iter::once(recordless::record()))
    }

    fn has_drained(&self, record: &Record, index: usize) -> bool {
        record.counter(index).is_zero()
            || (sabotage::is(Sabotage::DeadGiveUp) && entries().any(|entry| is_of_the_dead(entry, record)))
    }

    fn turn(&self, record: &Record, index: usize) {
        if !sabotage::is(Sabotage::NeverTurns) {
            record.turn(index);
        }
    }
}

fn is_of_the_dead((owner, record): (&AtomicU64, &Record), wanted: &Record) -> bool {
    ptr::eq(record, wanted) && has_ended(owner.load(Ordering::Relaxed))
}

fn has_ended(owner: u64) -> bool {
    owner::thread(owner).is_some_and(|thread| thread.has_ended(thread::current().process))
}

/// How many threads have a record, and have not ended.
pub(crate) fn owned() -> usize {
    let owned = |owner| !owner::is_free(owner) && !has_ended(owner);
    entries().filter(|(owner, _)| owned(owner.load(Ordering::Relaxed))).count()
}

/// The calling thread's record, which is given one if it has none. `None` where the system has no memory for one.
pub(crate) fn own_or_register() -> Option<&'static Record> {
    match KEPT.get() {
        Some(record) => Some(record),
        None => register(),
    }
}

#[cold]
fn register() -> Option<&'static Record> {
    if sabotage::is(Sabotage::UnlistedSections) {
        let record = Box::leak(Box::new(Record::new()));
        record.turn(0);
        KEPT.set(Some(record));
        return Some(record);
    }
    if sabotage::is(Sabotage::NoRecords) {
        return None;
    }
    let thread = thread::current();
    loop {
        let (owner, record, claimed) = claim(thread)?;
        record.turn(GRACE.index());
        // A signal handler may have come in the meantime, and have claimed the same one, or another.
        if let Some(known) = KEPT.get() {
            if !ptr::eq(known, record) {
                let _ = owner.compare_exchange(claimed, owner::freed(claimed), Ordering::Release, Ordering::Relaxed);
            }
            return Some(known);
        }
        KEPT.set(Some(record));
        // It may have forked, and the child has taken away what nobody seemed to use.
        if owner.load(Ordering::Relaxed) == claimed {
            return Some(record);
        }
        KEPT.set(None);
    }
}

type Claimed = (&'static AtomicU64, &'static Record, u64);

/// Makes the thread the owner of a record that nothing is counted in.
fn claim(thread: Thread) -> Option<Claimed> {
    loop {
        let mut free = None;
        for (owner, record) in entries() {
            // Acquire, partner of the Release in `change_hands`: as below.
            let before = owner.load(Ordering::Acquire);
            if owner::is_free(before) {
                free = free.or(Some((owner, record, before)));
            } else if owner::thread(before) == Some(thread)
                && let Some(claimed) = change_hands(owner, record, before, owner::claimed_by(before, thread))
            {
                return Some(claimed);
            }
        }
        match free {
            Some((owner, record, before)) => {
                let claimed = change_hands(owner, record, before, owner::claimed_by(before, thread));
                if claimed.is_some() {
                    return claimed;
                }
            }
            None => make_room(thread)?,
        }
    }
}

/// Invariants 2 and 3. The caller knows that the owner of `before` does not exist.
fn change_hands(owner: &'static AtomicU64, record: &'static Record, before: u64, after: u64) -> Option<Claimed> {
    // Acquires what the former owner's last sections have released, so that whoever sees the next owner's end has seen them.
    if !record.is_outside() {
        return None;
    }
    owner
        .compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
        .then_some((owner, record, after))
}

/// Frees the records of threads that have ended, or adds some.
fn make_room(thread: Thread) -> Option<()> {
    let total = blocks().count() * PER_BLOCK;
    // Relaxed: a hint.
    if total >= REAP_FROM.load(Ordering::Relaxed) {
        let freed = entries().filter(|(owner, record)| reap(owner, record, thread)).count();
        if freed * 4 >= total {
            return Some(());
        }
        REAP_FROM.store(total + total / 4, Ordering::Relaxed);
        if freed != 0 {
            return Some(());
        }
    }
    grow()
}

fn reap(owner: &'static AtomicU64, record: &'static Record, caller: Thread) -> bool {
    let before = owner.load(Ordering::Acquire);
    let ended = sabotage::is(Sabotage::ReapsTheLiving)
        || owner::thread(before).is_some_and(|thread| thread.has_ended(caller.process));
    !owner::is_free(before) && ended && change_hands(owner, record, before, owner::freed(before)).is_some()
}

fn grow() -> Option<()> {
    let block = crate::sys::pages::pages(size_of::<Block>())?.cast::<Block>();
    // SAFETY: `pages` gave writable memory of this size, page-aligned, that nobody else knows.
    unsafe { block.write(Block::new()) };
    let mut last = &FIRST;
    loop {
        let swap =
            last.next.compare_exchange(ptr::null_mut(), block.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        match swap {
            Ok(_) => return Some(()),
            // SAFETY: invariant 1; a failed swap of null gives a pointer that is not null.
            Err(other) => last = unsafe { NonNull::new(other)?.as_ref() },
        }
    }
}

/// In a forked child, only the calling thread lives on: the others are inside nothing, and what it is inside of it stays in.
pub(crate) fn after_fork(fast: bool) {
    let thread = thread::current();
    let own = KEPT.get();
    for (owner, record) in entries() {
        let before = owner.load(Ordering::Relaxed);
        if own.is_some_and(|own| ptr::eq(own, record)) {
            owner.store(owner::claimed_by(before, thread), Ordering::Relaxed);
        } else if !owner::is_free(before) {
            record.abandon();
            owner.store(owner::freed(before), Ordering::Relaxed);
        }
    }
    recordless::after_fork();
    GRACE.after_fork(&All);
    if !fast {
        choose(false);
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;

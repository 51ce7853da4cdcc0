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
//! A record has a few flags, each for one section at a time. A thread whose sections are more takes as many records again as it has,
//! and links them into a ring. It looks for a free flag from where it found the last one: nested calls, and guards without number,
//! find one at the first look, or the second.
//!
//! # Invariants
//!
//! 1. Blocks are only ever added to the list, and never freed: a `&'static Record` stays valid.
//! 2. A record whose owner is not free is used by that thread alone: its flags and `next`. The generation changes with every
//!    claim: a compare-and-swap that succeeds has not missed one.
//! 3. A record changes hands only while all its flags are free. What a thread that has ended is still inside of is held for
//!    ever: it has leaked a guard, or a coroutine in the middle of a call, and what these protect may be lent to threads that go on.
//! 4. `CURSOR` is in a record that the calling thread owns, and so are all records of the ring that it is in. `FLAG` and
//!    `FENCED` are among their flags, or the sentinel.
//!
//! A child that `fork` has made without hotcall's handlers (before anything was replaced) has the records of threads that it
//! has not. Their owners name another process, so they are left alone.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::record::{Flag, Phases};
use crate::sabotage::{self, Sabotage};
use crate::sys::thread::{self, Thread};

/// So many that a record is two cachelines, which are often fetched together.
const FLAGS: usize = 7;
/// So many that a block is a page.
const PER_BLOCK: usize = 30;

/// What a thread announces its sections in.
#[repr(C, align(128))]
pub(crate) struct Record {
    flags: [Flag; FLAGS],
    /// The next in the owner's ring. Null before there is an owner.
    next: AtomicPtr<Record>,
}

impl Record {
    const fn new() -> Self {
        Self { flags: [const { Flag::new() }; FLAGS], next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Whether its owner is inside nothing.
    fn is_outside(&self) -> bool {
        // Acquires what the owner's last sections have released.
        self.flags.iter().all(|flag| flag.has_passed(u64::MAX))
    }

    fn next(&'static self) -> &'static Self {
        // Relaxed: the owner's own.
        let next = self.next.load(Ordering::Relaxed);
        // SAFETY: null or from `link`, which takes a `&'static Self`.
        unsafe { next.as_ref() }.unwrap_or(self)
    }

    /// The owner links `next` behind this one.
    fn link(&self, next: &'static Self) {
        self.next.store(ptr::from_ref(next).cast_mut(), Ordering::Relaxed);
    }

    /// The owner's ring, from this one on.
    fn ring(&'static self) -> impl Iterator<Item = &'static Self> {
        let mut next = Some(self);
        core::iter::from_fn(move || {
            let record = next?;
            let after = record.next();
            next = (!ptr::eq(after, self)).then_some(after);
            Some(record)
        })
    }
}

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
static SENTINEL: Flag = Flag::sentinel();
/// How many records there must be before it is asked again whose owners have ended.
static REAP_FROM: AtomicUsize = AtomicUsize::new(0);
/// The phases of all these records.
pub(super) static PHASES: Phases = Phases::new();

/// Where the thread found its last free flag.
#[derive(Clone, Copy)]
struct Cursor {
    record: &'static Record,
    index: usize,
}

thread_local! {
    /// The flag that the thread's fast path tries. A pointer, and no destructor, so that reading it is one load.
    static FLAG: Cell<&'static Flag> = const { Cell::new(&SENTINEL) };
    /// The flag that it tries next, where its sections have a fence.
    static FENCED: Cell<&'static Flag> = const { Cell::new(&SENTINEL) };
    /// `None` before the thread has a record.
    static CURSOR: Cell<Option<Cursor>> = const { Cell::new(None) };
}

/// The flag that the calling thread's fast path tries.
#[inline(always)]
pub(crate) fn current() -> &'static Flag {
    FLAG.get()
}

/// The flag that the calling thread's sections with a fence try.
#[inline(always)]
pub(crate) fn current_fenced() -> &'static Flag {
    FENCED.get()
}

/// From now on, the calling thread's sections try this flag of its own: those with a fence, or those without.
pub(crate) fn choose(flag: &'static Flag, fenced: bool) {
    if fenced { &FENCED } else { &FLAG }.set(flag);
}

/// From now on, the calling thread's sections find out what they may use.
pub(crate) fn choose_again() {
    FLAG.set(&SENTINEL);
    FENCED.set(&SENTINEL);
}

/// Whether the calling thread is in a section.
pub(crate) fn is_inside() -> bool {
    CURSOR.get().is_some_and(|cursor| cursor.record.ring().any(|record| !record.is_outside()))
}

/// The calling thread's flags.
pub(crate) fn own() -> impl Iterator<Item = &'static Flag> {
    CURSOR.get().into_iter().flat_map(|cursor| cursor.record.ring()).flat_map(|record| record.flags.iter())
}

/// A free flag of the calling thread's, which is given a record if it has none. `None` where the system has no memory for one.
pub(crate) fn free_flag() -> Option<&'static Flag> {
    loop {
        let cursor = match CURSOR.get() {
            Some(cursor) => cursor,
            None => register()?,
        };
        let begin = cursor.record;
        // The rest of this record, then the others, then the beginning of this one.
        let here = (cursor.index..FLAGS).map(|index| Cursor { record: begin, index });
        let others = begin.next().ring().take_while(|record| !ptr::eq(*record, begin)).chain([begin]);
        let there = others.flat_map(|record| (0..FLAGS).map(move |index| Cursor { record, index }));
        if let Some(found) = here.chain(there).find(|cursor| cursor.record.flags[cursor.index].is_free()) {
            CURSOR.set(Some(found));
            return Some(&found.record.flags[found.index]);
        }
        extend(begin)?;
    }
}

/// For a negative control: a record that its thread gives up, and whose flags it frees once more when it ends. Another
/// thread may have it by then.
#[cfg(feature = "negative-controls")]
pub(crate) mod given_up {
    use super::{CURSOR, Cell, Ordering, Record, Sabotage, entries, owner, ptr, sabotage};

    struct Ends(Cell<Option<&'static Record>>);

    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.get().into_iter().flat_map(|record| &record.flags).for_each(super::Flag::leave);
        }
    }

    thread_local! {
        static ENDS: Ends = const { Ends(Cell::new(None)) };
    }

    /// The thread's record is anybody's, if it is inside nothing.
    pub(crate) fn give_up() {
        if !sabotage::is(Sabotage::EndsGivenUp) || super::is_inside() {
            return;
        }
        let Some(cursor) = CURSOR.take() else { return };
        let own = |entry: &(_, &'static Record)| ptr::eq(entry.1, cursor.record);
        if let Some((word, record)) = entries().find(own) {
            ENDS.with(|ends| ends.0.set(Some(record)));
            word.store(owner::freed(word.load(Ordering::Relaxed)), Ordering::Release);
        }
    }
}

/// Every flag of every record that any thread has had.
pub(crate) fn flags() -> impl Iterator<Item = &'static Flag> {
    entries().filter(|entry| !is_given_up(entry)).flat_map(|(_, record)| record.flags.iter())
}

/// Visits the number of each thread with a section that began before the phase.
pub(crate) fn for_each_before(phase: u64, visit: &mut dyn FnMut(u32)) {
    let before = |record: &Record| record.flags.iter().any(|flag| !flag.has_passed(phase));
    let owners = entries().filter(|(_, record)| before(record)).map(|(owner, _)| owner);
    let threads = owners.filter_map(|owner| owner::thread(owner.load(Ordering::Relaxed)));
    threads.for_each(|thread| visit(thread.number));
}

fn is_given_up((owner, _): &(&AtomicU64, &Record)) -> bool {
    sabotage::is(Sabotage::DeadGiveUp) && has_ended(owner.load(Ordering::Relaxed))
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

fn has_ended(owner: u64) -> bool {
    owner::thread(owner).is_some_and(|thread| thread.has_ended(thread::current().process))
}

/// How many threads have a record, and have not ended.
pub(crate) fn owned() -> usize {
    let owned = |owner| !owner::is_free(owner) && !has_ended(owner);
    entries().filter(|(owner, _)| owned(owner.load(Ordering::Relaxed))).count()
}

/// Gives the calling thread its first record.
#[cold]
fn register() -> Option<Cursor> {
    if sabotage::is(Sabotage::UnlistedSections) {
        let cursor = Cursor { record: Box::leak(Box::new(Record::new())), index: 0 };
        CURSOR.set(Some(cursor));
        return Some(cursor);
    }
    if sabotage::is(Sabotage::NoRecords) {
        return None;
    }
    let thread = thread::current();
    loop {
        let (owner, record, claimed) = claim(thread, true)?;
        record.link(record);
        // A signal handler may have come in the meantime, and have claimed the same one, or another.
        if let Some(known) = CURSOR.get() {
            if !ptr::eq(known.record, record) {
                let _ = owner.compare_exchange(
                    claimed,
                    owner::freed(claimed),
                    Ordering::Release,
                    Ordering::Relaxed,
                );
            }
            return Some(known);
        }
        let cursor = Cursor { record, index: 0 };
        CURSOR.set(Some(cursor));
        // It may have forked, and the child has taken away what nobody seemed to use.
        if owner.load(Ordering::Relaxed) == claimed {
            return Some(cursor);
        }
        CURSOR.set(None);
    }
}

/// All flags of the ring are taken: it gets as many records again. A signal handler that comes meanwhile may do the same; what it
/// added may fall out of the ring, which costs a record until the thread ends, and nothing else: the handler's sections are over.
#[cold]
fn extend(begin: &'static Record) -> Option<()> {
    let thread = thread::current();
    let mut wanted = begin.ring().count();
    let add = |record: &'static Record| {
        record.link(begin.next());
        begin.link(record);
    };
    while wanted >= PER_BLOCK {
        grow(owner::claimed_by(NOBODY, thread))?.records.iter().for_each(add);
        wanted -= PER_BLOCK;
    }
    for _ in 0..wanted {
        let (_, record, _) = claim(thread, false)?;
        add(record);
    }
    Some(())
}

type Claimed = (&'static AtomicU64, &'static Record, u64);

/// Makes the thread the owner of a record whose flags are free. Its `first` may be one that has its number already.
fn claim(thread: Thread, first: bool) -> Option<Claimed> {
    loop {
        let mut free = None;
        for (owner, record) in entries() {
            // Acquire, partner of the Release in `change_hands`: as below.
            let before = owner.load(Ordering::Acquire);
            if owner::is_free(before) {
                free = free.or(Some((owner, record, before)));
            } else if first
                && owner::thread(before) == Some(thread)
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
fn change_hands(
    owner: &'static AtomicU64,
    record: &'static Record,
    before: u64,
    after: u64,
) -> Option<Claimed> {
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
    grow(NOBODY).map(drop)
}

fn reap(owner: &'static AtomicU64, record: &'static Record, caller: Thread) -> bool {
    let before = owner.load(Ordering::Acquire);
    let ended = sabotage::is(Sabotage::ReapsTheLiving)
        || owner::thread(before).is_some_and(|thread| thread.has_ended(caller.process));
    !owner::is_free(before) && ended && change_hands(owner, record, before, owner::freed(before)).is_some()
}

/// Adds a block whose records have this owner.
fn grow(owner: u64) -> Option<&'static Block> {
    let block = crate::sys::pages::pages(size_of::<Block>())?.cast::<Block>();
    // SAFETY: `pages` gave writable memory of this size, page-aligned, that nobody else knows.
    unsafe { block.write(Block::new()) };
    // SAFETY: as above, and just initialised.
    let fresh: &'static Block = unsafe { block.as_ref() };
    fresh.owners.iter().for_each(|word| word.store(owner, Ordering::Relaxed));
    let mut last = &FIRST;
    loop {
        let swap =
            last.next.compare_exchange(ptr::null_mut(), block.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        match swap {
            Ok(_) => return Some(fresh),
            // SAFETY: invariant 1; a failed swap of null gives a pointer that is not null.
            Err(other) => last = unsafe { NonNull::new(other)?.as_ref() },
        }
    }
}

/// In a forked child, only the calling thread lives on: the others are inside nothing, and what it is inside of it stays in.
/// It chooses its kind of section again: the child may be refused the barrier that its parent had.
pub(crate) fn after_fork() {
    let thread = thread::current();
    let own = CURSOR.get().and_then(|cursor| {
        let entry = entries().find(|(_, record)| ptr::eq(*record, cursor.record));
        owner::thread(entry?.0.load(Ordering::Relaxed))
    });
    for (owner, record) in entries() {
        let before = owner.load(Ordering::Relaxed);
        if owner::is_free(before) {
            continue;
        }
        if owner::thread(before) == own {
            owner.store(owner::claimed_by(before, thread), Ordering::Relaxed);
        } else {
            record.flags.iter().for_each(Flag::leave);
            owner.store(owner::freed(before), Ordering::Relaxed);
        }
    }
    choose_again();
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;

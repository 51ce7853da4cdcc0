//! All records: given to threads, taken back when they end, walked by the reclaimer.
//!
//! A thread may make its first call from a signal handler, or from inside the global allocator, and its last
//! one from a destructor of its thread-local storage. So giving out a record takes no lock and no
//! allocation: a claim is one compare-and-swap, further records come in pages from the system, and the
//! end of a thread is told by a POSIX thread-specific key, whose destructors run after those of Rust.
//!
//! Invariants:
//! 1. Blocks are only ever added to the list, and never freed: a `&'static Record` stays valid.
//! 2. A record whose `owned` is true belongs to one live thread (or to nobody after a fork or an unclean
//!    end, which costs a record and nothing else).
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::record::{FIRST_PHASE, Record};
use crate::sabotage::{self, Sabotage};

const PER_BLOCK: usize = 31;

struct Entry {
    record: Record,
    owned: AtomicBool,
}

impl Entry {
    const fn new() -> Self {
        Self { record: Record::new(), owned: AtomicBool::new(false) }
    }
}

struct Block {
    entries: [Entry; PER_BLOCK],
    next: AtomicPtr<Block>,
}

impl Block {
    const fn new() -> Self {
        Self { entries: [const { Entry::new() }; PER_BLOCK], next: AtomicPtr::new(ptr::null_mut()) }
    }
}

static FIRST: Block = Block::new();
static SENTINEL: Record = Record::sentinel();
/// The phase that a record starts with. Partner: `claim` reads it after taking ownership.
static PHASE: AtomicUsize = AtomicUsize::new(FIRST_PHASE);
/// The POSIX key, plus one; 0 before it is made.
static KEY: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The thread's record, or the sentinel. A pointer, and no destructor, so that reading it is one load.
    static RECORD: Cell<&'static Record> = const { Cell::new(&SENTINEL) };
}

/// The calling thread's record; the sentinel where it has none.
#[inline(always)]
pub(crate) fn current() -> &'static Record {
    RECORD.get()
}

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

fn entries() -> impl Iterator<Item = &'static Entry> {
    blocks().flat_map(|block| block.entries.iter())
}

/// Every record that any thread has had.
pub(crate) fn records() -> impl Iterator<Item = &'static Record> {
    entries().map(|entry| &entry.record)
}

/// How many threads have a record.
pub(crate) fn owned() -> usize {
    entries().filter(|entry| entry.owned.load(Ordering::Relaxed)).count()
}

/// Begins a phase in every record, and in those yet to be claimed.
pub(crate) fn begin_phase(phase: usize) {
    // Before the records: a thread that claims one now either is walked over below or reads this.
    PHASE.fetch_max(phase, Ordering::SeqCst);
    for record in records() {
        record.begin_phase(phase);
    }
}

/// Gives the calling thread a record. `None` where the system has no memory for one.
#[cold]
pub(crate) fn register() -> Option<&'static Record> {
    let record = claim()?;
    RECORD.set(record);
    let key = key()?;
    // SAFETY: `key` was made by `pthread_key_create`; the value is a pointer that the destructor ignores
    // beyond its not being null.
    unsafe { libc::pthread_setspecific(key, ptr::from_ref(record).cast()) };
    Some(record)
}

/// Makes the calling thread one without a record; it is given one, or a pin, at its next call.
pub(crate) fn forget_current() {
    let record = current();
    if !ptr::eq(record, &SENTINEL) && record.state() == super::record::OUTSIDE {
        thread_ends(ptr::from_ref(record).cast_mut().cast());
    }
}

fn claim() -> Option<&'static Record> {
    if sabotage::is(Sabotage::UnlistedSections) {
        return Some(Box::leak(Box::new(Record::new())));
    }
    loop {
        for entry in entries() {
            // Acquire, partner of the Release in `release`: the former owner is done with it.
            let claimed = entry.owned.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            if claimed.is_ok() {
                return Some(&entry.record);
            }
        }
        grow()?;
    }
}

fn grow() -> Option<()> {
    let block = crate::sys::memory::pages(size_of::<Block>())?.cast::<Block>();
    // SAFETY: `pages` gave writable memory of this size, page-aligned, that nobody else knows.
    unsafe { block.write(Block::new()) };
    // SAFETY: as above, and just initialised.
    let fresh = unsafe { block.as_ref() };
    let mut last = &FIRST;
    loop {
        let swap =
            last.next.compare_exchange(ptr::null_mut(), block.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        match swap {
            Ok(_) => break,
            // SAFETY: invariant 1; a failed swap of null gives a pointer that is not null.
            Err(other) => last = unsafe { NonNull::new(other)?.as_ref() },
        }
    }
    // A `begin_phase` under way either walks over the block, now that it is linked, or is seen here.
    let phase = PHASE.load(Ordering::SeqCst);
    for entry in &fresh.entries {
        entry.record.begin_phase(phase);
    }
    Some(())
}

extern "C" fn thread_ends(record: *mut libc::c_void) {
    RECORD.set(&SENTINEL);
    let owned = entries().find(|entry| ptr::eq(ptr::from_ref(&entry.record).cast(), record));
    if let Some(entry) = owned {
        entry.record.abandon();
        // Release, partner of the Acquire in `claim`.
        entry.owned.store(false, Ordering::Release);
    }
}

fn key() -> Option<libc::pthread_key_t> {
    // Acquire/Release below: only the number itself is published.
    let known = KEY.load(Ordering::Acquire);
    if known != 0 {
        return Some(known - 1);
    }
    let mut key = 0;
    // SAFETY: `key` is a valid place; `thread_ends` has the signature asked for and lives for ever.
    let refused = unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends)) };
    if refused != 0 {
        return None;
    }
    match KEY.compare_exchange(0, key + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(key),
        Err(other) => {
            // SAFETY: the key made above, which no thread has used.
            unsafe { libc::pthread_key_delete(key) };
            Some(other - 1)
        }
    }
}

/// In a forked child, only the calling thread lives on: the others are inside nothing.
pub(crate) fn after_fork() {
    let own = current();
    for entry in entries() {
        if !ptr::eq(&entry.record, own) {
            entry.record.abandon();
            entry.owned.store(false, Ordering::Release);
        }
    }
}

//! The sections of threads for whose record the system had no memory.
//!
//! They are counted in one record, of which every such thread is an owner: by atomic additions, each with a full fence. That is slow,
//! and never wrong. It takes a system that refuses a page.

use core::cell::Cell;

use super::record::Record;
use super::registry::GRACE;

static SHARED: Record = Record::new();

thread_local! {
    /// How many sections of the calling thread are among them, in each of the two counters.
    static HELD: [Cell<isize>; 2] = const { [Cell::new(0), Cell::new(0)] };
}

/// Where they are counted.
pub(super) fn record() -> &'static Record {
    &SHARED
}

/// Begins one. Which counter it is in.
pub(super) fn enter() -> isize {
    let index = GRACE.index() & 1;
    add(index, 1);
    index.cast_signed()
}

/// Ends one that was begun in that counter.
pub(super) fn leave(index: isize) {
    add(index.cast_unsigned(), -1);
}

fn add(index: usize, by: isize) {
    HELD.with(|held| held[index & 1].set(held[index & 1].get() + by));
    SHARED.counter(index).add(by);
}

/// Whether the calling thread is inside one.
pub(super) fn is_inside() -> bool {
    HELD.with(|held| held.iter().any(|count| count.get() != 0))
}

/// In a forked child: the calling thread's are all there are.
pub(super) fn after_fork() {
    HELD.with(|held| (0..2).for_each(|index| SHARED.counter(index).reset(held[index].get())));
}

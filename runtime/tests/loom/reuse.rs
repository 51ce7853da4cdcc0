//! Code memory that becomes other code: the drawing at the head of `arena/heap.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, grace_period, heavy_barrier};
use crate::record::{FIRST_PHASE, Flag};

/// Where the stub jumps to: into the block when it held the old trampoline, elsewhere, or into the block again.
const OLD: usize = 0;
const ELSEWHERE: usize = 1;
const NEW: usize = 2;
/// What freed code memory is filled with: `int3`. Otherwise the block holds `OLD` or `NEW`.
const TRAP: usize = 3;
/// Where the block is.
const BLOCK: usize = 16;

#[derive(Clone, Copy, PartialEq)]
enum Writer {
    Right,
    /// The block is freed as soon as nothing jumps to it.
    WithoutGracePeriod,
    /// The block is written again before each core has dropped what it fetched of the old.
    WithoutBarrier,
    /// The stub goes to the block before its new code is there.
    JumpsFirst,
}

struct Shared {
    flag: Flag,
    core: Core,
    stub: AtomicUsize,
    block: AtomicUsize,
}

impl Shared {
    fn call(&self) {
        self.flag.enter();
        // The stub itself is fetched anew here: `settle` and `batch` look at its being fetched early.
        let wanted = self.stub.load(Ordering::Acquire);
        if wanted != ELSEWHERE {
            let found = self.core.run(BLOCK, &self.block);
            assert_eq!(found, wanted, "landed in other code");
        }
        self.flag.leave();
    }

    fn reuse(&self, writer: Writer) {
        // A replacement: the stub leaves the block.
        self.stub.store(ELSEWHERE, Ordering::Release);
        heavy_barrier(&[&self.core]);
        // `after_grace_period`: `CodeHeap::release`.
        if writer != Writer::WithoutGracePeriod {
            grace_period(&self.flag, FIRST_PHASE + 1, &[&self.core]);
        }
        self.block.store(TRAP, Ordering::Release);
        // `release_later`: the barrier that begins the next grace period, then `CodeHeap::recycle`.
        if writer != Writer::WithoutBarrier {
            heavy_barrier(&[&self.core]);
        }
        // The next replacement is given the block.
        if writer == Writer::JumpsFirst {
            self.stub.store(NEW, Ordering::Release);
        }
        self.block.store(NEW, Ordering::Release);
        self.stub.store(NEW, Ordering::Release);
    }
}

fn model(writer: Writer) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let shared = Arc::new(Shared {
            flag: Flag::new(),
            core: Core::default(),
            stub: AtomicUsize::new(OLD),
            block: AtomicUsize::new(OLD),
        });
        let calling = thread::spawn({
            let shared = Arc::clone(&shared);
            move || (0..2).for_each(|_| shared.call())
        });
        shared.reuse(writer);
        calling.join().unwrap();
    });
}

#[test]
fn nobody_lands_in_other_code() {
    model(Writer::Right);
}

#[test]
#[should_panic = "landed in other code"]
fn broken_without_grace_period() {
    model(Writer::WithoutGracePeriod);
}

#[test]
#[should_panic = "landed in other code"]
fn broken_without_barrier() {
    model(Writer::WithoutBarrier);
}

#[test]
#[should_panic = "landed in other code"]
fn broken_jumps_first() {
    model(Writer::JumpsFirst);
}

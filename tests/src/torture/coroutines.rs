//! Stackful coroutines of one thread, whose calls and guards interleave while what they call is replaced; and crowds of
//! threads, each of which calls once and ends.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use corosensei::{Coroutine, CoroutineResult, Yielder};
use hotcall::{dispatch, slot};

use super::callers;
use super::slots::SLOTS;
use super::tally::{TALLY, count};
use hotcall_tests::random::Random;

type Yields = Yielder<(), ()>;

#[dispatch]
pub trait Suspends: Send + Sync {
    /// Suspends so many times, in the middle of the call.
    fn run(&self, x: u64, times: u32, yielder: &Yields) -> u64;
}

const ALIVE: u64 = 0xa11e;

/// All its words say that it is alive, until it is dropped.
struct Poisoned {
    words: [AtomicU64; 32],
}

impl Poisoned {
    fn new() -> Self {
        Self { words: [const { AtomicU64::new(ALIVE) }; 32] }
    }

    fn look(&self) {
        if self.words.iter().any(|word| word.load(Ordering::Relaxed) != ALIVE) {
            count(&TALLY.freed_in_use);
        }
    }
}

impl Drop for Poisoned {
    fn drop(&mut self) {
        self.words.iter().for_each(|word| word.store(0xdead, Ordering::Relaxed));
    }
}

impl Suspends for Poisoned {
    fn run(&self, x: u64, times: u32, yielder: &Yields) -> u64 {
        for _ in 0..times {
            self.look();
            yielder.suspend(());
        }
        self.look();
        x + 1
    }
}

struct Idle;
impl Suspends for Idle {
    fn run(&self, x: u64, _: u32, yielder: &Yields) -> u64 {
        yielder.suspend(());
        x + 1
    }
}

#[slot]
static SUSPENDS: dyn Suspends = Idle;

/// Replaces what they are inside of, until told to stop.
pub fn replace(random: &mut Random, stop: impl Fn() -> bool) {
    while !stop() {
        match SUSPENDS.replace(Poisoned::new()) {
            Ok(retired) => drop(retired),
            Err(_) => count(&TALLY.failed),
        }
        count(&TALLY.swaps);
        std::thread::sleep(Duration::from_micros(random.below(1_000)));
    }
    if SUSPENDS.restore().is_err() {
        count(&TALLY.failed);
    }
}

/// Resumes one after another in any order, ends them in any order, and drops some in the middle, until told to stop.
pub fn run(random: &mut Random, stop: impl Fn() -> bool) {
    let make = |random: &mut Random| {
        let (question, times, guarded) = (random.below(1 << 32), random.below(6) as u32, random.one_in(3));
        Coroutine::<(), (), ()>::new(move |yielder: &Yields, ()| {
            let guard = guarded.then(hotcall::pin);
            if let Some(guard) = &guard {
                yielder.suspend(());
                if SUSPENDS.bind(guard).run(question, times, yielder) != question + 1 {
                    count(&TALLY.torn);
                }
            }
            if SUSPENDS.run(question, times, yielder) != question + 1 {
                count(&TALLY.torn);
            }
            count(&TALLY.in_coroutines);
            count(&TALLY.calls);
        })
    };
    let mut all: Vec<_> = (0..24).map(|_| make(random)).collect();
    while !stop() {
        let which = random.below(all.len() as u64) as usize;
        // One that is dropped is unwound, from inside its call.
        let is_over = random.one_in(64) || matches!(all[which].resume(()), CoroutineResult::Return(()));
        if is_over {
            all[which] = make(random);
        }
        if random.one_in(256) {
            // So that what was replaced is freed now and then.
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    // Dropped in the order in which they were made: their sections do not nest.
    drop(all);
}

/// Crowds, until told to stop.
pub fn crowds(random: &mut Random, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let size = 2 + random.below(30) as usize;
        let together = Barrier::new(size);
        std::thread::scope(|scope| {
            for number in 0..size {
                let (together, question, pinned) = (&together, random.next(), random.one_in(4));
                scope.spawn(move || {
                    // Their first call at once, and their end.
                    together.wait();
                    if pinned {
                        callers::plain(number % SLOTS, question);
                        hotcall::force_pinned_sections(true);
                    }
                    callers::plain(number % SLOTS, question);
                    count(&TALLY.threads);
                });
            }
        });
        std::thread::sleep(Duration::from_millis(random.below(20)));
    }
}

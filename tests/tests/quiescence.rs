//! Threads calling, threads replacing at full speed, instances that poison themselves on drop.
//!
//! What this finds, it finds by chance. That each mechanism is missed when it is switched off is shown where a rendezvous holds the
//! race open: grace periods and sections in `coroutines` and `sections`. Code that is reused or settled too early is run only by a core
//! that has fetched it before, for which no test can wait: there the broken twins of the loom models (`reuse`, `settle`) are the controls.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    /// Sums what is in the instance, slowly enough for a replacement to overtake it.
    fn sum(&self, rounds: u32) -> u64;
    fn other(&self, x: u64) -> u64;
}

/// What `other` mixes in, whichever implementor runs.
const KEY: u64 = 0x0a11_fe00_0a11_fe00;
const DEAD: u64 = 0xdead_dead_dead_dead;
const WORDS: usize = 16;

/// Every word says whether the instance lives, and of which type it is: a method that is run on an instance of
/// another type notices. The memory is given back to the allocator with poison in it, and what the allocator
/// puts there next is as wrong.
struct Canary<const ALIVE: u64> {
    words: [AtomicU64; WORDS],
}

impl<const ALIVE: u64> Canary<ALIVE> {
    fn new() -> Self {
        Self { words: [const { AtomicU64::new(ALIVE) }; WORDS] }
    }
}

impl<const ALIVE: u64> Drop for Canary<ALIVE> {
    fn drop(&mut self) {
        self.words.iter().for_each(|word| word.store(DEAD, Ordering::Relaxed));
    }
}

static POISONED: AtomicU64 = AtomicU64::new(0);

impl<const ALIVE: u64> Plugin for Canary<ALIVE> {
    #[inline(never)]
    fn sum(&self, rounds: u32) -> u64 {
        let mut wrong = 0;
        for _ in 0..rounds {
            wrong += self.words.iter().filter(|word| word.load(Ordering::Relaxed) != ALIVE).count() as u64;
        }
        if wrong != 0 {
            POISONED.fetch_add(1, Ordering::Relaxed);
        }
        wrong
    }
    #[inline(never)]
    fn other(&self, x: u64) -> u64 {
        if self.words[3].load(Ordering::Relaxed) == ALIVE { x ^ KEY } else { x ^ DEAD }
    }
}

struct Default_;
impl Plugin for Default_ {
    fn sum(&self, _: u32) -> u64 {
        0
    }
    fn other(&self, x: u64) -> u64 {
        x ^ KEY
    }
}

#[slot]
static PLUGIN: dyn Plugin = Default_;

/// How writers replace.
#[derive(Clone, Copy, PartialEq)]
enum Swaps {
    /// Bursts of two types in turn, with time to settle between.
    Bursts,
    /// Without time to settle: calls go through thunks all the time, and do little else.
    Hectic,
    /// Of one type: in place, once the slot has settled.
    OneType,
}

/// Calls and replaces for `time`; how often an instance was not alive.
fn storm(time: Duration, swaps: Swaps) -> u64 {
    let hectic = swaps == Swaps::Hectic;
    let stop = AtomicBool::new(false);
    let wrong = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (stop, wrong) = (&stop, &wrong);
            scope.spawn(move || {
                let mut x = 1;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..100 {
                        if caller == 2 && !hectic {
                            let guard = hotcall::pin();
                            let plugin = PLUGIN.bind(&guard);
                            for _ in 0..40 {
                                wrong.fetch_add(plugin.sum(2), Ordering::Relaxed);
                            }
                            wrong.fetch_add(PLUGIN.get(&guard).sum(2), Ordering::Relaxed);
                        }
                        if !hectic {
                            wrong.fetch_add(PLUGIN.sum(20), Ordering::Relaxed);
                        }
                        // Short calls: a good part of each is on its way through stub and thunk.
                        for _ in 0..200 {
                            let y = PLUGIN.other(x);
                            if y != x ^ KEY {
                                wrong.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (x >> 7);
                    }
                }
            });
        }
        for writer in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for round in 0..16 {
                        let retired = if round % 2 == 0 && swaps != Swaps::OneType {
                            PLUGIN.replace(Canary::<1>::new()).unwrap()
                        } else {
                            PLUGIN.replace(Canary::<2>::new()).unwrap()
                        };
                        if writer == 0 && round == 7 && !hectic {
                            assert_eq!(retired.wait().unwrap().sum(1), 0, "what was waited for is alive");
                        }
                    }
                    if hectic {
                        continue;
                    }
                    // Several grace periods may pass: settle, and be replaced from there too.
                    std::thread::sleep(Duration::from_micros(if writer == 0 { 200 } else { 3_000 }));
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    wrong.load(Ordering::Relaxed) + POISONED.load(Ordering::Relaxed)
}

#[test]
fn every_result_is_from_a_live_instance() {
    assert_eq!(storm(Duration::from_secs(2), Swaps::Bursts), 0);
    assert_eq!(storm(Duration::from_secs(1), Swaps::Hectic), 0);
    assert_eq!(storm(Duration::from_secs(1), Swaps::OneType), 0);

    // Everything that was replaced is freed, without anyone calling again.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = hotcall::stats();
        if stats.freed == stats.retired {
            break;
        }
        assert!(Instant::now() < deadline, "never freed: {stats:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

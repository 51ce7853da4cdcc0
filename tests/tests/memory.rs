//! A million swaps: code memory and the process's own stay flat.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotcall::{Stats, dispatch, slot, stats};

#[dispatch]
pub trait Step: Send + Sync {
    fn run(&self, x: u64) -> u64;
    fn name(&self) -> String {
        "step".into()
    }
}

struct Idle;
impl Step for Idle {
    fn run(&self, x: u64) -> u64 {
        x
    }
}

static LIVING: AtomicU64 = AtomicU64::new(0);

struct Adds(u64, #[allow(dead_code)] [u64; 30]);

impl Adds {
    fn new(number: u64) -> Self {
        LIVING.fetch_add(1, Ordering::Relaxed);
        Self(number, [number; 30])
    }
}

impl Drop for Adds {
    fn drop(&mut self) {
        LIVING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Step for Adds {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
}

#[slot]
static SLOT: dyn Step = Idle;

const ROUNDS: u64 = 10;
const SWAPS: u64 = 100_000;
/// Swaps between two moments at which everything has been freed.
const PILE: u64 = 4_096;
/// The highest that the process's memory may be above that after the first round. A leak of a quarter of an instance's
/// bytes a swap is more.
const SLACK: usize = 48 << 20;
/// The most code memory that the pile can need: how much of it is in use at once is up to the scheduler, so it may
/// grow in any round. One thunk of each method a swap is thirty times that if it is never used again.
const CODE: usize = 2 << 20;

/// Waits until everything is freed and settled.
fn drained() -> Stats {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let now = stats();
        if now.freed == now.retired && now.thunks == 0 && now.code_bytes_used == 0 {
            return now;
        }
        assert!(
            Instant::now() < deadline,
            "never drained: {now:?}, {} living",
            LIVING.load(Ordering::Relaxed)
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok()).unwrap_or(0) << 10
}

#[test]
fn a_million_swaps_leave_memory_flat() {
    let mut first: Option<usize> = None;
    for round in 0..ROUNDS {
        for number in 0..SWAPS {
            let number = round * SWAPS + number;
            drop(SLOT.replace(Adds::new(number)).unwrap());
            assert_eq!(SLOT.run(1), number + 1);
            // A program that swaps faster than its instances can be freed for seconds on end has them pile up.
            if number.is_multiple_of(PILE) {
                drained();
            }
        }
        let now = drained();
        assert_eq!(LIVING.load(Ordering::Relaxed), 1, "only the one that is installed");
        let memory = *first.get_or_insert(resident());
        assert!(now.code_bytes_mapped <= CODE, "code memory has grown in round {round}: {now:?}");
        assert!(resident() <= memory + SLACK, "{} bytes after {memory} in round {round}", resident());
    }
    assert_eq!(stats().retired, ROUNDS * SWAPS);
}

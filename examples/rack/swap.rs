//! The thread that swaps the effect, again and again, while others call it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hotcall_effects::Effect;

use crate::EFFECT;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::rotation::Entry;
use crate::worker::Run;

/// Every so many swaps, the replaced instance is waited for; all others are left to the runtime.
const WAIT_EVERY: u64 = 64;
/// How long to wait for it. Far longer than any block takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says when the next of many evenly spread moments has come.
pub struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    /// The longest sleep: how late the end of a run may be noticed.
    const NAP: Duration = Duration::from_millis(20);
    /// What is missed by more than this is not made up for.
    const PATIENCE: Duration = Duration::from_millis(100);

    /// So many moments a second, the first after one interval. None a second: never.
    pub fn per_second(moments: u32) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(moments)?;
        Some(Self { interval, next: Instant::now() + interval })
    }

    /// Sleeps until the moment has come, or `stop` says so. Answers whether it has come.
    pub fn wait(&mut self, stop: impl Fn() -> bool) -> bool {
        loop {
            if stop() {
                return false;
            }
            let now = Instant::now();
            let Some(early) = self.next.checked_duration_since(now).filter(|early| !early.is_zero()) else {
                self.next = (self.next + self.interval).max(now - Self::PATIENCE);
                return true;
            };
            thread::sleep(early.min(Self::NAP));
        }
    }
}

/// What the swapper has done so far, for the progress line.
#[derive(Default)]
pub struct SwapMeter {
    pub swaps: AtomicU64,
    pub lost: AtomicU64,
}

/// When swaps happened: how many in each equal part of the run.
#[derive(Clone)]
pub struct Marks {
    pub counts: Vec<u32>,
}

impl Marks {
    const PARTS: usize = 200;

    fn new() -> Self {
        Self { counts: vec![0; Self::PARTS] }
    }

    fn add(&mut self, passed: f64) {
        let part = (passed * Self::PARTS as f64) as usize;
        self.counts[part.min(Self::PARTS - 1)] += 1;
    }
}

/// What the swapper did.
pub struct Swapped {
    pub swaps: u64,
    /// Swaps after which the slot still did, or said, what the effect before it does.
    pub lost: u64,
    /// Calls that the swapper made itself.
    pub calls: u64,
    /// How long `replace` took to return.
    pub latency: Histogram,
    pub marks: Marks,
}

/// Swaps at `pace` until the run stops. The run is to last for `duration`.
pub fn swap(
    run: &Run<'_>,
    meter: &SwapMeter,
    mut pace: Pace,
    duration: Duration,
) -> Result<Swapped, Failure> {
    let started = Instant::now();
    let mut swapped =
        Swapped { swaps: 0, lost: 0, calls: 0, latency: Histogram::default(), marks: Marks::new() };
    let stopped = || run.stop.load(Ordering::Relaxed);
    while pace.wait(stopped) {
        let turn = run.timeline.begin();
        let entry = run.rotation.turn(turn);
        let instance = entry.instance().map_err(Failure::broken)?;
        let before = Instant::now();
        let retired = EFFECT.replace(instance).map_err(Failure::broken)?;
        swapped.latency.record(before.elapsed());
        run.timeline.finish();

        let mut took_effect = in_force(entry, run.rotation.probe);
        swapped.calls += 2;
        swapped.swaps += 1;
        swapped.marks.add(started.elapsed().as_secs_f64() / duration.as_secs_f64());
        if swapped.swaps.is_multiple_of(WAIT_EVERY) {
            // What comes back must be what this swap replaced.
            let old = retired.wait_timeout(PATIENCE).map_err(Failure::broken)?;
            took_effect &= old.name() == run.rotation.turn(turn - 1).name;
        }
        swapped.lost += u64::from(!took_effect);
        meter.swaps.store(swapped.swaps, Ordering::Relaxed);
        meter.lost.store(swapped.lost, Ordering::Relaxed);
    }
    Ok(swapped)
}

/// Whether both methods of the slot are those of `entry`.
pub fn in_force(entry: &Entry, probe: f32) -> bool {
    EFFECT.process(probe).to_bits() == entry.probed.to_bits() && EFFECT.name() == entry.name
}

#[cfg(test)]
mod tests {
    use super::{Marks, Pace};
    use std::time::{Duration, Instant};

    #[test]
    fn a_pace_is_kept_and_can_be_stopped() {
        assert!(Pace::per_second(0).is_none());
        let mut pace = Pace::per_second(1000).unwrap();
        let started = Instant::now();
        for _ in 0..20 {
            assert!(pace.wait(|| false));
        }
        assert!(started.elapsed() >= Duration::from_millis(20));
        assert!(!pace.wait(|| true));
    }

    #[test]
    fn marks_outside_the_run_count_at_its_end() {
        let mut marks = Marks::new();
        marks.add(0.5);
        marks.add(1.2);
        assert_eq!((marks.counts[100], marks.counts[199]), (1, 1));
    }
}

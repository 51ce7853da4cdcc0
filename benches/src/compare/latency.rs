//! A clock for single calls, and quantiles of what it says.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::figure::Figure;

/// Ticks of the processor, and how long one is.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    ns_per_tick: f64,
}

impl Clock {
    /// Compares ticks with the system's clock for a few milliseconds.
    #[must_use]
    pub fn calibrated() -> Self {
        let (begin, from) = (Instant::now(), ticks());
        while begin.elapsed() < Duration::from_millis(20) {
            core::hint::spin_loop();
        }
        let (elapsed, to) = (begin.elapsed(), ticks());
        Self { ns_per_tick: elapsed.as_secs_f64() * 1e9 / to.wrapping_sub(from).max(1) as f64 }
    }

    /// Nanoseconds between two readings.
    #[must_use]
    pub fn ns(self, from: u64, to: u64) -> f64 {
        to.wrapping_sub(from) as f64 * self.ns_per_tick
    }

    /// What reading it twice takes, in nanoseconds: to be taken from what was measured between.
    #[must_use]
    pub fn overhead(self) -> f64 {
        (0..1_000)
            .map(|_| {
                let from = ticks();
                self.ns(from, ticks())
            })
            .fold(f64::INFINITY, f64::min)
    }
}

/// The processor's time-stamp counter; the calls around it are not reordered over it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[must_use]
pub fn ticks() -> u64 {
    use core::arch::x86_64::{__rdtscp, _mm_lfence};
    let mut processor = 0;
    // SAFETY: every x86-64 processor of the last fifteen years has the instruction.
    let ticks = unsafe { __rdtscp(&raw mut processor) };
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_lfence() };
    ticks
}

/// The system's clock.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub fn ticks() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Times of single events, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    // None where the bounds were refused, which they are not.
    histogram: Option<Histogram<u64>>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { histogram: Histogram::new_with_bounds(1, 100_000_000_000, 3).ok() }
    }
}

impl Latencies {
    /// Adds a time.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the highest bound"
    )]
    pub fn record(&mut self, ns: f64) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(ns.max(1.0) as u64);
        }
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            // Both have the same bounds, so nothing is out of range.
            let _same_bounds = histogram.add(other);
        }
    }

    /// The time that this share of the events did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        self.histogram.as_ref().map_or(0.0, |histogram| histogram.value_at_quantile(share) as f64)
    }

    /// How many events.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Adds p50, p99, p99.9 and the maximum to a figure.
    #[must_use]
    pub fn onto(&self, figure: Figure) -> Figure {
        figure
            .with("p50_ns", self.quantile(0.5))
            .with("p99_ns", self.quantile(0.99))
            .with("p999_ns", self.quantile(0.999))
            .with("max_ns", self.quantile(1.0))
            .with("events", self.count())
    }
}

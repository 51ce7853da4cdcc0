//! Counts durations in buckets that grow with them: any number of durations in the same 9 kB.
//!
//! Each power of two is split into 32 buckets, so what comes out is within 1.6 % of what went in.

use std::time::Duration;

/// Buckets in each power of two, and its logarithm.
const SPLIT_BITS: u32 = 5;
const SPLIT: u64 = 1 << SPLIT_BITS;
/// Longer durations, from about 18 minutes on, count as this.
const LONGEST: u64 = (1 << 40) - 1;
const BUCKETS: usize = bucket(LONGEST) + 1;

/// How often each duration occurred.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: u64,
}

/// Where a duration of `ns` is counted: exactly, below `SPLIT`; above, by its leading one and the
/// `SPLIT_BITS` bits that follow.
const fn bucket(ns: u64) -> usize {
    let ns = if ns < LONGEST { ns } else { LONGEST };
    let power = if ns < SPLIT { 0 } else { ns.ilog2() - SPLIT_BITS };
    (power as u64 * SPLIT + (ns >> power)) as usize
}

/// The middle of a bucket, in ns.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * SPLIT {
        return bucket;
    }
    let power = bucket / SPLIT - 1;
    let lowest = (bucket - power * SPLIT) << power;
    lowest + (1 << power) / 2
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, longest: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.longest = self.longest.max(ns);
    }

    /// Counts all that `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += count;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// The duration that the share `part` of all durations does not exceed; none if none was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = ((self.count as f64 * part).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(middle(bucket).min(self.longest)))
    }

    /// The longest duration; none if none was counted.
    pub fn longest(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap() {
        let mut last = 0;
        for ns in 0..100_000 {
            let this = bucket(ns);
            assert!(this == last || this == last + 1, "{ns} ns");
            last = this;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        for ns in (0..64).chain([100, 999, 12_345, 1_000_000, 3_000_000_000]) {
            let middle = middle(bucket(ns));
            assert!(middle.abs_diff(ns) * 1000 <= ns * 16, "{ns} came out as {middle}");
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.longest()), (None, None));
        for ns in 1..=20 {
            histogram.record(Duration::from_nanos(ns));
        }
        let mut both = Histogram::default();
        both.record(Duration::from_secs(2));
        both.add(&histogram);
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_nanos(10)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_nanos(20)));
        assert_eq!(both.quantile(0.0), Some(Duration::from_nanos(1)));
        assert_eq!(both.longest(), Some(Duration::from_secs(2)));
    }
}

//! The table at the end, and the line that sums it up.

use std::fmt;
use std::time::Duration;

use crate::compare::Compared;
use crate::histogram::Histogram;
use crate::live::{Live, Setting};
use crate::rotation::Rotation;
use crate::worker::Heard;

/// Everything that was found out.
pub struct Report<'a> {
    pub rotation: &'a Rotation,
    pub setting: Setting,
    pub swaps_per_second: u32,
    /// Blocks without a swap.
    pub undisturbed: &'a Heard,
    pub live: &'a Live,
    pub compared: &'a [Compared],
}

impl Report<'_> {
    /// Calls through the slot whose results were checked.
    pub fn calls(&self) -> u64 {
        self.live.heard.samples
            + self.undisturbed.samples
            + self.live.swapped.as_ref().map_or(0, |it| it.calls)
    }

    /// Swaps of the run.
    pub fn swaps(&self) -> u64 {
        self.live.swapped.as_ref().map_or(0, |swapped| swapped.swaps)
    }

    /// Samples that match no effect, or a mixture.
    pub fn torn(&self) -> u64 {
        self.live.heard.faults.torn + self.undisturbed.faults.torn
    }

    /// Swaps that did not take effect: for the swapper itself, or for a block of another thread.
    pub fn lost(&self) -> u64 {
        let seen_by_swapper = self.live.swapped.as_ref().map_or(0, |swapped| swapped.lost);
        seen_by_swapper + self.live.heard.faults.stale + self.undisturbed.faults.stale
    }

    /// Whether hotcall kept its promises.
    pub fn is_clean(&self) -> bool {
        self.torn() == 0 && self.lost() == 0
    }

    /// The line that ends everything.
    pub fn summary(&self) -> String {
        format!(
            "summary: calls={} swaps={} torn={} lost={} retired={} freed={}",
            self.calls(),
            self.swaps(),
            self.torn(),
            self.lost(),
            self.live.retired,
            self.live.freed
        )
    }

    fn write_run(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rotation, setting, live, .. } = self;
        let sound = &rotation.sound;
        let channels = usize::from(sound.channels);
        let seconds = live.elapsed.as_secs_f64();
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: fmt::Arguments<'_>| {
            writeln!(f, "{name:<22}{value}")
        };
        row(
            f,
            "sound",
            format_args!(
                "{}, {:.1} s, {} Hz, {}",
                sound.title,
                sound.seconds(),
                grouped(sound.rate.into()),
                if channels == 1 { "mono" } else { "stereo" }
            ),
        )?;
        let names: Vec<_> = rotation.entries.iter().map(|entry| entry.name.as_str()).collect();
        row(f, "effects", format_args!("{}", names.join(", ")))?;
        row(
            f,
            "threads",
            format_args!(
                "{}, each with blocks of {} samples{}, for {seconds:.1} s",
                setting.threads,
                setting.block,
                if channels == 1 { "" } else { " (both channels)" }
            ),
        )?;
        row(
            f,
            "calls",
            format_args!(
                "{} ({:.1} million a second)",
                grouped(self.calls()),
                live.heard.samples as f64 / seconds / 1e6
            ),
        )?;
        row(
            f,
            "swaps",
            format_args!(
                "{} ({} a second asked for, {:.0} made)",
                grouped(self.swaps()),
                grouped(self.swaps_per_second.into()),
                self.swaps() as f64 / seconds
            ),
        )?;
        if let Some(swapped) = &live.swapped {
            let latency = &swapped.latency;
            row(
                f,
                "swap latency",
                format_args!(
                    "p50 {}, p99 {}, longest {}",
                    p50(latency),
                    p99(latency),
                    shown(latency.longest())
                ),
            )?;
        }
        row(
            f,
            "checked",
            format_args!(
                "every sample; {:.1} % of the sound tells every effect from every other",
                rotation.telling() * 100.0
            ),
        )
    }

    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = |f: &mut fmt::Formatter<'_>, name: &str| {
            writeln!(f, "\n{name:<38}{:>22}{:>22}", "without swaps  ", "with swaps  ")?;
            writeln!(f, "{:<38}{:>11}{:>11}{:>11}{:>11}", "", "p50", "p99", "p50", "p99")
        };
        let row = |f: &mut fmt::Formatter<'_>, name: &str, without: &Histogram, with: &Histogram| {
            let cells = [p50(without), p99(without), p50(with), p99(with)];
            writeln!(f, "  {name:<36}{:>11}{:>11}{:>11}{:>11}", cells[0], cells[1], cells[2], cells[3])
        };
        heading(f, "a block of the rack, all effects")?;
        row(f, "slot, plain calls", &self.undisturbed.calls, &self.live.heard.calls)?;
        row(f, "slot, bound each block", &self.undisturbed.bound, &self.live.heard.bound)?;
        heading(f, "the same loop, built-in effects only")?;
        self.compared.iter().try_for_each(|Compared { path, undisturbed, swapped }| {
            row(f, path.label(), undisturbed, swapped)
        })
    }
}

/// The table.
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_run(f)?;
        self.write_latencies(f)
    }
}

fn p50(latency: &Histogram) -> String {
    shown(latency.quantile(0.5))
}

fn p99(latency: &Histogram) -> String {
    shown(latency.quantile(0.99))
}

/// A duration with three digits and its unit.
fn shown(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return "-".into() };
    let ns = duration.as_nanos() as f64;
    let (value, unit) = match ns {
        ns if ns < 1e3 => return format!("{ns:.0} ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// A number with a comma before each three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{grouped, shown};
    use std::time::Duration;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn durations_have_their_unit() {
        for (ns, text) in [(7, "7 ns"), (1_234, "1.23 µs"), (45_600, "45.6 µs"), (789_000_000, "789 ms")] {
            assert_eq!(shown(Some(Duration::from_nanos(ns))), text);
        }
        assert_eq!(shown(None), "-");
    }
}

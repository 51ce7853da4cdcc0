//! The outcome: a table for people, JSON for others.

use std::time::Duration;

use hotcall::{Stats, stats};
use serde_json::{Value, json};

use super::tally::{Counts, TALLY};

/// How much memory may be added after the first quarter of a run. What piles up while a guard is held comes and
/// goes; a leak of one instance a swap would add more within seconds.
const SLACK: u64 = 96 << 20;

/// Memory in the first quarter of a run, and after it, each at its highest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub resident_early: u64,
    pub resident_late: u64,
    pub code_early: u64,
    pub code_late: u64,
}

impl Memory {
    pub fn look(&mut self, late: bool) {
        let code = stats().code_bytes_mapped as u64;
        let (resident_high, code_high) = if late {
            (&mut self.resident_late, &mut self.code_late)
        } else {
            (&mut self.resident_early, &mut self.code_early)
        };
        *resident_high = resident().max(*resident_high);
        *code_high = code.max(*code_high);
    }

    /// Whether memory stayed as it was after the first quarter.
    pub fn is_flat(&self) -> bool {
        self.resident_late <= self.resident_early + SLACK && self.code_late <= self.code_early * 2 + (4 << 20)
    }
}

/// The process's resident set in bytes; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// All that a run has found out.
#[derive(Debug)]
pub struct Report {
    pub elapsed: Duration,
    pub seed: u64,
    pub signals: bool,
    pub far: bool,
    pub memory: Memory,
    pub counts: Counts,
    pub stats: Stats,
}

impl Report {
    pub fn new(elapsed: Duration, seed: u64, signals: bool, far: bool, memory: Memory) -> Self {
        Self { elapsed, seed, signals, far, memory, counts: TALLY.counts(), stats: stats() }
    }

    pub fn passed(&self) -> bool {
        self.counts.wrong() == 0
    }

    pub fn table(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<24}{value:>18}"));
        line("backend", format!("{:?}", hotcall::backend()));
        line("sections", format!("{:?}", hotcall::sections()));
        line("seed", self.seed.to_string());
        line("seconds", format!("{:.1}", self.elapsed.as_secs_f64()));
        for (name, count) in self.counts.rows() {
            line(&name.replace('_', " "), grouped(count));
        }
        line("retired", grouped(self.stats.retired));
        line("freed", grouped(self.stats.freed));
        line("in place", grouped(self.stats.in_place));
        line("grace periods", grouped(self.stats.grace_periods));
        line("code mapped, first 1/4", format!("{} KiB", grouped(self.memory.code_early >> 10)));
        line("code mapped, after it", format!("{} KiB", grouped(self.memory.code_late >> 10)));
        line("resident, first 1/4", format!("{} KiB", grouped(self.memory.resident_early >> 10)));
        line("resident, after it", format!("{} KiB", grouped(self.memory.resident_late >> 10)));
        line("outcome", if self.passed() { "passed" } else { "FAILED" }.to_owned());
        lines.join("\n")
    }

    pub fn json(&self) -> Value {
        json!({
            "backend": format!("{:?}", hotcall::backend()),
            "sections": format!("{:?}", hotcall::sections()),
            "seed": self.seed,
            "seconds": self.elapsed.as_secs_f64(),
            "signals": self.signals,
            "far_targets": self.far,
            "counts": self.counts,
            "retired": self.stats.retired,
            "freed": self.stats.freed,
            "in_place": self.stats.in_place,
            "grace_periods": self.stats.grace_periods,
            "code_bytes_mapped": { "first_quarter": self.memory.code_early, "after": self.memory.code_late },
            "resident_bytes": { "first_quarter": self.memory.resident_early, "after": self.memory.resident_late },
            "passed": self.passed(),
        })
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

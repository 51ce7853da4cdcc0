//! What the processor counts: cycles, instructions, branches, branch misses.

use perf_event::events::Hardware;
use perf_event::{Builder, Counter, Group};
use serde::{Deserialize, Serialize};

/// Counts a call. None where the system does not let a process ask.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Cycles.
    pub cycles: Option<f64>,
    /// Instructions.
    pub instructions: Option<f64>,
    /// Branches.
    pub branches: Option<f64>,
    /// Mispredicted branches.
    pub branch_misses: Option<f64>,
}

/// The four counters, opened together.
#[allow(missing_debug_implementations, reason = "perf_event::Group has none")]
pub struct Counters {
    group: Group,
    counters: [Counter; 4],
}

impl Counters {
    /// Opens them for the calling thread. None in most virtual machines, and where `perf_event_paranoid` forbids.
    #[must_use]
    pub fn open() -> Option<Self> {
        let events = [
            Hardware::CPU_CYCLES,
            Hardware::INSTRUCTIONS,
            Hardware::BRANCH_INSTRUCTIONS,
            Hardware::BRANCH_MISSES,
        ];
        let mut group = Group::new().ok()?;
        let mut open = |event| group.add(&Builder::new(event)).ok();
        let counters = [open(events[0])?, open(events[1])?, open(events[2])?, open(events[3])?];
        Some(Self { group, counters })
    }

    /// Counts what `work` does, divided by `calls`. Counts nothing where the system fails half-way.
    pub fn count(&mut self, calls: f64, work: impl FnOnce()) -> Counts {
        if self.group.reset().and_then(|()| self.group.enable()).is_err() {
            work();
            return Counts::default();
        }
        work();
        let read = self.group.disable().and_then(|()| self.group.read());
        let Ok(read) = read else { return Counts::default() };
        let count = |index: usize| read.get(&self.counters[index]).map(|entry| entry.value() as f64 / calls);
        Counts { cycles: count(0), instructions: count(1), branches: count(2), branch_misses: count(3) }
    }
}

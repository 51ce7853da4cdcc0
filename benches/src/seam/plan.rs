//! Which cells are run, in which groups, for how long.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Fill, Form, LINE, Store};

/// A sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// A call, whole stores, every offset of the displacement.
    Offsets,
    /// Stores of 2+2 and 1+3 bytes, every offset: tears everywhere, and so shows that tearing is seen.
    Stores,
    /// Other instructions with a displacement, every offset of their first byte.
    Starts,
    /// What stands before the call, at every offset that crosses a 32-byte boundary inside a cacheline.
    Surroundings,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 4] = [Self::Offsets, Self::Stores, Self::Starts, Self::Surroundings];

    /// What share of `--seconds` each cell of the group gets.
    const fn share(self) -> f64 {
        match self {
            Self::Offsets => 1.0,
            Self::Stores => 0.1,
            Self::Starts => 0.25,
            Self::Surroundings => 0.5,
        }
    }

    /// The cells.
    #[must_use]
    pub fn cells(self) -> Vec<Cell> {
        let everywhere = || (0..LINE).map(Cell::plain);
        match self {
            Self::Offsets => everywhere().collect(),
            Self::Stores => [Store::Halves, Store::OneThree]
                .into_iter()
                .flat_map(|store| everywhere().map(move |cell| Cell { store, ..cell }))
                .collect(),
            Self::Starts => [Form::Addr32Call, Form::JmpStub, Form::JzStub]
                .into_iter()
                .flat_map(|form| everywhere().map(move |cell| Cell { form, ..cell }))
                .collect(),
            Self::Surroundings => surroundings(),
        }
    }
}

/// Everything that is put before the call, at the three offsets that cross the boundary in mid-line.
fn surroundings() -> Vec<Cell> {
    let fills = (0..=9)
        .map(Fill::Nops)
        .chain((2..=9).map(Fill::LongNop))
        .chain((1..=4).map(Fill::Adds))
        .chain([0, 16, 31, 32, 48].map(Fill::JumpFrom));
    fills.flat_map(|fill| [29, 30, 31].map(|offset| Cell { fill, ..Cell::plain(offset) })).collect()
}

/// A group and the time each of its cells gets.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The group.
    pub group: Group,
    /// Its cells.
    pub cells: Vec<Cell>,
    /// The time a cell.
    pub time: Duration,
}

/// The sweeps of `groups`, `seconds` a cell of the main one. A `budget` scales all of them to that many
/// seconds in all.
#[must_use]
pub fn plan(groups: &[Group], seconds: f64, budget: Option<f64>) -> Vec<Sweep> {
    let mut sweeps: Vec<Sweep> = groups
        .iter()
        .map(|&group| Sweep {
            group,
            cells: group.cells(),
            time: Duration::from_secs_f64(seconds * group.share()),
        })
        .collect();
    let all = total(&sweeps).as_secs_f64();
    if let Some(budget) = budget
        && all > 0.0
    {
        for sweep in &mut sweeps {
            sweep.time = sweep.time.mul_f64(budget / all);
        }
    }
    sweeps
}

/// The time that the sweeps take.
#[must_use]
pub fn total(sweeps: &[Sweep]) -> Duration {
    sweeps.iter().map(|sweep| sweep.time.mul_f64(sweep.cells.len() as f64)).sum()
}

#[cfg(test)]
mod tests {
    use super::{Group, plan, total};

    #[test]
    fn a_budget_is_kept() {
        let sweeps = plan(&Group::ALL, 2.0, Some(60.0));
        assert!((total(&sweeps).as_secs_f64() - 60.0).abs() < 0.01);
        let sweeps = plan(&[Group::Offsets], 2.0, None);
        assert!((total(&sweeps).as_secs_f64() - 128.0).abs() < 0.01);
    }
}

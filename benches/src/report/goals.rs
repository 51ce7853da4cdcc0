//! The goals, as data.

use super::input::Inputs;
use crate::compare::groups::Group;

/// A goal: a figure, and the bound it is to keep.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// In words.
    pub what: &'static str,
    /// The figure.
    pub figure: Source,
    /// The bound.
    pub bound: Bound,
    /// What must hold for the figure to say anything: another figure, and its bound.
    pub provided: Option<(Source, Bound)>,
}

/// How a goal stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// The figure keeps its bound.
    Met(f64),
    /// It does not.
    NotMet(f64),
    /// It was taken where what it needs did not hold: that figure.
    NotShown(f64),
    /// A row is not there.
    NotMeasured,
}

impl Goal {
    /// How it stands.
    #[must_use]
    pub fn standing(&self, inputs: &Inputs) -> Standing {
        let Some(figure) = self.figure.of(inputs) else { return Standing::NotMeasured };
        match self.provided.map(|(source, bound)| (source.of(inputs), bound)) {
            Some((None, _)) => Standing::NotMeasured,
            Some((Some(other), bound)) if !bound.met(other) => Standing::NotShown(other),
            _ if self.bound.met(figure) => Standing::Met(figure),
            _ => Standing::NotMet(figure),
        }
    }
}

/// Where a figure is found.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Time a call of the first row over that of the second.
    Ratio(Group, &'static str, &'static str),
    /// The greatest ratio of rows `first_K` and `second_K`.
    Worst(Group, &'static str, &'static str, &'static [u32]),
    /// A field of a row.
    Field(Group, &'static str, &'static str),
}

/// What a figure is to keep.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Not more.
    AtMost(f64),
    /// Not less.
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};
use Group::{Chains, Peers, Swaps, Width};
use Source::{Field, Ratio, Worst};

const fn goal(what: &'static str, figure: Source, bound: Bound) -> Goal {
    Goal { what, figure, bound, provided: None }
}

/// All of them.
pub const GOALS: &[Goal] = &[
    goal("a plain call, over direct", Ratio(Peers, "slot_call", "direct"), AtMost(1.2)),
    goal("a function slot, over a plain call", Ratio(Peers, "fn_slot", "slot_call"), AtMost(1.05)),
    goal("a nested call, over a plain one", Ratio(Peers, "slot_call_nested", "slot_call"), AtMost(1.1)),
    goal(
        "a plain call in a library crate, over one here",
        Ratio(Peers, "slot_call_library", "slot_call"),
        AtMost(1.05),
    ),
    goal("a call bound to a guard, over direct", Ratio(Peers, "slot_bound", "direct"), AtMost(1.02)),
    goal("a call bound to a guard, over `dyn`", Ratio(Peers, "slot_bound", "dyn"), AtMost(1.0)),
    goal(
        "a plugin of a shared library, bound, over direct",
        Ratio(Peers, "slot_plugin_bound", "direct_stateful"),
        AtMost(1.05),
    ),
    goal(
        "a plugin of a shared library, over `dyn` in the program",
        Ratio(Peers, "slot_plugin", "dyn_stateful"),
        AtMost(1.0),
    ),
    goal("`Patched`, over `dyn`", Ratio(Peers, "patched_handle", "dyn_stateful"), AtMost(1.15)),
    goal("`Patched`, bound, over `dyn`", Ratio(Peers, "patched_bound", "dyn_stateful"), AtMost(1.0)),
    goal("a guard made and dropped, over a plain call", Ratio(Peers, "pin", "slot_call"), AtMost(2.0)),
    goal(
        "a plain call without `membarrier`, over an epoch pin and `dyn`",
        Ratio(Peers, "slot_call_no_membarrier", "epoch_pin_dyn"),
        AtMost(1.1),
    ),
    goal("`ArcSwap::load`, over a plain call", Ratio(Peers, "arc_swap", "slot_call"), AtLeast(8.0)),
    goal(
        "10 bound slots, over compiled `dyn`",
        Ratio(Width, "width/slot_bound/10", "width/dyn_compiled/10"),
        AtMost(1.0),
    ),
    goal("100 of them", Ratio(Width, "width/slot_bound/100", "width/dyn_compiled/100"), AtMost(1.0)),
    goal("1,000 of them", Ratio(Width, "width/slot_bound/1000", "width/dyn_compiled/1000"), AtMost(1.0)),
    goal("10,000 of them", Ratio(Width, "width/slot_bound/10000", "width/dyn_compiled/10000"), AtMost(0.8)),
    goal(
        "10 slots, plain calls, over compiled `dyn`",
        Ratio(Width, "width/slot_call/10", "width/dyn_compiled/10"),
        AtMost(1.2),
    ),
    goal("100 of them", Ratio(Width, "width/slot_call/100", "width/dyn_compiled/100"), AtMost(1.2)),
    goal("1,000 of them", Ratio(Width, "width/slot_call/1000", "width/dyn_compiled/1000"), AtMost(1.2)),
    goal("10,000 of them", Ratio(Width, "width/slot_call/10000", "width/dyn_compiled/10000"), AtMost(0.8)),
    goal(
        "a batch of 10,000, nanoseconds a slot beyond the barrier",
        Field(Swaps, "swaps/batch/10000_slots/0_callers", "ns_per_slot"),
        AtMost(100.0),
    ),
    goal(
        "the same, with a caller",
        Field(Swaps, "swaps/batch/10000_slots/1_callers", "ns_per_slot"),
        AtMost(100.0),
    ),
    goal(
        "a swap of one slot with a caller, over a bare `membarrier`",
        Field(Swaps, "swaps/batch/1_slots/1_callers", "vs_membarrier"),
        AtMost(4.0),
    ),
    Goal {
        what: "a caller's throughput under 10,000 swaps a second, of that under as many bare barriers",
        figure: Ratio(Swaps, "swaps/throughput/10000_barriers_a_second", "swaps/throughput/10000_a_second"),
        bound: AtLeast(0.95),
        // The rate that was reached: on a busy machine it is less than was asked for.
        provided: Some((
            Field(Swaps, "swaps/throughput/10000_a_second", "swaps_per_second"),
            AtLeast(9_000.0),
        )),
    },
    goal(
        "a caller's throughput under 10,000 swaps a second of one type, of undisturbed",
        Field(Swaps, "swaps/throughput/10000_in_place_a_second", "of_undisturbed"),
        AtLeast(0.85),
    ),
    goal("`Vec<Box<dyn _>>` over a chain of 1", Ratio(Chains, "vec_dyn_1", "chain_1"), AtLeast(1.0)),
    goal("the same, of 4", Ratio(Chains, "vec_dyn_4", "chain_4"), AtLeast(1.25)),
    goal("the same, of 16", Ratio(Chains, "vec_dyn_16", "chain_16"), AtLeast(1.5)),
    goal("the same, of 4,096", Ratio(Chains, "vec_dyn_4096", "chain_4096"), AtLeast(4.0)),
    goal(
        "a chain over calls written by hand, the worst of 1 to 64",
        Worst(Chains, "chain", "hand", &[1, 2, 4, 8, 16, 32, 64]),
        AtMost(1.1),
    ),
];

impl Source {
    /// The figure, if it was measured.
    #[must_use]
    pub fn of(self, inputs: &Inputs) -> Option<f64> {
        let ratio = |group, first: &str, second: &str| {
            let (first, second) = inputs.pair(group, first, second)?;
            Some(first / second)
        };
        match self {
            Self::Ratio(group, first, second) => ratio(group, first, second),
            Self::Worst(group, first, second, lengths) => lengths
                .iter()
                .map(|k| ratio(group, &format!("{first}_{k}"), &format!("{second}_{k}")))
                .try_fold(0.0, |worst: f64, ratio| Some(worst.max(ratio?))),
            Self::Field(group, row, key) => inputs.row(group, row)?.number(key),
        }
    }

    /// The rows it is made of.
    #[must_use]
    pub fn rows(self) -> String {
        match self {
            Self::Ratio(_, first, second) => format!("`{first}` / `{second}`"),
            Self::Worst(_, first, second, _) => format!("`{first}_K` / `{second}_K`"),
            Self::Field(_, row, key) => format!("`{row}`: `{key}`"),
        }
    }
}

impl Bound {
    /// Whether a figure keeps it.
    #[must_use]
    pub fn met(self, figure: f64) -> bool {
        match self {
            AtMost(bound) => figure <= bound,
            AtLeast(bound) => figure >= bound,
        }
    }

    /// As a reader writes it.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            AtMost(bound) => format!("≤ {bound}"),
            AtLeast(bound) => format!("≥ {bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Field, GOALS, Goal, Group, Inputs, Standing};
    use crate::compare::figure::Figure;
    use crate::machine::Machine;
    use crate::report::input::Run;

    #[test]
    fn a_goal_is_met_not_met_not_shown_or_not_measured() {
        let figure = Figure::new("swaps", "row").with("value", 0.9).with("rate", 100.0);
        let run = Run { machine: Machine::detect(), command: None, figures: vec![figure] };
        let inputs = Inputs { processor: String::new(), groups: vec![(Group::Swaps, Some(run))], seam: None };
        let field = |key| Field(Group::Swaps, "row", key);
        let standing = |figure, bound, provided| Goal { what: "", figure, bound, provided }.standing(&inputs);
        let least = |bound| Some((field("rate"), Bound::AtLeast(bound)));
        assert_eq!(standing(field("value"), Bound::AtLeast(0.85), least(90.0)), Standing::Met(0.9));
        assert_eq!(standing(field("value"), Bound::AtMost(0.85), None), Standing::NotMet(0.9));
        assert_eq!(standing(field("value"), Bound::AtLeast(0.85), least(101.0)), Standing::NotShown(100.0));
        assert_eq!(standing(field("other"), Bound::AtLeast(0.85), None), Standing::NotMeasured);
        assert!(GOALS.iter().all(|goal| goal.standing(&inputs) == Standing::NotMeasured));
    }
}

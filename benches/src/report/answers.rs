//! Answers in sentences: which of them stand in the page, and what they say, follows from the figures.

use super::input::Inputs;
use super::page::{ns, times};
use crate::compare::groups::Group;

/// Figures this close to each other are called equal: closer than the placements of one row usually are.
pub const EQUAL: f64 = 0.05;

/// A way of hotcall's beside another way to the same end, from one run.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What kind of call.
    pub area: &'static str,
    /// Which of them.
    pub case: String,
    /// Nanoseconds through hotcall.
    pub ours: f64,
    /// Nanoseconds the other way.
    pub theirs: f64,
}

/// How a comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// hotcall takes less time.
    Faster,
    /// No more than [`EQUAL`] apart.
    Equal,
    /// hotcall takes more.
    Slower,
}

impl Verdict {
    /// In the order in which a reader asks.
    pub const ALL: [Self; 3] = [Self::Faster, Self::Equal, Self::Slower];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Equal => "equal",
            Self::Slower => "slower",
        }
    }
}

impl Comparison {
    /// The other way's time over hotcall's: how many times as fast hotcall is.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.theirs / self.ours
    }

    /// How it ended.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.ours / self.theirs {
            ratio if ratio < 1.0 - EQUAL => Verdict::Faster,
            ratio if ratio > 1.0 + EQUAL => Verdict::Slower,
            _ => Verdict::Equal,
        }
    }
}

const ONE_TARGET: &str = "one target, dependent calls";

/// Everything that was measured both through hotcall and through a vtable.
#[must_use]
pub fn against_dyn(inputs: &Inputs) -> Vec<Comparison> {
    let mut found = Vec::new();
    let mut add = |area, case: String, group, ours: &str, theirs: &str| {
        if let Some((ours, theirs)) = inputs.pair(group, ours, theirs) {
            found.push(Comparison { area, case, ours, theirs });
        }
    };
    for (case, ours, theirs) in [
        ("plain", "slot_call", "dyn"),
        ("plain with state", "slot_call_stateful", "dyn_stateful"),
        ("bound to a guard", "slot_bound", "dyn"),
        ("bound with state", "slot_bound_stateful", "dyn_stateful"),
        ("function slot", "fn_slot", "dyn"),
        ("`Patched` handle", "patched_handle", "dyn_stateful"),
        ("plugin against `dyn` in the program", "slot_plugin", "dyn_stateful"),
        ("plugin far away against the same", "slot_plugin_far", "dyn_stateful"),
        ("plugin against its own vtable", "slot_plugin", "dyn_plugin"),
    ] {
        add(ONE_TARGET, case.to_owned(), Group::Peers, ours, theirs);
    }
    for (area, place, case) in [
        ("one target, independent calls", "independent", "plain"),
        ("bodies, by cycles", "body_1", "1"),
        ("bodies, by cycles", "body_10", "10"),
        ("bodies, by cycles", "body_100", "100"),
        ("bodies, by cycles", "body_1000", "1000"),
        ("cold code", "cold", "the first call after 64 MiB of other code"),
    ] {
        let row = |way: &str| format!("mix/{place}/{way}");
        add(area, case.to_owned(), Group::Mix, &row("slot_call"), &row("dyn"));
    }
    for (place, case) in
        [("predictable", "in turn"), ("random", "at random"), ("adversarial", "by the last result")]
    {
        let row = |way: &str| format!("mix/{place}/{way}");
        add(
            "sixteen targets, slots chosen by a `match`",
            case.to_owned(),
            Group::Mix,
            &row("match_slot"),
            &row("dyn"),
        );
    }
    for figure in inputs.run(Group::Width).map_or(&[][..], |run| &run.figures) {
        for (way, area) in [
            ("slot_call", "call sites in rotation, by number, plain"),
            ("slot_bound", "call sites in rotation, by number, bound"),
        ] {
            let Some(sites) = figure.name.strip_prefix(&format!("width/{way}/")) else { continue };
            let compiled = format!("width/dyn_compiled/{sites}");
            if inputs.row(Group::Width, &compiled).is_some() {
                add(area, sites.to_owned(), Group::Width, &figure.name, &compiled);
            } else {
                // Figures of before trait objects were compiled in the same shape.
                let area = "call sites in rotation, by number, compiled slots against emitted `dyn`";
                add(area, sites.to_owned(), Group::Width, &figure.name, &format!("width/dyn/{sites}"));
            }
        }
    }
    add(
        "vtable calls through a retpoline",
        "plain".to_owned(),
        Group::Retpoline,
        "retpoline/slot_call",
        "retpoline/dyn_retpoline",
    );
    for figure in inputs.run(Group::Chains).map_or(&[][..], |run| &run.figures) {
        if let Some(length) = figure.name.strip_prefix("chain_") {
            let theirs = format!("vec_dyn_{length}");
            add(
                "lists of plugins, by length, against `Vec<Box<dyn _>>`",
                length.to_owned(),
                Group::Chains,
                &figure.name,
                &theirs,
            );
        }
    }
    found
}

/// One sentence a verdict: in how many comparisons, in which, and by how much.
#[must_use]
pub fn sentences(comparisons: &[Comparison]) -> Vec<String> {
    Verdict::ALL
        .into_iter()
        .map(|verdict| {
            let chosen: Vec<&Comparison> =
                comparisons.iter().filter(|comparison| comparison.verdict() == verdict).collect();
            let head = format!(
                "**{}** in {} of {} comparisons",
                capital(verdict.word()),
                chosen.len(),
                comparisons.len()
            );
            let mut areas: Vec<&str> = chosen.iter().map(|comparison| comparison.area).collect();
            areas.dedup();
            let parts: Vec<String> = areas.iter().map(|area| part(area, verdict, &chosen)).collect();
            if parts.is_empty() { format!("{head}.") } else { format!("{head}: {}.", parts.join("; ")) }
        })
        .collect()
}

/// `cases of an area (1.20 to 3.40 times as fast)`.
fn part(area: &str, verdict: Verdict, chosen: &[&Comparison]) -> String {
    let chosen: Vec<_> = chosen.iter().filter(|comparison| comparison.area == area).collect();
    let cases: Vec<&str> = chosen.iter().map(|comparison| comparison.case.as_str()).collect();
    let cases = cases.join(", ");
    let factor = |comparison: &Comparison| match verdict {
        Verdict::Slower => comparison.ours / comparison.theirs,
        _ => comparison.speed(),
    };
    let least = chosen.iter().map(|comparison| factor(comparison)).fold(f64::INFINITY, f64::min);
    let most = chosen.iter().map(|comparison| factor(comparison)).fold(0.0, f64::max);
    let range = if chosen.len() == 1 { times(least) } else { format!("{} to {}", times(least), times(most)) };
    match verdict {
        Verdict::Faster => format!("{area}: {cases} ({range} times as fast)"),
        Verdict::Equal => format!("{area}: {cases}"),
        Verdict::Slower => format!("{area}: {cases} ({range} times the time)"),
    }
}

/// With a capital letter first, as a sentence begins.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Where nothing is gained: each sentence stands only where the figures say it.
#[must_use]
pub fn no_help(inputs: &Inputs) -> Vec<String> {
    let mut said = Vec::new();
    let peers = [
        ("inlined", "slot_call", "A call that the compiler could inline"),
        ("direct", "slot_call", "A target that never changes, called directly"),
        ("enum_match", "slot_call", "A closed set of implementors, chosen by a `match`"),
        ("fn_pointer", "slot_call", "A function behind an atomic pointer, which is never freed"),
        ("dyn", "slot_call", "One target through a vtable that the processor predicts"),
        ("dyn_hoisted", "slot_bound", "A trait object that stays the same for the whole loop"),
        ("dyn_plugin", "slot_plugin", "A plugin of a shared library through its own vtable"),
        ("arc_swap_cache", "slot_call", "An `arc_swap::Cache` that is carried along"),
    ];
    for (theirs, ours, what) in peers {
        if let Some((our_ns, their_ns)) = inputs.pair(Group::Peers, ours, theirs)
            && our_ns >= their_ns * (1.0 - EQUAL)
        {
            let ratio = times(our_ns / their_ns);
            let (our_ns, their_ns) = (ns(our_ns), ns(their_ns));
            said.push(format!(
                "{what}: {their_ns} ns (`{theirs}`), `{ours}` {our_ns} ns, {ratio} times that."
            ));
        }
    }
    for comparison in against_dyn(inputs) {
        // Those of the first area are said above.
        if comparison.area == ONE_TARGET || comparison.verdict() == Verdict::Faster {
            continue;
        }
        let Comparison { area, case, ours, theirs } = &comparison;
        let (verdict, ratio) = (comparison.verdict().word(), times(ours / theirs));
        let (ours, theirs) = (ns(*ours), ns(*theirs));
        said.push(format!(
            "{} ({case}): {verdict}, {ours} ns against {theirs} ns, {ratio} times that.",
            capital(area)
        ));
    }
    if let Some(swap) = inputs.row(Group::Swaps, "swaps/batch/1_slots/1_callers")
        && let (Some(p50), Some(over)) = (swap.number("p50_ns"), swap.number("vs_membarrier"))
    {
        let p50 = ns(p50);
        said.push(format!(
            "Types that change all the time: a swap takes {p50} ns (median, with a caller), {} times a bare \
             `membarrier`, and interrupts every core that runs the program.",
            times(over)
        ));
    }
    if let Some(throughput) = inputs.row(Group::Swaps, "swaps/throughput/10000_a_second")
        && let (Some(kept), Some(rate)) =
            (throughput.number("of_undisturbed"), throughput.number("swaps_per_second"))
        && kept < 1.0 - EQUAL
    {
        let (kept, rate) = (kept * 100.0, ns(rate));
        said.push(format!(
            "While another thread swaps between types {rate} times a second, a caller gets {kept:.0} % of its calls \
             done."
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Verdict, sentences};

    fn comparison(case: &str, ours: f64, theirs: f64) -> Comparison {
        Comparison { area: "area", case: case.to_owned(), ours, theirs }
    }

    #[test]
    fn sentences_follow_the_figures() {
        let mut comparisons =
            vec![comparison("a", 1.0, 2.0), comparison("b", 1.0, 3.0), comparison("c", 1.0, 0.98)];
        assert_eq!(
            sentences(&comparisons),
            [
                "**Faster** in 2 of 3 comparisons: area: a, b (2.00 to 3.00 times as fast).",
                "**Equal** in 1 of 3 comparisons: area: c.",
                "**Slower** in 0 of 3 comparisons."
            ]
        );
        comparisons[0].ours = 3.0;
        assert_eq!(comparisons[0].verdict(), Verdict::Slower);
        assert!(sentences(&comparisons)[2].ends_with("area: a (1.50 times the time)."));
    }
}

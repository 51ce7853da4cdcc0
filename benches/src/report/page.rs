//! `docs/BENCHMARKS.md`.

use core::fmt::Write;

use super::answers::{self, EQUAL, against_dyn};
use super::goals::{GOALS, Standing};
use super::input::{Inputs, Run, Seam};
use super::readme;
use crate::compare::figure::Figure;
use crate::compare::groups::Group;

/// The command that writes the page.
pub const COMMAND: &str = "cargo run --release -p hotcall-benches --bin report";

/// A column of a table: its head, and a figure's text in it.
type Column = (&'static str, fn(&Figure) -> String);

/// A processor's figures, and the charts that there are of them.
pub type Measured<'m> = (&'m Inputs, Vec<&'static str>);

/// The page.
#[must_use]
pub fn page(processors: &[Measured<'_>]) -> String {
    let mut page = format!(
        "# Benchmarks\n\n\
         Written by `{COMMAND}` from the JSON in the tree, never by hand.\n\
         How it is measured: [METHOD.md](METHOD.md). To measure everything again: `benches/measure.sh`; it writes what the \
         processor at hand does beside what others did.\n\n"
    );
    let inputs: Vec<&Inputs> = processors.iter().map(|(inputs, _)| *inputs).collect();
    page.push_str(&readme::table(&inputs, "../"));
    page.push_str("\n## Goals\n\n");
    goals(&mut page, &inputs);
    page.push_str("\n## Which alignment is enough\n\n");
    page.push_str(&readme::seams(&inputs, "../"));
    for (inputs, plots) in processors {
        of_processor(&mut page, inputs, plots);
    }
    page
}

/// All that was measured on one processor.
fn of_processor(page: &mut String, inputs: &Inputs, plots: &[&str]) {
    _ = writeln!(page, "\n## {}", inputs.name());
    origin(page, inputs);
    let comparisons = against_dyn(inputs);
    page.push_str("\n### Is a patched call faster than `dyn`?\n\n");
    if comparisons.is_empty() {
        page.push_str("Not measured: no file holds both.\n");
    } else {
        _ = writeln!(page, "Times closer than {:.0} % count as equal.\n", EQUAL * 100.0);
        for sentence in answers::sentences(&comparisons) {
            _ = writeln!(page, "- {sentence}");
        }
        page.push_str(
            "\n| calls | case | hotcall ns | `dyn` ns | times as fast | |\n|---|---|---|---|---|---|\n",
        );
        for comparison in &comparisons {
            _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} |",
                comparison.area,
                comparison.case,
                ns(comparison.ours),
                ns(comparison.theirs),
                times(comparison.speed()),
                comparison.verdict().word()
            );
        }
    }
    page.push_str("\n### Where a patched call does not help\n\n");
    let said = answers::no_help(inputs);
    if said.is_empty() {
        page.push_str("Nowhere, by the figures that there are.\n");
    }
    for sentence in said {
        _ = writeln!(page, "- {sentence}");
    }
    if let Some((plugin, vtable)) = inputs.pair(Group::Peers, "slot_plugin", "dyn_plugin") {
        _ = writeln!(
            page,
            "\nThe plugin called through its own vtable (`dyn_plugin`) takes {} ns, through the slot {} ns: {} times.",
            ns(vtable),
            ns(plugin),
            times(plugin / vtable)
        );
    }
    for (group, run) in &inputs.groups {
        _ = write!(page, "\n### `{}`: {}\n\n", group.name(), title(*group));
        match run {
            Some(run) => {
                let plotted = plots.contains(&group.name()).then_some(inputs.processor.as_str());
                section(page, *group, run, plotted);
            }
            None => _ = writeln!(page, "{}", missing(inputs, *group)),
        }
    }
    seam(page, inputs);
}

/// What is said of a group that has no file.
#[must_use]
pub fn missing(inputs: &Inputs, group: Group) -> String {
    let file = inputs.file(group);
    format!("Not measured: there is no `{file}`. `benches/measure.sh` writes it.")
}

/// Where the figures come from.
fn origin(page: &mut String, inputs: &Inputs) {
    page.push_str(
        "\n| figures | processor | kernel | toolchain | date | written by |\n|---|---|---|---|---|---|\n",
    );
    let mut line = |file: &str, machine: &crate::machine::Machine, command: &str| {
        let crate::machine::Machine { processor, processors, kernel, rustc, date } = machine;
        _ = writeln!(
            page,
            "| [`{file}`](../{file}) | {processor}, {processors} cpus | {kernel} | {rustc} | {date} | {command} |"
        );
    };
    for (group, run) in &inputs.groups {
        if let Some(run) = run {
            let command = run.command.as_ref().map_or("(not recorded)".to_owned(), |c| format!("`{c}`"));
            line(&inputs.file(*group), &run.machine, &command);
        }
    }
    if let Some(seam) = &inputs.seam {
        let budget = seam.budget.map_or(String::new(), |budget| format!(" --budget {budget}"));
        let file = inputs.seam_file("json");
        let arguments = format!("--seconds {}{budget} --json {file}", seam.seconds);
        line(
            &file,
            &seam.machine,
            &format!("`cargo run --release -p hotcall-benches --bin seam -- {arguments}`"),
        );
    }
}

/// Each goal, and how it stands on each processor.
fn goals(page: &mut String, processors: &[&Inputs]) {
    let names: Vec<String> = processors.iter().map(|inputs| inputs.name()).collect();
    _ = writeln!(
        page,
        "| goal | rows | bound | {} |\n|---|---|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for goal in GOALS {
        let standings = processors.iter().map(|inputs| match goal.standing(inputs) {
            Standing::Met(figure) => times(figure),
            Standing::NotMet(figure) => format!("{}, **not met**", times(figure)),
            Standing::NotShown(other) => {
                let (rows, bound) =
                    goal.provided.map_or_else(Default::default, |(s, b)| (s.rows(), b.text()));
                format!("not shown: {rows} was {}, {bound} is needed", number(Some(other)))
            }
            Standing::NotMeasured => "-".to_owned(),
        });
        let standings: Vec<String> = standings.collect();
        let (rows, bound) = (goal.figure.rows(), goal.bound.text());
        _ = writeln!(page, "| {} | {rows} | {bound} | {} |", goal.what, standings.join(" | "));
    }
}

const fn title(group: Group) -> &'static str {
    match group {
        Group::Core => "a call, and what it costs",
        Group::Peers => "everything that might be used instead",
        Group::Width => "many call sites in rotation",
        Group::Mix => "bodies, changing targets, independent calls, cold calls",
        Group::Retpoline => "where indirect branches go through a retpoline",
        Group::Threads => "callers on several threads, and swaps",
        Group::Swaps => "what a swap costs",
        Group::Chains => "lists of plugins",
        Group::Keys => "a question whose answer hardly ever changes",
    }
}

fn section(page: &mut String, group: Group, run: &Run, plotted: Option<&str>) {
    if let Some(processor) = plotted {
        _ = writeln!(page, "![{}](plots/{processor}/{}.svg)\n", title(group), group.name());
    }
    let heads: &[Column] = match group {
        Group::Core | Group::Peers | Group::Retpoline | Group::Mix => &[
            ("ns", |f| number(f.ns_per_call)),
            ("quartiles", |f| range(f.p25, f.p75)),
            ("placements", |f| range(f.placement_min, f.placement_max)),
            ("× direct", |f| number(f.vs_direct)),
            ("× `dyn`", |f| number(f.vs_dyn)),
            ("cycles", |f| number(f.counts.cycles)),
            ("instructions", |f| number(f.counts.instructions)),
            ("misses", |f| number(f.counts.branch_misses)),
        ],
        Group::Width => &[
            ("sites", |f| number(f.number("sites"))),
            ("ns", |f| number(f.ns_per_call)),
            ("quartiles", |f| range(f.p25, f.p75)),
            ("× direct", |f| number(f.vs_direct)),
            ("× `dyn`", |f| number(f.vs_dyn)),
        ],
        Group::Threads => &[
            ("ns", |f| number(f.ns_per_call)),
            ("calls/s", |f| number(f.number("calls_per_second"))),
            ("swaps/s", |f| number(f.number("swaps_per_second"))),
            ("p50 ns", |f| number(f.number("p50_ns"))),
            ("p99 ns", |f| number(f.number("p99_ns"))),
            ("p99.9 ns", |f| number(f.number("p999_ns"))),
            ("max ns", |f| number(f.number("max_ns"))),
        ],
        Group::Swaps => &[
            ("p50 ns", |f| number(f.number("p50_ns"))),
            ("p99 ns", |f| number(f.number("p99_ns"))),
            ("max ns", |f| number(f.number("max_ns"))),
            ("× membarrier", |f| number(f.number("vs_membarrier"))),
            ("ns/slot", |f| number(f.number("ns_per_slot"))),
            ("calls/s", |f| number(f.number("calls_per_second"))),
            ("of undisturbed", |f| number(f.number("of_undisturbed"))),
            ("swaps/s", |f| number(f.number("swaps_per_second"))),
            ("samples", |f| number(f.number("events"))),
        ],
        Group::Keys => &[
            ("places", |f| number(f.number("places"))),
            ("ns/question", |f| number(f.ns_per_call)),
            ("quartiles", |f| range(f.p25, f.p75)),
            ("× `AtomicBool`", |f| number(f.number("vs_atomic"))),
        ],
        Group::Chains => &[
            ("ns/element", |f| number(f.ns_per_call)),
            ("quartiles", |f| range(f.p25, f.p75)),
            ("`Vec` / this", |f| number(f.number("vec_over_this"))),
            ("this / by hand", |f| number(f.number("over_hand"))),
            ("p50 ns", |f| number(f.number("p50_ns"))),
            ("p99 ns", |f| number(f.number("p99_ns"))),
            ("max ns", |f| number(f.number("max_ns"))),
        ],
    };
    let names: Vec<&str> = heads.iter().map(|(head, _)| *head).collect();
    _ = writeln!(page, "| row | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for figure in &run.figures {
        let cells: Vec<String> = heads.iter().map(|(_, cell)| cell(figure)).collect();
        let name = figure.name.strip_prefix(&format!("{}/", group.name())).unwrap_or(&figure.name);
        _ = writeln!(page, "| `{name}` | {} |", cells.join(" | "));
    }
    let notes: Vec<String> = run
        .figures
        .iter()
        .filter(|figure| matches!(group, Group::Core | Group::Peers) && !figure.note.is_empty())
        .map(|figure| format!("`{}`: {}", figure.name, figure.note))
        .collect();
    if !notes.is_empty() {
        _ = writeln!(page, "\n{}.", notes.join("; "));
    }
}

fn seam(page: &mut String, inputs: &Inputs) {
    page.push_str("\n### `seam`: where instruction fetch tears\n\n");
    let Some(seam): Option<&Seam> = inputs.seam.as_ref() else {
        _ = writeln!(page, "Not measured: there is no `{}`.", inputs.seam_file("json"));
        return;
    };
    page.push_str("One 32-bit store to a displacement that another thread executes:\n\n");
    page.push_str("| the displacement | writes | changes seen | torn |\n|---|---|---|---|\n");
    for class in &seam.classes {
        let (writes, seen, torn) = (whole(class.writes), whole(class.seen), whole(class.torn));
        _ = writeln!(page, "| {} | {writes} | {seen} | {torn} |", crosses(&class.crosses));
    }
    _ = writeln!(page, "\nCell by cell: [`seam.json`](../{}).", inputs.seam_file("json"));
}

/// What a class of displacements crosses, in words.
#[must_use]
pub fn crosses(class: &str) -> &str {
    match class {
        "ours" => "hotcall's rule: opcode at 3 mod 8",
        "inside" => "inside one aligned 8 bytes",
        "eight" => "crosses 8 bytes, not 16",
        "sixteen" => "crosses 16 bytes, not 32",
        "half_line" => "crosses 32 bytes, inside a cacheline",
        "line" => "crosses a cacheline",
        other => other,
    }
}

/// A time: `1.71`, `57.3`, `12,345`.
#[must_use]
pub fn ns(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => whole(value.round() as u64),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 20.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A ratio: two digits after the point, more for small ones, none for large ones.
#[must_use]
pub fn times(value: f64) -> String {
    if value >= 0.0995 || value == 0.0 { ns(value) } else { format!("{value:.4}") }
}

/// `16,384`.
#[must_use]
pub fn whole(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| core::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A number, or a dash where there is none.
#[must_use]
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |value| if value.fract() == 0.0 && value >= 2.0 { whole(value as u64) } else { times(value) },
    )
}

fn range(from: Option<f64>, to: Option<f64>) -> String {
    from.zip(to).map_or_else(|| "-".to_owned(), |(from, to)| format!("{} to {}", ns(from), ns(to)))
}

#[cfg(test)]
mod tests {
    use super::{ns, number, times};

    #[test]
    fn numbers() {
        assert_eq!([1.714, 57.26, 431.5, 12_345.4].map(ns), ["1.71", "57.3", "432", "12,345"]);
        assert_eq!([0.00123, 0.95, 8.0].map(times), ["0.0012", "0.95", "8.00"]);
        assert_eq!([None, Some(16_384.0), Some(1.0), Some(0.0)].map(number), ["-", "16,384", "1.00", "0.00"]);
    }
}

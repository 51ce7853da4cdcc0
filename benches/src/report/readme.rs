//! The part of README that is made of figures.

use core::fmt::Write;

use super::answers::{against_dyn, sentences};
use super::input::{Inputs, file};
use super::page::{crosses, number, whole};
use crate::compare::groups::Group;

/// Where it begins.
pub const BEGIN: &str = "<!-- figures -->";
/// Where it ends.
pub const END: &str = "<!-- /figures -->";

/// The rows worth a reader's first look.
const ROWS: &[(&str, &str)] = &[
    ("direct", "direct call, not inlined"),
    ("dyn", "`dyn`, vtable reloaded"),
    ("slot_bound", "**slot, bound to a guard**"),
    ("slot_call", "**slot, plain call**"),
    ("fn_slot", "function slot"),
    ("patched_handle", "`Patched`, an owned handle"),
    ("slot_plugin", "slot, plugin of a shared library"),
    ("dyn_plugin", "the same plugin through its vtable"),
    ("rwlock", "`RwLock` read and `dyn`"),
    ("arc_swap", "`ArcSwap::load` and `dyn`"),
];

/// README with the part between the marks written anew; none if it has no such marks.
#[must_use]
pub fn splice(readme: &str, part: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{part}{END}{after}"))
}

/// The part between the marks. `plotted` are the charts that there are.
#[must_use]
pub fn part(inputs: &Inputs, plots: &[&str]) -> String {
    let mut part = String::new();
    let calls = [Group::Core, Group::Peers].into_iter().find_map(|group| Some((group, inputs.run(group)?)));
    if let Some((group, run)) = calls {
        let file = file(group);
        _ = writeln!(part, "{} ([JSON]({file})):\n", run.machine.line());
        _ = writeln!(part, "| | ns | × direct | × `dyn` |\n|---|---|---|---|");
        for (name, label) in ROWS {
            if let Some(row) = run.figures.iter().find(|figure| figure.name == *name) {
                let (ns, direct, dynamic) =
                    (number(row.ns_per_call), number(row.vs_direct), number(row.vs_dyn));
                _ = writeln!(part, "| {label} | {ns} | {direct} | {dynamic} |");
            }
        }
        if plots.contains(&group.name()) {
            _ = writeln!(part, "\n![the same as a chart](docs/plots/{}.svg)", group.name());
        }
    }
    let comparisons = against_dyn(inputs);
    if !comparisons.is_empty() {
        part.push_str("\nA patched call against `dyn`, over everything that was measured:\n\n");
        for sentence in sentences(&comparisons) {
            _ = writeln!(part, "- {sentence}");
        }
    }
    if let Some(seam) = &inputs.seam {
        let classes: Vec<String> = seam
            .classes
            .iter()
            .filter(|class| ["ours", "half_line", "line"].contains(&class.crosses.as_str()))
            .map(|class| {
                format!(
                    "{} torn in {} writes ({})",
                    whole(class.torn),
                    whole(class.writes),
                    crosses(&class.crosses)
                )
            })
            .collect();
        _ = writeln!(
            part,
            "\nWhich alignment is enough ([evidence](benches/results/seam.txt)): {}.",
            classes.join("; ")
        );
    }
    part
}

#[cfg(test)]
mod tests {
    use super::splice;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let readme = "a\n<!-- figures -->\nold\n<!-- /figures -->\nb\n";
        let spliced = splice(readme, "new\n");
        assert_eq!(spliced.as_deref(), Some("a\n<!-- figures -->\nnew\n<!-- /figures -->\nb\n"));
        assert_eq!(splice("no marks", "new"), None);
        assert_eq!(splice("<!-- figures --> no end", "new"), None);
    }
}

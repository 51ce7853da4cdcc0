//! The part of README that is made of figures.

use core::fmt::Write;

use super::answers::{Verdict, against_dyn};
use super::input::Inputs;
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

/// The part between the marks.
#[must_use]
pub fn part(processors: &[&Inputs]) -> String {
    let mut part = table(processors, "");
    part.push_str("\nWhich alignment is enough for what is rewritten:\n\n");
    part.push_str(&seams(processors, ""));
    part
}

/// One table of all processors. `root` leads from the file that it is for to the repository.
#[must_use]
pub fn table(processors: &[&Inputs], root: &str) -> String {
    let of =
        |inputs: &&Inputs| [Group::Core, Group::Peers].into_iter().find(|group| inputs.run(*group).is_some());
    let measured: Vec<(&Inputs, Group)> =
        processors.iter().filter_map(|inputs| Some((*inputs, of(inputs)?))).collect();
    let mut table = String::new();
    let heads = measured.iter().map(|(inputs, group)| {
        let date = inputs.run(*group).map_or("", |run| run.machine.date.as_str());
        format!("{}, {date} ([JSON]({root}{}))", inputs.name(), inputs.file(*group))
    });
    let heads: Vec<String> = heads.collect();
    _ = writeln!(
        table,
        "| ns a call, × `dyn` | {} |\n|---|{}",
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    for (name, label) in ROWS {
        let cells = measured.iter().map(|(inputs, group)| {
            let row = inputs.run(*group)?.figures.iter().find(|figure| figure.name == *name)?;
            Some(format!("{}, {}", number(row.ns_per_call), number(row.vs_dyn)))
        });
        let cells: Vec<String> = cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect();
        _ = writeln!(table, "| {label} | {} |", cells.join(" | "));
    }
    _ = writeln!(table, "\nA patched call against `dyn`, over everything that was measured:\n");
    for inputs in processors {
        let comparisons = against_dyn(inputs);
        let count = |verdict: Verdict| {
            let count = comparisons.iter().filter(|comparison| comparison.verdict() == verdict).count();
            format!("{} in {count}", verdict.word())
        };
        if !comparisons.is_empty() {
            let counts = Verdict::ALL.map(count).join(", ");
            _ = writeln!(table, "- {}: {counts}, of {} comparisons.", inputs.name(), comparisons.len());
        }
    }
    table
}

/// What `seam` found on each processor.
#[must_use]
pub fn seams(processors: &[&Inputs], root: &str) -> String {
    let mut text = String::new();
    for inputs in processors {
        let Some(seam) = &inputs.seam else { continue };
        let class = |name: &str| seam.classes.iter().find(|class| class.crosses == name);
        let counts = ["ours", "half_line", "line"].into_iter().filter_map(class).map(|class| {
            let (torn, writes) = (whole(class.torn), whole(class.writes));
            format!("{torn} torn in {writes} writes ({})", crosses(&class.crosses))
        });
        let counts: Vec<String> = counts.collect();
        // "Does not cross a cacheline": the rule of 2019.
        let holds = match class("half_line").map(|class| class.torn) {
            Some(0) => "the rule of 2019, \"does not cross a cacheline\", holds",
            Some(_) => "the rule of 2019, \"does not cross a cacheline\", does not hold",
            None => "the rule of 2019 was not tried",
        };
        let file = inputs.seam_file("json");
        _ = writeln!(text, "- {}: {holds}; {} ([counts]({root}{file})).", inputs.name(), counts.join("; "));
    }
    text
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

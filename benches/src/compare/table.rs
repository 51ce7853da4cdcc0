//! The figures as text.

use core::fmt::Write;

use super::figure::Figure;

/// Prints the rows of a chain group.
#[must_use]
pub fn calls(title: &str, figures: &[Figure]) -> String {
    let mut text = String::new();
    _ = writeln!(text, "{title}");
    _ = writeln!(
        text,
        "{:<30} {:>8} {:>15} {:>15} {:>10} {:>8} {:>7} {:>7} {:>7} {:>7}",
        "", "ns/call", "p25 - p75", "placements", "vs_direct", "vs_dyn", "cycles", "instr", "branch", "miss"
    );
    for figure in figures {
        _ = writeln!(
            text,
            "{:<30} {:>8} {:>15} {:>15} {:>10} {:>8} {:>7} {:>7} {:>7} {:>7}",
            figure.name,
            number(figure.ns_per_call, 2),
            range(figure.p25, figure.p75),
            range(figure.placement_min, figure.placement_max),
            number(figure.vs_direct, 2),
            number(figure.vs_dyn, 2),
            number(figure.counts.cycles, 1),
            number(figure.counts.instructions, 1),
            number(figure.counts.branches, 1),
            number(figure.counts.branch_misses, 3),
        );
    }
    text
}

/// Prints figures by the columns that their `more` has.
#[must_use]
pub fn columns(title: &str, figures: &[Figure], columns: &[(&str, &str, usize)]) -> String {
    let mut text = String::new();
    _ = writeln!(text, "{title}");
    let head: String = columns.iter().map(|(_, head, _)| format!(" {head:>13}")).collect();
    _ = writeln!(text, "{:<38}{head}", "");
    for figure in figures {
        let cells: String = columns
            .iter()
            .map(|&(key, _, digits)| {
                let value = if key == "ns_per_call" { figure.ns_per_call } else { figure.number(key) };
                format!(" {:>13}", number(value, digits))
            })
            .collect();
        _ = writeln!(text, "{:<38}{cells}", figure.name);
    }
    text
}

/// A number, or a dash where there is none.
#[must_use]
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn range(from: Option<f64>, to: Option<f64>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{from:.2} - {to:.2}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{calls, columns};
    use crate::compare::figure::Figure;

    #[test]
    fn what_is_missing_is_a_dash() {
        let figure = Figure { ns_per_call: Some(1.234), ..Figure::new("g", "row") }.with("slots", 10);
        let text = calls("title", std::slice::from_ref(&figure));
        assert!(text.contains("1.23") && text.contains(" - "), "{text}");
        let text = columns("title", &[figure], &[("slots", "slots", 0), ("p50_ns", "p50 ns", 0)]);
        assert!(text.ends_with("10             -\n"), "{text}");
    }
}

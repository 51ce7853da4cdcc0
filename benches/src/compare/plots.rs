//! Which charts are drawn of which figures.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::chart::{Bar, Line, bars, lines};
use super::figure::Figure;
use super::width::KINDS;
use crate::machine::Machine;

/// Draws every chart that the figures allow into `directory`. Answers the files.
///
/// # Errors
///
/// The directory or a file cannot be written.
pub fn draw(figures: &[Figure], machine: &Machine, directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let mut files = Vec::new();
    for (name, chart) in charts(figures, machine) {
        let file = directory.join(format!("{name}.svg"));
        fs::write(&file, chart)?;
        files.push(file);
    }
    Ok(files)
}

/// Every chart that the figures allow: its name, and the SVG.
#[must_use]
pub fn charts(figures: &[Figure], machine: &Machine) -> Vec<(&'static str, String)> {
    let subtitle = machine.line();
    let charts = [
        ("core", calls(figures, "core", "A call through a slot, and what else there is", &subtitle)),
        ("peers", calls(figures, "peers", "A call through a slot, and what else might be used", &subtitle)),
        (
            "retpoline",
            calls(figures, "retpoline", "Where indirect branches go through a retpoline", &subtitle),
        ),
        ("mix", calls(figures, "mix", "Bodies, changing targets, cold calls", &subtitle)),
        ("width", width(figures, &subtitle)),
        ("swaps", swaps(figures, &subtitle)),
        ("threads", threads(figures, &subtitle)),
        ("chains", chains(figures, &subtitle)),
    ];
    charts.into_iter().filter_map(|(name, chart)| Some((name, chart?))).collect()
}

/// The rows of a group as bars; those of hotcall in another colour.
fn calls(figures: &[Figure], group: &str, title: &str, subtitle: &str) -> Option<String> {
    let prefix = format!("{group}/");
    let chosen: Vec<Bar> = figures
        .iter()
        .filter(|figure| figure.group == group)
        .filter_map(|figure| {
            Some(Bar {
                name: figure.name.strip_prefix(&prefix).unwrap_or(&figure.name).to_owned(),
                value: figure.ns_per_call?,
                spread: figure.p25.zip(figure.p75),
                colour: usize::from(!ours(&figure.name)),
            })
        })
        .collect();
    // Bodies of a thousand cycles and cold calls do not fit beside a call of three cycles.
    let log = group == "mix";
    let axis = if log { "nanoseconds a call, logarithmic" } else { "nanoseconds a call" };
    let axis = format!("{axis} (median; line: quartiles)");
    (!chosen.is_empty()).then(|| bars(title, subtitle, &axis, &LEGEND, &chosen, log))
}

/// Whether a row calls through hotcall.
fn ours(name: &str) -> bool {
    name.contains("slot") || name.contains("patched_handle")
}

/// What the colours of bars mean.
const LEGEND: [&str; 2] = ["hotcall", "other ways"];

fn width(figures: &[Figure], subtitle: &str) -> Option<String> {
    let names = KINDS.iter().map(|(name, _)| *name).chain(["slot_call"]);
    let drawn: Vec<Line> = names
        .map(|name| Line {
            name: name.to_owned(),
            points: figures
                .iter()
                .filter(|figure| figure.group == "width" && figure.name.split('/').nth(1) == Some(name))
                .filter_map(|figure| Some((figure.number("sites")?, figure.ns_per_call?)))
                .collect(),
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    let axes = ("distinct call sites in rotation", "nanoseconds a call");
    (!drawn.is_empty()).then(|| lines("Many call sites", subtitle, axes, &drawn, false))
}

fn swaps(figures: &[Figure], subtitle: &str) -> Option<String> {
    let mut drawn: Vec<Line> = Vec::new();
    for (row, label) in [("batch", "batch"), ("membarrier", "bare membarrier")] {
        for callers in [0, 1] {
            for (key, quantile) in [("p50_ns", "p50"), ("p99_ns", "p99")] {
                if row == "membarrier" && key == "p99_ns" {
                    continue;
                }
                let suffix = format!("/{callers}_callers");
                let points: Vec<(f64, f64)> = figures
                    .iter()
                    .filter(|figure| {
                        figure.name.split('/').nth(1) == Some(row) && figure.name.ends_with(&suffix)
                    })
                    .filter(|figure| figure.group == "swaps")
                    .filter_map(|figure| Some((figure.number("slots")?, figure.number(key)?)))
                    .collect();
                if !points.is_empty() {
                    drawn.push(Line { name: format!("{label}, callers: {callers}, {quantile}"), points });
                }
            }
        }
    }
    let axes = ("slots in a batch", "nanoseconds, logarithmic");
    (!drawn.is_empty()).then(|| lines("What a swap costs", subtitle, axes, &drawn, true))
}

fn threads(figures: &[Figure], subtitle: &str) -> Option<String> {
    let chosen: Vec<Bar> = figures
        .iter()
        .filter(|figure| figure.group == "threads")
        .filter_map(|figure| {
            Some(Bar {
                name: figure
                    .name
                    .strip_prefix("threads/")?
                    .replace('/', ", ")
                    .replace("_callers", " callers")
                    .replace("_swaps", " swaps/s"),
                value: figure.number("calls_per_second")?,
                spread: None,
                colour: usize::from(!ours(&figure.name)),
            })
        })
        .collect();
    let axis = "calls a second, all callers together";
    (!chosen.is_empty())
        .then(|| bars("Callers on several threads, and swaps", subtitle, axis, &LEGEND, &chosen, false))
}

fn chains(figures: &[Figure], subtitle: &str) -> Option<String> {
    let ways = [
        ("chain", "Chain"),
        ("bound", "Chain, bound to a guard"),
        ("vec_dyn", "Vec<Box<dyn _>>"),
        ("hand", "by hand"),
    ];
    let drawn: Vec<Line> = ways
        .into_iter()
        .map(|(way, label)| Line {
            name: label.to_owned(),
            points: figures
                .iter()
                .filter(|figure| figure.group == "chains")
                .filter(|figure| figure.name.rsplit_once('_').is_some_and(|(name, _)| name == way))
                .filter_map(|figure| Some((figure.number("elements")?, figure.ns_per_call?)))
                .collect(),
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    let axes = ("elements of the list", "nanoseconds an element");
    (!drawn.is_empty()).then(|| lines("Lists of plugins", subtitle, axes, &drawn, false))
}

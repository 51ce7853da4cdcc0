//! `compare`: what a patched call costs, beside everything that might be used instead.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hotcall_benches::{code, machine, svg};
use serde_json::{Value, json};

use compare::chain::Row;
use compare::figure::Figure;
use compare::groups::Group;
use compare::plots;
use machine::Machine;

/// The rows, compiled in this executable. The rows named `_library` are the same, compiled in a library crate.
#[path = "../compare/mod.rs"]
#[allow(dead_code, reason = "the library has the same modules, and uses what this program does not")]
mod compare;

/// Measures calls through hotcall's slots beside everything that might be used instead.
///
/// Without groups all run but `core`, which is a part of `peers`: about four minutes.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Arguments {
    /// The groups of rows to run.
    groups: Vec<Group>,
    /// Time for each group, in place of its own.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Where to write the figures: a list with an object for each row.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to draw charts, as SVG.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("a number of seconds above 0".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncompare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let machine = Machine::detect();
    println!("compare: {}", machine.line());
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    let groups: Vec<Group> =
        if arguments.groups.is_empty() { Group::ALL.to_vec() } else { arguments.groups.clone() };
    let mut figures = Vec::new();
    for (index, &group) in groups.iter().enumerate() {
        let repeated =
            groups[..index].contains(&group) || (group == Group::Core && groups.contains(&Group::Peers));
        if repeated {
            continue;
        }
        let (measured, table) = group.run(arguments.seconds, in_a_library()?)?;
        println!("\n{table}");
        figures.extend(measured);
    }
    if let Some(path) = &arguments.json {
        fs::write(path, list(&figures, &machine)?)?;
    }
    if let Some(directory) = &arguments.plots {
        for file in plots::draw(&figures, &machine, directory)? {
            println!("wrote {}", file.display());
        }
    }
    Ok(())
}

/// The rows of slots as a library compiles them.
fn in_a_library() -> Result<Vec<Row>, String> {
    use hotcall_benches::compare::rows::slots;
    slots::prepare()?;
    let wanted = ["slot_call", "slot_bound"];
    let rows = slots::rows().into_iter().filter(|row| wanted.contains(&row.name.as_str()));
    let note = "the same, in a library crate";
    Ok(rows.map(|row| Row::new(&format!("{}_library", row.name), row.stateful, note, row.loops)).collect())
}

/// The command that this program was started with, as one would give it to cargo.
fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release -p hotcall-benches --bin compare -- {}", words.join(" "))
}

/// The figures as a list, a line each, each with the machine that it was measured on and the command that did it.
fn list(figures: &[Figure], machine: &Machine) -> serde_json::Result<String> {
    let lines = figures
        .iter()
        .map(|figure| {
            let mut object = serde_json::to_value(figure)?;
            if let (Value::Object(object), Value::Object(machine)) = (&mut object, json!(machine)) {
                object.extend(machine);
                object.insert("command".to_owned(), json!(command()));
            }
            serde_json::to_string(&object)
        })
        .collect::<serde_json::Result<Vec<String>>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

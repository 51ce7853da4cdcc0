//! `seam`: executes a call while its displacement is rewritten, at every place in a cacheline.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tool {
    use std::fs;
    use std::io::{self, Write};
    use std::path::PathBuf;
    use std::process::ExitCode;

    use clap::Parser;
    use hotcall_benches::machine::Machine;
    use hotcall_benches::seam::child;
    use hotcall_benches::seam::picture;
    use hotcall_benches::seam::plan::{Group, plan, total};
    use hotcall_benches::seam::summary::{Class, Record, Verdict, classes, verdict};
    use hotcall_benches::seam::{strip, whole};
    use serde_json::json;

    /// Executes a call on one thread while another rewrites its displacement, at every place that the
    /// displacement can have in a cacheline, and counts the calls that ran a mixture of old and new.
    ///
    /// Without groups all four run. A cell of `offsets` takes `--seconds` (64 cells), one of `stores` a tenth
    /// of it (128 cells), of `starts` a quarter (192), of `surroundings` half (81): in all about 165 times
    /// `--seconds`, unless `--budget` says otherwise. Exits with 1 if a place that hotcall uses tears.
    #[derive(Debug, Parser)]
    #[command(name = "seam")]
    struct Arguments {
        /// The sweeps to run.
        groups: Vec<Group>,
        /// Time for a cell of the main sweep.
        #[arg(long, default_value_t = 2.0, value_parser = seconds)]
        seconds: f64,
        /// Time for everything: scales `--seconds` to it.
        #[arg(long, value_parser = seconds)]
        budget: Option<f64>,
        /// Where to write every cell's counts.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Where to draw the strips, as SVG.
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
        /// Exchange whole instructions instead, by 8-byte stores: what keys do. 256 cells of an eighth of `--seconds` each.
        #[arg(long)]
        whole: bool,
        /// Run this cell.
        #[arg(long, hide = true)]
        whole_cell: Option<String>,
        /// Run the cells that standard input names.
        #[arg(long, hide = true)]
        child: bool,
    }

    fn seconds(text: &str) -> Result<f64, String> {
        match text.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
            _ => Err("a number of seconds above 0".to_owned()),
        }
    }

    /// The program.
    pub fn main() -> ExitCode {
        let arguments = Arguments::parse();
        let done = if arguments.child {
            child::serve().map(|()| Verdict::Holds)
        } else if let Some(cell) = &arguments.whole_cell {
            one_whole(cell).map(|()| Verdict::Holds)
        } else if arguments.whole {
            whole_instructions(&arguments)
        } else {
            run(&arguments)
        };
        match done {
            Ok(Verdict::Holds | Verdict::NotAsked) => ExitCode::SUCCESS,
            Ok(Verdict::Broken | Verdict::NotShown) => ExitCode::from(1),
            Err(error) => {
                eprintln!("seam: {error}");
                ExitCode::from(2)
            }
        }
    }

    fn one_whole(cell: &str) -> io::Result<()> {
        let outcome = whole::run(serde_json::from_str(cell)?)?;
        serde_json::to_writer(io::stdout().lock(), &outcome)?;
        Ok(())
    }

    /// Every pair of instructions at every offset.
    fn whole_instructions(arguments: &Arguments) -> io::Result<Verdict> {
        let machine = Machine::detect();
        println!("seam, whole instructions: {}\n", machine.line());
        let (mut lines, mut verdict) = (Vec::new(), Verdict::Holds);
        // By pair, and by where the instruction lies: cells, writes, wrong, crashes.
        let places =
            ["in one aligned 8 bytes (our rule)", "across 8 bytes, in a cacheline", "across a cacheline"];
        let mut sums = vec![[[0_u64; 4]; 3]; whole::PAIRS.len()];
        let cells = whole::cells(arguments.seconds / 8.0);
        for (number, &cell) in cells.iter().enumerate() {
            eprint!("\r{number}/{} cells", cells.len());
            let _progress_only = io::stderr().flush();
            let outcome = whole::in_a_child(cell)?;
            let place = if cell.ours() { 0 } else { 1 + usize::from(cell.crosses_line()) };
            let pair = whole::PAIRS.iter().position(|pair| *pair == cell.pair).unwrap_or_default();
            let sum = &mut sums[pair][place];
            sum[0] += 1;
            match &outcome {
                whole::Outcome::Counted { writes, wrong, .. } => {
                    sum[1] += writes;
                    sum[2] += wrong;
                }
                whole::Outcome::Crashed(_) => sum[3] += 1,
            }
            if place == 0 && sum[2] + sum[3] != 0 {
                verdict = Verdict::Broken;
            }
            lines.push(serde_json::to_string(&json!({ "cell": cell, "outcome": outcome }))?);
        }
        eprintln!();
        println!(
            "{:<14} {:<36} {:>6} {:>14} {:>10} {:>8}",
            "exchanged", "", "cells", "writes", "wrong", "crashed"
        );
        for ((first, second), sums) in whole::PAIRS.iter().zip(&sums) {
            for (place, [cells, writes, wrong, crashed]) in places.iter().zip(sums) {
                let pair = format!("{first:?}, {second:?}").to_lowercase();
                println!("{pair:<14} {place:<36} {cells:>6} {writes:>14} {wrong:>10} {crashed:>8}");
            }
        }
        if let Some(path) = &arguments.json {
            let head = json!({ "tool": "seam --whole", "machine": machine, "seconds": arguments.seconds });
            let head = serde_json::to_string(&head)?;
            let head = head.strip_suffix('}').unwrap_or(&head);
            fs::write(path, format!("{head},\n\"cells\": [\n  {}\n]}}\n", lines.join(",\n  ")))?;
        }
        Ok(verdict)
    }

    fn run(arguments: &Arguments) -> io::Result<Verdict> {
        let machine = Machine::detect();
        let groups = if arguments.groups.is_empty() { Group::ALL.to_vec() } else { arguments.groups.clone() };
        let sweeps = plan(&groups, arguments.seconds, arguments.budget);
        println!("seam: {}", machine.line());
        eprintln!("about {:.0} s in all", total(&sweeps).as_secs_f64());

        let mut records = Vec::new();
        for sweep in &sweeps {
            let seconds = sweep.time.as_secs_f64();
            let (name, count) = (format!("{:?}", sweep.group).to_lowercase(), sweep.cells.len());
            let mut done = 0;
            child::run(sweep, |cell, outcome| {
                let record = Record::new(sweep.group, cell, seconds, outcome);
                done += 1;
                eprint!(
                    "\r{name}: {done}/{count} cells, last: offset {:2}, torn {:<10}",
                    cell.offset, record.torn
                );
                let _progress_only = io::stderr().flush();
                records.push(record);
            })?;
            eprintln!();
        }

        let (classes, verdict) = (classes(&records), verdict(&records));
        println!("\n{}\n{}\n{}", strip::strips(&records), strip::table(&classes), strip::half_line(&records));
        for record in records.iter().filter(|record| record.failure.is_some()) {
            println!("failed: {:?}: {}", record.cell, record.failure.as_deref().unwrap_or_default());
        }
        println!("{}", strip::sentence(verdict));
        if let Some(path) = &arguments.json {
            let head = json!({
                "tool": "seam", "machine": machine, "seconds": arguments.seconds, "budget": arguments.budget,
                "verdict": verdict,
            });
            fs::write(path, report(&head, &classes, &records)?)?;
        }
        if let Some(path) = &arguments.picture {
            fs::write(path, picture::draw(&records, &machine))?;
        }
        Ok(verdict)
    }

    /// The JSON, a line for each class and each cell, so that two runs can be compared line by line.
    fn report(head: &serde_json::Value, classes: &[Class], records: &[Record]) -> serde_json::Result<String> {
        let lines = |items: Result<Vec<String>, _>| items.map(|items| items.join(",\n  "));
        let head = serde_json::to_string(head)?;
        let classes = lines(classes.iter().map(serde_json::to_string).collect())?;
        let cells = lines(records.iter().map(serde_json::to_string).collect())?;
        let head = head.strip_suffix('}').unwrap_or(&head);
        Ok(format!("{head},\n\"classes\": [\n  {classes}\n],\n\"cells\": [\n  {cells}\n]}}\n"))
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    tool::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> std::process::ExitCode {
    eprintln!("seam: asks a question of x86-64 processors, under Linux; there is nothing to run here");
    std::process::ExitCode::from(2)
}

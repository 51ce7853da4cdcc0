//! Everything at once, for as long as asked: threads that call in every way there is, threads that replace in every
//! way there is, keys that are asked and turned, chains that are called and edited meanwhile, threads that are born and die, one by one and in crowds, coroutines
//! whose calls interleave, plugins far away, plugins that panic, a library that is unloaded and loaded again, signals, forks.
//!
//! ```text
//! cargo run --release -p hotcall-tests --bin torture -- --seconds 60 --json torture.json
//! ```
//!
//! Each answer says which slot, generation and type gave it, and to which question. So each is judged:
//!
//! * **torn**: nobody gives such an answer: a method ran on another type's instance, or jumped into other code;
//! * **stale**: the `replace` of a later generation had returned before the call began;
//! * **freed in use**: the instance was poisoned, or its memory was another's;
//! * **leaked**: at the end, something is left that was retired and not freed, or code memory in use, or memory grew.
//!
//! A key that was not being turned has one right answer; an older one is stale, what neither arm gives is torn.
//!
//! What comes out of a chain is a function of the list that was called and of its order. It must be a list that the chain
//! had during the call; one from before is stale, any other is torn. Chains are counted by themselves.
//!
//! Exits with 1 if there was any of them.
#![allow(missing_docs)]

#[path = "../torture/mod.rs"]
mod torture;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use torture::report::{Report, grouped};
use torture::slots::{Libraries, Maker};
use torture::tally::{TALLY, count};
use torture::threads::{self, Plan};
use torture::writers::Writers;

/// Calls and replaces in every way there is, and judges every answer.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long to run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Writes the outcome to a file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// How many threads call all the time.
    #[arg(long, default_value_t = 3)]
    callers: u64,
    /// How many threads replace all the time.
    #[arg(long, default_value_t = 2)]
    writers: u64,
    /// Where the random numbers begin. Not given: another place each time.
    #[arg(long)]
    seed: Option<u64>,
    /// No signals.
    #[arg(long)]
    no_signals: bool,
    /// No forks.
    #[arg(long)]
    no_forks: bool,
    /// No plugins from a shared library.
    #[arg(long)]
    no_far: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(name) = hotcall_tests::negative::sabotaged() {
        eprintln!("{name} is switched on: this run is expected to fail");
    }
    // Plugins panic with their answers by the thousand; any other panic is to be read.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let of_library = info
            .payload_as_str()
            .is_some_and(|text| text.starts_with("told to ") || text.starts_with("a value that is no text"));
        if !info.payload().is::<u64>() && !of_library {
            usual(info);
        }
    }));
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let libraries = if arguments.no_far { None } else { Some(Libraries::load()?) };
    let far = libraries.is_some();
    #[cfg(target_os = "linux")]
    let edges = if far { Some(torture::edges::Edges::load()?) } else { None };
    #[cfg(not(target_os = "linux"))]
    let edges = None;
    torture::chains::prepare(libraries.clone());
    Writers::set(Maker::new(libraries));
    #[cfg(target_os = "linux")]
    let signals = !arguments.no_signals && torture::signals::prepare();
    #[cfg(not(target_os = "linux"))]
    let signals = false;
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | nanoseconds());
    let plan = Plan {
        seconds: arguments.seconds,
        callers: arguments.callers,
        writers: arguments.writers,
        seed,
        signals,
        forks: cfg!(target_os = "linux") && !arguments.no_forks,
    };

    let began = Instant::now();
    let memory = threads::run(plan, edges.as_ref(), progress(arguments.seconds));
    threads::drain();
    if !memory.is_flat() {
        count(&TALLY.leaked);
    }
    let report = Report::new(began.elapsed(), seed, signals, far, memory);
    println!("{}", report.table());
    if let Some(path) = &arguments.json {
        std::fs::write(path, format!("{:#}\n", report.json()))?;
    }
    Ok(report.passed())
}

/// A line that stays in its place on a terminal, and is written every ten seconds elsewhere.
fn progress(seconds: u64) -> impl FnMut(Duration) {
    let mut written = 0;
    move |elapsed| {
        let on_terminal = std::io::stderr().is_terminal();
        if !on_terminal && elapsed.as_secs() / 10 == written {
            return;
        }
        written = elapsed.as_secs() / 10;
        let counts = TALLY.counts();
        let (begin, end) = if on_terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        let line = format!(
            "{begin}{:>4} of {seconds} s  {} calls  {} swaps  {} calls of chains  {} edits  {} wrong{end}",
            elapsed.as_secs(),
            grouped(counts.calls),
            grouped(counts.swaps),
            grouped(counts.chain_calls),
            grouped(counts.chain_edits),
            counts.wrong(),
        );
        // Whether anybody reads it is not this program's business.
        let _ = std::io::stderr().write_all(line.as_bytes());
        if on_terminal && elapsed.as_secs() >= seconds {
            let _ = std::io::stderr().write_all(b"\n");
        }
    }
}

fn nanoseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::from(since.subsec_nanos()))
}

//! Random programs over the safe API: what the fuzz target `programs` runs, on a stable toolchain. And two holes that are
//! planted, and found.
//!
//! ```text
//! HOTCALL_PROGRAMS_SECONDS=3600 cargo test -p hotcall-tests --test programs random -- --nocapture    # for an hour
//! HOTCALL_PROGRAM=00ff.. cargo test -p hotcall-tests --test programs one -- --nocapture              # this one
//! ```
//!
//! A finding is printed with its seed, and as the shortest program that was found to show it too: operations are left out, one half, quarter, ..
//! after another, as long as a child process that runs the rest still fails.
//! `HOTCALL_PROGRAMS_SEED` says where to begin, `HOTCALL_PROGRAMS_THREADS=1` puts threads in the place of coroutines.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

#[path = "../../fuzz/src/programs/mod.rs"]
mod programs;

use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hotcall_tests::negative;
use programs::{Program, Settings, run};

/// Operations of a program.
const OPS: usize = 120;
/// How many are run where nobody asks for more.
const FEW: u64 = 600;

const PROGRAM: &str = "HOTCALL_PROGRAM";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn settings() -> Settings {
    Settings { no_coroutines: number("HOTCALL_PROGRAMS_THREADS").is_some(), ..Settings::default() }
}

/// Panics that nobody sees are those of programs: only those of this file, and of what it runs, are to be read.
fn outcome(program: &Program, settings: Settings) -> i32 {
    match run(program, settings) {
        Ok(()) => 0,
        Err(finding) => {
            eprintln!("after {} operations: {}", finding.after, finding.text);
            negative::CAUGHT
        }
    }
}

/// Runs a program in a process of its own.
fn apart(test: &str, program: &Program, sabotage: Option<&str>) -> (ExitStatus, String) {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", test, "--nocapture"]).env(PROGRAM, program.to_hex()).stdin(Stdio::null());
    if let Some(sabotage) = sabotage {
        command.env("HOTCALL_SABOTAGE", sabotage);
    }
    let output = command.output().expect("a child can be started");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A shorter program that fails as well.
fn shortest(test: &str, program: Program, sabotage: Option<&str>) -> Program {
    let mut best = program;
    let mut chunk = best.0.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < best.0.len() {
            let mut fewer = best.clone();
            fewer.0.drain(at..(at + chunk).min(best.0.len()));
            if apart(test, &fewer, sabotage).0.success() {
                at += chunk;
            } else {
                best = fewer;
            }
        }
        chunk /= 2;
    }
    best
}

/// The program that is to be run in this process, which is a child then.
fn asked() -> Option<Program> {
    let text = std::env::var(PROGRAM).ok()?;
    Some(Program::from_hex(&text).expect("hexadecimal digits"))
}

#[test]
fn one() {
    if let Some(program) = asked() {
        std::process::exit(outcome(&program, settings()));
    }
}

/// Each of them, one after another. Those that take a process down are found by the parent: the child says which it runs.
#[test]
fn random_programs() {
    const FROM: &str = "HOTCALL_PROGRAMS_FROM";
    let seconds = number("HOTCALL_PROGRAMS_SECONDS");
    let first = number("HOTCALL_PROGRAMS_SEED").unwrap_or(0);
    if let Some(from) = number(FROM) {
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut seed = from;
        while until.map_or(seed < first + FEW, |until| Instant::now() < until) {
            // Where it dies, this is the last line.
            println!("seed {seed}");
            let code = outcome(&Program::from_seed(seed, OPS), settings());
            if code != 0 {
                std::process::exit(code);
            }
            seed += 1;
        }
        println!("{} programs", seed - from);
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", "random_programs", "--nocapture"]).env(FROM, first.to_string());
    let output = command.output().expect("a child can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        println!("{}", said.lines().rfind(|line| line.ends_with("programs")).unwrap_or_default());
        return;
    }
    let seed = said.lines().rev().find_map(|line| line.strip_prefix("seed ")?.parse().ok());
    let seed: u64 = seed.expect("a child says what it runs");
    let program = Program::from_seed(seed, OPS);
    let errors = String::from_utf8_lossy(&output.stderr);
    eprintln!("seed {seed}: {} {errors}", output.status);
    if apart("one", &program, None).0.success() {
        panic!("seed {seed} fails after others, from {first} on");
    }
    let short = shortest("one", program, None);
    let (status, errors) = apart("one", &short, None);
    panic!("seed {seed}, HOTCALL_PROGRAM={}\n{:#?}\n{status}: {errors}", short.to_hex(), short.0);
}

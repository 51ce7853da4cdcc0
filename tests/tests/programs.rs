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
#![cfg(target_os = "linux")]

#[path = "../../fuzz/src/programs/mod.rs"]
mod programs;

use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hotcall_tests::negative;
use programs::{Program, Settings, run};

/// Operations of a program.
const OPS: usize = 80;
/// How many are run where nobody asks for more.
const FEW: u64 = 1_000;

const PROGRAM: &str = "HOTCALL_PROGRAM";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn settings() -> Settings {
    Settings { no_coroutines: number("HOTCALL_PROGRAMS_THREADS").is_some(), ..Settings::default() }
}

/// In a child. Indices out of range panic by the thousand: nobody reads where.
fn outcome(program: &Program, settings: Settings) -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    match run(program, settings) {
        Ok(()) => 0,
        Err(finding) => {
            eprintln!("after {} operations: {}", finding.after, finding.text);
            negative::CAUGHT
        }
    }
}

/// Runs a program in a process of its own.
fn apart(test: &str, program: &Program) -> (ExitStatus, String) {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", test, "--nocapture"]).env(PROGRAM, program.to_hex()).stdin(Stdio::null());
    let output = command.output().expect("a child can be started");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A shorter program that fails as well.
fn shortest(program: Program, fails: impl Fn(&Program) -> bool) -> Program {
    let mut best = program;
    let mut chunk = best.0.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < best.0.len() {
            let mut fewer = best.clone();
            fewer.0.drain(at..(at + chunk).min(best.0.len()));
            if fails(&fewer) {
                best = fewer;
            } else {
                at += chunk;
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

/// What hotcall is kept from, and how it is taken out: a mechanism that is switched off, or an exchange of edits, which the
/// compiler refuses.
struct Hole {
    name: &'static str,
    sabotage: Option<&'static str>,
    exchange: bool,
    /// A short program that finds it. Of bytes: whoever changes how they are read looks for another.
    program: &'static str,
}

#[rustfmt::skip]
const HOLES: [Hole; 2] = [
    Hole { name: "edits are exchanged", sabotage: None, exchange: true, program: "c5200e2a9a72d82256c97e71b07fcf62f849d7dbf5947102" },
    Hole { name: "a record is given up, and ended", sabotage: Some("ends-given-up"), exchange: false, program: "004e00010344000100060003004e0000035100000006000300400000" },
];

const HOLE: &str = "HOTCALL_PROGRAMS_HOLE";
/// In milliseconds.
const PATIENCE: &str = "HOTCALL_PROGRAMS_PATIENCE";

/// In a child, that has the hole.
fn settings_of(hole: &Hole, patience: Duration) -> Settings {
    assert_eq!(negative::sabotaged(), hole.sabotage);
    let exchange = hole.exchange.then_some(hotcall::Edit::__exchange as fn(&mut _, &mut _));
    Settings { exchange, patience, ..settings() }
}

fn child_with(hole: usize, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", test, "--nocapture"]).env(HOLE, hole.to_string()).stdin(Stdio::null());
    if let Some(sabotage) = HOLES[hole].sabotage {
        command.env("HOTCALL_SABOTAGE", sabotage);
    }
    command
}

/// Each is found by a program that is known to find it. Nothing is found by the same program where there is no hole.
#[test]
fn planted_holes_are_found() {
    if let Some(hole) = number(HOLE) {
        let hole = &HOLES[hole as usize];
        // Long enough for whatever is freed: nothing is waited for once it has been found.
        let patience = number(PATIENCE).unwrap_or(20_000);
        let program = asked().expect("the parent says which");
        std::process::exit(outcome(&program, settings_of(hole, Duration::from_millis(patience))));
    }
    for (number, hole) in HOLES.iter().enumerate() {
        let program = Program::from_hex(hole.program).expect("hexadecimal digits");
        assert!(apart("one", &program).0.success(), "{}: not without it", hole.name);
        let mut child = child_with(number, "planted_holes_are_found");
        let output = child.env(PROGRAM, hole.program).output().expect("a child can be started");
        println!("{}: {}, {}", hole.name, output.status, String::from_utf8_lossy(&output.stderr).trim());
        assert!(!output.status.success(), "not found. Another program: `{SEARCH}`");
    }
}

const SEARCH: &str = "cargo test -p hotcall-tests --test programs search -- --ignored --nocapture";

/// How long the search takes for each: see `SEARCH`.
#[test]
#[ignore = "a search of a minute at most for each"]
fn search_for_planted_holes() {
    if let Some(hole) = number(HOLE) {
        let settings = settings_of(&HOLES[hole as usize], Duration::from_millis(1));
        for seed in number("HOTCALL_PROGRAMS_SEED").unwrap_or(0).. {
            println!("seed {seed}");
            let code = outcome(&Program::from_seed(seed, OPS), settings);
            if code != 0 {
                std::process::exit(code);
            }
        }
    }
    for (index, hole) in HOLES.iter().enumerate() {
        let begun = Instant::now();
        let output = child_with(index, "search_for_planted_holes").arg("--ignored").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let seed: Option<u64> = said.lines().rev().find_map(|line| line.strip_prefix("seed ")?.parse().ok());
        let seed = seed.expect("a child says what it runs");
        println!("{}: seed {seed} after {:.1?}, {}", hole.name, begun.elapsed(), output.status);
        println!("{}", String::from_utf8_lossy(&output.stderr).trim());
        assert!(begun.elapsed() < Duration::from_secs(60));
        let fails = |program: &Program| {
            let mut child = child_with(index, "planted_holes_are_found");
            !child.env(PROGRAM, program.to_hex()).env(PATIENCE, "300").output().unwrap().status.success()
        };
        let program = Program::from_seed(seed, OPS);
        if !fails(&program) {
            println!("fails after others only");
            continue;
        }
        let short = shortest(program, fails);
        println!("HOTCALL_PROGRAM={}\n{:#?}", short.to_hex(), short.0);
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
    if apart("one", &program).0.success() {
        panic!("seed {seed} fails after others, from {first} on");
    }
    let short = shortest(program, |program| !apart("one", program).0.success());
    let (status, errors) = apart("one", &short);
    panic!("seed {seed}, HOTCALL_PROGRAM={}\n{:#?}\n{status}: {errors}", short.to_hex(), short.0);
}

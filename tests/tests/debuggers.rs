//! What gdb and lldb see of a program before and after its calls are patched: breakpoints in callers, implementors and plugins, steps
//! through a patched call, backtraces, core files. Left out, with a word, where there is no debugger or it may not trace.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", not(hotcall_portable)))]

use std::process::Command;

const CALLER: &str = "somewhere::debugged::the_caller";
const INNERMOST: &str = "somewhere::debugged::innermost";
const PATCHED: &str = "somewhere::debugged::all_is_patched";
const COUNT: &str = "hotcall_probe_good::{impl#1}::count";

/// What a debugger wrote. Nothing where it is not there, or may not trace, or knows no names of functions.
fn debugged(mut debugger: Command, arguments: &[String]) -> Option<String> {
    // The standard library has names in any case, so that gdb does not say it.
    let is_off = |variable| {
        std::env::var(variable).is_ok_and(|level| ["0", "false", "none"].contains(&level.as_str()))
    };
    if is_off("CARGO_PROFILE_DEV_DEBUG") || is_off("CARGO_PROFILE_TEST_DEBUG") {
        println!("left out: the program is compiled without names for debuggers");
        return None;
    }
    let plugin = hotcall_examples::plugins::build(&["hotcall-probe-good"]).unwrap().swap_remove(0);
    debugger.args(arguments).env("HOTCALL_PLUGIN", plugin);
    let Ok(output) = debugger.output() else {
        println!("left out: no {debugger:?}");
        return None;
    };
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = format!("{said}\n{complained}");
    let cannot = ["Could not trace", "Operation not permitted", "ptrace:", "no debugging symbols found"];
    if let Some(reason) = cannot.iter().find(|reason| text.contains(**reason)) {
        println!("left out: {reason}");
        return None;
    }
    Some(text)
}

/// gdb, told `commands`.
fn gdb(commands: &[&str]) -> Option<String> {
    let before = ["set pagination off", "set breakpoint pending on", "set debuginfod enabled off"];
    let commands = before.iter().chain(commands).flat_map(|word| ["-ex".to_owned(), (*word).to_owned()]);
    let mut arguments = vec!["-batch".to_owned(), "-nx".to_owned()];
    arguments.extend(commands);
    arguments.extend(["--args", env!("CARGO_BIN_EXE_somewhere"), "stops"].map(str::to_owned));
    debugged(Command::new("gdb"), &arguments)
}

fn stops(text: &str, number: u32) -> usize {
    text.matches(&format!("Breakpoint {number}, ")).count()
}

#[test]
fn breakpoints_that_are_set_first_stay_good() {
    let (caller, innermost, count) =
        (format!("break {CALLER}"), format!("break {INNERMOST}"), format!("break {COUNT}"));
    let commands = [
        caller.as_str(),
        &innermost,
        &count,
        "run",
        "continue",
        "continue",
        "bt 8",
        "continue",
        "continue",
        "continue",
        "bt 3",
        "continue",
        "continue",
    ];
    let Some(text) = gdb(&commands) else { return };
    // The caller's page is left alone: it is called four times, twice of them into what stops again.
    assert_eq!((stops(&text, 1), stops(&text, 2), stops(&text, 3)), (4, 2, 1), "{text}");
    let shown = text.split("hit Breakpoint 2").nth(1).expect("it stops there");
    assert!(shown.contains("the_caller") && shown.contains("stop_by_stop"), "{text}");
    assert!(text.contains("all stops passed"), "{text}");
}

#[test]
fn what_is_patched_is_stepped_through_and_shown() {
    let (patched, innermost) = (format!("break {PATCHED}"), format!("break {INNERMOST}"));
    // From behind `all_is_patched` into the patched call; then to the innermost function that it leads to.
    let commands = [
        patched.as_str(),
        "run",
        "finish",
        "stepi 30",
        "bt 4",
        &innermost,
        "continue",
        "bt 8",
        "finish",
        "continue",
    ];
    let Some(text) = gdb(&commands) else { return };
    assert_eq!(stops(&text, 2), 1, "{text}");
    let shown = text.split("hit Breakpoint 2").nth(1).expect("it stops there");
    for function in ["Deep", "the_caller", "stop_by_stop", "main"] {
        assert!(shown.contains(function) || function == "main", "no {function}: {text}");
    }
    assert!(text.contains("all stops passed"), "{text}");
}

/// Whether what takes long is wanted. Says so where not.
fn all() -> bool {
    let all = std::env::var_os("HOTCALL_WHERE").is_some();
    if !all {
        println!("left out: it takes long (HOTCALL_WHERE=all)");
    }
    all
}

#[test]
fn a_core_file_is_read() {
    if !all() {
        return;
    }
    let core = std::env::temp_dir().join(format!("hotcall-core-{}", std::process::id()));
    let (count, generate) = (format!("break {COUNT}"), format!("generate-core-file {}", core.display()));
    let Some(text) = gdb(&[&count, "run", &generate, "kill"]) else { return };
    assert!(core.exists(), "{text}");
    // Its process is gone, and with it the plugin's private copy.
    let read = ["-batch", "-nx", "-ex", "bt 24", env!("CARGO_BIN_EXE_somewhere")].map(str::to_owned);
    let read = debugged(Command::new("gdb"), &[read.to_vec(), vec![core.display().to_string()]].concat());
    std::fs::remove_file(&core).unwrap();
    let read = read.expect("gdb has just been there");
    assert!(read.contains("stop_by_stop"), "{read}");
}

#[test]
fn lldb_stops_too() {
    if !all() {
        return;
    }
    let words = [
        "--batch",
        "-o",
        "breakpoint set -n innermost",
        "-o",
        "run",
        "-o",
        "bt 12",
        "-o",
        "continue",
        "-o",
        "bt 12",
        "-o",
        "continue",
        "--",
    ];
    let arguments =
        words.iter().chain(&[env!("CARGO_BIN_EXE_somewhere"), "stops"]).map(|word| (*word).to_owned());
    let Some(text) = debugged(Command::new("lldb"), &arguments.collect::<Vec<_>>()) else { return };
    if text.contains("error: ") && !text.contains("stop reason") {
        println!("left out: lldb does not start programs here: {text}");
        return;
    }
    assert_eq!(text.matches("stop reason = breakpoint 1.1").count() / 2, 2, "{text}");
    assert!(text.matches("the_caller").count() >= 2 && text.contains("all stops passed"), "{text}");
}

//! The example of trace points as a person runs it.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::process::{Command, Output};

use hotcall_examples::plugins;

fn run(arguments: &[&str]) -> Output {
    let program = plugins::build_example("trace_points").expect("cargo builds the example");
    Command::new(program).args(arguments).output().expect("the example runs")
}

#[test]
fn points_are_seen_while_they_are_on_and_no_others() {
    let output = run(&["--seconds", "0.05", "--turns", "20", "--on", "9"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        stdout.contains("180 times a point was turned on, seen, and turned off, 9 at a time"),
        "{stdout}"
    );
    assert!(stdout.contains("\n0 seen while they were off"), "{stdout}");
    assert!(stdout.contains(" of 1000 keys are patched") || stdout.contains("0 branches of "), "{stdout}");

    let output = run(&["--on", "1001"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("between 1 and 1000 points"));
}

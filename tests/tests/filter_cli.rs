//! The filter example as a person runs it: a table for an expression, carets for what is none.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use hotcall_examples::plugins;

fn filter(arguments: &[&str]) -> Output {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| plugins::build_example("filter").expect("cargo builds the filter"));
    Command::new(program).args(["--seconds", "0.3"]).args(arguments).output().expect("the filter runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("what the filter says is text")
}

/// The columns of the table's row of this name.
fn row<'a>(stdout: &'a str, name: &str) -> Vec<&'a str> {
    let line = stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
    line.unwrap_or_else(|| panic!("no row `{name}` in {stdout}")).split_whitespace().collect()
}

#[test]
fn every_way_of_running_judges_every_record_right() {
    let output = filter(&["--records", "2000"]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", text(&output.stderr));
    for name in ["interpreted", "compiled", "compiled, under a guard", "compiled, afterwards"] {
        assert_eq!(row(stdout, name)[2..], ["0", "0"], "{stdout}");
    }
    let [_, _, edits, wrong] = row(stdout, "compiled, being retargeted")[..] else { panic!("{stdout}") };
    assert!(edits.parse::<u64>().unwrap() > 2 && wrong == "0", "{stdout}");
    assert!(stdout.contains("0 records judged by a leaf after it was replaced"), "{stdout}");
    // The call of each leaf, and the search of one.
    assert_eq!(row(stdout, "  sites, trampolines"), ["5,", "0"], "{stdout}");
}

#[test]
fn a_file_of_any_lines_is_read() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lines.log");
    std::fs::write(&file, b"one\n\ntwo three\n1.2.3.4 - - [now] \"GET /x HTTP/1.1\" 500 7\n\xff\xfe\n")
        .expect("the file is written");
    let output = filter(&["line ~ \"o\" or failed", file.to_str().expect("a path in UTF-8")]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("4 records, 1 of them in the Common Log Format; 3 pass"), "{stdout}");
}

#[test]
fn what_is_no_expression_is_shown_with_carets() {
    for (expression, said) in [
        (
            "bytes > 5 and sise < 3",
            "filter: no field is called `sise`: numbers are bytes, length, status; texts are host, line, method, path; \
             cached, failed stand alone\n  bytes > 5 and sise < 3\n                ^^^^\n",
        ),
        ("path ~ 5", "filter: `path` is compared with a text in double quotes\n  path ~ 5\n         ^\n"),
        ("(cached", "filter: `and`, `or` or `)` belongs here, not the end\n  (cached\n         ^\n"),
    ] {
        let output = filter(&[expression]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), said));
        assert!(output.stdout.is_empty());
    }
    let output = filter(&["cached", "/nonexistent/access.log"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("filter: /nonexistent/access.log: "));
    let output = filter(&["cached", "--leaf", "1"]);
    assert_eq!(text(&output.stderr), "filter: there is no leaf 1: the expression has 1\n");
}

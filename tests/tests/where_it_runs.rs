//! `docs/WHERE-IT-RUNS.md`: each row of its tables is a program in that setting, and says what it sees.
//!
//! A row is left out, and says so, only where a tool or a right is missing. `HOTCALL_WHERE=all` runs those that take long, too;
//! `HOTCALL_WHERE=write` writes the tables into the document.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", not(hotcall_portable)))]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use hotcall_tests::negative;

const PROGRAM: &str = env!("CARGO_BIN_EXE_somewhere");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/WHERE-IT-RUNS.md");

const PATCHED: &str = "calls are patched";

/// A setting, and what is expected there.
struct Row {
    /// In words.
    setting: &'static str,
    /// The command that the program is run by, if any; its first word is the tool that has to be there.
    by: &'static str,
    /// As `somewhere` knows it.
    name: &'static str,
    expected: &'static str,
    /// Only with `HOTCALL_WHERE`.
    takes_long: bool,
}

const fn row(setting: &'static str, name: &'static str, expected: &'static str) -> Row {
    Row { setting, by: "", name, expected, takes_long: false }
}

const fn by(by: &'static str, setting: &'static str, name: &'static str, expected: &'static str) -> Row {
    Row { setting, by, name, expected, takes_long: true }
}

const fn many(setting: &'static str, name: &'static str, expected: &'static str) -> Row {
    Row { setting, by: "", name, expected, takes_long: true }
}

const SANDBOXES: &[Row] = &[
    row("nothing special", "plain", PATCHED),
    row("`prctl(PR_SET_MDWE)`", "mdwe", PATCHED),
    row("seccomp refuses `membarrier`, from the start", "no-membarrier", PATCHED),
    row("seccomp refuses `membarrier`, later", "no-membarrier-later", PATCHED),
    row(
        "seccomp refuses `memfd_create`, from the start",
        "no-memfd",
        "calls go through stubs; memfd_create: Operation not permitted",
    ),
    row("seccomp hides `memfd_create`, later", "no-memfd-later", PATCHED),
    row(
        "seals are refused",
        "no-seals",
        "calls go through stubs; fcntl(F_ADD_SEALS): Operation not permitted",
    ),
    row(
        "a policy refuses mappings that execute",
        "no-exec-mapping",
        "calls go through stubs; mmap of the executable view: Permission denied",
    ),
    row(
        "files cannot be opened, `/proc` neither",
        "no-maps",
        "calls go through stubs; read: Permission denied",
    ),
    row(
        "`vm.memfd_noexec=2`",
        "noexec-memfd",
        "calls go through stubs; memfd_create: Permission denied; plugins load",
    ),
    row("only the system calls that are listed below", "allow-list", PATCHED),
];

const LIMITS: &[Row] = &[
    row(
        "`RLIMIT_NOFILE` 0, from the start",
        "no-files",
        "calls go through stubs; memfd_create: Too many open files",
    ),
    row("`RLIMIT_NOFILE` 0, later", "no-files-later", PATCHED),
    row(
        "`RLIMIT_NOFILE` 0, in a forked child",
        "no-files-child",
        "refused in the child, which goes on; the parent replaces",
    ),
    row(
        "`RLIMIT_FSIZE` 0, from the start",
        "no-file-size",
        "calls go through stubs; ftruncate: File too large",
    ),
    row("`RLIMIT_FSIZE` 0, later", "no-file-size-later", PATCHED),
    row(
        "`RLIMIT_FSIZE` 0, in a forked child",
        "no-file-size-child",
        "refused in the child, which goes on; the parent replaces",
    ),
    row(
        "`RLIMIT_AS`, nothing left",
        "address-space",
        "calls go through stubs; mmap of a gap: Cannot allocate memory",
    ),
    row(
        "no thread can be started, as with `RLIMIT_NPROC`",
        "no-threads",
        "calls are patched; who replaces frees",
    ),
    row("no key for thread-specific values is left", "no-keys", PATCHED),
    row("stacks of 16 KiB (calls) and 64 KiB (replaces)", "tiny-stack", PATCHED),
    row("a forked child, with threads of its own", "fork", PATCHED),
    row("a child by `clone`, which runs no handlers", "clone", "calls are patched; the parent's go on"),
];

const LIBRARIES: &[Row] = &[
    row(
        "five copies of a plugin, and one in a child",
        "plugin-names",
        "each its own, that any process can read",
    ),
    row("all descriptors closed, then the next version", "closed-descriptors", "the new version runs"),
    row(
        "all descriptors closed between `open` and the first instance",
        "closed-before-load",
        "a typed error says so",
    ),
    row(
        "a plugin on a read-only file system with `noexec`",
        "noexec-plugin",
        "it loads, from its private copy",
    ),
];

const TOOLS: &[Row] = &[
    row("a debugger has written to a page with calls", "breakpoint", "calls go through stubs"),
    row(
        "an emulator that does not see what is written",
        "stale-code",
        "calls go through stubs; self-test of code memory: unsupported",
    ),
    by("valgrind -q --error-exitcode=9 --smc-check=all", "valgrind, no errors", "alone", PATCHED),
    by(
        "valgrind -q --error-exitcode=9",
        "valgrind without `--smc-check=all`, no errors",
        "alone",
        "calls go through stubs; self-test of code memory: unsupported",
    ),
    by("qemu-x86_64", "qemu-user", "alone", "calls go through stubs; self-test of code memory: unsupported"),
];

const SCALE: &[Row] = &[
    many("500 threads call while a slot is replaced", "threads:500", "in order, each"),
    many("10,000 threads born and ended under replacements", "births:10000", "records and memory flat"),
    many("a batch of 100,000 changes", "batch:100000", "all or nothing, all freed"),
    many("200 libraries loaded and unloaded", "libraries:200", "mappings, descriptors and memory flat"),
    many("a million handles", "handles:1000000", "memory flat"),
];

const TABLES: [(&str, &[Row]); 5] = [
    ("sandboxes", SANDBOXES),
    ("limits", LIMITS),
    ("libraries", LIBRARIES),
    ("tools", TOOLS),
    ("scale", SCALE),
];

fn wanted() -> Option<String> {
    std::env::var("HOTCALL_WHERE").ok()
}

fn document() -> String {
    std::fs::read_to_string(DOCUMENT).expect("it is part of the repository")
}

/// What stands between the marks of that name in the document.
fn between<'d>(document: &'d str, name: &str) -> &'d str {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = document.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
    let length = document[start..].find(&end).unwrap_or_else(|| panic!("no {end}"));
    &document[start..start + length]
}

/// The system calls that the document lists: those of the runtime, then those of other people.
fn listed() -> [Vec<String>; 2] {
    let document = document();
    ["calls of the runtime", "other calls"].map(|name| {
        let rows = between(&document, name).lines().filter(|line| line.starts_with("| `"));
        let calls = rows.flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`'));
        calls
            .map(|call| call.trim().trim_matches(',').to_owned())
            .filter(|call| !call.is_empty() && call != ",")
            .collect()
    })
}

fn plugin() -> &'static Path {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        hotcall_examples::plugins::build(&["hotcall-probe-good"]).expect("it builds").swap_remove(0)
    })
}

fn command(row: &Row, allowed: &[String]) -> Command {
    let mut words = row.by.split_whitespace().chain([PROGRAM, row.name]);
    let mut command = Command::new(words.next().unwrap_or(PROGRAM));
    command.args(words).env("HOTCALL_PLUGIN", plugin()).env("HOTCALL_ALLOWED", allowed.join(" "));
    command
}

/// What a row sees. Anything else than what is expected, or that it is left out, is wrong.
fn look(row: &Row) -> Result<String, String> {
    let tool = row.by.split_whitespace().next();
    if let Some(tool) = tool
        && Command::new(tool).arg("--version").output().is_err()
    {
        return Ok(format!("left out: {tool} is not installed"));
    }
    let [own, others] = listed();
    let output = command(row, &[own, others].concat()).output().map_err(|error| error.to_string())?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if let Some(left_out) = complained.split(": ").nth(1).filter(|reason| reason.starts_with("left out")) {
        let reason = complained.split_once("left out: ").map_or(left_out, |(_, reason)| reason).trim();
        return Ok(format!("left out: {reason}"));
    }
    if output.status.success() && said.trim() == row.expected {
        return Ok(row.expected.to_owned());
    }
    Err(format!("{} ({}): {} {said}{complained}", row.setting, row.name, output.status))
}

/// Runs the rows of a table. The table, as the document has it.
fn run(rows: &[Row]) -> String {
    let mut table = "| setting | expected | seen |\n|---|---|---|\n".to_owned();
    let mut wrong = Vec::new();
    for row in rows {
        let seen = match (row.takes_long, wanted()) {
            (true, None) => Ok("left out: it takes long (`HOTCALL_WHERE=all`)".to_owned()),
            _ => look(row),
        };
        let seen = seen.unwrap_or_else(|error| {
            wrong.push(error);
            "wrong".to_owned()
        });
        println!("{}: {seen}", row.setting);
        let seen = if seen == row.expected { "the same" } else { &seen };
        table.push_str(&format!("| {} | {} | {seen} |\n", row.setting, row.expected));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    table
}

/// Settings and expectations, without what was seen.
fn expectations(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|line| line.starts_with('|'));
    rows.map(|line| line.split('|').take(3).collect::<Vec<_>>().join("|")).collect()
}

fn check(name: &str) {
    let rows = TABLES.iter().find(|(of, _)| *of == name).map(|(_, rows)| *rows).expect("it is a table");
    let table = run(rows);
    let document = document();
    let old = between(&document, name);
    if wanted().as_deref() == Some("write") {
        let new = document.replace(&format!("<!-- {name} -->\n{old}"), &format!("<!-- {name} -->\n{table}"));
        std::fs::write(DOCUMENT, new).expect("it can be written");
        return;
    }
    assert_eq!(expectations(old), expectations(&table), "write the document anew: HOTCALL_WHERE=write");
}

// One test a table, one after the other where they write.

#[test]
fn sandboxes() {
    check("sandboxes");
}

#[test]
fn limits() {
    check("limits");
}

#[test]
fn libraries() {
    check("libraries");
}

#[test]
fn tools() {
    check("tools");
}

#[test]
fn scale() {
    check("scale");
}

/// Each call that the document says the runtime makes is made: without it, the filter is noticed.
#[test]
fn no_call_is_listed_for_nothing() {
    let [own, others] = listed();
    assert!(own.len() > 10 && others.len() > 5, "{own:?} {others:?}");
    let row = row("only some system calls", "allow-list", "");
    for call in &own {
        let allowed: Vec<_> = own.iter().filter(|other| *other != call).chain(&others).cloned().collect();
        let output = command(&row, &allowed).output().unwrap();
        assert!(!output.status.success(), "without `{call}` nothing is noticed: it need not be listed");
    }
}

/// Breakpoints that are mapped over with their page are noticed, and that nobody frees anything where no thread can be started.
#[test]
fn what_is_switched_off_is_noticed() {
    for (name, switched_off) in [("breakpoint", "maps-over-breakpoints"), ("no-threads", "nobody-stands-in")]
    {
        let again = || command(&row(name, name, ""), &[]);
        println!("{switched_off}: {}", negative::is_noticed(again, switched_off).unwrap());
    }
}

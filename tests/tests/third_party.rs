//! Crates that were not written here, unchanged, over slots: their own tests and examples, compiled from where cargo
//! has unpacked them, pass while the implementation behind the slot is swapped by each of its calls and by a thread.
//!
//! What they call `log`, `metrics` and `tracing` are the crates of these names with one change, in
//! `tests/third-party/`: what is installed goes behind a slot. A package is written into cargo's directory for tests,
//! whose targets are the files in the registry. It is built offline: this crate depends on all that it needs.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotcall_tests::package::{cargo, folder, head, of_workspace, shown, write};
use serde_json::Value;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

const CRATES: [&str; 6] = ["env_logger", "log", "metrics", "tracing", "tracing-log", "tracing-mock"];

/// In the names of three of `tracing`'s tests: they have two subscribers at a time, and a slot holds one.
const TWO_AT_ONCE: &str = "always_go_to_the_subscriber_that_tagged";

/// A test or an example of a crate.
struct Program {
    krate: &'static str,
    file: &'static str,
    /// How many tests must pass; 0 for a program with its own `main`.
    tests: usize,
    /// The slot it calls, and at least how often.
    slot: &'static str,
    calls: usize,
}

const fn program(
    krate: &'static str,
    file: &'static str,
    tests: usize,
    slot: &'static str,
    calls: usize,
) -> Program {
    Program { krate, file, tests, slot, calls }
}

const PROGRAMS: [Program; 8] = [
    program("env_logger", "tests/init-twice-retains-filter.rs", 0, "log", 0),
    program("env_logger", "tests/log-in-log.rs", 0, "log", 2),
    program("env_logger", "tests/log_tls_dtors.rs", 0, "log", 10),
    program("env_logger", "tests/regexp_filter.rs", 0, "log", 3),
    program("tracing-log", "tests/log_tracer.rs", 1, "log", 3),
    program("metrics", "examples/basic.rs", 0, "metrics", 40),
    program("tracing", "tests/event.rs", 10, "tracing", 10),
    program("tracing", "tests/span.rs", 30, "tracing", 100),
];

impl Program {
    /// What its target is called.
    fn name(&self) -> String {
        format!("{}-{}", self.krate, Path::new(self.file).file_stem().unwrap().to_str().unwrap())
    }
}

#[test]
fn crates_that_know_nothing_of_hotcall_pass_their_own_tests_over_slots() {
    let folder = folder(TMP, "third-party");
    let (workspace, lock) = (of_workspace("Cargo.toml"), of_workspace("Cargo.lock"));
    // The crates as the workspace has them.
    let dependencies: BTreeMap<_, _> = CRATES
        .iter()
        .map(|name| {
            let line = workspace.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
            (*name, line)
        })
        .collect();
    let unpacked = unpacked(&folder.join("plain"), &dependencies, &lock);
    over_slots(&folder.join("over-slots"), &dependencies, &unpacked, &lock);

    let built = build(&folder.join("over-slots"));
    for program in &PROGRAMS {
        let journal = folder.join(format!("{}.journal", program.name()));
        let _ = std::fs::remove_file(&journal);
        let mut command = Command::new(&built[&program.name()]);
        if program.tests > 0 {
            // What is the default of one thread in these tests is behind one slot here.
            command.args(["--test-threads=1", "--skip", TWO_AT_ONCE]);
        }
        let output = command.env("HOTCALL_JOURNAL", &journal).env_remove("RUST_LOG").output().unwrap();
        assert!(output.status.success(), "{}: {}", program.name(), shown(&output));
        program.check_tests(&output);
        program.check_journal(&std::fs::read_to_string(&journal).unwrap_or_default());
        if program.name() == "metrics-basic" {
            let plain = Command::new(&build(&folder.join("plain"))["plain-basic"]).output().unwrap();
            assert!(plain.stdout.len() > 1_000, "{}", shown(&plain));
            assert_eq!(shown(&output), shown(&plain), "the example prints what it prints without hotcall");
        }
    }
}

impl Program {
    fn check_tests(&self, output: &Output) {
        if self.tests > 0 {
            let text = String::from_utf8_lossy(&output.stdout);
            let passed = text.split("test result: ok. ").nth(1).and_then(|rest| rest.split(' ').next());
            let passed: usize = passed.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
            assert!(passed >= self.tests, "{}: {text}", self.name());
        }
    }

    /// Each line of the journal has a process, a slot, and the number of the implementor that had a call, or 0 for
    /// one that has been dropped.
    fn check_journal(&self, journal: &str) {
        let mut seen = BTreeSet::new();
        let mut calls = 0;
        for line in journal.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [process, slot, number] = words[..] else { panic!("{}: {line}", self.name()) };
            assert_ne!(
                number,
                "0",
                "{}: a call on an implementor that had been dropped: {line}",
                self.name()
            );
            if slot == self.slot {
                calls += 1;
                assert!(
                    seen.insert((process, number)),
                    "{}: two calls on one implementor, though each call swaps it: {line}",
                    self.name()
                );
            }
        }
        assert!(calls >= self.calls, "{}: {calls} calls of the slot, and not {}", self.name(), self.calls);
    }
}

/// The folder and the version of each crate, as cargo has unpacked it: told by a package that depends on them, and
/// that runs `metrics`' example without hotcall.
fn unpacked(
    folder: &Path,
    dependencies: &BTreeMap<&str, &str>,
    lock: &str,
) -> BTreeMap<String, (PathBuf, String)> {
    let lines: Vec<_> = dependencies.values().copied().collect();
    let manifest = |targets: &str| {
        format!(
            "{}{targets}\n[dependencies]\n{}\n",
            head("hotcall-third-party-plain", "2021"),
            lines.join("\n")
        )
    };
    let path = folder.join("Cargo.toml");
    write(&folder.join("lib.rs"), "");
    write(&folder.join("Cargo.lock"), lock);
    write(&path, &manifest("[lib]\npath = \"lib.rs\""));
    let said = cargo(TMP, folder, &["metadata", "--format-version=1", "--filter-platform", &host()]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let unpacked: BTreeMap<_, _> = said["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| dependencies.contains_key(package["name"].as_str().unwrap()))
        .map(|package| {
            let name = package["name"].as_str().unwrap().to_owned();
            // From a registry, so that cargo has compared it with its checksum.
            assert!(package["source"].as_str().unwrap().starts_with("registry+"), "{package}");
            let manifest = Path::new(package["manifest_path"].as_str().unwrap());
            (name, (manifest.parent().unwrap().to_owned(), package["version"].as_str().unwrap().to_owned()))
        })
        .collect();
    let example = unpacked["metrics"].0.join("examples/basic.rs");
    write(&path, &manifest(&format!("[[bin]]\nname = \"plain-basic\"\npath = {example:?}")));
    unpacked
}

/// The package of the programs, and the three crates that they call in place of the originals.
fn over_slots(
    folder: &Path,
    dependencies: &BTreeMap<&str, &str>,
    unpacked: &BTreeMap<String, (PathBuf, String)>,
    lock: &str,
) {
    let hotcall = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime");
    let source = |name: &str| format!("{}/third-party/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    // `log` takes the original's place for every crate of the package; its version must be none of the registry's.
    let stand_in = |name: &str, package_name: &str, original: &str, features: &str| {
        let text = format!(
            "[package]\nname = {package_name:?}\nversion = \"0.4.9999\"\nedition = \"2024\"\n\
             [lib]\nname = {name:?}\npath = {:?}\n[features]\n{features}\n\
             [dependencies]\nhotcall = {{ path = {hotcall:?} }}\nreal-{name} = {original}\n",
            source(name)
        );
        write(&folder.join(name).join("Cargo.toml"), &text);
    };
    let renamed = |name: &str| {
        let version = &unpacked[name].1;
        format!("{{ package = {name:?}, version = {version:?} }}")
    };
    stand_in(
        "log",
        "log",
        &format!("{{ package = \"log\", path = {:?}, features = [\"std\"] }}", unpacked["log"].0),
        "std = []",
    );
    stand_in("metrics", "metrics-over-slot", &renamed("metrics"), "");
    stand_in("tracing", "tracing-over-slot", &renamed("tracing"), "");

    let mut manifest = head("hotcall-third-party", "2021");
    for program in &PROGRAMS {
        let (name, path) = (program.name(), unpacked[program.krate].0.join(program.file));
        let kind = if program.tests > 0 { "test" } else { "bin" };
        manifest += &format!("[[{kind}]]\nname = {name:?}\npath = {path:?}\n");
    }
    manifest += "[features]\ndefault = [\"std\"]\nstd = []\n[dependencies]\ntracing-core = \"0.1\"\n";
    for name in ["env_logger", "log", "tracing-log", "tracing-mock"] {
        manifest += &format!("{}\n", dependencies[name]);
    }
    for name in ["metrics", "tracing"] {
        manifest += &format!("{name} = {{ package = \"{name}-over-slot\", path = {name:?} }}\n");
    }
    manifest += "[patch.crates-io]\nlog = { path = \"log\" }\n";
    write(&folder.join("Cargo.toml"), &manifest);
    // The workspace's versions, but of `log`.
    let lock: Vec<_> =
        lock.split("[[package]]").filter(|entry| !entry.starts_with("\nname = \"log\"\n")).collect();
    write(&folder.join("Cargo.lock"), &lock.join("[[package]]"));
}

/// Builds all targets of a package; where each program is.
fn build(folder: &Path) -> BTreeMap<String, PathBuf> {
    let said = cargo(
        TMP,
        folder,
        &["build", "--bins", "--tests", "--quiet", "--message-format=json-render-diagnostics"],
    );
    said.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            // A program is also built as a test of itself: that one is not meant.
            let is_test = message["target"]["kind"][0] == "test";
            let executable = message["executable"].as_str()?;
            (is_test || message["profile"]["test"] == false)
                .then(|| (message["target"]["name"].as_str().unwrap().to_owned(), PathBuf::from(executable)))
        })
        .collect()
}

/// The platform that the compiler builds for.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

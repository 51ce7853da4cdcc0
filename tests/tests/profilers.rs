//! What `perf` is told, with `HOTCALL_JITDUMP`, of pages that are mapped anew and of what is emitted.
//!
//! The file is read here; whether `perf` finds the names in it, with `HOTCALL_WHERE`, for a profile takes a while.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", not(hotcall_portable)))]

use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_somewhere");

/// An empty folder of a test's own.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn functions_on_patched_pages_and_chains_are_named() {
    let folder = folder("jitdump");
    let status = Command::new(PROGRAM).arg("plain").env("HOTCALL_JITDUMP", &folder).status().unwrap();
    assert!(status.success());
    let file = std::fs::read_dir(&folder).unwrap().next().expect("there is a dump").unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(
        (word(&bytes, 0), word(&bytes, 4), word(&bytes, 8), word(&bytes, 12)),
        (0x4a69_5444, 1, 40, 62)
    );
    assert_eq!(file.file_name().unwrap().to_str().unwrap(), format!("jit-{}.dump", word(&bytes, 20)));
    let (mut at, mut time, mut names) = (40, long(&bytes, 24), Vec::new());
    while at < bytes.len() {
        let length = word(&bytes, at + 4);
        let record = &bytes[at..at + length];
        assert_eq!(word(record, 0), 0, "a piece of code");
        assert!(long(record, 8) >= time, "in order");
        time = long(record, 8);
        assert_eq!((long(record, 24), long(record, 48)), (long(record, 32), names.len() as u64));
        let name = record[56..].split(|byte| *byte == 0).next().unwrap();
        assert_eq!(56 + name.len() + 1 + long(record, 40) as usize, length, "the code is all there");
        names.push(String::from_utf8(name.to_vec()).unwrap());
        at += length;
    }
    assert_eq!(at, bytes.len());
    for part in ["through_stub", "hotcall_code", "hotcall_chain_of_4"] {
        assert!(names.iter().any(|name| name.contains(part)), "no {part} in {names:#?}");
    }
}

/// Without the variable, nothing is written anywhere.
#[test]
fn nothing_is_written_unasked() {
    let folder = folder("no-jitdump");
    let status =
        Command::new(PROGRAM).arg("plain").env_remove("HOTCALL_JITDUMP").current_dir(&folder).status();
    assert!(status.unwrap().success());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn perf_finds_them() {
    if std::env::var_os("HOTCALL_WHERE").is_none() {
        println!("left out: it takes long (HOTCALL_WHERE=all)");
        return;
    }
    let folder = folder("perf");
    let perf = |words: &[&str]| {
        let mut perf = Command::new("perf");
        perf.args(words).current_dir(&folder).env("HOTCALL_JITDUMP", ".");
        perf.output()
            .map(|output| (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let recorded =
        perf(&["record", "-q", "-k", "mono", "-e", "cpu-clock", "-o", "perf.data", PROGRAM, "spin"]);
    if !recorded.is_ok_and(|(recorded, _)| recorded) {
        println!("left out: perf is not installed, or may not record");
        return;
    }
    assert!(perf(&["inject", "--jit", "-i", "perf.data", "-o", "perf.jit.data"]).unwrap().0);
    let shown = |file| perf(&["report", "-i", file, "--stdio", "-s", "dso,sym"]).unwrap().1;
    let (before, after) = (shown("perf.data"), shown("perf.jit.data"));
    assert!(before.contains("memfd:hotcall"), "{before}");
    assert!(!after.contains("memfd:hotcall"), "{after}");
    assert!(after.lines().any(|line| line.contains("jitted-") && line.contains("through_stub")), "{after}");
}

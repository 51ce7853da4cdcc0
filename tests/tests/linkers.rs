//! Programs and plugins linked by each linker that is here, and in the ways that programs are linked: their notes are found, no two
//! slots are taken for one, and plugins' panics are caught.
//!
//! `HOTCALL_LINKERS=all` tries every way, and plugins; without it, each linker folds a program's identical code.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::path::{Path, PathBuf};
use std::process::Command;

use hotcall_tests::package::{cargo, folder, head, of_workspace, write};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// A linker by the name that the compiler driver knows it by, its program, and what makes it fold all identical code.
const LINKERS: [(&str, &str, &[&str]); 4] = [
    ("bfd", "ld.bfd", &[]),
    ("gold", "ld.gold", &["-Wl,--icf=all"]),
    ("lld", "ld.lld", &["-Wl,--icf=all"]),
    ("mold", "mold", &["-Wl,--icf=all"]),
];

/// What else a program is built with: a linker, and arguments for rustc. (`sites` has what concerns all crates: LTO, `panic=abort`.)
const WAYS: [(&str, &str, &[&str]); 13] = [
    ("--gc-sections", "bfd", &["-Clink-arg=-Wl,--gc-sections"]),
    ("-z start-stop-gc", "bfd", &["-Clink-arg=-Wl,-z,start-stop-gc"]),
    ("-z start-stop-gc", "lld", &["-Clink-arg=-Wl,-z,start-stop-gc"]),
    ("no PIE", "bfd", &["-Crelocation-model=static", "-Clink-arg=-no-pie"]),
    ("no PIE", "lld", &["-Crelocation-model=static", "-Clink-arg=-no-pie"]),
    ("static PIE", "bfd", &["-Ctarget-feature=+crt-static"]),
    ("static PIE", "lld", &["-Ctarget-feature=+crt-static"]),
    ("static, no PIE", "bfd", &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"]),
    ("stripped", "bfd", &["-Cstrip=symbols"]),
    ("split debug info", "bfd", &["-Cdebuginfo=2", "-Csplit-debuginfo=packed"]),
    ("opt-level s", "bfd", &["-Copt-level=s"]),
    ("opt-level z", "bfd", &["-Copt-level=z"]),
    ("coverage", "bfd", &["-Cinstrument-coverage"]),
];

fn all() -> bool {
    std::env::var("HOTCALL_LINKERS").is_ok_and(|which| which == "all")
}

/// Whether it is installed. Says so where not.
fn is_here(name: &str) -> bool {
    let (_, program, _) = LINKERS.iter().find(|(linker, ..)| *linker == name).expect("it is a linker");
    let here = Command::new(program).arg("--version").output().is_ok();
    if !here {
        println!("{name}: not installed, left out");
    }
    here
}

/// Has rustc link by it.
fn by(linker: &str) -> [String; 2] {
    // Without the first, rustc's own lld comes first.
    ["-Clinker-features=-lld".to_owned(), format!("-Clink-arg=-fuse-ld={linker}")]
}

#[test]
fn slots_are_told_apart_by_every_linker() {
    let folder = folder(TMP, "linkers");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/shared/linkers.rs");
    let hotcall = concat!("hotcall = { path = \"", env!("CARGO_MANIFEST_DIR"), "/../runtime\" }\n");
    let manifest = format!(
        "{}[[bin]]\nname = \"hotcall-linked-program\"\npath = {source:?}\n[dependencies]\n{hotcall}",
        head("hotcall-linked-program", "2024")
    );
    write(&folder.join("Cargo.toml"), &manifest);
    write(&folder.join("Cargo.lock"), &of_workspace("Cargo.lock"));
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let run = |named: &str, arguments: &[String]| {
        let mut words = vec!["rustc", "--quiet", "--profile", profile, "--message-format=json"];
        words.push("--");
        words.extend(arguments.iter().map(String::as_str));
        let messages = cargo(TMP, &folder, &words);
        let program =
            made(&messages, "executable").unwrap_or_else(|| panic!("{named}: cargo made no program"));
        let output = Command::new(program).env("LLVM_PROFILE_FILE", "/dev/null").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{named}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said, "each its own, Patched\n", "{named}");
        println!("{named}: each its own");
    };
    run("the default", &[]);
    for (name, _, fold) in LINKERS {
        if is_here(name) {
            let fold = fold.iter().map(|word| format!("-Clink-arg={word}"));
            run(name, &by(name).into_iter().chain(fold).collect::<Vec<_>>());
        }
    }
    for (way, linker, arguments) in WAYS {
        if all() && is_here(linker) {
            let arguments = arguments.iter().map(|word| (*word).to_owned());
            run(&format!("{linker}, {way}"), &by(linker).into_iter().chain(arguments).collect::<Vec<_>>());
        }
    }
}

/// A plugin learns what its panics look like by raising one: its unwind information has to be right.
#[test]
fn plugins_are_loaded_from_every_linker() {
    if !all() {
        println!("left out: HOTCALL_LINKERS=all");
        return;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, ..) in LINKERS {
        if !is_here(name) {
            continue;
        }
        let arguments = by(name);
        let mut words = vec!["rustc", "--quiet", "--message-format=json", "--package", "hotcall-probe-good"];
        words.extend(if cfg!(debug_assertions) { [].as_slice() } else { ["--release"].as_slice() });
        words.push("--");
        words.extend(arguments.iter().map(String::as_str));
        let messages = cargo(TMP, &workspace, &words);
        let plugin = made(&messages, "filenames").unwrap_or_else(|| panic!("{name}: cargo made no library"));
        let somewhere = Command::new(env!("CARGO_BIN_EXE_somewhere"))
            .arg("closed-descriptors")
            .env("HOTCALL_PLUGIN", plugin)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&somewhere.stderr);
        assert!(somewhere.status.success(), "{name}: {} {said}", somewhere.status);
        println!("{name}: its plugins load");
    }
}

/// The last file that cargo's messages, a JSON object a line, name under that key.
fn made(messages: &str, key: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let file = |message: serde_json::Value| {
        let value = &message[key];
        let named = value.as_str().or_else(|| value.as_array()?.first()?.as_str()).map(PathBuf::from);
        named.filter(|file| key == "executable" || file.extension().is_some_and(|kind| kind == "so"))
    };
    messages.filter_map(file).next_back()
}

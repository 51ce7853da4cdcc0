//! Programs linked by each linker that is here: their notes are found, and no two slots are taken for one.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

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
        let program = executable(&messages).unwrap_or_else(|| panic!("{named}: cargo made no program"));
        let output = Command::new(program).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{named}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said, "each its own, Patched\n", "{named}");
        println!("{named}: each its own");
    };
    run("the default", &[]);
    for (name, program, fold) in LINKERS {
        if Command::new(program).arg("--version").output().is_err() {
            println!("{name}: not installed, left out");
            continue;
        }
        // Without it, rustc's own lld comes first.
        let mut arguments = vec!["-Clinker-features=-lld".to_owned(), format!("-Clink-arg=-fuse-ld={name}")];
        arguments.extend(fold.iter().map(|word| format!("-Clink-arg={word}")));
        run(name, &arguments);
    }
}

/// The program among cargo's messages, a JSON object a line.
fn executable(messages: &str) -> Option<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages.filter_map(|message| Some(message["executable"].as_str()?.to_owned())).next()
}

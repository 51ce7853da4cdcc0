//! What is refused, and what the compiler says; and beside each refusal, the same program put right.
//!
//! The messages in `ui/refused/*.stderr` are those of the compiler that the workspace names. Another words its own part
//! in another way: there, a program must still be refused, with the code of the compiler's errors and with every word
//! of the errors that the macros themselves write.
#![forbid(unsafe_code)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
#![allow(missing_docs)]

use std::path::Path;
use std::process::Command;

use hotcall_tests::package::{self, cargo_answer, head, of_workspace, write};
use serde_json::Value;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn refusals_and_their_twins() {
    assert_eq!(programs("refused"), programs("accepted"), "each refusal has a twin that compiles");
    let cases = trybuild::TestCases::new();
    cases.pass("ui/accepted/*.rs");
    let (here, named) = (compiler(), env!("CARGO_PKG_RUST_VERSION"));
    if here.starts_with(&format!("{named}.")) {
        cases.compile_fail("ui/refused/*.rs");
    } else {
        println!(
            "rustc {here} is not {named}, whose messages are in ui/refused: only the macros' own are compared"
        );
        refused_whatever_the_wording();
    }
}

/// Also with the compiler of the other comparison, so that this one is known to hold where it is wanted.
#[test]
fn refusals_whatever_the_compilers_wording() {
    refused_whatever_the_wording();
}

fn programs(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(format!("{}/ui/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut programs: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned())).collect();
    programs.sort();
    programs
}

/// The version of the compiler: `1.95.0`.
fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-V").output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

/// An error: its code, or, where the macros have written it, its text.
fn error(line: &str) -> Option<&str> {
    if let Some(coded) = line.strip_prefix("error[") {
        return coded.split(']').next();
    }
    line.strip_prefix("error: ")
        .filter(|text| !text.starts_with("aborting") && !text.starts_with("could not"))
}

fn refused_whatever_the_wording() {
    let folder = package::folder(TMP, "ui");
    let ui = concat!(env!("CARGO_MANIFEST_DIR"), "/ui/refused");
    let names = programs("refused");
    let mut manifest = head("hotcall-ui", "2024");
    for name in &names {
        manifest += &format!("[[bin]]\nname = {name:?}\npath = \"{ui}/{name}.rs\"\n");
    }
    manifest +=
        concat!("[dependencies]\nhotcall = { path = \"", env!("CARGO_MANIFEST_DIR"), "/../runtime\" }\n");
    let workspace = of_workspace("Cargo.toml");
    manifest += workspace.lines().find(|line| line.starts_with("log = ")).unwrap();
    write(&folder.join("Cargo.toml"), &manifest);
    write(&folder.join("Cargo.lock"), &of_workspace("Cargo.lock"));
    let words = ["check", "--quiet", "--bins", "--keep-going", "--message-format=json"];
    let output = cargo_answer(TMP, &folder, &words);
    assert!(!output.status.success(), "every one of these programs is refused");
    let said = String::from_utf8(output.stdout).unwrap();
    let messages: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for name in &names {
        let of_this = messages.iter().filter(|message| message["target"]["name"] == name.as_str());
        let rendered: String =
            of_this.filter_map(|message| message["message"]["rendered"].as_str()).collect();
        let found: Vec<_> = rendered.lines().filter_map(error).collect();
        let path = format!("{ui}/{name}.stderr");
        let expected = std::fs::read_to_string(Path::new(&path)).unwrap();
        let mut expected = expected.lines().filter_map(error).peekable();
        assert!(expected.peek().is_some(), "{path} has no error");
        for error in expected {
            assert!(found.contains(&error), "{name}: `{error}` is not among {found:?}\n{rendered}");
        }
    }
}

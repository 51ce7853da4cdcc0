//! `docs/SOUNDNESS.md` has a row for each public item, and names tests that there are.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the file is there")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').filter(|word| !word.is_empty())
}

/// What is written as code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Names that `runtime/src/lib.rs` makes public.
fn public() -> Vec<String> {
    let source = read("runtime/src/lib.rs");
    let mut names = vec!["chain".to_owned()];
    for statement in source.split(';') {
        let statement = statement.trim();
        if let Some(at) = statement.rfind("pub use ") {
            let path = &statement[at + "pub use ".len()..];
            let last = path.rfind("::").map_or(path, |at| &path[at + 2..]);
            let list = path.find('{').map_or(last, |at| &path[at..]);
            names.extend(words(list).map(str::to_owned));
        }
    }
    for line in source.lines() {
        for kind in ["pub enum ", "pub struct ", "pub const fn ", "pub fn ", "pub trait "] {
            if let Some(rest) = line.strip_prefix(kind) {
                names.extend(words(rest).next().map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn each_public_item_has_a_row() {
    let document = read("docs/SOUNDNESS.md");
    let rows =
        document.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(1));
    let named: HashSet<&str> = rows.flat_map(code).flat_map(words).collect();
    let public = public();
    assert!(public.len() > 50, "{public:?}");
    let missing: Vec<_> = public.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/SOUNDNESS.md has no row for {missing:?}");
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.push(path.clone());
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_test_that_is_named_exists() {
    let mut files = Vec::new();
    for folder in ["tests/tests", "tests/ui/refused", "runtime/src", "runtime/tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut known: HashSet<String> = ["ui", "rs", "loom"].map(str::to_owned).into();
    for file in &files {
        known.extend(file.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        if file.is_file() {
            let text = fs::read_to_string(file).expect("a source can be read");
            known.extend(text.split("fn ").skip(1).filter_map(|rest| words(rest).next()).map(str::to_owned));
        }
    }
    let controls = read("tests/src/negative.rs");
    known.extend(controls.split('"').skip(1).step_by(2).map(str::to_owned));
    let document = read("docs/SOUNDNESS.md");
    let mut missing = Vec::new();
    for row in document.lines().filter(|line| line.starts_with("| ") && line.split('|').count() >= 6) {
        let tests = row.split('|').nth(4).filter(|text| text.trim() != "test").unwrap_or_default();
        missing.extend(code(tests).flat_map(words).filter(|word| !known.contains(*word)).map(str::to_owned));
    }
    assert!(missing.is_empty(), "docs/SOUNDNESS.md names tests that there are not: {missing:?}");
}

//! Packages that a test writes and builds with cargo while it runs, offline: of what the workspace depends on anyway.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of one test's own in cargo's directory for tests.
#[must_use]
pub fn folder(tmp: &str, test: &str) -> PathBuf {
    Path::new(tmp).join(test)
}

/// The text of a file of the workspace.
///
/// # Panics
///
/// The file cannot be read.
#[must_use]
pub fn of_workspace(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a file, and the folders that it is in.
///
/// # Panics
///
/// It cannot be written.
pub fn write(path: &Path, text: &str) {
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The head of a manifest, of a package that is its own workspace.
#[must_use]
pub fn head(name: &str, edition: &str) -> String {
    format!("[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = {edition:?}\n[workspace]\n")
}

/// Runs cargo offline in a folder, and builds into the workspace's own target directory. Answers with what it wrote.
///
/// # Panics
///
/// Cargo fails.
#[must_use]
pub fn cargo(tmp: &str, folder: &Path, words: &[&str]) -> String {
    let output = cargo_answer(tmp, folder, words);
    assert!(output.status.success(), "cargo {}: {}", words.join(" "), shown(&output));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// As [`cargo`], where cargo may fail.
///
/// # Panics
///
/// Cargo cannot be started.
#[must_use]
pub fn cargo_answer(tmp: &str, folder: &Path, words: &[&str]) -> Output {
    let target = Path::new(tmp).parent().expect("cargo's directory for tests is in the target directory");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Before the words, the last of which may be for rustc.
    Command::new(cargo)
        .arg("--offline")
        .args(words)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo starts")
}

/// How a program ended and what it wrote.
#[must_use]
pub fn shown(output: &Output) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{error}", output.status)
}

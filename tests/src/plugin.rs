//! Building plugins for tests, in variants, while a test runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// How a plugin differs from the one that the sources say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// It does not.
    Same,
    /// Its interface's types are defined otherwise.
    Definition,
    /// It has an allocator of its own.
    Allocator,
    /// Its panics abort.
    Abort,
    /// The compiler optimises it.
    Optimised,
}

/// Builds the plugin `hotcall-probe-edge`, once for each variant, into cargo's directory for tests `tmp`.
///
/// # Panics
///
/// It cannot be built.
#[must_use]
pub fn build_edge(tmp: &str, variant: Variant) -> PathBuf {
    // Holding the lock keeps builds in different environments apart.
    static BUILT: Mutex<Option<HashMap<Variant, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let built = built.get_or_insert_default();
    if let Some(path) = built.get(&variant) {
        return path.clone();
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    cargo.args([
        "rustc",
        "--offline",
        "--message-format=json-render-diagnostics",
        "--package",
        "hotcall-probe-edge",
    ]);
    cargo.arg("--target-dir").arg(Path::new(tmp).join("plugins"));
    cargo.env_remove("HOTCALL_PROBE");
    let (words, change): (&[&str], _) = match variant {
        Variant::Same => (&[], None),
        Variant::Definition => (&[], Some(("HOTCALL_PROBE", "definition"))),
        Variant::Allocator => (&["--features", "alloc"], None),
        Variant::Abort => (&["--config", "profile.dev.panic=\"abort\""], None),
        Variant::Optimised => (&["--", "-Copt-level=3"], None),
    };
    cargo.args(words).envs(change);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{cargo:?}\n{}", String::from_utf8_lossy(&output.stderr));
    let library = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "hotcall_probe_edge")
        .find_map(|message| message["filenames"][0].as_str().map(PathBuf::from))
        .expect("cargo names the library");
    // Whole at once: another test's process may be reading it.
    let path = Path::new(tmp).join(format!("libedge_{variant:?}.so"));
    let fresh = path.with_extension(std::process::id().to_string());
    std::fs::copy(&library, &fresh).expect("the library is copied");
    std::fs::rename(&fresh, &path).expect("the copy is renamed");
    built.insert(variant, path.clone());
    path
}

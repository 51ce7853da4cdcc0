//! Slots in a Rust dylib: a program that links it calls and retargets them, and has slots of the dylib's traits.
//!
//! Cargo links what a dylib has in common with its programs (the standard library, hotcall) only once where the dylib
//! is a dependency, not where it is itself built as a member of the workspace: so both are packages of their own here.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use hotcall_tests::package::{cargo, folder, head, of_workspace, write};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn slots_of_a_dylib_are_called_and_retargeted_from_both_sides() {
    let folder = folder(TMP, "dylib");
    let hotcall = concat!("hotcall = { path = \"", env!("CARGO_MANIFEST_DIR"), "/../runtime\" }\n");
    let source = |name: &str| format!("{}/plugins/shared/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let dylib = format!(
        "[package]\nname = \"hotcall-shared\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"dylib\"]\npath = {:?}\n[dependencies]\n{hotcall}",
        source("dylib")
    );
    let program = format!(
        "{}[[bin]]\nname = \"shared-user\"\npath = {:?}\n[dependencies]\nhotcall-shared = {{ path = \"shared\" }}\n{hotcall}",
        head("hotcall-shared-user", "2024"),
        source("program")
    );
    write(&folder.join("shared/Cargo.toml"), &dylib);
    write(&folder.join("Cargo.toml"), &program);
    write(&folder.join("Cargo.lock"), &of_workspace("Cargo.lock"));
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    // Cargo tells the program where the dylib is.
    let said = cargo(TMP, &folder, &["run", "--quiet", "--profile", profile]);
    assert_eq!(said, "both sides agree\n");
}

//! Captures the identity of the compiler, which a plugin and its host must share.
//!
//! It goes into the environment variable `HOTCALL_COMPILER`, and from there into every plugin's header.
//! The identity is the compiler's version, commit and LLVM, and the target. The target stands in place of
//! the compiler's own host triple: it is what decides layouts, and a cross-compiler of the same commit
//! builds plugins as good as a native one's.
//!
//! Left out on purpose:
//! * `--cfg hotcall_portable`. A plugin is a table of shims and a constructor, and both backends call
//!   through the same table: a plugin built for one serves the other. Where it has slots of its host's, which only
//!   two patched ones can share, it is refused for that (`plugin/note.rs`).
//! * Optimisation level and debug assertions. They change no layout of the language's own; where they change
//!   a type of the interface (a field behind `cfg(debug_assertions)`), its size tells.
//!
//! `HOTCALL_DECLARED_COMPILER` replaces the identity. It is for distributors who vouch that two compilers
//! agree on every layout and every calling convention, and for tests.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HOTCALL_DECLARED_COMPILER");
    let compiler = match env::var("HOTCALL_DECLARED_COMPILER") {
        Ok(declared) => declared,
        Err(env::VarError::NotPresent) => compiler()?,
        Err(error) => return Err(format!("HOTCALL_DECLARED_COMPILER: {error}").into()),
    };
    if compiler.is_empty() || compiler.contains(char::is_control) {
        return Err(format!("the compiler's identity must be one line of text, not {compiler:?}").into());
    }
    println!("cargo::rustc-env=HOTCALL_COMPILER={compiler}");
    println!("cargo::rerun-if-changed=src");
    println!(
        "cargo::rustc-env=HOTCALL_SOURCE={}-{:08x}",
        env!("CARGO_PKG_VERSION"),
        source(Path::new("src"))? as u32
    );
    choose_backend()
}

/// A hash (FNV-1a) of the runtime's own sources: while they are being edited the version says too little about the
/// layouts that a plugin and its host share.
fn source(folder: &Path) -> Result<u64, Box<dyn Error>> {
    let mut entries =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, io::Error>>()?;
    entries.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for path in entries {
        if path.is_dir() {
            mix(&source(&path)?.to_le_bytes());
        } else {
            mix(&fs::read(&path)?);
        }
    }
    Ok(hash)
}

/// `--cfg asymmetric` where readers keep records: on Linux, unless `--cfg hotcall_epoch` says no, which is for testing on Linux
/// what runs elsewhere. `--cfg patched` where calls are patched in place: on Linux x86-64 with records, unless
/// `--cfg hotcall_portable` says no.
fn choose_backend() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(patched)");
    let on_linux = env::var("CARGO_CFG_TARGET_OS")? == "linux";
    let on_x86_64 =
        env::var("CARGO_CFG_TARGET_ARCH")? == "x86_64" && env::var("CARGO_CFG_TARGET_POINTER_WIDTH")? == "64";
    println!("cargo::rustc-check-cfg=cfg(asymmetric)");
    println!("cargo::rustc-check-cfg=cfg(hotcall_epoch)");
    if !on_linux || env::var_os("CARGO_CFG_HOTCALL_EPOCH").is_some() {
        return Ok(());
    }
    println!("cargo::rustc-cfg=asymmetric");
    if on_x86_64 && env::var_os("CARGO_CFG_HOTCALL_PORTABLE").is_none() {
        println!("cargo::rustc-cfg=patched");
    }
    Ok(())
}

/// `rustc 1.95.0 (59807616e 2026-04-14), commit 59807616e1fa…, LLVM 22.1.2, x86_64-unknown-linux-gnu`.
fn compiler() -> Result<String, Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").ok_or("cargo did not set RUSTC")?;
    let target = env::var("TARGET")?;
    let output = Command::new(&rustc)
        .arg("-vV")
        .output()
        .map_err(|error| format!("{} -vV could not be run: {error}", rustc.display()))?;
    if !output.status.success() {
        return Err(format!("{} -vV failed: {}", rustc.display(), output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim();
    let version = text.lines().next().unwrap_or("unknown").trim();
    Ok(format!("{version}, commit {}, LLVM {}, {target}", field("commit-hash:"), field("LLVM version:")))
}

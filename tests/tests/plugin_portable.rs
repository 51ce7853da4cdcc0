//! A plugin that was built for the portable backend: it serves any host; but where it would call slots of the host's, which would be
//! its own, it is refused.
#![cfg(all(target_os = "linux", not(miri)))]

use std::path::{Path, PathBuf};
use std::process::Command;

use hotcall::{Error, Library, PluginError};
use hotcall_host_slots::{Caller, TALLY, Tally};
use hotcall_probe::Probe;

/// The library of a package of the workspace, for the portable backend.
fn portable(package: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portable");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics", "--package", package]);
    cargo.arg("--target-dir").arg(target).env("RUSTFLAGS", "--cfg hotcall_portable");
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut built = messages.filter(|message| message["target"]["name"] == package.replace('-', "_"));
    built
        .find_map(|message| message["filenames"][0].as_str().map(PathBuf::from))
        .expect("cargo names the library")
}

fn open(path: &Path) -> Result<Library, Error> {
    // SAFETY: the plugins of this workspace are safe code.
    unsafe { Library::open(path) }
}

#[test]
fn without_slots_of_the_host_it_serves() {
    let library = open(&portable("hotcall-probe-good")).unwrap();
    assert_eq!(library.instantiate::<dyn Probe>("5").unwrap().count(), 5);
}

#[test]
fn with_slots_of_the_host_it_is_refused() {
    // This program has the slot.
    let before = TALLY.calls();
    let path = portable("hotcall-calls-host");
    let refused = open(&path).unwrap_err();
    let Error::Plugin(PluginError::Slots { slots, library, host, .. }) = &refused else {
        panic!("{refused}")
    };
    assert!(slots.iter().any(|slot| slot == "hotcall_host_slots::TALLY"), "{slots:?}");
    // Its own slots are nobody else's.
    assert!(!slots.iter().any(|slot| slot.contains("OWN")), "{slots:?}");
    let patched = hotcall::backend() == hotcall::Backend::Patched;
    assert_eq!((library.as_str(), host.as_str()), ("portable", if patched { "patched" } else { "portable" }));
    let text = refused.to_string();
    assert!(text.contains("`hotcall_host_slots::TALLY`") && !text.contains('\n'), "{text}");
    assert_eq!(TALLY.calls(), before);

    // Of the same backend it is linked, where there is a backend that links.
    let linked = hotcall_examples::plugins::build(&["hotcall-calls-host"]).unwrap().remove(0);
    let opened = open(&linked);
    assert_eq!(opened.is_ok(), patched);
    if let Ok(library) = opened {
        assert_eq!(library.instantiate::<dyn Caller>("").unwrap().call(3, 1), 3);
        assert_eq!(TALLY.calls(), before + 1);
    }
}

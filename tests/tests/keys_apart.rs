//! Keys where a process is not alone, or may not patch: forks, `patch_callers(false)`, no `membarrier`. A process for each.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::process::Command;

use hotcall::{Backend, Sections, key};
use hotcall_tests::forking::{Rendezvous, fork};
use hotcall_tests::negative;

#[key]
static ONE: bool = false;
#[key]
static TWO: bool = true;

#[inline(never)]
fn asked() -> [bool; 4] {
    [ONE.is_on(), ONE.is_likely_on(), TWO.is_on(), TWO.is_unlikely_on()]
}

fn are(one: bool, two: bool) -> bool {
    asked() == [one, one, two, two]
}

fn patches() -> bool {
    hotcall::backend() == Backend::Patched && hotcall::sections() == Sections::Asymmetric
}

/// Child and parent each turn theirs.
fn each_its_own() -> bool {
    ONE.set(true).unwrap();
    let [turned, seen] = [Rendezvous::new(), Rendezvous::new()];
    let child = fork(|| {
        let inherited = are(true, true);
        ONE.set(false).unwrap();
        TWO.set(false).unwrap();
        let own = are(false, false);
        turned.tell();
        seen.wait();
        inherited && own && are(false, false)
    });
    turned.wait();
    let untouched = are(true, true);
    let held = TWO.hold().unwrap();
    TWO.set(false).unwrap();
    let own = are(true, true);
    drop(held);
    let own = own && are(true, false);
    TWO.set(true).unwrap();
    seen.tell();
    child.wait().is_ok() && untouched && own && are(true, true)
}

/// A key that cannot be written to since a fork stays as it is, whole; also where its last holder is gone.
fn refused() -> bool {
    let held = ONE.hold().unwrap();
    let child = fork(move || {
        drop(held);
        let late = are(true, true);
        let Err(error) = ONE.set(false) else { return false };
        let guard = TWO.hold().unwrap();
        drop(guard);
        let batch = hotcall::batch(|batch| {
            batch.set(&TWO, false).set(&ONE, false);
        });
        late && matches!(error, hotcall::Error::Memory(_)) && batch.is_err() && are(true, true)
    });
    child.wait().is_ok() && are(true, true)
}

fn run_as(what: &str) {
    match what {
        "unwanted" => {
            hotcall::patch_callers(false);
            turned();
            let (stats, kept) = (hotcall::stats(), hotcall::stats().kept_branches);
            if hotcall::backend() == Backend::Patched {
                assert!(stats.branches == 0 && kept.unwanted >= 4, "{stats:?}");
                assert!(hotcall::report().to_string().contains("left alone: `patch_callers(false)`"));
            }
        }
        "no-membarrier" => {
            turned();
            let (stats, kept) = (hotcall::stats(), hotcall::stats().kept_branches);
            if hotcall::backend() == Backend::Patched {
                assert!(stats.branches == 0 && kept.no_barrier >= 4, "{stats:?}");
                assert!(hotcall::report().to_string().contains("the system has no `membarrier`"));
            }
        }
        other => panic!("{other}"),
    }
}

/// All there is to turn, wherever it is asked.
fn turned() {
    assert!(are(false, true));
    ONE.set(true).unwrap();
    assert!(are(true, true));
    TWO.set(false).unwrap();
    assert!(are(true, false));
    let guard = TWO.hold().unwrap();
    assert!(are(true, true));
    drop(guard);
    ONE.set(false).unwrap();
    assert!(are(false, false));
    TWO.set(true).unwrap();
    assert!(are(false, true));
}

const VARIABLE: &str = "HOTCALL_KEYS_APART";

#[test]
fn each_process_by_itself() {
    match negative::sabotaged() {
        Some("no-memory-of-its-own") => std::process::exit(if refused() { 0 } else { negative::CAUGHT }),
        Some(_) => std::process::exit(if each_its_own() { 0 } else { negative::CAUGHT }),
        None => {}
    }
    if let Ok(what) = std::env::var(VARIABLE) {
        return run_as(&what);
    }
    assert!(each_its_own());

    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "each_process_by_itself", "--nocapture"]);
        command
    };
    for (what, variable) in [("unwanted", None), ("no-membarrier", Some("HOTCALL_NO_MEMBARRIER"))] {
        let mut command = again();
        command.env(VARIABLE, what).envs(variable.map(|name| (name, "1")));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }
    if patches() {
        println!("shared-after-fork: {}", negative::is_noticed(again, "shared-after-fork").unwrap());
        let survived = negative::is_noticed(again, "no-memory-of-its-own");
        assert!(survived.is_err(), "a child that gets no memory: {survived:?}");
    }
}

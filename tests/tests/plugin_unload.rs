//! A library goes when its last instance does, unless something of it may still run.
//!
//! Each case is a process of its own: it would be ended by a signal if it went wrong.
#![cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
#![allow(missing_docs)]

use std::process::Command;
use std::sync::mpsc;

use hotcall::{Library, slot};
use hotcall_probe::edge::Numbers;
use hotcall_tests::negative;
use hotcall_tests::plugin::{Variant, build_edge};

struct Zero;

impl Numbers for Zero {
    fn next(&self, _: u64) -> u64 {
        0
    }
}

#[slot]
static NUMBERS: dyn Numbers = Zero;

const LIBRARY: &str = "HOTCALL_EDGE_LIBRARY";
const CASE: &str = "HOTCALL_EDGE_CASE";

fn is_mapped() -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().contains("memfd:libedge")
}

/// Loads the library, calls it from three threads, lets it go, and loads it again: one thread ends before it goes, one
/// after, one after it has come back. Whether it stayed mapped.
fn load_call_and_let_go(path: &str, case: &str) -> bool {
    // SAFETY: the plugin is safe code.
    let open = || unsafe { Library::open(path) }.unwrap();
    let worker = |first: bool| {
        let ((go, wait), (done, called)) = (mpsc::channel::<()>(), mpsc::channel());
        let thread = std::thread::spawn(move || {
            done.send(NUMBERS.next(1)).unwrap();
            let _ = wait.recv();
        });
        assert_eq!(called.recv().unwrap(), if first { 2 } else { 0 });
        (go, thread)
    };
    let end = |(go, thread): (mpsc::Sender<()>, std::thread::JoinHandle<()>)| {
        drop(go);
        thread.join().unwrap();
    };
    let library = open();
    // SAFETY: what it keeps is what hotcall looks for.
    unsafe { library.unload_when_drained() };
    drop(NUMBERS.replace(library.instantiate_named::<dyn Numbers>("Told", case).unwrap()).unwrap());
    drop(library);
    let (before, between, after) = (worker(true), worker(true), worker(true));
    end(before);
    drop(NUMBERS.restore().unwrap().wait().unwrap());
    let stayed = is_mapped();
    end(between);
    let library = open();
    // SAFETY: as above.
    unsafe { library.unload_when_drained() };
    drop(NUMBERS.replace(library.instantiate_named::<dyn Numbers>("Told", case).unwrap()).unwrap());
    drop(library);
    let again = worker(true);
    end(after);
    drop(NUMBERS.restore().unwrap().wait().unwrap());
    end(again);
    end(worker(false));
    stayed
}

fn in_a_child(path: &std::path::Path, case: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_program_that_unloads", "--ignored", "--nocapture"]);
    command.env(LIBRARY, path).env(CASE, case);
    command
}

#[test]
fn a_library_goes_if_nothing_of_it_is_left() {
    let path = build_edge(env!("CARGO_TARGET_TMPDIR"), Variant::Same);
    for (case, stays) in [
        ("numbers", false),
        ("know the thread", true),
        ("keep something of the thread", true),
        // It has the record of each thread that calls; nothing outside leads there.
        ("call a slot", false),
        ("start a thread", true),
    ] {
        let output = in_a_child(&path, case).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = format!("{case}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        assert!(text.contains(if stays { "it stayed" } else { "it went" }), "{said}");
    }
    let case = || in_a_child(&path, "know the thread");
    println!("unload-at-once: {}", negative::is_noticed(case, "unload-at-once").unwrap());
}

/// Not a test: what `a_library_goes_if_nothing_of_it_is_left` runs in other processes.
#[test]
#[ignore = "run by a_library_goes_if_nothing_of_it_is_left"]
fn the_program_that_unloads() {
    let (Ok(path), Ok(case)) = (std::env::var(LIBRARY), std::env::var(CASE)) else { return };
    let _ = negative::sabotaged();
    println!("{}", if load_call_and_let_go(&path, &case) { "it stayed" } else { "it went" });
}

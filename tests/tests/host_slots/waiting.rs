//! What a library's call is inside of is not freed.
//!
//! The reader stands inside until somebody has waited for it, so that the outcome is always the same.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use hotcall_host_slots::{Caller, TALLY, Tally};
use hotcall_tests::{eventually, negative};

use crate::{Adds, alone, plugin};

static INSIDE: AtomicBool = AtomicBool::new(false);
static LEAVE: AtomicBool = AtomicBool::new(false);

/// Whoever calls it stays until told to leave.
struct Stays;

impl Tally for Stays {
    fn tally(&self, x: u64, _: u32) -> u64 {
        INSIDE.store(true, Ordering::SeqCst);
        while !LEAVE.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        x
    }
    fn calls(&self) -> u64 {
        0
    }
}

#[test]
fn a_call_of_a_library_is_waited_for() {
    let _alone = alone();
    let sabotaged = negative::sabotaged().is_some();
    let plugin = plugin();
    drop(TALLY.replace(Stays).unwrap());
    let overtaken = std::thread::scope(|scope| {
        let reader = scope.spawn(|| plugin.call(7, 1));
        eventually("the reader is inside", || INSIDE.load(Ordering::SeqCst));
        let retired = TALLY.replace(Adds(1)).unwrap();
        let outcome = retired.wait_timeout(negative::limit());
        LEAVE.store(true, Ordering::SeqCst);
        assert_eq!(reader.join().unwrap(), 7);
        negative::has_come(outcome)
    });
    if sabotaged {
        std::process::exit(if overtaken { negative::CAUGHT } else { 0 });
    }
    assert!(!overtaken);
    drop(TALLY.restore().unwrap());

    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "waiting::a_call_of_a_library_is_waited_for", "--nocapture"]);
        command
    };
    println!("unlinked-readers: {}", negative::is_noticed(again, "unlinked-readers").unwrap());
}

//! A plugin in a shared library calls a slot of its host, which is replaced meanwhile.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hotcall::{Instance, WaitError};
use hotcall_examples::plugins;
use hotcall_host_slots::{Caller, TALLY, Tally};
use hotcall_tests::negative;

/// Adds, as long as it lives.
struct Adds {
    alive: AtomicU64,
    add: u64,
}

const ALIVE: u64 = 0x0a11_fe00_0a11_fe00;
/// What a dead one gives.
const DEAD: u64 = u64::MAX;

impl Adds {
    fn new(add: u64) -> Self {
        Self { alive: AtomicU64::new(ALIVE), add }
    }
}

impl Drop for Adds {
    fn drop(&mut self) {
        self.alive.store(DEAD, Ordering::Relaxed);
    }
}

impl Tally for Adds {
    #[inline(never)]
    fn tally(&self, x: u64, rounds: u32) -> u64 {
        let lives = (0..rounds.max(1)).all(|_| self.alive.load(Ordering::Relaxed) == ALIVE);
        if lives { x + self.add } else { DEAD }
    }
    fn calls(&self) -> u64 {
        0
    }
}

/// Replaces itself, and waits for itself.
struct Waits;

impl Tally for Waits {
    fn tally(&self, _: u64, _: u32) -> u64 {
        match TALLY.replace(Waits).map(hotcall::Retired::wait) {
            Ok(Err(WaitError::WouldDeadlock(_))) => 1,
            _ => 0,
        }
    }
    fn calls(&self) -> u64 {
        0
    }
}

/// The plugin calls on one thread while this one replaces; how many results were wrong.
fn storm(plugin: &Instance<dyn Caller>, time: Duration) -> u64 {
    let (stop, wrong) = (AtomicBool::new(false), AtomicU64::new(0));
    drop(TALLY.replace(Adds::new(1)).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for x in 0..200 {
                    let sum = plugin.call(x, 400);
                    wrong.fetch_add(u64::from(sum != x + 1 && sum != x + 2), Ordering::Relaxed);
                }
                wrong.fetch_add(u64::from(!plugin.call_guarded(5, 20)), Ordering::Relaxed);
            }
        });
        let begin = std::time::Instant::now();
        while begin.elapsed() < time {
            for round in 0..50 {
                drop(TALLY.replace(Adds::new(1 + round % 2)).unwrap());
            }
            // Past several grace periods: settled, and replaced from there.
            std::thread::sleep(Duration::from_millis(3));
        }
        stop.store(true, Ordering::Relaxed);
    });
    wrong.load(Ordering::Relaxed)
}

#[test]
fn a_plugin_calls_a_slot_of_its_host() {
    let sabotaged = negative::sabotaged().is_some();
    let path = plugins::build(&["hotcall-calls-host"]).unwrap().remove(0);
    let library = plugins::open(&path).unwrap();
    let plugin = library.instantiate::<dyn Caller>("").unwrap();
    if sabotaged {
        let caught = storm(&plugin, Duration::from_secs(2)) != 0;
        std::process::exit(if caught { negative::CAUGHT } else { 0 });
    }

    // The default: the program's, not the plugin's copy of it.
    assert_eq!(plugin.call(3, 1), 3);
    assert_eq!(TALLY.calls(), 1);

    // Replaced: at once, and after it has settled.
    let retired = TALLY.replace(Adds::new(10)).unwrap();
    assert_eq!((plugin.call(3, 1), TALLY.tally(3, 1)), (13, 13));
    retired.wait().unwrap();
    assert_eq!((plugin.call(3, 1), TALLY.tally(3, 1)), (13, 13));
    assert!(plugin.target().ends_with("Adds"), "{}", plugin.target());

    // A library that is loaded later begins with what is installed; this one lies far away.
    hotcall::load_libraries_near(false);
    let late = plugins::open(&path).unwrap();
    let second = late.instantiate::<dyn Caller>("").unwrap();
    for _ in 0..100 {
        assert_eq!((plugin.call(4, 1), second.call(4, 1)), (14, 14));
        std::thread::sleep(Duration::from_micros(100));
    }

    // Only the program replaces.
    let refusals = plugin.replace();
    assert_eq!(refusals.matches("`hotcall_host_slots::TALLY` is the program's").count(), 3, "{refusals}");
    assert_eq!(plugin.call(3, 1), 13);

    assert_eq!(storm(&plugin, Duration::from_secs(2)), 0);

    // A wait that would never end, because this very thread is in a call of the plugin's.
    drop(TALLY.replace(Waits).unwrap());
    assert_eq!(plugin.call(0, 0), 1);

    drop(TALLY.restore().unwrap());
    assert_eq!((plugin.call(3, 1), TALLY.calls()), (3, 2));

    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_plugin_calls_a_slot_of_its_host", "--nocapture"]);
        command
    };
    println!("unlinked-readers: {}", negative::is_noticed(again, "unlinked-readers", 40).unwrap());
}

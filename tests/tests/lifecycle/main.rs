//! What happens when: waiting where it would never end, replacing from inside, panics, threads that end, signals,
//! guards held for ever. Each rule is written at the public item that it concerns; here it is held to.
#![allow(missing_docs)]

mod batches;
mod guards;
mod handover;
mod in_place;
mod modes;
mod panics;
mod reentry;
#[cfg(target_os = "linux")]
mod signals;
mod threads;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::dispatch;
pub use hotcall_tests::{LONG, eventually};

#[dispatch]
pub trait Step: Send + Sync {
    fn run(&self, x: u64) -> u64;
}

/// What a slot begins with.
pub struct Idle;
impl Step for Idle {
    fn run(&self, x: u64) -> u64 {
        x
    }
}

/// Adds its number. Its memory says whether it lives; its end is counted.
pub struct Adds {
    number: u64,
    alive: [u64; 8],
    ended: Arc<AtomicUsize>,
}

const ALIVE: u64 = 0x0a11_fe00_0a11_fe00;

impl Adds {
    pub fn new(number: u64, ended: &Arc<AtomicUsize>) -> Self {
        Self { number, alive: [ALIVE; 8], ended: Arc::clone(ended) }
    }

    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Step for Adds {
    fn run(&self, x: u64) -> u64 {
        assert_eq!(std::hint::black_box(self).alive, [ALIVE; 8], "a call on an instance that was freed");
        x + self.number
    }
}

impl Drop for Adds {
    fn drop(&mut self) {
        self.alive = [0xdead; 8];
        std::hint::black_box(&self.alive);
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Does what it is told, then counts its end.
pub struct Does<F: Fn(u64) -> u64> {
    what: F,
}

impl<F: Fn(u64) -> u64> Does<F> {
    pub fn new(what: F) -> Self {
        Self { what }
    }
}

impl<F: Fn(u64) -> u64 + Send + Sync> Step for Does<F> {
    fn run(&self, x: u64) -> u64 {
        (self.what)(x)
    }
}

/// Does what it is told when it is dropped.
pub struct AtEnd<F: Fn()> {
    what: F,
}

impl<F: Fn()> AtEnd<F> {
    pub fn new(what: F) -> Self {
        Self { what }
    }
}

impl<F: Fn() + Send + Sync> Step for AtEnd<F> {
    fn run(&self, x: u64) -> u64 {
        x + 1_000
    }
}

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.what)();
    }
}

/// How many thunks a slot of this binary has now.
pub fn thunks(name: &str) -> usize {
    let emitted = hotcall::__private::emitted().unwrap();
    emitted.iter().filter(|one| one.kind == "thunk" && one.slot.ends_with(name)).count()
}

/// Runs one test of this binary again, in a process of its own.
pub fn again(test: &str, variable: &str) -> std::process::Output {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=2"]).env(variable, "1");
    command.output().unwrap()
}

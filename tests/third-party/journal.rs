//! Says, in a file that the test reads, which implementor has had each call.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

static LAST: AtomicU64 = AtomicU64::new(0);

/// Numbers the implementors of a slot from 1, and turns to 0 when its implementor is dropped.
pub struct Number(AtomicU64);

impl Number {
    /// The next number.
    pub fn next() -> Self {
        Self(AtomicU64::new(LAST.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Writes down that the implementor with this number has had a call.
    pub fn note(&self, slot: &str) {
        let path = std::env::var_os("HOTCALL_JOURNAL")
            .expect("run by tests/tests/third_party.rs, which names a file");
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the journal opens");
        let line = format!("{} {slot} {}\n", std::process::id(), self.0.load(Ordering::Relaxed));
        file.write_all(line.as_bytes()).expect("the journal takes a line");
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

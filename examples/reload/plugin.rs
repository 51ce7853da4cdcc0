//! The plugin of the example `reload`, which edits this text and builds it anew.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use hotcall_tally::{Answer, Tally, seal};

const VERSION: u64 = 1;

struct Counter {
    version: u64,
    total: AtomicU64,
}

impl Counter {
    fn new(_: &str) -> Self {
        // What a panic says, the host tells: nothing is to be printed beside it.
        std::panic::set_hook(Box::new(|_| {}));
        Self { version: VERSION, total: AtomicU64::new(0) }
    }

    fn save(&self) -> Vec<u8> {
        self.total.load(Ordering::Relaxed).to_le_bytes().to_vec()
    }

    fn restore(&self, state: &[u8]) -> Result<(), String> {
        let state = state.try_into().map_err(|_| "a count has eight bytes")?;
        self.total.store(u64::from_le_bytes(state), Ordering::Relaxed);
        Ok(())
    }
}

impl Tally for Counter {
    fn add(&self, x: u64) -> Answer {
        // (begin)
        self.total.fetch_add(x, Ordering::Relaxed);
        Answer { version: self.version, seal: seal(VERSION, x) }
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

hotcall::export!(dyn Tally, "counter", Counter::new, save = Counter::save, restore = Counter::restore);

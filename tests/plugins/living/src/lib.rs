//! A plugin that counts, and behaves as its file says: tests write another text into a copy of it, where a build would take seconds.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use hotcall_probe::living::Tally;

/// Begins with what tests look for; then a text that ends with a full stop.
static BEHAVIOUR: [u8; 64] = *b"hotcall-living:plain.___________________________________________";

/// What the file says.
fn behaviour() -> String {
    let text: Vec<u8> = black_box(&BEHAVIOUR).iter().map(|byte| black_box(*byte)).collect();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split([':', '.']).nth(1).unwrap_or_default().to_owned()
}

struct Counter {
    total: AtomicU64,
    behaviour: String,
    config: String,
}

impl Counter {
    fn new(config: &str) -> Result<Self, String> {
        let behaviour = behaviour();
        match behaviour.as_str() {
            "fail in the constructor" => Err("it was told to fail".to_owned()),
            "panic in the constructor" => panic!("told to panic"),
            _ => Ok(Self { total: AtomicU64::new(0), behaviour, config: config.to_owned() }),
        }
    }

    fn save(&self) -> Result<Vec<u8>, String> {
        match self.behaviour.as_str() {
            "fail to save" => Err("nothing to save".to_owned()),
            _ => Ok(self.total.load(Ordering::SeqCst).to_le_bytes().to_vec()),
        }
    }

    /// Adds to what is there already.
    fn restore(&self, state: &[u8]) -> Result<(), String> {
        match self.behaviour.as_str() {
            "refuse to restore" => return Err("that is no state of mine".to_owned()),
            "panic while it restores" => panic!("told to panic"),
            _ => {}
        }
        let total = state.try_into().map_err(|_| format!("a state has 8 bytes, not {}", state.len()))?;
        self.total.fetch_add(u64::from_le_bytes(total), Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        assert!(self.behaviour != "panic in the destructor", "told to panic");
    }
}

impl Tally for Counter {
    fn add(&self, x: u64) -> u64 {
        assert!(self.behaviour != "panic", "told to panic at {x}");
        assert!(self.behaviour != "panic at seven" || x != 7, "told to panic at seven");
        self.total.fetch_add(x, Ordering::SeqCst) + x
    }

    fn who(&self) -> String {
        format!("{} {}", self.behaviour, self.config)
    }

    fn inside(&self, function: &dyn Fn(u64) -> u64) -> u64 {
        function(self.total.load(Ordering::SeqCst))
    }
}

hotcall::export!(dyn Tally, "counter", Counter::new, save = Counter::save, restore = Counter::restore);

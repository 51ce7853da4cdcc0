//! A plugin with one export, written without unsafe code.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

use hotcall_probe::Probe;

static COUNT: AtomicU32 = AtomicU32::new(0);

struct Counter {
    step: u32,
}

impl Counter {
    fn from_config(config: &str) -> Self {
        Self { step: config.parse().unwrap_or(1) }
    }
}

impl Probe for Counter {
    fn count(&self) -> u32 {
        COUNT.fetch_add(self.step, Ordering::Relaxed) + self.step
    }
}

hotcall::export!(dyn Probe, Counter::from_config);

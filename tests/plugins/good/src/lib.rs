//! A plugin with one export of each interface, written without unsafe code.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

use hotcall_probe::{Probe, Stage};

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

impl Stage<u64> for Counter {
    fn size(&self, of: &u64) -> usize {
        size_of_val(of)
    }
}

hotcall::export!(dyn Probe, Counter::from_config; dyn Stage<u64>, Counter::from_config);

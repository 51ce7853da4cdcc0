//! A plugin with several exports, and a constructor that the ELF file runs when it is loaded.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use hotcall_probe::Probe;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Leaves a mark that code of this library has run: a file, at the path in `HOTCALL_PROBE_MARKER`.
extern "C" fn on_load() {
    if let Some(path) = std::env::var_os("HOTCALL_PROBE_MARKER") {
        let _ = std::fs::write(path, "loaded");
    }
}

#[used]
// SAFETY: the section holds functions to be called without arguments that matter, and this is one.
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

struct Counter(u32);

impl Counter {
    fn from_config(_: &str) -> Self {
        Self(1)
    }

    fn strict(config: &str) -> Result<Self, Refusal> {
        config.parse().map(Self).map_err(|_| Refusal(config.to_owned()))
    }

    fn panicking(config: &str) -> Self {
        panic!("no counter for `{config}`")
    }
}

impl Probe for Counter {
    fn count(&self) -> u32 {
        COUNT.fetch_add(self.0, Ordering::Relaxed) + self.0
    }
}

struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a step", self.0)
    }
}

hotcall::export!(dyn Probe, Counter::from_config, "strict", Counter::strict);
hotcall::export!(
    dyn hotcall_probe::Probe, "panicking", Counter::panicking;
    dyn Probe, "closure", |config| Counter(config.len() as u32);
);

//! What the benchmarks load from a shared library: the same steps, from the other side of `dlopen`.
#![forbid(unsafe_code)]

use hotcall_bench_step::{KEY, Step, turn};

/// Does what the program's own stateful implementor does.
struct Plugged {
    key: u64,
}

impl Plugged {
    fn from_config(config: &str) -> Result<Self, String> {
        if config.is_empty() {
            return Ok(Self { key: KEY });
        }
        config.parse().map(|key| Self { key }).map_err(|_| format!("`{config}` is not a key"))
    }
}

impl Step for Plugged {
    fn step(&self, x: u64) -> u64 {
        turn(x, self.key)
    }
}

hotcall::export!(dyn Step, Plugged::from_config);

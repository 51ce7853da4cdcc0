//! A plugin that does what it is told.
#![cfg_attr(not(feature = "alloc"), forbid(unsafe_code))]

use std::cell::Cell;

use hotcall::slot;
use hotcall_probe::edge::{Edge, Mode, Numbers, Settings, Shared, Typed};

#[cfg(feature = "alloc")]
mod headed;

#[slot]
static OWN: fn(u64) -> u64 = |x: u64| x + 1;

struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        LAST.set(LAST.get() + 1);
    }
}

thread_local! {
    static LAST: Cell<u64> = const { Cell::new(0) };
    static LOUD: Loud = const { Loud };
}

/// A payload that panics when it is destroyed, as do those of its panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Self);
    }
}

struct Told(String);

impl Told {
    fn new(config: &str) -> Result<Self, String> {
        match config {
            "fail in the constructor" => Err("it was told to".to_owned()),
            "panic in the constructor" => panic!("told to {config}"),
            // From now on. Where they were raised nobody is told any more.
            "panic quietly" => {
                std::panic::set_hook(Box::new(|_| {}));
                Ok(Self(config.to_owned()))
            }
            "start a thread" => {
                std::thread::spawn(std::thread::park);
                Ok(Self(config.to_owned()))
            }
            _ => Ok(Self(config.to_owned())),
        }
    }
}

impl Edge for Told {
    fn act(&self, x: u64) -> u64 {
        match self.0.as_str() {
            "panic" => panic!("told to panic at {x}"),
            "panic with a number" => std::panic::panic_any(x),
            "panic with a bomb" => std::panic::panic_any(Bomb),
            "panic inside" => {
                let caught = std::panic::catch_unwind(|| panic!("inside"));
                x + u64::from(caught.is_err())
            }
            "know the thread" => {
                std::hint::black_box(std::thread::current().id());
                x + 1
            }
            "keep something of the thread" => LOUD.with(|_| x + 1),
            "call a slot" => OWN(x),
            _ => x + 1,
        }
    }

    fn told(&self) -> String {
        self.0.clone()
    }

    fn call_back(&self, x: u64, function: &mut dyn FnMut(u64) -> u64) -> u64 {
        let _held = self.0.clone();
        match self.0.as_str() {
            "panic" => panic!("after {}", function(x)),
            _ => function(x),
        }
    }

    fn weigh(&self, parts: [u64; 9], name: String, last: f32) -> String {
        assert!(self.0 != "panic", "{name} weighs {}", parts[8]);
        format!("{name} {} {last}", parts.iter().sum::<u64>())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        assert!(self.0 != "panic in the destructor", "told to {}", self.0);
    }
}

impl Numbers for Told {
    fn next(&self, x: u64) -> u64 {
        self.act(x)
    }
}

struct Modes;

impl Typed for Modes {
    fn mode(&self, settings: &Settings) -> u64 {
        match settings.mode {
            Mode::Low => 10,
            Mode::High => 20,
        }
    }
}

hotcall::export!(
    dyn Edge, Told::new;
    dyn Numbers, Told::new, Shared::new;
    dyn Typed, "Modes", |_| Modes;
);

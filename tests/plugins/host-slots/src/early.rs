//! A slot that a library calls before it is linked, and the interface of that library.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use hotcall::{dispatch, slot};

/// What an environment variable of this name tells such a library to do when it is loaded: to replace a slot of its own
/// ([`REPLACES`]), or to call [`LATE`] and be inside until whoever listens at that socket lets it go.
pub const EARLY: &str = "HOTCALL_TESTS_EARLY";
/// See [`EARLY`].
pub const REPLACES: &str = "replaces";

/// What stands behind the slot.
#[dispatch]
pub trait Late: Send + Sync {
    /// A number.
    fn run(&self) -> u64;
}

/// Says that somebody is inside, and waits until it may go on.
pub struct Waits;

impl Late for Waits {
    fn run(&self) -> u64 {
        let Some(path) = std::env::var_os(EARLY) else { return 0 };
        let Ok(mut stream) = UnixStream::connect(path) else { return 0 };
        let met = stream.write_all(b"i").and_then(|()| stream.read_exact(&mut [0]));
        u64::from(met.is_ok())
    }
}

/// The slot.
#[slot]
pub static LATE: dyn Late = Waits;

/// A plugin of such a library.
#[dispatch]
pub trait Early: Send + Sync {
    /// What its call of [`LATE`] gives now.
    fn late(&self) -> u64;
}

//! Waiting for what comes in a moment.

use std::time::{Duration, Instant};

/// Long enough for the slowest machine: a test that gets there has hung.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits until it is so.
///
/// # Panics
///
/// It is not so after [`LONG`].
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}; {:?}", hotcall::stats());
        std::thread::sleep(Duration::from_millis(1));
    }
}

//! What a debugger or a profiler looks at: a caller, what it calls, and a plugin, before and after calls are patched.

use std::hint::black_box;

use super::job::{Add, FIRST, Stage};
use super::plugins;

struct Deep;
impl Stage for Deep {
    #[inline(never)]
    fn run(&self, x: u64) -> u64 {
        innermost(x)
    }
    fn name(&self) -> String {
        "deep".to_owned()
    }
}

#[inline(never)]
fn innermost(x: u64) -> u64 {
    black_box(x) + 10
}

/// Its page has a call that is patched.
#[inline(never)]
fn the_caller(x: u64) -> u64 {
    FIRST.run(x) + 1
}

/// A place to stop at when calls have been patched.
#[inline(never)]
fn all_is_patched() -> u64 {
    black_box(1)
}

/// Calls, replaces, calls again, loads a plugin, and calls that.
pub fn stop_by_stop() -> Result<String, String> {
    let before = the_caller(3);
    drop(FIRST.replace(Deep).map_err(|error| error.to_string())?.wait().map_err(|error| error.to_string())?);
    let patched = the_caller(3);
    all_is_patched();
    let again = the_caller(3);
    drop(FIRST.replace(Add(1)).map_err(|error| error.to_string())?);
    let count = plugins::count(&plugins::path()?)?;
    match (before, patched, again, the_caller(3), count) {
        (4, 14, 14, 5, 1) => Ok("all stops passed".to_owned()),
        wrong => Err(format!("{wrong:?}")),
    }
}

/// Spins in an implementor, in a plugin's method and in a chain, for a profiler.
pub fn spin() -> Result<String, String> {
    drop(FIRST.replace(Deep).map_err(|error| error.to_string())?.wait().map_err(|error| error.to_string())?);
    let mut sum = 0_u64;
    for _ in 0..40_000_000 {
        sum = the_caller(black_box(sum) & 7);
    }
    Ok(format!("at last {}", sum.min(1)))
}

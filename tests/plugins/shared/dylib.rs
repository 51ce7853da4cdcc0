//! A Rust dylib with slots: the programs that link it share them, and the one copy of hotcall that is in it.
#![forbid(unsafe_code)]

use hotcall::{Error, Patched, dispatch, slot};

/// A filter.
#[dispatch]
pub trait Filter: Send + Sync {
    /// Filters.
    fn run(&self, x: u32) -> u32;
    /// Names itself.
    fn name(&self) -> String {
        "unnamed".into()
    }
}

struct Pass;
impl Filter for Pass {
    fn run(&self, x: u32) -> u32 {
        x
    }
}

/// Adds.
pub struct Add(pub u32);
impl Filter for Add {
    fn run(&self, x: u32) -> u32 {
        x + self.0
    }
    fn name(&self) -> String {
        format!("add {}", self.0)
    }
}

/// Anybody may retarget it.
#[slot]
pub static FILTER: dyn Filter = Pass;

/// Only this library may.
#[slot(control = OWN_CONTROL)]
pub static OWN: dyn Filter = Pass;

/// A function slot.
#[slot]
pub static SCALE: fn(u32) -> u32 = double;

fn double(x: u32) -> u32 {
    x * 2
}

/// Retargets from inside.
///
/// # Errors
///
/// As for `replace`.
pub fn install(add: u32) -> Result<(), Error> {
    drop(FILTER.replace(Add(add))?);
    drop(OWN_CONTROL.replace(Add(add))?);
    Ok(())
}

/// Calls from inside.
#[must_use]
#[inline(never)]
pub fn call(x: u32) -> [u32; 3] {
    [FILTER.run(x), OWN.run(x), SCALE(x)]
}

/// Calls from inside, compiled where it is called.
#[inline]
#[must_use]
pub fn call_inline(x: u32) -> [u32; 3] {
    [FILTER.run(x), OWN.run(x), SCALE(x)]
}

/// Calls one that the program gives.
pub fn call_through(filter: &dyn Filter, x: u32) -> u32 {
    filter.run(x)
}

/// A handle that the program owns.
#[must_use]
pub fn handle(add: u32) -> Patched<dyn Filter> {
    Patched::new(Add(add))
}

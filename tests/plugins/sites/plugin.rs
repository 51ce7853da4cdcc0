//! A plugin with slots of its own, which calls those of the library that its host contains, too.
#![forbid(unsafe_code)]

use hotcall::slot;
use sites_shapes::{Nothing, One, Shapes, callers};

#[slot]
static OWN: dyn Shapes = Nothing;
#[slot]
static OTHER: dyn Shapes = Nothing;
#[slot]
static SCALE: fn(u64, u64) -> u64 = double;
#[slot]
static MAYBE: Option<fn(&str) -> usize> = None;

fn double(x: u64, y: u64) -> u64 {
    x.wrapping_mul(2).wrapping_add(y)
}

callers!(OWN, OTHER; SCALE, MAYBE);

/// A plugin.
pub struct Checks;

impl Checks {
    fn from_config(_: &str) -> Result<One, String> {
        check().map_err(|error| error.to_string())?;
        let shared = sites_library::inlined(1);
        Ok(One(shared))
    }
}

hotcall::export!(dyn Shapes, Checks::from_config);

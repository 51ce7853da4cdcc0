//! A plugin of a trait that is called `Effect` too, but is another than the rack's.
#![forbid(unsafe_code)]

/// Not `hotcall_effects::Effect`: its samples have twice the precision.
#[hotcall::dispatch]
pub trait Effect: Send + Sync {
    /// One sample in, one sample out.
    fn process(&self, sample: f64) -> f64;
}

struct Bypass;

impl Effect for Bypass {
    fn process(&self, sample: f64) -> f64 {
        sample
    }
}

impl Bypass {
    fn from_config(_: &str) -> Self {
        Self
    }
}

hotcall::export!(dyn Effect, Bypass::from_config);

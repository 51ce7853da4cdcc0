//! Where tests stop the runtime, or have it fail: so that a race is held open, and each step of a sequence fails once.
//!
//! Only with the feature `negative-controls`, as [`crate::sabotage`]. Nothing on a caller's path asks.
#![cfg_attr(
    not(patched),
    allow(dead_code, unused_imports, reason = "the portable backend has no such places")
)]

use crate::error::MemoryError;

/// A place in the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A library has been loaded and is about to be linked. Writers are kept out.
    Linking,
}

#[cfg(feature = "negative-controls")]
mod switch {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Mutex;

    use super::{MemoryError, Point};
    use crate::lock::lock;

    /// What a test does at a place, on the thread that comes there.
    type Hook = Box<dyn FnMut(Point) + Send>;

    static HOOK: Mutex<Option<Hook>> = Mutex::new(None);
    /// How many steps from here one fails; 0 where none does.
    static FAILS: AtomicUsize = AtomicUsize::new(0);

    /// From now on the runtime calls `hook` at each [`Point`].
    pub fn rehearse(hook: impl FnMut(Point) + Send + 'static) {
        *lock(&HOOK) = Some(Box::new(hook));
    }

    /// The step of this number from here fails, once; 0 stands for none. Gives what was left of the last number: 0 where
    /// the step has failed.
    pub fn fail_at_step(number: usize) -> usize {
        FAILS.swap(number, Ordering::SeqCst)
    }

    /// How many grace periods have ended. Takes no lock of a writer's.
    #[must_use]
    pub fn grace_periods_so_far() -> u64 {
        crate::quiesce::reclaimer::grace_periods()
    }

    pub(crate) fn reached(point: Point) {
        if let Some(hook) = &mut *lock(&HOOK) {
            hook(point);
        }
    }

    pub(crate) fn step() -> Result<(), MemoryError> {
        let counted = FAILS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if counted == Ok(1) {
            return Err(MemoryError::System {
                operation: "a step of a test",
                detail: "it was told to fail".to_owned(),
                source: std::io::ErrorKind::OutOfMemory.into(),
                hint: "nothing is wrong",
            });
        }
        Ok(())
    }
}

#[cfg(feature = "negative-controls")]
pub use switch::{fail_at_step, grace_periods_so_far, rehearse};
#[cfg(feature = "negative-controls")]
pub(crate) use switch::{reached, step};

#[cfg(not(feature = "negative-controls"))]
pub(crate) const fn reached(_: Point) {}

#[cfg(not(feature = "negative-controls"))]
#[allow(clippy::unnecessary_wraps, reason = "it fails with the feature")]
pub(crate) const fn step() -> Result<(), MemoryError> {
    Ok(())
}

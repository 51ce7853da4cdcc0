//! The interface between hotcall's tests and their plugins, and what it would be after an edit.
#![forbid(unsafe_code)]
#![allow(clippy::unnecessary_cast, reason = "`Number` is not always an `f32`")]

use hotcall::dispatch;

pub mod edge;
pub mod living;

/// What `scale` takes.
#[cfg(not(probe = "layout"))]
pub type Number = f32;
/// What `scale` takes.
#[cfg(probe = "layout")]
pub type Number = f64;

/// A plugin that counts.
#[cfg(not(probe = "signature"))]
#[dispatch]
pub trait Probe: Send + Sync {
    /// Counts one up, for all instances of the library, and answers the count.
    fn count(&self) -> u32;
    /// Something with an argument.
    fn scale(&self, x: Number) -> f32 {
        x as f32
    }
}

/// A plugin that counts.
#[cfg(probe = "signature")]
#[dispatch]
pub trait Probe: Send + Sync {
    /// Counts one up, for all instances of the library, and answers the count.
    fn count(&self) -> u32;
    /// Something with an argument.
    fn scale(&self, x: Number, wet: f32) -> f32 {
        x as f32 * wet
    }
}

/// An interface whose parameter shows in no layout.
#[dispatch]
pub trait Stage<T: 'static>: Send + Sync {
    /// Something with a reference.
    fn size(&self, of: &T) -> usize;
}

/// An interface that no plugin exports.
#[dispatch]
pub trait Unheard: Send + Sync {
    /// Nothing.
    fn nothing(&self);
}

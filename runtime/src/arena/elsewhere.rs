//! Arenas where there are none: refused, with a reason.

use crate::error::{Error, MemoryError};

/// Executable memory for a code generator: only on Linux x86-64.
#[derive(Clone, Debug)]
pub struct Arena {
    never: core::convert::Infallible,
}

impl Arena {
    /// Refused here.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Unsupported`].
    pub fn near(_address: *const u8) -> Result<Self, Error> {
        Err(MemoryError::Unsupported.into())
    }

    /// Refused here.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Unsupported`].
    pub fn anywhere() -> Result<Self, Error> {
        Err(MemoryError::Unsupported.into())
    }

    /// There is none to ask.
    #[must_use]
    pub fn never(&self) -> core::convert::Infallible {
        self.never
    }
}

//! Platforms other than Linux: the same names, and a refusal that says so.
//!
//! Reading a header before loading, and loading a private copy, are written for ELF and memfd.
#![allow(unsafe_code)]

use std::path::Path;

use super::export::Entry;
use super::header::Header;
use crate::error::PluginError;

/// No copy is made here.
#[derive(Debug)]
pub(crate) struct PrivateCopy;

/// Refuses.
pub(crate) fn examine(path: &Path) -> Result<(PrivateCopy, Vec<Header>), PluginError> {
    Err(PluginError::Load { path: path.to_owned(), reason: unsupported() })
}

/// Nothing is loaded here.
pub(crate) struct Loaded;

impl Loaded {
    /// Refuses.
    ///
    /// # Safety
    ///
    /// None is needed: the signature is that of Linux.
    pub(crate) unsafe fn load(copy: PrivateCopy, _: &Path) -> Result<Self, (PrivateCopy, String)> {
        Err((copy, unsupported()))
    }

    /// Refuses.
    ///
    /// # Safety
    ///
    /// As above.
    pub(crate) unsafe fn entry(&self, _symbol: &str) -> Result<Entry, String> {
        Err(unsupported())
    }

    /// Does nothing.
    ///
    /// # Safety
    ///
    /// As above.
    pub(crate) unsafe fn unload(self) -> Result<(), String> {
        Err(unsupported())
    }
}

fn unsupported() -> String {
    format!("plugins in shared libraries need Linux, this is {}", std::env::consts::OS)
}

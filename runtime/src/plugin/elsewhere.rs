//! Platforms other than Linux: the same names, and a refusal that says so.
//!
//! Reading a header before loading, and loading a private copy, are written for ELF and memfd.

use std::path::Path;

use super::export::Entry;
use super::header::Header;
use crate::error::PluginError;

/// No copy can be made here.
#[derive(Debug)]
pub(crate) enum PrivateCopy {}

/// Refuses.
pub(crate) fn examine(path: &Path) -> Result<(PrivateCopy, Vec<Header>), PluginError> {
    Err(PluginError::Load {
        path: path.to_owned(),
        reason: format!("plugins in shared libraries need Linux, this is {}", std::env::consts::OS),
    })
}

/// Nothing can be loaded here.
pub(crate) enum Loaded {}

impl Loaded {
    pub(crate) unsafe fn load(copy: PrivateCopy) -> Result<Self, (PrivateCopy, String)> {
        match copy {}
    }

    pub(crate) unsafe fn entry(&self, _symbol: &str) -> Result<Entry, String> {
        match *self {}
    }

    pub(crate) unsafe fn unload(self) {
        match self {}
    }
}

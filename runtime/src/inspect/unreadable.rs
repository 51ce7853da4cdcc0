//! Why a file says nothing.

use core::fmt;
use std::path::PathBuf;

use crate::error::PluginError;

/// Why nothing could be read from a file. Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it: "the file is empty".
    pub reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for Unreadable {}

impl From<PluginError> for Unreadable {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Read { path, source } => {
                Self { path, reason: format!("it cannot be read: {source}") }
            }
            PluginError::NotAPlugin { path, reason } => Self { path, reason },
            // Reading a file ends in no other.
            error => Self { path: PathBuf::new(), reason: error.to_string() },
        }
    }
}

//! What happens to plugins, told to whoever asked: one stream, in the order in which it happened.

use core::fmt;
use std::path::PathBuf;

/// Something that happened to a plugin of a [`Plugins`](crate::Plugins) host.
///
/// Each is a `tracing` event, too, of the target `hotcall::host`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The plugin's name: that of its file, without `lib` and `.so`.
    pub plugin: String,
    /// The slot that it is kept in.
    pub slot: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Which loading of a library this is about: they are counted from 1, for the whole process. 0 where none was loaded.
    pub generation: u64,
    /// What happened.
    pub what: What,
}

/// What happened. See [`Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The library was accepted and loaded, and an instance was made.
    Loaded {
        /// The version of the package that exports it.
        version: String,
    },
    /// What is in the file was not installed; what was installed before goes on. It is said once for each content of the file.
    Refused {
        /// Why.
        reason: String,
    },
    /// There is no file. What was installed goes on.
    Missing,
    /// The state of the old instance was restored in the new one.
    HandedOver {
        /// How many bytes it is.
        bytes: usize,
    },
    /// Every call that begins from now on runs the new instance.
    Swapped,
    /// No thread is inside the old instance any more.
    Drained,
    /// Nothing of the library is left in the process.
    Unloaded,
    /// Nothing holds the library any more, and it stays in the process.
    Stays {
        /// Why.
        reason: String,
    },
    /// A method or the destructor of the plugin panicked. Its caller saw the panic.
    Panicked {
        /// What it said, and where.
        message: String,
    },
    /// Another implementor was put in the place of the plugin.
    RolledBack {
        /// Which.
        to: Fallback,
        /// Why.
        reason: String,
    },
    /// The content of this file is not loaded again, for any slot of this host.
    Quarantined,
}

/// What was put in the place of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// The implementor that the slot was declared with.
    Default,
    /// The instance that was installed before: of this generation.
    Previous(u64),
    /// A new instance of the same library.
    Again,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the slot's default"),
            Self::Previous(generation) => write!(f, "generation {generation}"),
            Self::Again => f.write_str("a new instance of the same library"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { version } => write!(f, "loaded, version {version}"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Missing => f.write_str("there is no such file"),
            Self::HandedOver { bytes } => write!(f, "state of {bytes} bytes handed over"),
            Self::Swapped => f.write_str("swapped in"),
            Self::Drained => f.write_str("drained"),
            Self::Unloaded => f.write_str("unloaded"),
            Self::Stays { reason } => write!(f, "stays in memory: {reason}"),
            Self::Panicked { message } => write!(f, "panicked: {message}"),
            Self::RolledBack { to, reason } => write!(f, "replaced by {to}: {reason}"),
            Self::Quarantined => f.write_str("quarantined: this content is not loaded again"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in `{}`", self.plugin, self.slot)?;
        if self.generation != 0 {
            write!(f, " (generation {})", self.generation)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl Event {
    /// Says it to `tracing`: what went wrong as a warning.
    pub(super) fn trace(&self) {
        let (plugin, slot, generation, what) = (&self.plugin, self.slot, self.generation, &self.what);
        match what {
            What::Refused { .. } | What::Panicked { .. } | What::RolledBack { .. } | What::Quarantined => {
                tracing::warn!(target: "hotcall::host", plugin, slot, generation, "{what}");
            }
            What::Loaded { .. } | What::Swapped | What::Unloaded => {
                tracing::info!(target: "hotcall::host", plugin, slot, generation, "{what}");
            }
            _ => tracing::debug!(target: "hotcall::host", plugin, slot, generation, "{what}"),
        }
    }
}

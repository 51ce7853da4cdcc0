//! Why a host could not do what it was asked.

use core::fmt;
use std::io;
use std::path::PathBuf;

use crate::error::Error;

/// Why a [`Plugins`](crate::Plugins) host refused. What ran before keeps running.
#[derive(Debug)]
#[non_exhaustive]
pub enum PluginsError {
    /// The folder of the plugins, or the folder of the file, cannot be read.
    Folder {
        /// What was asked for.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The system does not tell of changes there.
    Watch {
        /// What was to be watched.
        path: PathBuf,
        /// What the system answered.
        reason: String,
    },
    /// The host's thread could not be started.
    Thread {
        /// What the system answered.
        source: io::Error,
    },
    /// Another plugin is kept in this slot already.
    Kept {
        /// The slot.
        slot: &'static str,
        /// What is kept in it.
        plugin: String,
    },
    /// The plugin is not installed.
    NotInstalled {
        /// The plugin.
        plugin: String,
        /// Why, as far as is known.
        reason: String,
    },
    /// The slot could not be changed.
    Slot(Error),
    /// This was asked on the host's own thread, in a constructor or by who listens to events: it would wait for itself.
    OnTheHostsThread,
    /// The host's thread is gone: this process was forked from the host's, or the thread has ended.
    Gone,
}

impl fmt::Display for PluginsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, source } => write!(
                f,
                "there are no plugins at {}: {source}; name a folder, or a file `NAME.so` in a folder that is there",
                path.display()
            ),
            Self::Watch { path, reason } => write!(
                f,
                "changes of {} cannot be watched: {reason}; raise `fs.inotify.max_user_watches` or `max_user_instances`, or use \
                 `Plugins::open` and `rescan`",
                path.display()
            ),
            Self::Thread { source } => write!(f, "the host's thread could not be started: {source}"),
            Self::Kept { slot, plugin } => {
                write!(f, "`{plugin}` is kept in `{slot}` already: release it first, or keep the other in a slot of its own")
            }
            Self::NotInstalled { plugin, reason } => write!(f, "`{plugin}` is not installed: {reason}"),
            Self::Slot(error) => error.fmt(f),
            Self::OnTheHostsThread => f.write_str(
                "the host's own thread, which runs constructors and tells of events, cannot wait for the host: ask on another",
            ),
            Self::Gone => f.write_str(
                "the host's thread is gone: a forked child has no host; make one there, or ask in the process that has it",
            ),
        }
    }
}

impl std::error::Error for PluginsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { source, .. } | Self::Thread { source } => Some(source),
            Self::Slot(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for PluginsError {
    fn from(error: Error) -> Self {
        Self::Slot(error)
    }
}

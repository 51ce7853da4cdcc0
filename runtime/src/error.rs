//! Everything that can be refused, with what was wrong and what to do about it.

use core::fmt;
use std::io;

use crate::instance::Instance;
use crate::interface::Interface;

/// Why something was refused. What ran before keeps running.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Executable memory could not be had.
    Memory(MemoryError),
    /// A library was refused or failed.
    Plugin(PluginError),
    /// This thread is already changing the slot or chain, in the closure of `replace_with` or of an edit; or whoever is changing it
    /// waits for this thread; or this thread is replacing, and an allocator that it uses replaces, too.
    Reentrant,
    /// A chain has no element there.
    NoElement {
        /// The index.
        index: usize,
        /// How many elements the chain has.
        len: usize,
    },
    /// The [`Patched`](crate::Patched) that a [`Remote`](crate::Remote) belongs to is gone.
    HandleDropped,
    /// A plugin may call this slot of the program's, and may not replace what it holds.
    SlotOfHost {
        /// The slot.
        slot: &'static str,
    },
}

/// Why executable memory could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum MemoryError {
    /// The system refused an operation on code memory.
    System {
        /// What was asked of the system: `memfd_create`, `mmap` of the executable view…
        operation: &'static str,
        /// What it was asked for: an address and a length, in bytes.
        detail: String,
        /// What the system answered.
        source: io::Error,
        /// What to change.
        hint: &'static str,
    },
    /// Since a fork, this process shares code memory with its parent or its child, and could not copy it: it may not be
    /// written to. Nothing has changed, and the next attempt tries again.
    AfterFork {
        /// What was refused.
        reason: String,
    },
    /// This platform, or the portable backend, has no arenas.
    Unsupported,
    /// Code is longer than what was reserved for it.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// What was reserved.
        reserved: usize,
    },
    /// Code could not be assembled.
    Assembly {
        /// What the assembler said.
        reason: String,
    },
    /// A mark is of other code than that which was asked for its site.
    ForeignMark {
        /// Where the code begins.
        code: usize,
    },
    /// No gap of the address space is near enough.
    NoRoom {
        /// The address that must be reached.
        near: usize,
        /// The length asked for, in bytes.
        length: usize,
        /// How far a displacement reaches, in bytes.
        reach: usize,
    },
}

/// Why a library was refused, or what it answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum PluginError {
    /// The file could not be read.
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file is not a shared library, or carries no hotcall header.
    NotAPlugin {
        /// The file.
        path: std::path::PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// The library was built by another compiler, or with another version of hotcall.
    Build {
        /// The file.
        path: std::path::PathBuf,
        /// What it was built with.
        library: String,
        /// What this program was built with.
        host: String,
    },
    /// The library does not export the interface asked for.
    NoInterface {
        /// The file.
        path: std::path::PathBuf,
        /// The interface asked for.
        wanted: String,
        /// Those it exports.
        exported: Vec<String>,
    },
    /// The library exports the interface more than once, and no name was given.
    Ambiguous {
        /// The file.
        path: std::path::PathBuf,
        /// The interface.
        interface: String,
        /// The names under which it is exported.
        names: Vec<String>,
    },
    /// The library's interface has the name asked for, but is another.
    Interface {
        /// The file.
        path: std::path::PathBuf,
        /// The interface.
        name: String,
        /// What the library was built against.
        library: String,
        /// What this program was built against.
        host: String,
    },
    /// The library has slots of this program's, and calls its own instead: slots of the two are one only where both are built for
    /// patching.
    Slots {
        /// The file.
        path: std::path::PathBuf,
        /// The slots that both have.
        slots: Vec<String>,
        /// How the library calls slots: `patched` or `portable`.
        library: String,
        /// How this program does.
        host: String,
    },
    /// The library and this program have different global allocators, and values that own memory pass between them: what one
    /// allocates, the other would free.
    Allocator {
        /// The file.
        path: std::path::PathBuf,
        /// The interface whose methods pass such values.
        interface: String,
        /// What is known of the library's.
        library: String,
        /// What is known of this program's.
        host: String,
    },
    /// The dynamic linker refused the library.
    Load {
        /// The file.
        path: std::path::PathBuf,
        /// What it answered.
        reason: String,
    },
    /// The library's constructor answered an error, or panicked.
    Constructor {
        /// The file.
        path: std::path::PathBuf,
        /// What it answered.
        reason: String,
    },
}

/// Why a replacement was refused, with the instance that was not installed.
///
/// It turns into an [`Error`] with `?`, which drops the instance.
pub struct ReplaceError<I: ?Sized> {
    error: Error,
    instance: Option<Instance<I>>,
}

impl<I: ?Sized + Interface> ReplaceError<I> {
    pub(crate) fn new(error: Error, instance: Instance<I>) -> Self {
        Self { error, instance: Some(instance) }
    }

    pub(crate) fn without(error: Error) -> Self {
        Self { error, instance: None }
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The instance that was not installed. `None` where `replace_with` was refused before it made one.
    #[must_use]
    pub fn into_instance(self) -> Option<Instance<I>> {
        self.instance
    }
}

impl<I: ?Sized> fmt::Debug for ReplaceError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplaceError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<I: ?Sized> fmt::Display for ReplaceError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<I: ?Sized> std::error::Error for ReplaceError<I> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<I: ?Sized> From<ReplaceError<I>> for Error {
    fn from(error: ReplaceError<I>) -> Self {
        error.error
    }
}

/// Why [`Slot::try_replace_with`](crate::Slot::try_replace_with) replaced nothing. The slot is as it was.
///
/// Where what made the new implementor answers an [`Error`], or what turns into one, this does with `?`.
pub enum TryReplaceError<I: ?Sized, E> {
    /// What was to make the new implementor answered this.
    Make(E),
    /// It was made, or was not asked for, and the replacement was refused.
    Replace(ReplaceError<I>),
}

impl<I: ?Sized, E: fmt::Debug> fmt::Debug for TryReplaceError<I, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(error) => f.debug_tuple("Make").field(error).finish(),
            Self::Replace(error) => f.debug_tuple("Replace").field(error).finish(),
        }
    }
}

impl<I: ?Sized, E: fmt::Display> fmt::Display for TryReplaceError<I, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(error) => error.fmt(f),
            Self::Replace(error) => error.fmt(f),
        }
    }
}

impl<I: ?Sized, E: std::error::Error + 'static> std::error::Error for TryReplaceError<I, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Make(error) => Some(error),
            Self::Replace(error) => Some(&error.error),
        }
    }
}

impl<I: ?Sized, E: Into<Error>> From<TryReplaceError<I, E>> for Error {
    fn from(error: TryReplaceError<I, E>) -> Self {
        match error {
            TryReplaceError::Make(error) => error.into(),
            TryReplaceError::Replace(error) => error.error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Plugin(error) => error.fmt(f),
            Self::NoElement { index, len } => {
                write!(f, "the chain has no element {index}: it has {len}; ask for `len()` in the `edit` that uses it")
            }
            Self::Reentrant => f.write_str(
                "this thread is changing the slot or chain already, or whoever is changing it waits for this thread: a \
                 replacement or an edit cannot begin inside the closure of `replace_with` or `edit` of the same slot or \
                 chain, or of one that others wait for in a circle; begin it after that returns",
            ),
            Self::SlotOfHost { slot } => write!(
                f,
                "`{slot}` is the program's: a plugin calls it, and the program replaces what it holds; let the program \
                 install it, or declare a slot of the plugin's own"
            ),
            Self::HandleDropped => {
                f.write_str("the handle that this remote belongs to was dropped: nobody is left to call the instance")
            }
        }
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { operation, detail, source, hint } => {
                write!(f, "{operation} ({detail}) was refused: {source}; {hint}")
            }
            Self::AfterFork { reason } => write!(
                f,
                "since a fork, parent and child share code memory, and it could not be copied to be written to; nothing has \
                 changed, calls go on as they were, and the next attempt tries again: {reason}"
            ),
            Self::Unsupported => f.write_str(
                "executable arenas need the patched backend on Linux x86-64: build there, without `--cfg hotcall_portable`",
            ),
            Self::TooLong { length, reserved } => {
                write!(f, "{length} bytes of code for a reservation of {reserved}: reserve more")
            }
            Self::Assembly { reason } => write!(f, "the code could not be assembled: {reason}"),
            Self::ForeignMark { code } => write!(
                f,
                "the site was not marked in the code at {code:#x}: ask the code that was committed of the assembler that \
                 made the mark"
            ),
            Self::NoRoom { near, length, reach } => write!(
                f,
                "no gap of {length} bytes within {reach} bytes of {near:#x}: the address space around it is full; \
                 make the first replacement earlier, before large mappings fill it"
            ),
        }
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::NotAPlugin { path, reason } => write!(
                f,
                "{} is not a hotcall plugin: {reason}; build it as a cdylib with `hotcall::export!`",
                path.display()
            ),
            Self::Build { path, library, host } => write!(
                f,
                "{} was built with {library}, this program with {host}: build both with the same",
                path.display()
            ),
            Self::NoInterface { path, wanted, exported } => write!(
                f,
                "{} exports {}, not `{wanted}`",
                path.display(),
                if exported.is_empty() {
                    "nothing".to_owned()
                } else {
                    format!("`{}`", exported.join("`, `"))
                }
            ),
            Self::Ambiguous { path, interface, names } => write!(
                f,
                "{} exports `{interface}` as `{}`: name the one to make with `instantiate_named`",
                path.display(),
                names.join("`, `")
            ),
            Self::Interface { path, name, library, host } => write!(
                f,
                "{} was built against another `{name}`: the library has {library}, this program has {host}; rebuild \
                 the library",
                path.display()
            ),
            Self::Slots { path, slots, library, host } => write!(
                f,
                "{} calls slots of this program, `{}`, which would be its own: the library has the {library} backend, this \
                 program the {host} one, and slots of two are one only where both are patched; build both on Linux x86-64 \
                 without `--cfg hotcall_portable`, or hand the plugin what it is to call",
                path.display(),
                slots.join("`, `")
            ),
            Self::Allocator { path, interface, library, host } => write!(
                f,
                "{} allocates elsewhere: values that own memory pass through `{interface}`, the library has {library}, this \
                 program has {host}; build both with one allocator, as the default is, or pass values that own no memory",
                path.display()
            ),
            Self::Load { path, reason } => write!(f, "{} could not be loaded: {reason}", path.display()),
            Self::Constructor { path, reason } => {
                write!(f, "the constructor in {} failed: {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Memory(error) => Some(error),
            Self::Plugin(error) => Some(error),
            Self::Reentrant | Self::HandleDropped | Self::SlotOfHost { .. } | Self::NoElement { .. } => None,
        }
    }
}

impl std::error::Error for MemoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            Self::NoRoom { .. }
            | Self::Unsupported
            | Self::TooLong { .. }
            | Self::Assembly { .. }
            | Self::ForeignMark { .. }
            | Self::AfterFork { .. } => None,
        }
    }
}

impl std::error::Error for PluginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<MemoryError> for Error {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

impl From<PluginError> for Error {
    fn from(error: PluginError) -> Self {
        Self::Plugin(error)
    }
}

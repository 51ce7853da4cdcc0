//! Hot-swappable plugin slots whose calls cost what a direct call costs.
//!
//! A trait marked [`#[dispatch]`](dispatch) can be the type of a [`#[slot]`](slot) static. A call through the
//! slot is a direct call in the program's own code; [`Slot::replace`] retargets all of a slot's calls, on every
//! thread, while other threads are calling, and the old implementor is freed when no thread can be inside it.
//!
//! ```
//! use hotcall::{dispatch, slot};
//!
//! /// An audio effect.
//! #[dispatch]
//! pub trait Effect: Send + Sync {
//!     fn process(&self, sample: f32) -> f32;
//!     fn name(&self) -> String { "unnamed".into() }
//! }
//!
//! struct Bypass;
//! impl Effect for Bypass { fn process(&self, s: f32) -> f32 { s } }
//!
//! struct Gain(f32);
//! impl Effect for Gain { fn process(&self, s: f32) -> f32 { s * self.0 } }
//!
//! #[slot]
//! pub static EFFECT: dyn Effect = Bypass;
//!
//! assert_eq!(EFFECT.process(0.5), 0.5);          // safe to swap at any moment, on any thread
//! let retired = EFFECT.replace(Gain(2.0))?;       // every later call, on every thread, runs Gain
//! assert_eq!(EFFECT.process(0.5), 1.0);
//! let old = retired.wait()?;                      // the old instance, once no thread is inside it
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! | you want to | see |
//! |---|---|
//! | swap one slot | [`Slot::replace`], [`Slot::replace_with`], [`Slot::try_replace_with`], [`Slot::restore`] |
//! | swap several together | [`batch`] |
//! | ask for a condition that costs a no-op while it is off | [`Key`], [`key`](macro@key), [`on!`] |
//! | hoist protection out of a loop | [`pin`], [`Slot::bind`] |
//! | call one instance several times | [`Slot::get`] |
//! | have the old instance back | [`Retired::wait`], or await the [`Retired`] |
//! | keep one instance for long, or across `.await` | [`Slot::lease`] |
//! | load plugins from shared libraries | [`Library`], [`export!`] |
//! | have plugins reloaded when their files change, and supervised | [`Plugins`], [`host`] |
//! | know that nothing is lost at the end | [`drain`] |
//! | choose the thread that drops what was replaced | [`Reclaimer`] |
//! | know what the runtime holds, which calls are patched, and why others are not | [`report`], [`stats`] |
//!
//! # Backends
//!
//! On Linux x86-64 calls are patched in place. Elsewhere, and with `--cfg hotcall_portable`, the same API calls
//! through an atomic pointer, in a section. [`backend`] says which one this is.
#![cfg(not(loom))]
#![deny(unsafe_code)]

extern crate self as hotcall;

#[cfg(patched)]
mod arch;
#[cfg(patched)]
mod arena;
#[cfg(not(patched))]
#[path = "arena/elsewhere.rs"]
mod arena;
mod batch;
mod chain;
mod drain;
mod error;
mod forward;
mod gated;
mod handover;
mod holding;
#[cfg(target_os = "linux")]
pub mod host;
#[cfg(all(feature = "cli", target_os = "linux"))]
pub mod inspect;
mod installed;
mod instance;
mod interface;
mod key;
mod lease;
mod leases;
mod lock;
mod passing;
mod patched;
mod plain;
mod plugin;
mod primitive;
mod quiesce;
pub mod refusals;
mod rehearsal;
mod report;
mod retired;
mod sabotage;
mod slot;
mod stats;
mod sys;
mod turn;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(not(patched))]
pub use arena::Arena;
#[cfg(patched)]
pub use arena::api::{Arena, ArenaStats, Assembler, Code, Marked, Reservation, Signature, Site};
pub use batch::{Batch, RetiredBatch, batch};
pub use chain::{BoundChain, Chain, Chainable, Edit, First, RetiredElements};
pub use drain::{DrainError, drain};
#[cfg(patched)]
#[doc(no_inline)]
pub use dynasmrt;
pub use error::{Error, MemoryError, PluginError, ReplaceError, TryReplaceError};
pub use holding::{Holder, Holding};
#[cfg(target_os = "linux")]
pub use host::Plugins;
pub use hotcall_macros::{dispatch, export, foreign, key, slot};
pub use instance::Instance;
pub use interface::{Description, Exclusive, Interface, Method, Shared, TypeDefinition};
pub use key::{Key, KeyControl, KeyDefinition, KeyGuard, OpenKey, Switch, prepare};
pub use lease::Lease;
pub use patched::{BoundHandle, Patched, Remote};
pub use plugin::{Export, Library, load_libraries_near};
pub use quiesce::{AlreadyReclaimed, Guard, Reclaimer, Sections, force_pinned_sections, pin, sections};
pub use report::{ImageReport, KeyReport, Report, SlotReport, report};
pub use retired::{Drained, Retired, WaitError};
pub use slot::backend::patch_callers;
pub use slot::{Bound, Control, Held, LockError, Locked, ReadLocked, Retarget, Slot, Target};
pub use stats::{Kept, Stats, stats};

/// How calls reach a slot's implementor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Direct calls that are patched in place.
    Patched,
    /// Calls through an atomic pointer, in a section.
    Portable,
}

/// Which backend this program was built with.
#[must_use]
pub const fn backend() -> Backend {
    if cfg!(patched) { Backend::Patched } else { Backend::Portable }
}

//! A host of plugins: each slot holds what its plugin's file holds, while the program runs.
//!
//! # Problem
//!
//! To swap a plugin is one call. To live with plugins is more: to notice that a file has changed, and to wait until it is whole; to look
//! at what it is before any of it runs; to carry the old one's state over, to take it back where it turns out to be wrong, to say what
//! happened; and never to leave a caller without an implementor.
//!
//! # Idea
//!
//! One thread does all of it, one message after the other. It owns what is known of each plugin, so there is no lock around it, and
//! what it calls of the user's (constructors, functions that save and restore, who listens to events) may take as long as it likes. Others
//! send messages.
//!
//! ```text
//!   system: a file changed --.                                   .-> folder: read when nobody writes
//!   Kept: reload, disable ----> [ the host's thread: worker ] ---+-> whole: all there?
//!   boundary: it panicked ---'        |                          +-> Library: refused by its header?
//!   lease: it has drained ---'        v                          +-> constructor, save, restore
//!                                  events                        '-> slot: swapped
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `plugins`, `keep` | what the user sees |
//! | `worker` | the thread |
//! | `watcher`, `folder`, `whole` | which file may be read, when, and whether it is all there |
//! | `version` | whether state may go from one version to another |
//! | `owner` | an instance that slot and host own together |
//! | `gate` | what calls wait in while nobody may be inside |
//! | `supervise` | what a panic does, on the thread that is inside |
//! | `event` | what is told |
//!
//! # Invariants
//!
//! 1. A slot's content changes by replacements only: whoever calls finds an implementor.
//! 2. What is refused was not installed, and what was installed before is as it was.
//! 3. A file is read while nobody writes to it: its writer has closed it, and it did not change while it was read.
//! 4. Each content of a file is dealt with once, whatever the system tells.

mod error;
mod event;
mod folder;
mod gate;
mod keep;
mod owner;
mod plugins;
mod supervise;
mod version;
#[cfg(feature = "watch")]
mod watcher;
mod whole;
mod worker;

pub use error::PluginsError;
pub use event::{Event, Fallback, What};
pub use folder::{Found, Offer};
pub(crate) use gate::Gate;
pub use keep::{HandOver, Keep, Kept, Status};
pub use plugins::Plugins;
pub use supervise::OnPanic;

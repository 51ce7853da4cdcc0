//! Chains: an ordered list of plugins behind one handle that implements their trait.
//!
//! | file | concept |
//! |---|---|
//! | `rule` | how the results of the elements combine |
//! | `core` | the list, and how an edit of it takes effect |
//! | `link` | what callers read: entry points, and links for loops |
//! | `changes` | the list as it is to be, while it is being made |
//! | `edit` | many changes that take effect together |
//! | `emitted` | the list as straight-line direct calls |
//! | `shape`, `template` | which registers a method needs kept, and the instructions for one element |
//! | `fill` | those instructions, one element after the other |
//! | `frames` | unwind information for what is emitted |
//! | `debugger` | the same for gdb, with names |
//! | `fork` | what must not be half-done when the process forks |
//! | `portable` | the list as a loop |

mod changes;
mod core;
mod edit;
mod handle;
pub(crate) mod inspect;
pub(crate) mod link;
pub(crate) mod rule;

#[cfg(all(patched, target_env = "gnu"))]
#[path = "emitted.rs"]
mod backend;
#[cfg(not(all(patched, target_env = "gnu")))]
#[path = "portable.rs"]
mod backend;
#[cfg(all(patched, target_env = "gnu"))]
mod debugger;
#[cfg(all(patched, target_env = "gnu"))]
mod fill;
#[cfg(all(patched, target_env = "gnu"))]
mod fork;
#[cfg(all(patched, target_env = "gnu"))]
mod frames;
#[cfg(all(patched, target_env = "gnu"))]
mod shape;
#[cfg(all(patched, target_env = "gnu"))]
mod template;

pub(crate) use backend::counts;
pub use edit::{Edit, RetiredElements};
pub use handle::{BoundChain, Chain};
pub use rule::{Chainable, First};

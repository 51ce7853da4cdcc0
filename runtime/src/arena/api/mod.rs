//! Executable arenas for code generators: the memory that hotcall's own thunks lie in, as a tool.
//!
//! | file | concept |
//! |---|---|
//! | `arena` | memory near an address: reserve, then commit or abort |
//! | `assembler` | a dynasm assembler whose base is the final address, with sites aligned for it |
//! | `code` | committed code: run under a guard, freed by quiescence |
//! | `site` | a branch that can be retargeted while it is executed |
//! | `signature` | the types of functions that a site may lead to |

#[allow(clippy::module_inception)]
mod arena;
mod assembler;
mod code;
mod route;
mod signature;
mod site;

pub(crate) use arena::all;
pub use arena::{Arena, ArenaStats, Reservation};
pub use assembler::{Assembler, Marked};
pub use code::Code;
pub use signature::Signature;
pub use site::Site;

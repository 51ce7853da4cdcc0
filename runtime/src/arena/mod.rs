//! Executable memory: where thunks, trampolines and patched calls lie.
//!
//! | file | concept |
//! |---|---|
//! | `addr` | the two addresses of one byte of code |
//! | `heap` | blocks of code memory: allocation, quarantine, reuse |
//! | `slab` | one page cut into blocks of one size |
//! | `pages` | runs of free pages |
//! | `api` | arenas as a tool for code generators |
//! | `shared` | a heap that several hold, with blocks that go back by way of quiescence |
//!
//! The memory comes from [`crate::sys::memory`], what is written into it from [`crate::arch`].

mod addr;
pub(crate) mod api;
mod heap;
mod pages;
pub(crate) mod shared;
mod slab;

pub(crate) use addr::{ExecAddr, WriteAddr};
pub(crate) use heap::{Block, CodeHeap, Mark};
pub(crate) use shared::SharedHeap;

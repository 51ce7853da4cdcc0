//! What a backend says of itself, for [`stats`](crate::stats) and for tests.

/// How much code memory is in use, and for what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) in_place: u64,
    pub(crate) regions: usize,
    pub(crate) slots: usize,
    pub(crate) sites: usize,
    pub(crate) callers: usize,
    /// Calls of slots that have not been replaced.
    pub(crate) waiting: usize,
    pub(crate) kept: crate::stats::Kept,
    pub(crate) keys: usize,
    /// Branches that are patched.
    pub(crate) branches: usize,
    pub(crate) kept_branches: crate::stats::Kept,
    pub(crate) pages_remapped: usize,
    pub(crate) bytes_remapped: usize,
    pub(crate) thunks: usize,
    pub(crate) trampolines: usize,
    pub(crate) code_bytes_mapped: usize,
    pub(crate) code_bytes_used: usize,
}

/// What is said in the report.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) slots: Vec<crate::report::SlotReport>,
    pub(crate) keys: Vec<crate::report::KeyReport>,
    pub(crate) images: Vec<crate::report::ImageReport>,
    /// Why code memory was first refused.
    pub(crate) refused: Option<String>,
}

/// A cell, call, thunk, trampoline or branch, as the runtime believes it to be.
///
/// For tests that disassemble what was emitted.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// What it is: `cell`, `call`, `thunk`, `trampoline` or `branch`.
    pub kind: &'static str,
    /// The slot it serves, or the key; empty for a trampoline, which may serve many.
    pub slot: &'static str,
    /// Where its first instruction is, or its pointer.
    pub address: usize,
    /// Its length in bytes.
    pub length: usize,
    /// Where control goes from it.
    pub target: usize,
    /// The instance that it loads, for a thunk.
    pub instance: usize,
}

/// What a commit did to code memory, to be told once no lock is held.
#[derive(Clone, Debug)]
#[cfg_attr(not(patched), allow(dead_code, reason = "the portable backend has no code memory"))]
pub(crate) enum News {
    /// Pages of an image, with calls or branches on them, were mapped from a memfd.
    PagesMapped { image: String, start: usize, length: usize },
    /// A heap of code memory grew.
    ArenaGrew { start: usize, length: usize, chunks: usize },
    /// Code memory was refused: slots are swapped without.
    CodeRefused { reason: String },
}

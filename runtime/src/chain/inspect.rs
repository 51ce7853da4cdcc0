//! What chains say of their emitted code: to tests that disassemble it, and in numbers.

/// One method of a chain, as the runtime believes it to be.
#[derive(Clone, Debug)]
pub struct EmittedChain {
    /// The method's index.
    pub method: usize,
    /// Where it begins.
    pub entry: usize,
    /// Its length in bytes; 0 where the method is not emitted: a loop, or that of the empty chain.
    pub length: usize,
    /// For each element, the address of the call's or jump's opcode.
    pub sites: Vec<usize>,
    /// Where each site goes, through whatever thunks and trampolines: the code of the element's method.
    pub targets: Vec<usize>,
    /// The instances.
    pub instances: Vec<usize>,
}

/// What is emitted for all chains. See [`Stats`](crate::Stats).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) programs: usize,
    pub(crate) sites: usize,
    pub(crate) thunks: usize,
    pub(crate) bytes_mapped: usize,
    pub(crate) bytes_used: usize,
}

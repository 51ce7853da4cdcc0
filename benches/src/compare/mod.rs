//! `compare`: what a patched call costs, beside everything that might be used instead.
//!
//! # Method
//!
//! * A row is a loop of `chain::CALLS` dependent calls: each takes the last one's result. Its result is compared
//!   with the one computed without any call; a row that does no work stops the tool.
//! * All rows of a group run in one process, in turn, for many rounds, each round beginning with another row:
//!   what the machine does meanwhile (frequency, neighbours) falls on all of them alike.
//! * Time is the thread's own: what it waited while other programs had its processor is not counted. What
//!   they do to caches and frequency is, and so are other guests of the same machine.
//! * Each loop exists in four copies, at 0, 16, 32 and 48 bytes of a cacheline, with a nop of 0, 2, 4 and 6 bytes
//!   in it; most rows' methods, stubs and slots exist in four copies as well. Where code lies costs up to a cycle a
//!   call, and hotcall patches a call instruction where its displacement lies in one aligned quadword, else its stub.
//!   A row's figure is the median over the copies of each copy's median; the fastest and the slowest copy are shown
//!   beside it.
//! * `direct` is a call to a function that may not be inlined; `dyn` loads the trait object from memory at each
//!   call, as any program must whose object can be replaced.

pub mod chain;
pub mod chart;
pub mod counters;
pub mod cpu_time;
pub mod emitted;
pub mod figure;
pub mod fused;
pub mod groups;
pub mod keys;
pub mod latency;
pub mod measure;
pub mod mix;
pub mod placed;
pub mod plots;
pub mod rows;
pub mod swaps;
pub mod table;
pub mod threads;
pub mod width;

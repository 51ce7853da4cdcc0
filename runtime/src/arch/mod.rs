//! Instruction encodings: what a thunk and a trampoline are made of, and how a call is found and retargeted, a key's branch found
//! and exchanged.
//!
//! Pure but for the functions that touch code: reading a branch, storing a displacement or a branch, serialising.
//! A port adds a file here and one line below.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
mod x86_64_branches;
#[cfg(target_arch = "x86_64")]
mod x86_64_calls;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_branches::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_calls::*;

//! Random programs over the safe API: what the fuzz target `programs` runs, on a stable toolchain. And two holes that are
//! planted, and found.
//!
//! ```text
//! HOTCALL_PROGRAMS_SECONDS=3600 cargo test -p hotcall-tests --test programs -- --nocapture     # for an hour
//! HOTCALL_PROGRAM=00ff.. cargo test -p hotcall-tests --test programs -- --nocapture            # this one
//! ```
#![forbid(unsafe_code)]
#![allow(missing_docs)]

#[path = "../../fuzz/src/programs/mod.rs"]
mod programs;

use programs::{Program, Settings, run};

/// Operations of a program.
const OPS: usize = 120;

#[test]
fn random_programs() {
    for seed in 0..200 {
        let program = Program::from_seed(seed, OPS);
        if let Err(finding) = run(&program, Settings::default()) {
            panic!("{seed} {finding:?}");
        }
    }
}

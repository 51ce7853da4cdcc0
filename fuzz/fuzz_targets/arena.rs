//! Random operations on an arena, with the invariants checked after each. What they are: `src/arena_ops.rs`.
#![no_main]

#[path = "../src/arena_ops.rs"]
mod arena_ops;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: arena_ops::Script| arena_ops::run(&script));

//! Random programs over the safe API, judged by a model. What they are: `src/programs/mod.rs`.
#![no_main]

#[path = "../src/programs/mod.rs"]
#[allow(dead_code, reason = "what the tests say of a program")]
mod programs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The sanitizer knows nothing of other stacks.
    let settings = programs::Settings { no_coroutines: true, ..Default::default() };
    if let Err(finding) = programs::run(&programs::Program::from_bytes(bytes), settings) {
        panic!("{finding:?}");
    }
});

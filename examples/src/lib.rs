//! What the examples, benchmarks and tests of hotcall share: building plugins while the program runs.

pub mod plugins;

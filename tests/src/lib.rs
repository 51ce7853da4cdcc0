//! What the tests share.

pub mod negative;

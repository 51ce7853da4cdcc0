//! Keys: asked in the program's own code, turned at any time. The same on both backends, but for what is said of branches.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

mod changes;
mod forms;
mod threads;

use std::sync::{Mutex, MutexGuard, PoisonError};

use hotcall::{KeyReport, report};

/// What is counted is that of the whole process: one test at a time, where it is.
fn alone() -> MutexGuard<'static, ()> {
    static TESTS: Mutex<()> = Mutex::new(());
    TESTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the report says of a key.
fn reported(name: &str) -> Option<KeyReport> {
    report().keys.into_iter().find(|key| key.name.ends_with(&format!("::{name}")))
}

/// Whether branches are patched in this build and on this system.
fn patches() -> bool {
    hotcall::backend() == hotcall::Backend::Patched && hotcall::sections() == hotcall::Sections::Asymmetric
}

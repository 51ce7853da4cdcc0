//! Negative controls: the same workload, in a subprocess, with one safety mechanism switched off.
//!
//! A test binary calls [`sabotaged`] first thing in its one test: in the child it sabotages the runtime and runs
//! the workload, and must not survive it. The parent expects just that.

use std::process::{Command, ExitStatus};

use hotcall::__private::{Sabotage, sabotage};

const VARIABLE: &str = "HOTCALL_SABOTAGE";

/// What the workload exits with when it has seen something wrong.
pub const CAUGHT: i32 = 86;

/// All mechanisms that can be switched off, by name.
pub const ALL: [(&str, Sabotage); 9] = [
    ("no-quiescence", Sabotage::NoQuiescence),
    ("reuse-at-once", Sabotage::ReuseAtOnce),
    ("settle-at-once", Sabotage::SettleAtOnce),
    ("unlisted-sections", Sabotage::UnlistedSections),
    ("unlinked-readers", Sabotage::UnlinkedReaders),
    ("in-place-unsettled", Sabotage::InPlaceUnsettled),
    ("dead-give-up", Sabotage::DeadGiveUp),
    ("reaps-the-living", Sabotage::ReapsTheLiving),
    ("no-records", Sabotage::NoRecords),
];

/// In a child, the mechanism that it was told to switch off is off when this returns its name.
#[allow(unsafe_code)]
pub fn sabotaged() -> Option<&'static str> {
    let wanted = std::env::var(VARIABLE).ok()?;
    let (name, what) = ALL.iter().find(|(name, _)| *name == wanted)?;
    // SAFETY: none: this process is expected to fail, and nothing but the test depends on it.
    unsafe { sabotage(*what) };
    Some(name)
}

/// Whether the workload, run again by `command` in a child with a mechanism switched off, noticed it.
///
/// It may say so ([`CAUGHT`]), panic, or be killed by a signal: a thread that runs freed code is lucky to get away
/// with an illegal instruction. Up to `attempts` children are started, for what one misses the next may hit.
pub fn is_noticed(
    mut command: impl FnMut() -> Command,
    sabotage: &str,
    attempts: u32,
) -> Result<ExitStatus, String> {
    for _ in 0..attempts {
        let output = command().env(VARIABLE, sabotage).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Ok(output.status);
        }
    }
    Err(format!("{attempts} runs with {sabotage} noticed nothing"))
}

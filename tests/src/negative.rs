//! Negative controls: the same workload, in a subprocess, with one safety mechanism switched off.
//!
//! A test binary calls [`sabotaged`] first thing in its one test: in the child it sabotages the runtime and runs
//! the workload, and must not survive it. The parent expects just that.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use hotcall::__private::{Sabotage, sabotage};
use hotcall::{Instance, Interface, WaitError};

const VARIABLE: &str = "HOTCALL_SABOTAGE";

/// What the workload exits with when it has seen something wrong.
pub const CAUGHT: i32 = 86;

/// All mechanisms that can be switched off, by name.
pub const ALL: [(&str, Sabotage); 15] = [
    ("no-quiescence", Sabotage::NoQuiescence),
    ("reuse-at-once", Sabotage::ReuseAtOnce),
    ("settle-at-once", Sabotage::SettleAtOnce),
    ("unlisted-sections", Sabotage::UnlistedSections),
    ("unlinked-readers", Sabotage::UnlinkedReaders),
    ("in-place-unsettled", Sabotage::InPlaceUnsettled),
    ("joins-stage", Sabotage::JoinsStage),
    ("shared-after-fork", Sabotage::SharedAfterFork),
    ("no-memory-of-its-own", Sabotage::NoMemoryOfItsOwn),
    ("dead-give-up", Sabotage::DeadGiveUp),
    ("reaps-the-living", Sabotage::ReapsTheLiving),
    ("no-records", Sabotage::NoRecords),
    ("ends-given-up", Sabotage::EndsGivenUp),
    ("open-boundary", Sabotage::OpenBoundary),
    ("unload-at-once", Sabotage::UnloadAtOnce),
];

/// Those of edits and marks, each of which one test asks about.
pub const EDITS_AND_MARKS: [(&str, Sabotage); 7] = [
    ("wait-inside-edit", Sabotage::WaitInsideEdit),
    ("turns-in-circles", Sabotage::TurnsInCircles),
    ("turns-left-behind", Sabotage::TurnsLeftBehind),
    ("turns-not-asked", Sabotage::TurnsNotAsked),
    ("edit-past-the-gate", Sabotage::EditPastTheGate),
    ("any-mark", Sabotage::AnyMark),
    ("any-branch", Sabotage::AnyBranch),
];

/// Those of where programs run, which one program asks about.
pub const SETTINGS: [(&str, Sabotage); 3] = [
    ("stale-code", Sabotage::StaleCode),
    ("maps-over-breakpoints", Sabotage::MapsOverBreakpoints),
    ("nobody-stands-in", Sabotage::NobodyStandsIn),
];

/// That of hosts of plugins.
pub const HOSTS: [(&str, Sabotage); 1] = [("hand-over-at-once", Sabotage::HandOverAtOnce)];
/// Those of keys.
pub const KEYS: [(&str, Sabotage); 1] = [("branches-join-off", Sabotage::BranchesJoinOff)];

/// Those of slots with a lock.
pub const LOCKS: [(&str, Sabotage); 2] =
    [("open-lock", Sabotage::OpenLock), ("lock-without-guard", Sabotage::LockWithoutGuard)];

/// That of leases.
pub const LEASES: [(&str, Sabotage); 1] = [("leases-hold-nothing", Sabotage::LeasesHoldNothing)];

/// In a child, the mechanism that it was told to switch off is off when this returns its name.
pub fn sabotaged() -> Option<&'static str> {
    switch_off(&std::env::var(VARIABLE).ok()?)
}

/// Switches the mechanism of that name off for the rest of this process. Its name, where there is one.
#[allow(unsafe_code)]
pub fn switch_off(wanted: &str) -> Option<&'static str> {
    let all = ALL
        .iter()
        .chain(&EDITS_AND_MARKS)
        .chain(&LOCKS)
        .chain(&LEASES)
        .chain(&SETTINGS)
        .chain(&KEYS)
        .chain(&HOSTS);
    let (name, what) = all.copied().find(|(name, _)| *name == wanted)?;
    // SAFETY: none: this process is expected to fail, or to do without; and nothing but the test depends on it.
    unsafe { sabotage(what) };
    Some(name)
}

/// How long somebody waits for what must not come. Where it comes, it comes at once; where not, more would prove no more.
#[must_use]
pub fn limit() -> Duration {
    Duration::from_millis(if sabotaged().is_some() { 20_000 } else { 50 })
}

/// Whether a wait that had a deadline ended before it. What it did not end for is waited for.
///
/// # Panics
///
/// The wait was refused, or is now.
pub fn has_come<I: ?Sized + Interface>(outcome: Result<Instance<I>, WaitError<I>>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(WaitError::TimedOut(retired)) => {
            retired.wait().unwrap();
            false
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whether the workload, run again by `command` in a child with a mechanism switched off, noticed it.
///
/// It may say so ([`CAUGHT`]), panic, or be killed by a signal. It runs once: what it looks at is held open by a rendezvous,
/// so that it notices always.
///
/// # Errors
///
/// It noticed nothing, or could not be started.
pub fn is_noticed(command: impl FnOnce() -> Command, sabotage: &str) -> Result<ExitStatus, String> {
    let output = command().env(VARIABLE, sabotage).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Err(format!("with {sabotage} nothing was noticed"));
    }
    Ok(output.status)
}

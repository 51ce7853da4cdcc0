//! Negative controls: each safety mechanism can be switched off, to see that the tests notice.
//!
//! Only with the feature `negative-controls`, which nothing but hotcall's own tests enables. Without it every
//! question here is answered "no" at compile time. Nothing on a caller's path asks.

/// What to switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[cfg_attr(
    not(all(patched, feature = "negative-controls")),
    allow(
        dead_code,
        reason = "the portable backend has fewer mechanisms, and some are asked about only where they can be switched off"
    )
)]
pub enum Sabotage {
    /// Grace periods end at once.
    NoQuiescence = 1,
    /// Code memory is reused as soon as nothing jumps to it: without a grace period, without a barrier.
    ReuseAtOnce = 2,
    /// A slot settles as soon as it has been replaced.
    SettleAtOnce = 3,
    /// The per-call section announces itself where nobody looks.
    UnlistedSections = 4,
    /// Calls of linked libraries are not waited for.
    UnlinkedReaders = 5,
    /// An instance of the same type is installed in place, whether or not the slot has settled.
    InPlaceUnsettled = 6,
    /// What joins a slot takes part in the grace period that the slot waits for already.
    JoinsStage = 7,
    /// After a fork, parent and child write to the code memory that they share.
    SharedAfterFork = 8,
    /// Not a mechanism, but a system that refuses: after a fork no code memory can be copied.
    NoMemoryOfItsOwn = 9,
    /// Not a mechanism, but an emulator that does not see what is written to code memory.
    StaleCode = 10,
    /// Where there is no reclaimer, nobody does its work.
    NobodyStandsIn = 12,
    /// Breakpoints are mapped over with the pages that they are on.
    MapsOverBreakpoints = 11,
    /// A branch that is found when its key is on already is patched as if that were off.
    BranchesJoinOff = 13,
    /// A wait inside an edit of a chain is not refused.
    WaitInsideEdit = 20,
    /// Threads may wait for each other's edits in a circle.
    TurnsInCircles = 21,
    /// A turn stays taken in a child that has not the thread which took it.
    TurnsLeftBehind = 24,
    /// An edit keeps forks waiting while the user's closure runs.
    EditPastTheGate = 25,
    /// Who replaces in a slot does not ask whose turn it is.
    TurnsNotAsked = 26,
    /// A mark is taken for a site of whatever code it is shown.
    AnyMark = 22,
    /// A mark is taken for a branch whatever has become of the bytes there.
    AnyBranch = 23,
    /// What a thread that has ended still holds is given up.
    DeadGiveUp = 32,
    /// Records of threads that live are given to others.
    ReapsTheLiving = 33,
    /// The system has no memory for records. Then nothing is freed, and nothing is wrong.
    NoRecords = 34,
    /// A thread that forces its sections gives its record up, and ends what is in it when it ends nevertheless.
    EndsGivenUp = 35,
    /// A library's panics reach the host as they are.
    OpenBoundary = 30,
    /// A library is unloaded whatever it leaves behind.
    UnloadAtOnce = 31,
    /// State is handed over whoever is still inside the old instance.
    HandOverAtOnce = 50,
    /// A slot's lock keeps nobody out.
    OpenLock = 40,
    /// Who has a slot's lock holds no guard.
    LockWithoutGuard = 41,
    /// What is leased is freed as if it were not.
    LeasesHoldNothing = 51,
}

#[cfg(feature = "negative-controls")]
mod switch {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Sabotage;

    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// Switches a mechanism off for the rest of the process.
    ///
    /// # Safety
    ///
    /// Everything that hotcall promises is void. For a process that is expected to fail.
    #[allow(unsafe_code)]
    pub unsafe fn sabotage(what: Sabotage) {
        CHOSEN.store(what as u8, Ordering::SeqCst);
    }

    pub(crate) fn is(what: Sabotage) -> bool {
        CHOSEN.load(Ordering::SeqCst) == what as u8
    }
}

#[cfg(feature = "negative-controls")]
pub(crate) use switch::is;
#[cfg(feature = "negative-controls")]
pub use switch::sabotage;

#[cfg(not(feature = "negative-controls"))]
pub(crate) const fn is(_: Sabotage) -> bool {
    false
}

//! Quiet: nobody is inside what was replaced, and those who come meanwhile wait.
//!
//! # Problem
//!
//! A grace period waits for the sections that are there when it begins. Some of these belong to calls that have come since the
//! replacement, and are made to wait until it is over ([`crate::host`]'s gate): then each waits for the other.
//!
//! # Idea
//!
//! Those who come are told apart by the phases of their thread's sections ([`super::record`]). A phase `q` is taken after the
//! replacement, and raised in every flag.
//!
//! * A thread all of whose sections have a phase `>= q` is inside nothing that was replaced, and holds nothing of it: it may be made
//!   to wait.
//! * A thread with an older section may be inside what was replaced, further out, or hold it by a guard. It is let through to that, and
//!   its older flags are handed in: they are waited for.
//!
//! # Why it holds
//!
//! Whoever was inside before is in a flag that the wait sees, by the argument of `record`, or comes by later with a section that
//! is older than `q`. Of the latter the wait knows, because they hand in their flags under a lock, under which the wait also finds that
//! nothing is left, and says so: who comes after that waits, however old its sections are.
//!
//! A section with a phase `>= q` has read it after `q` was taken: it sees all that was done before.

use std::time::Instant;

use super::record::Flag;
use super::{reclaimer::Backoff, registry, section};

/// Flags that are waited for.
pub(crate) type Flags = Vec<&'static Flag>;

/// One such wait.
pub(crate) struct Quiet {
    phase: u64,
}

impl Quiet {
    /// Begins. What is to be quiet has been replaced, and whoever comes by is about to be told.
    ///
    /// # Errors
    ///
    /// Why it cannot be done here.
    pub(crate) fn begin() -> Result<Self, &'static str> {
        #[cfg(patched)]
        if super::linked::is_any() {
            return Err(
                "a library calls slots of this program: its calls cannot be told from those that wait",
            );
        }
        if section::is_exhausted() {
            return Err("there was no memory to note who is inside a call");
        }
        section::heavy_barrier();
        Ok(Self { phase: registry::PHASES.next() })
    }

    /// The phase from which on a section may wait.
    pub(crate) fn phase(&self) -> u64 {
        self.phase
    }

    /// Waits until no older section is left, at most until `deadline`. Whether that is so: `handed_in` gives what was handed in since
    /// it was last asked, or says that nothing was, and that from now on everybody waits.
    pub(crate) fn wait(
        self,
        deadline: Option<Instant>,
        mut handed_in: impl FnMut() -> Option<Flags>,
    ) -> bool {
        let mut pause = Backoff::new();
        let mut waiting: Flags = registry::flags().filter(|flag| !flag.has_passed(self.phase)).collect();
        loop {
            // In those that are free, too: what begins in them is to be told from what is older.
            registry::flags().for_each(|flag| flag.raise(self.phase));
            waiting.retain(|flag| !flag.has_passed(self.phase));
            if waiting.is_empty() {
                match handed_in() {
                    None => return true,
                    Some(more) => waiting.extend(more),
                }
                continue;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return false;
            }
            pause.snooze();
        }
    }
}

/// The flags of the calling thread whose sections are older than `phase`.
pub(crate) fn own_before(phase: u64) -> Flags {
    registry::own().filter(|flag| !flag.has_passed(phase)).collect()
}

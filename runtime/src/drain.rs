//! The end: waiting for all that was replaced, and what a program does of it by itself.
//!
//! # Problem
//!
//! What was replaced is dropped by a thread of the runtime, a grace period later. A program that ends before that loses
//! what the destructor would have done: the last lines in a buffer are not written.
//!
//! # What happens at the end
//!
//! | the process ends by | what was replaced and not yet dropped |
//! |---|---|
//! | the return of `main`, [`std::process::exit`] | is waited for, for [`AT_EXIT`] at most (Linux) |
//! | `exit` inside a call through a slot, under a guard, in a destructor that the runtime runs | is lost: it may be what the thread is inside of |
//! | `exit` in a forked child that has replaced nothing itself | is left to the parent |
//! | `_exit`, `abort`, a signal, a panic that aborts | is lost |
//! | anything, after [`drain`] has answered `Ok` | has been dropped |
//!
//! The wait is a function registered with `atexit` at the first retirement. So it runs after the destructors of the main
//! thread's storage, after functions that were registered later (their replacements are waited for), and before those that were
//! registered earlier, before static destructors of C and C++ libraries that were loaded before, and before the finalisers of
//! plugins. Slots may be called and replaced in all of these; what is replaced after the wait is dropped if the process lives
//! long enough. Other threads go on until the process is gone, the runtime's among them: what it has begun to drop may
//! be cut off.
//!
//! What a slot, a handle or a chain still *holds* is not dropped at the end: statics never are.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use crate::gated;
use crate::installed::{FREED, RETIRED};
use crate::quiesce::{self, held, reclaimer};

/// How long the end of a program is put off for what was replaced.
pub(crate) const AT_EXIT: Duration = Duration::from_secs(1);

/// Why [`drain`] ended before everything was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainError {
    /// The calling thread is inside a call through a slot or holds a guard; or it is inside `replace_with` or an edit, or
    /// runs the destructor of a replaced plugin. The wait would never end.
    WouldDeadlock,
    /// The time is up. A call, a guard or a lease lasts, or a destructor runs.
    TimedOut {
        /// How many replaced instances have not been dropped.
        left: u64,
    },
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldDeadlock => f.write_str(
                "waiting for what was replaced would never end: this thread is inside a call through a slot, a destructor that \
                 the runtime runs, `replace_with` or an edit, or holds a guard; wait after it returned and the guard was \
                 dropped, or on another thread",
            ),
            Self::TimedOut { left } => write!(
                f,
                "{left} replaced instances have not been dropped: a call, a guard, a lease or a destructor lasts; wait again, or longer"
            ),
        }
    }
}

impl std::error::Error for DrainError {}

/// Waits until everything that was replaced before this call has been dropped, destructors included, `timeout` at most.
///
/// It is for the end of a program, or of a test: nothing that a replaced plugin would write when it is dropped is lost after
/// that. What somebody holds a [`Retired`](crate::Retired) for has drained then, and is dropped with that. What the
/// destructors themselves replace is not waited for: call it again.
///
/// A program that returns from `main` or calls [`std::process::exit`] does this by itself on Linux, for a second at most.
///
/// ```
/// # use hotcall::{dispatch, slot};
/// # use std::time::Duration;
/// # #[dispatch] pub trait Journal: Send + Sync { fn put(&self, _line: &str) {} }
/// # struct Null; impl Journal for Null {}
/// # struct File; impl Journal for File {} impl Drop for File { fn drop(&mut self) { /* flushes */ } }
/// # #[slot] static JOURNAL: dyn Journal = Null;
/// drop(JOURNAL.replace(File)?);
/// JOURNAL.put("order 66");
/// drop(JOURNAL.restore()?);
/// hotcall::drain(Duration::from_secs(5))?;      // the file has been flushed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`DrainError::WouldDeadlock`] where the calling thread is what would be waited for, and [`DrainError::TimedOut`]. Nothing is
/// lost: the runtime goes on dropping.
pub fn drain(timeout: Duration) -> Result<(), DrainError> {
    if left() == 0 {
        return Ok(());
    }
    if quiesce::would_deadlock() {
        return Err(DrainError::WouldDeadlock);
    }
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    // What was deferred before is done before, and its instances are dropped before anything is done that a later grace
    // period ends for. So two of them are enough.
    reclaimer::defer(move |_| {
        reclaimer::defer(move |_| told.store(true, Ordering::Release));
    });
    let deadline = Instant::now().checked_add(timeout);
    // Acquire, partner of the Release above: what the destructors did is seen.
    let is_done = || done.load(Ordering::Acquire);
    if reclaimer::wait_until(is_done, deadline) && held::wait_for_leases(deadline) {
        Ok(())
    } else {
        Err(DrainError::TimedOut { left: left() })
    }
}

/// How many have been replaced, and not dropped.
fn left() -> u64 {
    // In this order: what is freed was counted as retired before.
    let freed = FREED.load(Ordering::Relaxed);
    RETIRED.load(Ordering::Relaxed).saturating_sub(freed)
}

/// In which process, counted by forks and from one, something was last retired.
static RETIRED_IN: AtomicU32 = AtomicU32::new(0);

/// So many are about to be retired.
pub(crate) fn retired(count: u64) {
    RETIRED.fetch_add(count, Ordering::Relaxed);
    // Relaxed: only this process's own threads and its exit look.
    RETIRED_IN.store(gated::forks() + 1, Ordering::Relaxed);
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
}

/// So many were about to be retired, and were not: the replacement was refused.
pub(crate) fn not_retired(count: u64) {
    RETIRED.fetch_sub(count, Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
fn register() {
    // SAFETY: the function has the signature asked for. It lives until the image that it is in is unloaded, and then has been
    // run: `atexit` is linked into each image.
    #[allow(unsafe_code)]
    let refused = unsafe { libc::atexit(at_exit) };
    if refused != 0 {
        tracing::warn!(target: "hotcall", "atexit was refused: what was replaced last may not be dropped at exit");
    }
}

#[cfg(not(target_os = "linux"))]
fn register() {}

#[cfg(target_os = "linux")]
extern "C" fn at_exit() {
    // A child that was forked and ends must not do what its parent's destructors will do, too.
    if RETIRED_IN.load(Ordering::Relaxed) != gated::forks() + 1 {
        return;
    }
    if let Err(error) = drain(AT_EXIT) {
        tracing::warn!(target: "hotcall", %error, "the program ends before all that was replaced has been dropped");
    }
}

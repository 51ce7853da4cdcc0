//! Choosing the thread that waits for grace periods and drops what was replaced.

use super::reclaimer::{QUEUE, is_to_be_started, report, run, start_reclaimer};
use crate::lock::lock;

/// The right to be the thread that waits for grace periods and drops what was replaced.
///
/// By itself hotcall starts a thread for that, `hotcall-reclaim`, at the first replacement. Whoever wants to choose its priority, its
/// processors or its name claims the work before that, and gives it a thread of its own:
///
/// ```
/// use hotcall::{Reclaimer, dispatch, slot};
/// # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
/// # struct Bypass; impl Effect for Bypass { fn process(&self, s: f32) -> f32 { s } }
/// # struct Gain(f32); impl Effect for Gain { fn process(&self, s: f32) -> f32 { s * self.0 } }
/// # #[slot] pub static EFFECT: dyn Effect = Bypass;
///
/// let reclaimer = Reclaimer::claim()?;
/// std::thread::Builder::new().name("housekeeping".into()).spawn(|| reclaimer.run())?;
/// EFFECT.replace(Gain(2.0))?.wait()?;           // its end, and destructors, are housekeeping's
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The rest of a replacement is done by the thread that calls `replace`. One that must not do it sends the instance to one that
/// may; see `docs/REALTIME.md`.
///
/// Dropped without having run, it leaves the work to hotcall again. A forked child has neither thread, and starts its own at
/// need.
#[derive(Debug)]
pub struct Reclaimer {
    /// Only [`claim`](Self::claim) makes one.
    claimed: (),
}

/// What was replaced is another thread's already: a [`Reclaimer`] was claimed, or something was replaced before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlreadyReclaimed;

impl core::fmt::Display for AlreadyReclaimed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(
            "a thread waits for what was replaced already: claim that work before the first replacement, and once",
        )
    }
}

impl std::error::Error for AlreadyReclaimed {}

impl Reclaimer {
    /// Claims the work. Until [`run`](Self::run) is called, nothing that is replaced is dropped.
    ///
    /// # Errors
    ///
    /// [`AlreadyReclaimed`] where it has been claimed, or hotcall has started its own thread.
    pub fn claim() -> Result<Self, AlreadyReclaimed> {
        super::register_fork();
        if is_to_be_started(&mut lock(&QUEUE)) { Ok(Self { claimed: () }) } else { Err(AlreadyReclaimed) }
    }

    /// Does the work on the calling thread, for as long as the process lives. Destructors of what was replaced run there; it may
    /// not hold a guard, or be inside a call through a slot.
    ///
    /// # Panics
    ///
    /// It does: then it would wait for itself.
    pub fn run(self) -> ! {
        assert!(
            !super::would_deadlock(),
            "a thread that holds a guard, or is inside a call, would wait for itself"
        );
        core::mem::forget(self);
        run()
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        let () = self.claimed;
        let mut queue = lock(&QUEUE);
        let wanted = !queue.deferred.is_empty() || queue.waiters != 0;
        queue.running = wanted;
        drop(queue);
        if wanted {
            report(start_reclaimer());
        }
    }
}

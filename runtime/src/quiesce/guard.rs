//! Guards: one section, hoisted out of a loop.

use core::fmt;

use super::section::Section;

/// Protects the calling thread: nothing that a slot holds from now on is freed before the guard is dropped.
///
/// A guard costs what the section around a plain call costs, once; calls through what is bound to it cost what a direct call costs.
/// Hold it for a block of work, not for ever: while it is held, what is replaced waits.
///
/// * Guards of a thread nest, overlap, and are dropped in any order. What is replaced waits for those
///   that are held, and not for ever new ones: guards that overlap without end hold nothing back but what each of them may have seen.
/// * A guard that is never dropped is held for ever, also when its thread has ended: what it protects may be lent to
///   others. That costs memory and nothing else: replacing goes on, every call is right, and nothing is freed.
/// * Waiting for a [`Retired`](crate::Retired) with a guard held is refused: it would never end.
/// * A signal handler may hold one, where it may call slots, and drops it before it returns.
///
/// ```
/// # use hotcall::{dispatch, slot};
/// # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
/// # struct Bypass; impl Effect for Bypass { fn process(&self, s: f32) -> f32 { s } }
/// # #[slot] pub static EFFECT: dyn Effect = Bypass;
/// let mut block = [0.5_f32; 64];
/// let guard = hotcall::pin();
/// let effect = EFFECT.bind(&guard);
/// for sample in &mut block {
///     *sample = effect.process(*sample);
/// }
/// ```
#[must_use = "what is bound to a guard is only protected while the guard lives"]
#[inline]
pub fn pin() -> Guard {
    Guard { _section: Section::enter() }
}

/// Protects what is bound to it. Made by [`pin`]; not `Send`.
pub struct Guard {
    _section: Section,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

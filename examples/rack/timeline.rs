//! Which effects can be in force while a block is processed.
//!
//! Problem: a block must only hold samples of effects that were in force while it was processed; but a thread
//! cannot know at which sample another thread swaps.
//!
//! Idea: the effects take turns in a known order, so a number names the effect. The swapper counts each swap
//! twice, as it begins and once `replace` has returned; a thread reads the one count after its block and the
//! other before.
//!
//! Invariants:
//! 1. `done <= begun <= done + 1`: one thread swaps.
//! 2. When `replace` has put turn `n` in force for some thread, `begun >= n`.
//! 3. When `done >= n`, no call that starts later runs a turn before `n`: that is what hotcall promises.
//!
//! So every sample of a block is of a turn from `done`, read before it, to `begun`, read after it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rotation::MOST;

/// Counts the swaps.
pub struct Timeline {
    begun: AtomicU64,
    done: AtomicU64,
}

impl Timeline {
    /// Starts with `turn` in force.
    pub fn starting_at(turn: u64) -> Self {
        Self { begun: AtomicU64::new(turn), done: AtomicU64::new(turn) }
    }

    /// A swap begins. Answers with the turn to put in force.
    pub fn begin(&self) -> u64 {
        // Partner: `upto`. The swap's own stores come later, and its barrier orders them.
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// `replace` has returned.
    pub fn finish(&self) {
        // Partner: `from`. Who sees this starts its calls later than `replace` returned.
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// The earliest turn that a call starting from now on may run.
    pub fn from(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// The latest turn that a call up to now can have run.
    pub fn upto(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }
}

/// A set of effects, by their place in the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectSet(u64);

impl EffectSet {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// The effects of the turns `from` to `upto` in a rotation of `effects`.
    pub fn of_turns(from: u64, upto: u64, effects: usize) -> Self {
        debug_assert!(effects <= MOST);
        let effects = effects as u64;
        let turns = (upto - from + 1).min(effects);
        (from..from + turns).fold(Self::NONE, |set, turn| set.with((turn % effects) as usize))
    }

    /// The set with one effect more.
    #[must_use]
    pub fn with(self, effect: usize) -> Self {
        Self(self.0 | 1 << effect)
    }

    /// Whether `effect` is one of them.
    pub fn has(self, effect: usize) -> bool {
        self.0 >> effect & 1 == 1
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The first of them.
    pub fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::{EffectSet, Timeline};

    #[test]
    fn a_swap_under_way_allows_both_sides_of_it() {
        let timeline = Timeline::starting_at(5);
        assert_eq!(timeline.begin(), 6);
        assert_eq!((timeline.from(), timeline.upto()), (5, 6));
        timeline.finish();
        assert_eq!((timeline.from(), timeline.upto()), (6, 6));
    }

    #[test]
    fn turns_wrap_around_the_rotation() {
        let last_and_first = EffectSet::NONE.with(2).with(0);
        assert_eq!(EffectSet::of_turns(5, 6, 3), last_and_first);
        assert_eq!(EffectSet::of_turns(5, 500, 3), last_and_first.with(1));
        assert_eq!(EffectSet::of_turns(u64::MAX - 1, u64::MAX - 1, 64), EffectSet::NONE.with(62));
    }

    #[test]
    fn sets() {
        let set = EffectSet::NONE.with(63).with(4);
        assert!(set.has(63) && !set.has(5));
        assert_eq!(set.first(), Some(4));
        assert_eq!(set.and(EffectSet::NONE.with(1)).first(), None);
    }
}

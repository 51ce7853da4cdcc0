//! Elements of chains, whose results say which elements were called, in which order.
//!
//! Each element takes a number through `x * FACTOR + its own number`. What comes out of a list is a function of all of
//! it and of its order, and a short one: of a list and a question the answer can be computed without calling anything.

use std::sync::atomic::{AtomicU64, Ordering};

use hotcall::dispatch;

/// What a chain of the torture test calls. All of it is straight-line code.
#[dispatch]
pub trait Stage: Send + Sync {
    /// Takes the number through every element.
    #[chain(through)]
    fn stamp(&self, x: u64) -> u64;

    /// The same; an element may do other things meanwhile.
    fn visit(&self, x: &mut u64);

    /// The same, as far as the first element that [stops](stops).
    #[chain(first)]
    fn until(&self, x: &mut u64) -> bool;

    /// The same; an element that stops panics with the number as a `u64`.
    fn fail(&self, x: &mut u64);
}

/// What a chain of which some methods are loops calls.
#[dispatch]
pub trait Wide: Send + Sync {
    /// Takes the number through every element.
    #[chain(through)]
    fn stamp(&self, x: u64) -> u64;

    /// The same. Its first argument does not travel in registers as it is written, so this is a loop.
    fn wide(&self, by_value: (u64, u64), x: &mut u64);
}

/// What each element multiplies by.
pub const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// How many types of elements there are. A number's remainder says which type its element is of.
pub const KINDS: u64 = 3;
/// A [`Step`] of few words.
pub const SMALL: u64 = 0;
/// A [`Step`] of many words.
pub const LARGE: u64 = 1;
/// A [`Step`] in a shared library.
pub const FAR: u64 = 2;

/// What comes out where an element was not alive.
pub const FREED: u64 = u64::MAX;
/// What comes out where an element was of another type.
pub const MIXED: u64 = u64::MAX - 1;

/// Whether a chain's method `until` stops at the element of this number. Those in libraries do not: a panic of a plugin carries a text, not a number.
#[must_use]
pub fn stops(number: u64) -> bool {
    number % KINDS != FAR && (number / KINDS).is_multiple_of(8)
}

const ALIVE: u64 = 0x0a11_fe00_0a11_fe00;
const DEAD: u64 = 0xdead_dead_dead_dead;

/// What an element does in its method `visit`.
pub type Meanwhile = fn(number: u64);

/// An element whose every word says whether it lives, and of which type it is. It leaves poison behind.
#[derive(Debug)]
pub struct Step<const KIND: u64, const WORDS: usize> {
    words: [AtomicU64; WORDS],
    number: u64,
    meanwhile: Option<Meanwhile>,
}

/// Elements of this copy of the crate that live.
pub static LIVING: AtomicU64 = AtomicU64::new(0);

impl<const KIND: u64, const WORDS: usize> Step<KIND, WORDS> {
    const MARK: u64 = ALIVE ^ KIND;

    /// An element.
    #[must_use]
    pub fn new(number: u64, meanwhile: Option<Meanwhile>) -> Self {
        LIVING.fetch_add(1, Ordering::Relaxed);
        Self { words: [const { AtomicU64::new(Self::MARK) }; WORDS], number, meanwhile }
    }

    fn take(&self, x: u64) -> u64 {
        // What an element before this one found out is not lost.
        if x >= MIXED {
            return x;
        }
        for word in &self.words {
            let word = word.load(Ordering::Relaxed);
            if word != Self::MARK {
                return if word ^ ALIVE < KINDS { MIXED } else { FREED };
            }
        }
        if self.number % KINDS == KIND { x.wrapping_mul(FACTOR).wrapping_add(self.number) } else { MIXED }
    }
}

impl<const KIND: u64, const WORDS: usize> Drop for Step<KIND, WORDS> {
    fn drop(&mut self) {
        self.words.iter().for_each(|word| word.store(DEAD, Ordering::Relaxed));
        LIVING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<const KIND: u64, const WORDS: usize> Stage for Step<KIND, WORDS> {
    #[inline(never)]
    fn stamp(&self, x: u64) -> u64 {
        self.take(x)
    }

    #[inline(never)]
    fn visit(&self, x: &mut u64) {
        if let Some(meanwhile) = self.meanwhile {
            meanwhile(self.number);
        }
        *x = self.take(*x);
    }

    #[inline(never)]
    fn until(&self, x: &mut u64) -> bool {
        *x = self.take(*x);
        stops(self.number)
    }

    #[inline(never)]
    fn fail(&self, x: &mut u64) {
        *x = self.take(*x);
        if stops(self.number) {
            std::panic::panic_any(*x);
        }
    }
}

impl<const KIND: u64, const WORDS: usize> Wide for Step<KIND, WORDS> {
    #[inline(never)]
    fn stamp(&self, x: u64) -> u64 {
        self.take(x)
    }

    #[inline(never)]
    fn wide(&self, (_, added): (u64, u64), x: &mut u64) {
        *x = self.take(*x);
        if *x < MIXED {
            *x = x.wrapping_add(added);
        }
    }
}

/// What a list does to a number: `x * factor + sum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// What it multiplies by.
    pub factor: u64,
    /// What it adds.
    pub sum: u64,
}

impl Fold {
    /// That of a list of elements with these numbers.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Self {
        numbers.into_iter().fold(Self { factor: 1, sum: 0 }, |before, number| Self {
            factor: before.factor.wrapping_mul(FACTOR),
            sum: before.sum.wrapping_mul(FACTOR).wrapping_add(number),
        })
    }

    /// What comes out for a number.
    #[must_use]
    pub fn apply(self, x: u64) -> u64 {
        x.wrapping_mul(self.factor).wrapping_add(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::{FREED, Fold, LARGE, MIXED, SMALL, Stage, Step};

    #[test]
    fn a_fold_tells_one_list_from_another() {
        let list = [3, 6, 9];
        let elements = list.map(|number| Step::<SMALL, 2>::new(number, None));
        let stamped = elements.iter().fold(7, |x, element| Stage::stamp(element, x));
        assert_eq!(stamped, Fold::of(list).apply(7));
        for other in [&[3, 6][..], &[6, 3, 9], &[3, 6, 9, 9], &[3, 6, 12], &[]] {
            assert_ne!(stamped, Fold::of(other.iter().copied()).apply(7));
        }
    }

    #[test]
    fn what_is_wrong_is_passed_on() {
        let wrong = Step::<LARGE, 2>::new(3, None);
        assert_eq!(Stage::stamp(&wrong, 7), MIXED);
        for bad in [MIXED, FREED] {
            assert_eq!(Stage::stamp(&Step::<SMALL, 2>::new(3, None), bad), bad);
        }
    }
}

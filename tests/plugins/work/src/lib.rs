//! Answers that say who gave them: of which slot, which generation, which type, to which question.
#![forbid(unsafe_code)]

pub mod stage;

use std::sync::atomic::{AtomicU64, Ordering};

use hotcall::dispatch;

/// What the torture test calls.
#[dispatch]
pub trait Work: Send + Sync {
    /// Who answers, see [`pack`].
    fn answer(&self, question: u64) -> u64;

    /// Looks at the whole instance `rounds` times, so that a replacement may overtake it: three answers.
    fn slow(&self, question: u64, rounds: u32) -> [u64; 3];

    /// Calls other slots, so deep, then answers.
    fn through(&self, question: u64, depth: u32) -> u64;

    /// Panics with its answer, if it is the program's own. (A panic does not cross from a library with its own copy of the
    /// standard library.)
    fn fail(&self, question: u64) -> u64;
}

/// How many types of instances there are. A generation's remainder says which type it is of.
pub const KINDS: u64 = 5;
/// The slot's default.
pub const DEFAULT: u64 = 0;
/// A type without bytes.
pub const BARE: u64 = 1;
/// A [`Canary`] of few words.
pub const SMALL: u64 = 2;
/// A [`Canary`] of many words.
pub const LARGE: u64 = 3;
/// A [`Canary`] in a shared library.
pub const FAR: u64 = 4;

/// What a method answers on an instance that is not alive.
pub const FREED: u64 = u64::MAX;
/// What a method answers on a living instance of another type or slot.
pub const MIXED: u64 = u64::MAX - 1;

const GENERATION_BITS: u32 = 40;

fn checksum(slot: u64, generation: u64, question: u64) -> u64 {
    let mut hash = question ^ slot.rotate_left(48) ^ generation.rotate_left(17);
    for _ in 0..2 {
        hash = (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash >> GENERATION_BITS
}

/// An answer: the generation in the low 40 bits, and above it a checksum of all there is to know.
#[must_use]
pub fn pack(slot: u64, generation: u64, question: u64) -> u64 {
    checksum(slot, generation, question) << GENERATION_BITS | generation
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The instance was not alive.
    Freed,
    /// A method ran on an instance of another type, or nobody gives such an answer.
    Torn,
}

/// The generation that gave the answer.
///
/// # Errors
///
/// The answer is none that an instance in the slot gives to this question.
pub fn unpack(slot: u64, question: u64, answer: u64) -> Result<u64, Wrong> {
    let generation = answer & ((1 << GENERATION_BITS) - 1);
    match answer {
        FREED => Err(Wrong::Freed),
        MIXED => Err(Wrong::Torn),
        _ if pack(slot, generation, question) == answer => Ok(generation),
        _ => Err(Wrong::Torn),
    }
}

const ALIVE: u64 = 0x0a11_fe00_0a11_fe00;
const DEAD: u64 = 0xdead_dead_dead_dead;

/// Where a nested call goes from an instance: its slot, the question, how deep.
pub type Nested = fn(slot: u64, question: u64, depth: u32);

/// An instance whose every word says whether it lives, and of which type it is.
///
/// It is given back to the allocator with poison in it, and what the allocator puts there next is as wrong.
#[derive(Debug)]
pub struct Canary<const KIND: u64, const WORDS: usize> {
    words: [AtomicU64; WORDS],
    slot: u64,
    generation: u64,
    nested: Option<Nested>,
}

/// Canaries of this copy of the crate that live.
pub static LIVING: AtomicU64 = AtomicU64::new(0);

impl<const KIND: u64, const WORDS: usize> Canary<KIND, WORDS> {
    const MARK: u64 = ALIVE ^ KIND;

    /// An instance for `slot`.
    #[must_use]
    pub fn new(slot: u64, generation: u64, nested: Option<Nested>) -> Self {
        LIVING.fetch_add(1, Ordering::Relaxed);
        Self { words: [const { AtomicU64::new(Self::MARK) }; WORDS], slot, generation, nested }
    }

    fn look(&self, question: u64) -> u64 {
        for word in &self.words {
            let word = word.load(Ordering::Relaxed);
            if word != Self::MARK {
                return if word ^ ALIVE < KINDS { MIXED } else { FREED };
            }
        }
        if self.generation % KINDS == KIND { pack(self.slot, self.generation, question) } else { MIXED }
    }
}

impl<const KIND: u64, const WORDS: usize> Drop for Canary<KIND, WORDS> {
    fn drop(&mut self) {
        self.words.iter().for_each(|word| word.store(DEAD, Ordering::Relaxed));
        LIVING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<const KIND: u64, const WORDS: usize> Work for Canary<KIND, WORDS> {
    #[inline(never)]
    fn answer(&self, question: u64) -> u64 {
        self.look(question)
    }

    #[inline(never)]
    fn slow(&self, question: u64, rounds: u32) -> [u64; 3] {
        let first = self.look(question);
        for _ in 0..rounds {
            let again = self.look(question);
            if again != first {
                return [first, again, again];
            }
        }
        [first, first, self.look(question)]
    }

    #[inline(never)]
    fn through(&self, question: u64, depth: u32) -> u64 {
        let before = self.look(question);
        if let Some(nested) = self.nested {
            nested(self.slot, question, depth);
        }
        let after = self.look(question);
        if before == after { after } else { before.max(after) }
    }

    #[inline(never)]
    fn fail(&self, question: u64) -> u64 {
        let answer = self.look(question);
        if KIND != FAR {
            std::panic::panic_any(answer);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::{Canary, LARGE, SMALL, Work, Wrong, pack, unpack};

    #[test]
    fn an_answer_is_of_one_slot_generation_and_question() {
        let canary = Canary::<SMALL, 2>::new(3, 7, None);
        assert_eq!(unpack(3, 11, canary.answer(11)), Ok(7));
        for (slot, question) in [(2, 11), (3, 12)] {
            assert_eq!(unpack(slot, question, canary.answer(11)), Err(Wrong::Torn));
        }
        assert_eq!(unpack(3, 11, pack(3, 7, 11) ^ 1), Err(Wrong::Torn));
        assert_eq!(canary.slow(1, 4), [pack(3, 7, 1); 3]);
    }

    #[test]
    fn a_generation_is_of_one_type() {
        let canary = Canary::<LARGE, 2>::new(3, 7, None);
        assert_eq!(unpack(3, 11, canary.answer(11)), Err(Wrong::Torn));
    }
}

//! Poisoned instances, and the slots that they go into.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use hotcall::{dispatch, slot};

use super::actor::{At, Planned};
use super::ledger::{self, DEFAULT, Ending, Inside, Open};

/// What everything here implements.
#[dispatch]
pub trait Step: Send + Sync {
    /// Says who answers: of several, who and in which order.
    #[chain(through)]
    fn peek(&self, x: u64) -> u64;

    /// The same, and goes on with the program inside the call, if it is to.
    #[chain(through)]
    fn run(&self, x: u64, at: &At<'_>) -> u64;
}

/// What `peek` answers.
pub fn answer(x: u64, id: usize) -> u64 {
    x.wrapping_mul(1_000_003).wrapping_add(id as u64 + 1)
}

/// What a chain of these answers.
pub fn answer_of(x: u64, ids: impl IntoIterator<Item = usize>) -> u64 {
    ids.into_iter().fold(x, answer)
}

const POISON: u64 = 0xdead_dead_dead_dead;

/// Knows whether it is alive: all its words say its number, until it is dropped.
pub struct Poisoned {
    words: [AtomicU64; 8],
}

impl Poisoned {
    fn word(id: usize, at: usize) -> u64 {
        (id as u64 ^ 0x5bd1_e995_7b7d_1593).rotate_left(at as u32 * 7)
    }

    pub fn new(id: usize) -> Self {
        Self { words: std::array::from_fn(|at| AtomicU64::new(Self::word(id, at))) }
    }

    /// `None` where this is not an instance any more.
    fn id(&self) -> Option<usize> {
        let id = usize::try_from(self.words[0].load(SeqCst) ^ 0x5bd1_e995_7b7d_1593).ok()?;
        let same = |at: usize| self.words[at].load(SeqCst) == Self::word(id, at);
        (id < 1 << 16 && (0..self.words.len()).all(same)).then_some(id)
    }

    fn alive(&self, what: &str) -> Option<usize> {
        let id = self.id();
        if id.is_none() {
            ledger::report(format!("{what} on memory that is no instance: {:#x?}", self.words));
        }
        id
    }
}

impl Step for Poisoned {
    fn peek(&self, x: u64) -> u64 {
        let Some(id) = self.alive("a call") else { return 0 };
        let _inside = Inside::new(id);
        answer(x, id)
    }

    fn run(&self, x: u64, at: &At<'_>) -> u64 {
        let Some(id) = self.alive("a call") else { return 0 };
        let _open = Open::new();
        let _inside = Inside::new(id);
        at.go_on_inside();
        self.alive("the end of a call");
        answer(x, id)
    }
}

impl Drop for Poisoned {
    fn drop(&mut self) {
        let Some(id) = self.alive("a destructor") else { return };
        self.words.iter().for_each(|word| word.store(POISON, SeqCst));
        match ledger::died(id) {
            Ending::Quiet => {}
            Ending::Panics => resume_unwind(Box::new(Planned(0))),
            Ending::Calls => {
                let guard = hotcall::pin();
                let held = ECHO.get(&guard).peek(0);
                ECHO.bind(&guard).peek(held);
                ECHO.peek(held);
            }
            Ending::Replaces => {
                let next = Loose(Poisoned::new(ledger::born(Ending::Quiet)));
                // In a destructor inside `replace_with` of the same slot it is refused.
                if let Ok(retired) = ECHO.replace(next) {
                    drop(retired.wait_timeout(Duration::ZERO));
                }
            }
        }
    }
}

/// In [`ECHO`], of which the program does not know what is in it: destructors replace there, on threads of the runtime.
struct Loose(Poisoned);
impl Step for Loose {
    fn peek(&self, x: u64) -> u64 {
        self.0.peek(x)
    }
    fn run(&self, x: u64, at: &At<'_>) -> u64 {
        self.0.run(x, at)
    }
}

/// What slots begin with.
struct Begins;
impl Step for Begins {
    fn peek(&self, x: u64) -> u64 {
        answer(x, DEFAULT)
    }
    fn run(&self, x: u64, at: &At<'_>) -> u64 {
        let _open = Open::new();
        at.go_on_inside();
        answer(x, DEFAULT)
    }
}

#[slot]
pub static FIRST: dyn Step = Begins;
#[slot]
pub static SECOND: dyn Step = Begins;
#[slot(control = pub THIRD_CONTROL)]
pub static THIRD: dyn Step = Begins;
#[slot]
pub static ECHO: dyn Step = Begins;

fn begins(x: u64, at: &At<'_>) -> u64 {
    Begins.run(x, at)
}

#[slot]
pub static FUNCTION: fn(u64, &At<'_>) -> u64 = begins;

/// So many slots of the trait.
pub const SLOTS: usize = 3;

/// The same with the slot of this number: each is a static of a type of its own.
macro_rules! with_slot {
    ($number:expr, $slot:ident, $control:ident => $body:expr) => {
        match $number {
            0 => {
                let ($slot, $control) =
                    (&$crate::programs::instance::FIRST, &$crate::programs::instance::FIRST);
                let _ = $control;
                $body
            }
            1 => {
                let ($slot, $control) =
                    (&$crate::programs::instance::SECOND, &$crate::programs::instance::SECOND);
                let _ = $control;
                $body
            }
            _ => {
                let ($slot, $control) =
                    (&$crate::programs::instance::THIRD, &$crate::programs::instance::THIRD_CONTROL);
                let _ = $control;
                $body
            }
        }
    };
}
pub(super) use with_slot;

//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use hotcall_work::{Wrong, unpack};
use serde::Serialize;

macro_rules! tallies {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counted by all threads, and by signal handlers.
        #[derive(Debug)]
        pub struct Tally {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The counts of one moment.
        #[derive(Clone, Copy, Debug, Serialize)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Tally {
            const fn new() -> Self {
                Self { $($name: AtomicU64::new(0),)* }
            }

            pub fn counts(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Counts {
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

tallies! {
    /// Calls whose answer was looked at, of every kind.
    calls,
    plain,
    /// Through a slot bound to a guard.
    bound,
    /// On the instance that a guard keeps.
    held,
    /// From inside another call.
    nested,
    /// That panicked, as they should.
    panicked,
    /// From a handler of a signal.
    in_signals,
    /// From a destructor of thread-local storage.
    in_destructors,
    /// In sections that were forced to be pinned.
    pinned,
    swaps,
    batches,
    /// By `replace_with`.
    handed_over,
    /// By a plugin, of itself, from inside its own call.
    of_itself,
    /// Of instances from a library.
    far,
    /// By `restore`.
    restored,
    /// Instances that were waited for and taken back.
    taken_back,
    /// Waits that were refused because they would never have ended.
    refused_waits,
    /// Panics of plugins in a library, in a method, that arrived as the program's.
    plugin_panics,
    /// Constructors of a library that failed or panicked, as they should.
    constructors_failed,
    /// Instances of a library whose destructor panicked on the thread that dropped them.
    destructors_panicked,
    /// Times that a library was loaded, called and let go.
    reloads,
    /// Calls that were suspended in the middle, with others of the same thread.
    in_coroutines,
    threads,
    signals,
    forks,
    /// Calls through chains whose answer was looked at.
    chain_calls,
    /// From inside an element of a chain.
    chain_nested,
    /// Of chains, in which an element panicked as it should.
    chain_panics,
    chain_edits,
    /// By an element, from inside a call of the chain.
    chain_edits_inside,
    /// Owned chains that were dropped and followed by another.
    chains_dropped,
    /// Calls of chains that took so long that what they may have seen is forgotten.
    chain_unjudged,
    /// Answers that no list gives that the chain had during the call, nor before.
    chain_torn,
    /// Answers of a list that was changed by an edit which had returned before the call.
    chain_stale,
    /// Elements that were not alive when a method ran on them.
    chain_freed_in_use,
    /// Elements that outlived their chain, and what else the chains left.
    chain_leaked,
    /// Questions to keys, in twenty places each.
    key_questions,
    key_turns,
    /// What neither arm of a question gives.
    key_torn,
    /// Answers that the key had not had since before the question.
    key_stale,
    /// Answers that no instance gives: of another slot or question, or of a method on another type's instance.
    torn,
    /// Answers of a generation whose successor's `replace` had returned before the call.
    stale,
    /// Instances that were not alive when a method ran on them.
    freed_in_use,
    /// Retired instances that were never freed, canaries that outlived everything, code memory that was not given back.
    leaked,
    /// Whatever else went wrong: a lost wait, a child that failed.
    failed,
}

pub static TALLY: Tally = Tally::new();

pub fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

/// Judges an answer. `floor` was asked of the slot before the call. The generation, if the answer is right.
pub fn judge(slot: usize, question: u64, answer: u64, floor: u64) -> Option<u64> {
    match unpack(slot as u64, question, answer) {
        Ok(generation) if generation >= floor => return Some(generation),
        Ok(_) => count(&TALLY.stale),
        Err(Wrong::Torn) => count(&TALLY.torn),
        Err(Wrong::Freed) => count(&TALLY.freed_in_use),
    }
    None
}

impl Counts {
    /// What must be zero.
    pub fn wrong(&self) -> u64 {
        let slots = self.torn + self.stale + self.freed_in_use + self.leaked;
        let chains = self.chain_torn + self.chain_stale + self.chain_freed_in_use + self.chain_leaked;
        slots + chains + self.key_torn + self.key_stale + self.failed
    }
}

//! The loop that every row runs: a chain of calls, in four placements.
#![allow(unsafe_code)]

use hotcall_bench_step::{KEY, turn};

/// Calls of one run of a loop.
pub const CALLS: u64 = 1 << 16;
/// Copies of each loop, each at another place of the cacheline and of its 8 bytes.
pub const PLACEMENTS: usize = 4;
/// What every chain begins with.
pub const SEED: u64 = 0x0123_4567_89ab_cdef;

/// Runs a chain: the value that it begins with, and the one that it ends with.
pub type Loop = fn(u64) -> u64;

/// A way to call, measured by name.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name in tables and in the JSON.
    pub name: String,
    /// Whether the implementor reads state: compared with the `direct` and `dyn` rows that do.
    pub stateful: bool,
    /// What the name does not say.
    pub note: &'static str,
    /// What the loop must end with, begun with [`SEED`].
    pub expected: u64,
    /// The loop, in each placement.
    pub loops: [Loop; PLACEMENTS],
}

impl Row {
    /// A row.
    #[must_use]
    pub fn new(name: &str, stateful: bool, note: &'static str, loops: [Loop; PLACEMENTS]) -> Self {
        Self { name: name.to_owned(), stateful, note, expected: expected(SEED, CALLS), loops }
    }

    /// The same row under another name, each of whose calls does the work so many times.
    #[must_use]
    pub fn named(mut self, name: String, turns: u64) -> Self {
        (self.name, self.expected) = (name, expected(SEED, CALLS * turns));
        self
    }

    /// The same row, whose loop ends with another value.
    #[must_use]
    pub fn expecting(mut self, expected: u64) -> Self {
        self.expected = expected;
        self
    }
}

/// [`CALLS`] dependent calls, the loop's start at `P` times 16 bytes of a cacheline, the call `P` times 2 bytes on.
#[inline(always)]
pub fn chain<const P: usize>(seed: u64, mut call: impl FnMut(u64) -> u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: alignment and nops: changes no register, no flag, no memory, no stack.
    unsafe {
        core::arch::asm!(".p2align 6", ".skip {pad}, 0x90", pad = const P * 16,
            options(nomem, nostack, preserves_flags));
    }
    let mut x = seed;
    for _ in 0..CALLS {
        shift::<P>();
        x = call(x);
    }
    x
}

/// A single nop of `2 * P` bytes. The compiler begins loops at multiples of 16, so without it the call would stand at
/// the same place of its 8 bytes in every copy; and that place decides whether a call instruction can be patched.
#[inline(always)]
fn shift<const P: usize>() {
    #[cfg(target_arch = "x86_64")]
    match P {
        // SAFETY: a nop.
        1 => unsafe { core::arch::asm!("xchg ax, ax", options(nomem, nostack, preserves_flags)) },
        // SAFETY: a nop.
        2 => unsafe { core::arch::asm!("nop dword ptr [rax + 1]", options(nomem, nostack, preserves_flags)) },
        // SAFETY: a nop.
        3 => unsafe {
            core::arch::asm!("nop word ptr [rax + rax + 1]", options(nomem, nostack, preserves_flags))
        },
        _ => {}
    }
}

/// What a chain of so many calls must end with.
#[must_use]
pub fn expected(seed: u64, calls: u64) -> u64 {
    (0..calls).fold(seed, |x, _| turn(x, KEY))
}

/// Makes a row of a loop: its body gets the placement and the seed, and runs `chain` with them.
#[macro_export]
macro_rules! row {
    ($name:literal, $stateful:literal, $note:literal, |$place:ident, $seed:ident| $body:block) => {{
        #[inline(never)]
        fn run<const $place: usize>($seed: u64) -> u64 $body
        $crate::compare::chain::Row::new($name, $stateful, $note, [run::<0>, run::<1>, run::<2>, run::<3>])
    }};
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hotcall_bench_step::{KEY, turn};

    use super::{CALLS, SEED};

    #[test]
    fn a_chain_visits_no_value_twice() {
        let mut x = SEED;
        let visited: HashSet<u64> = (0..=CALLS)
            .map(|_| {
                x = turn(x, KEY);
                x
            })
            .collect();
        assert_eq!(visited.len() as u64, CALLS + 1);
    }
}

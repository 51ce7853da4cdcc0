//! Two callers of a slot. `tests/golden.rs` builds this for release and disassembles them.
#![allow(unsafe_code)]

use hotcall::{dispatch, slot};

/// What is called.
#[dispatch]
pub trait Effect: Send + Sync {
    /// A value in, a value out.
    fn process(&self, x: u64) -> u64;
}

struct Bypass;

impl Effect for Bypass {
    fn process(&self, x: u64) -> u64 {
        x
    }
}

struct Add(u64);

impl Effect for Add {
    fn process(&self, x: u64) -> u64 {
        x + self.0
    }
}

#[slot]
static EFFECT: dyn Effect = Bypass;

/// A plain call.
// SAFETY: nothing else has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn golden_plain(x: u64) -> u64 {
    EFFECT.process(x)
}

/// A loop of bound calls.
// SAFETY: as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn golden_bound(mut x: u64, times: u64) -> u64 {
    let guard = hotcall::pin();
    let effect = EFFECT.bind(&guard);
    for _ in 0..times {
        x = effect.process(x);
    }
    x
}

/// Many calls: each is aligned, so each is patched.
#[inline(never)]
fn many_callers(x: u64) -> u64 {
    macro_rules! calls {
        ($($n:literal)*) => { 0 $(+ EFFECT.process(core::hint::black_box(x)) + $n * 0)* };
    }
    calls!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

fn main() -> Result<(), hotcall::Error> {
    assert_eq!(many_callers(1), 32);
    assert_eq!((golden_plain(1), golden_bound(1, 9)), (1, 1));
    drop(EFFECT.replace(Add(2))?);
    assert_eq!((golden_plain(1), golden_bound(1, 9), many_callers(1)), (3, 19, 96));
    // One plain call, at least one in the loop, and 32.
    let callers = hotcall::stats().callers;
    assert!(callers >= 34, "of at least 34 calls only {callers} are patched");
    Ok(())
}

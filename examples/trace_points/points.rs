//! A thousand steps over the bytes of a record, each with a trace point: a key of its own.
//!
//! The same steps stand here three times: bare, with keys, and with an `AtomicBool` each, which is what they would cost otherwise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hotcall::Batch;

/// How many points there are, and bytes in a record.
pub const COUNT: usize = 1_000;

/// A record.
pub type Record = [u8; COUNT];

/// How often each point was passed while it was on.
pub static SEEN: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];

/// What is done at a point that is on.
#[cold]
#[inline(never)]
fn seen(point: usize, hash: u64) {
    // Here a program would write down what it knows.
    std::hint::black_box(hash);
    SEEN[point].fetch_add(1, Ordering::Relaxed);
}

#[inline(always)]
fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
}

/// Ten steps.
macro_rules! ten_points {
    () => { ten_points!(0 P0 1 P1 2 P2 3 P3 4 P4 5 P5 6 P6 7 P7 8 P8 9 P9); };
    ($($digit:literal $name:ident)*) => {
        const FIRST: usize = BASE * 10;
        $(
            #[hotcall::key]
            static $name: bool = false;
        )*
        mod atomics {
            $(pub(super) static $name: super::AtomicBool = super::AtomicBool::new(false);)*
        }
        #[inline(never)]
        pub(super) fn bare(mut hash: u64, record: &Record) -> u64 {
            $(hash = step(hash, record[FIRST + $digit]);)*
            hash
        }
        #[inline(never)]
        pub(super) fn with_keys(mut hash: u64, record: &Record) -> u64 {
            $(
                hash = step(hash, record[FIRST + $digit]);
                if $name.is_on() {
                    seen(FIRST + $digit, hash);
                }
            )*
            hash
        }
        #[inline(never)]
        pub(super) fn with_atomics(mut hash: u64, record: &Record) -> u64 {
            $(
                hash = step(hash, record[FIRST + $digit]);
                if atomics::$name.load(Ordering::Relaxed) {
                    seen(FIRST + $digit, hash);
                }
            )*
            hash
        }
        pub(super) fn set(batch: &mut Batch, chosen: &dyn Fn(usize) -> bool, on: bool) {
            $(
                if chosen(FIRST + $digit) {
                    batch.set(&$name, on);
                }
            )*
        }
    };
}

/// Ten times what is inside.
macro_rules! ten {
    ($inner:ident) => { ten!($inner: 0 m0 1 m1 2 m2 3 m3 4 m4 5 m5 6 m6 7 m7 8 m8 9 m9); };
    ($inner:ident: $($digit:literal $module:ident)*) => {
        $(
            mod $module {
                use super::*;
                const BASE: usize = super::BASE * 10 + $digit;
                $inner!();
            }
        )*
        pub(super) fn bare(hash: u64, record: &Record) -> u64 {
            $(let hash = $module::bare(hash, record);)*
            hash
        }
        pub(super) fn with_keys(hash: u64, record: &Record) -> u64 {
            $(let hash = $module::with_keys(hash, record);)*
            hash
        }
        pub(super) fn with_atomics(hash: u64, record: &Record) -> u64 {
            $(let hash = $module::with_atomics(hash, record);)*
            hash
        }
        pub(super) fn set(batch: &mut Batch, chosen: &dyn Fn(usize) -> bool, on: bool) {
            $($module::set(batch, chosen, on);)*
        }
    };
}
macro_rules! hundred {
    () => {
        ten!(ten_points);
    };
}

mod all {
    use super::*;
    const BASE: usize = 0;
    ten!(hundred);
}

/// The hash of a record, without points.
pub fn bare(record: &Record) -> u64 {
    all::bare(0, record)
}

/// The same, with a key after each step.
pub fn with_keys(record: &Record) -> u64 {
    all::with_keys(0, record)
}

/// The same, with an atomic after each step.
pub fn with_atomics(record: &Record) -> u64 {
    all::with_atomics(0, record)
}

/// Turns the points that are chosen, all at once.
///
/// # Errors
///
/// They cannot be turned.
pub fn set(chosen: &dyn Fn(usize) -> bool, on: bool) -> Result<(), hotcall::Error> {
    hotcall::batch(|batch| all::set(batch, chosen, on)).map(drop)
}

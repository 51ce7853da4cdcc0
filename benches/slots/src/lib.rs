//! Ten thousand slots.
//!
//! A static cannot be generic, so they are made by a macro that nests modules, ten in each, four deep. Each
//! module adds its slots to a batch and calls through them; the functions of [`TREES`] are those of
//! subtrees of 1, 10, 100, 1,000 and 10,000 slots.
#![forbid(unsafe_code)]

use hotcall::Batch;

/// A subtree of slots.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// How many slots it has.
    pub slots: usize,
    /// Adds a replacement of each of them to a batch.
    pub replace: fn(&mut Batch, u64),
    /// Passes a value through each of them in turn, from a call site of its own.
    pub call: fn(u64) -> u64,
}

macro_rules! leaf {
    () => {
        #[hotcall::slot]
        pub(crate) static SLOT: dyn hotcall_bench_step::Step = hotcall_bench_step::Stateless;

        pub(crate) fn replace(batch: &mut hotcall::Batch, key: u64) {
            batch.replace(&SLOT, hotcall_bench_step::Stateful::new(key));
        }

        #[inline(always)]
        pub(crate) fn call(x: u64) -> u64 {
            hotcall_bench_step::Step::step(&SLOT, x)
        }
    };
}

/// Ten modules of what `$inner` makes, and functions over all of them.
macro_rules! ten {
    ($inner:ident) => {
        ten!(@modules $inner a b c d e f g h i j);

        #[inline(never)]
        pub(crate) fn replace(batch: &mut hotcall::Batch, key: u64) {
            ten!(@replace batch key a b c d e f g h i j);
        }

        #[inline(never)]
        pub(crate) fn call(x: u64) -> u64 {
            ten!(@call x a b c d e f g h i j)
        }
    };
    (@modules $inner:ident $($name:ident)*) => {
        $(pub(crate) mod $name { $inner!(); })*
    };
    (@replace $batch:ident $key:ident $($name:ident)*) => { $($name::replace($batch, $key);)* };
    (@call $x:ident $($name:ident)*) => {{ $(let $x = $name::call($x);)* $x }};
}

macro_rules! ten_leaves { () => { ten!(leaf); }; }
macro_rules! hundred { () => { ten!(ten_leaves); }; }
macro_rules! thousand { () => { ten!(hundred); }; }

mod all {
    ten!(thousand);
}

/// Trees of 1, 10, 100, 1,000 and 10,000 slots; each is a part of the next.
pub const TREES: [Tree; 5] = [
    Tree { slots: 1, replace: all::a::a::a::a::replace, call: one },
    Tree { slots: 10, replace: all::a::a::a::replace, call: all::a::a::a::call },
    Tree { slots: 100, replace: all::a::a::replace, call: all::a::a::call },
    Tree { slots: 1_000, replace: all::a::replace, call: all::a::call },
    Tree { slots: 10_000, replace: all::replace, call: all::call },
];

fn one(x: u64) -> u64 {
    all::a::a::a::a::call(x)
}

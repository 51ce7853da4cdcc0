//! Ten thousand slots.
//!
//! A static cannot be generic, so they are made by a macro that nests modules, ten in each, three deep, around
//! ten slots. Each module adds its slots to a batch and calls through them; the functions of [`TREES`] are those of
//! its subtrees.
#![forbid(unsafe_code)]

use hotcall::{Batch, Instance};
use hotcall_bench_step::Step;

/// Makes what a slot is to hold.
pub type Make<'m> = &'m dyn Fn() -> Instance<dyn Step>;

/// A subtree of slots.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// How many slots it has.
    pub slots: usize,
    /// Adds a replacement of each of them to a batch.
    pub replace: fn(&mut Batch, Make<'_>),
    /// Passes a value through each of them in turn, from a call site of its own.
    pub call: fn(u64) -> u64,
}

/// Ten slots, and functions over all of them.
macro_rules! leaves {
    () => { leaves!(A B C D E F G H I J); };
    ($($slot:ident)*) => {
        $(
            #[hotcall::slot]
            pub(crate) static $slot: dyn hotcall_bench_step::Step = hotcall_bench_step::Stateless;
        )*

        #[inline(never)]
        pub(crate) fn replace(batch: &mut hotcall::Batch, make: $crate::Make<'_>) {
            $(batch.replace(&$slot, make());)*
        }

        #[inline(never)]
        pub(crate) fn call(x: u64) -> u64 {
            $(let x = hotcall_bench_step::Step::step(&$slot, x);)*
            x
        }
    };
}

/// Ten modules of what `$inner` makes, and functions over all of them.
macro_rules! ten {
    ($inner:ident) => {
        ten!(@modules $inner a b c d e f g h i j);

        #[inline(never)]
        pub(crate) fn replace(batch: &mut hotcall::Batch, make: $crate::Make<'_>) {
            ten!(@replace batch make a b c d e f g h i j);
        }

        #[inline(never)]
        pub(crate) fn call(x: u64) -> u64 {
            ten!(@call x a b c d e f g h i j)
        }
    };
    (@modules $inner:ident $($name:ident)*) => {
        $(pub(crate) mod $name { $inner!(); })*
    };
    (@replace $batch:ident $make:ident $($name:ident)*) => { $($name::replace($batch, $make);)* };
    (@call $x:ident $($name:ident)*) => {{ $(let $x = $name::call($x);)* $x }};
}

/// Slots of the largest tree, and the trees. Compiling ten thousand slots takes a minute, so a debug build,
/// which measures nothing, has a hundred.
#[cfg(debug_assertions)]
mod all {
    use hotcall_bench_step::Step;

    ten!(leaves);

    pub(crate) const TREES: &[super::Tree] = &[
        super::Tree {
            slots: 1,
            replace: |batch, make| _ = batch.replace(&a::A, make()),
            call: |x| a::A.step(x),
        },
        super::Tree { slots: 10, replace: a::replace, call: a::call },
        super::Tree { slots: 100, replace, call },
    ];
}

#[cfg(not(debug_assertions))]
macro_rules! hundred {
    () => {
        ten!(leaves);
    };
}

#[cfg(not(debug_assertions))]
macro_rules! thousand {
    () => {
        ten!(hundred);
    };
}

#[cfg(not(debug_assertions))]
mod all {
    use hotcall_bench_step::Step;

    ten!(thousand);

    pub(crate) const TREES: &[super::Tree] = &[
        super::Tree {
            slots: 1,
            replace: |batch, make| _ = batch.replace(&a::a::a::A, make()),
            call: |x| a::a::a::A.step(x),
        },
        super::Tree { slots: 10, replace: a::a::a::replace, call: a::a::a::call },
        super::Tree { slots: 100, replace: a::a::replace, call: a::a::call },
        super::Tree { slots: 1_000, replace: a::replace, call: a::call },
        super::Tree { slots: 10_000, replace, call },
    ];
}

/// Trees of 1, 10, 100, 1,000 and 10,000 slots; each is a part of the next. A debug build ends at 100.
pub const TREES: &[Tree] = all::TREES;

#[cfg(test)]
mod tests {
    use hotcall::Instance;
    use hotcall_bench_step::{KEY, Stateful, Twin, turn};

    use super::TREES;

    #[test]
    fn a_tree_calls_and_replaces_each_of_its_slots_once() -> Result<(), hotcall::Error> {
        for tree in TREES {
            let expected = (0..tree.slots).fold(1, |x, _| turn(x, KEY));
            assert_eq!((tree.call)(1), expected);
            let retired = hotcall::batch(|batch| (tree.replace)(batch, &|| Instance::new(Twin::new(7))))?;
            assert_eq!(retired.len(), tree.slots);
            assert_eq!((tree.call)(1), (0..tree.slots).fold(1, |x, _| turn(x, 7)));
            drop(hotcall::batch(|batch| (tree.replace)(batch, &|| Instance::new(Stateful::new(KEY))))?);
        }
        Ok(())
    }
}

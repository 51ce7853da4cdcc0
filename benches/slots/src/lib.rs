//! Ten thousand slots, and as many trait objects in statics, compiled in the same shape.
//!
//! A static cannot be generic, so they are made by a macro that nests modules, ten in each, three deep, around
//! ten slots. Each module adds its slots to a batch and calls through them; the functions of [`TREES`] are those of
//! its subtrees.
#![deny(unsafe_code)]

mod pointer;

use hotcall::{Batch, Guard, Instance};
use hotcall_bench_step::Step;

/// Makes what a slot is to hold.
pub type Make<'m> = &'m dyn Fn() -> Instance<dyn Step>;

/// Makes what a trait object is to point to.
pub type Leak<'m> = &'m dyn Fn() -> &'static dyn Step;

/// A subtree of slots.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// How many slots it has.
    pub slots: usize,
    /// Adds a replacement of each of them to a batch.
    pub replace: fn(&mut Batch, Make<'_>),
    /// Passes a value through each of them in turn, from a call site of its own.
    pub call: fn(u64) -> u64,
    /// The same under a guard.
    pub bound: fn(&Guard, u64) -> u64,
    /// Sets the trait object beside each of them.
    ///
    /// # Safety
    ///
    /// No other thread calls `dynamic` of any tree meanwhile.
    pub set: unsafe fn(Leak<'_>),
    /// Passes a value through each of those in turn, from a call site of its own.
    pub dynamic: fn(u64) -> u64,
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

        #[inline(never)]
        pub(crate) fn bound(guard: &hotcall::Guard, x: u64) -> u64 {
            $(let x = hotcall_bench_step::Step::step(&$slot.bind(guard), x);)*
            x
        }

        pub(crate) mod objects {
            $(pub(crate) static $slot: $crate::pointer::Pointer = $crate::pointer::Pointer::empty();)*
        }

        #[allow(unsafe_code)]
        #[inline(never)]
        pub(crate) unsafe fn set(leak: $crate::Leak<'_>) {
            // SAFETY: the caller's promise.
            $(unsafe { objects::$slot.set(leak()) };)*
        }

        #[inline(never)]
        pub(crate) fn dynamic(x: u64) -> u64 {
            $(let x = hotcall_bench_step::Step::step(objects::$slot.load(), x);)*
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
            ten!(@call call x a b c d e f g h i j)
        }

        #[inline(never)]
        pub(crate) fn bound(guard: &hotcall::Guard, x: u64) -> u64 {
            ten!(@bound guard x a b c d e f g h i j)
        }

        #[allow(unsafe_code)]
        #[inline(never)]
        pub(crate) unsafe fn set(leak: $crate::Leak<'_>) {
            ten!(@set leak a b c d e f g h i j);
        }

        #[inline(never)]
        pub(crate) fn dynamic(x: u64) -> u64 {
            ten!(@call dynamic x a b c d e f g h i j)
        }
    };
    (@modules $inner:ident $($name:ident)*) => {
        $(pub(crate) mod $name { $inner!(); })*
    };
    (@replace $batch:ident $make:ident $($name:ident)*) => { $($name::replace($batch, $make);)* };
    (@call $call:ident $x:ident $($name:ident)*) => {{ $(let $x = $name::$call($x);)* $x }};
    (@bound $guard:ident $x:ident $($name:ident)*) => {{ $(let $x = $name::bound($guard, $x);)* $x }};
    (@set $leak:ident $($name:ident)*) => {
        // SAFETY: the caller's promise.
        $(unsafe { $name::set($leak) };)*
    };
}

/// Slots of the largest tree, and the trees. Compiling ten thousand slots takes a minute, so a debug build,
/// which measures nothing, has a hundred.
#[cfg(debug_assertions)]
mod all {
    use hotcall_bench_step::Step;

    ten!(leaves);

    use super::tree;

    #[allow(unsafe_code)]
    unsafe fn set_first(leak: super::Leak<'_>) {
        // SAFETY: the caller's promise.
        unsafe { a::objects::A.set(leak()) };
    }

    pub(crate) const TREES: &[super::Tree] = &[
        super::Tree {
            slots: 1,
            replace: |batch, make| _ = batch.replace(&a::A, make()),
            call: |x| a::A.step(x),
            bound: |guard, x| a::A.bind(guard).step(x),
            set: set_first,
            dynamic: |x| a::objects::A.load().step(x),
        },
        tree(10, a::replace, a::call, a::bound, a::set, a::dynamic),
        tree(100, replace, call, bound, set, dynamic),
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

    use super::tree;

    #[allow(unsafe_code)]
    unsafe fn set_first(leak: super::Leak<'_>) {
        // SAFETY: the caller's promise.
        unsafe { a::a::a::objects::A.set(leak()) };
    }

    pub(crate) const TREES: &[super::Tree] = &[
        super::Tree {
            slots: 1,
            replace: |batch, make| _ = batch.replace(&a::a::a::A, make()),
            call: |x| a::a::a::A.step(x),
            bound: |guard, x| a::a::a::A.bind(guard).step(x),
            set: set_first,
            dynamic: |x| a::a::a::objects::A.load().step(x),
        },
        tree(10, a::a::a::replace, a::a::a::call, a::a::a::bound, a::a::a::set, a::a::a::dynamic),
        tree(100, a::a::replace, a::a::call, a::a::bound, a::a::set, a::a::dynamic),
        tree(1_000, a::replace, a::call, a::bound, a::set, a::dynamic),
        tree(10_000, replace, call, bound, set, dynamic),
    ];
}

/// A tree of what a module has.
const fn tree(
    slots: usize,
    replace: fn(&mut Batch, Make<'_>),
    call: fn(u64) -> u64,
    bound: fn(&Guard, u64) -> u64,
    set: unsafe fn(Leak<'_>),
    dynamic: fn(u64) -> u64,
) -> Tree {
    Tree { slots, replace, call, bound, set, dynamic }
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
            assert_eq!([(tree.call)(1), (tree.bound)(&hotcall::pin(), 1), (tree.dynamic)(1)], [expected; 3]);
            let retired = hotcall::batch(|batch| (tree.replace)(batch, &|| Instance::new(Twin::new(7))))?;
            assert_eq!(retired.len(), tree.slots);
            assert_eq!((tree.call)(1), (0..tree.slots).fold(1, |x, _| turn(x, 7)));
            drop(hotcall::batch(|batch| (tree.replace)(batch, &|| Instance::new(Stateful::new(KEY))))?);
        }
        Ok(())
    }
}

//! How the results of a chain's elements combine, as `#[dispatch]` says it of each method.
#![allow(unsafe_code)]

use core::ops::ControlFlow;

use super::link::{Entries, EntryPoint};
use crate::interface::{Code, Interface};

/// A trait of which chains can be made: `#[dispatch]` knows, or has been told, how each method's results combine.
///
/// # Safety
///
/// Only `#[dispatch]` implements it. `RULES` has one entry for each method, in the order of the interface, and
/// the code in each has the method's signature; `EMPTY` holds the `empty` code of each.
#[diagnostic::on_unimplemented(
    message = "a chain cannot combine the results of `{Self}`",
    label = "some method of this trait has no rule",
    note = "say of each method how results combine: `#[chain(through)]` passes a value through all elements, \
            `#[chain(first)]` stops at the first `Some`, `Err`, `Break` or `true`, `#[chain(all)]` calls all, \
            `#[chain(own)]` takes the trait's default body"
)]
pub unsafe trait Chainable: Interface {
    /// An entry point for each method.
    type Entries: Entries;
    /// The rules.
    const RULES: &'static [MethodRule];
    /// The entry points of a chain without elements.
    const EMPTY: Self::Entries;
}

/// One method: how results combine, and what is needed to call it.
#[derive(Clone, Copy, Debug)]
pub struct MethodRule {
    /// How results combine.
    pub combine: Combine,
    /// What is passed, without the instance and the out pointer.
    pub arguments: &'static [Word],
    /// What is returned in registers.
    pub result: Word,
    /// Whether the result leaves through an out pointer, which is then the second argument.
    pub out: bool,
    /// The method of a chain without elements.
    pub empty: Code,
    /// The method as a loop over the links that its first argument leads to.
    pub looped: Code,
}

/// How the results of the elements combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// Every element is called; there are no results.
    All,
    /// The result of each element is the argument of that index of the next, and that of the last the result.
    Through(usize),
    /// The first result that says so is the result; else that of the last element. The code tells of what the out
    /// pointer leads to whether it does, and drops it where not: `extern "C-unwind" fn(*mut R) -> bool`.
    /// Without code, the result is a `bool`.
    First(Option<Code>),
    /// The chain does what the trait's default body does.
    Own,
}

/// How the C calling convention passes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The kind of register.
    pub class: Class,
    /// The value's size in bytes.
    pub size: usize,
}

/// Which registers a value is passed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One general register, or two: an integer, a reference, a pointer.
    Unsigned,
    /// As above, and sign-extended.
    Signed,
    /// One vector register: `f32` or `f64`.
    Float,
    /// Not known from the type as written, or in memory.
    Other,
}

/// A result at which a chain may stop: see `#[chain(first)]`.
#[diagnostic::on_unimplemented(
    message = "a chain cannot tell whether to stop at a `{Self}`",
    note = "`#[chain(first)]` stops at `Some`, `Err`, `ControlFlow::Break` or `true`; implement `hotcall::First` for \
            a type of your own; what an `Ok` or a `Continue` holds must be `Default`, for the empty chain"
)]
pub trait First: Sized {
    /// Whether no further element is to be called.
    fn stops(&self) -> bool;

    /// What a chain without elements returns.
    fn empty() -> Self;
}

impl First for bool {
    #[inline]
    fn stops(&self) -> bool {
        *self
    }
    #[inline]
    fn empty() -> Self {
        false
    }
}

impl<T> First for Option<T> {
    #[inline]
    fn stops(&self) -> bool {
        self.is_some()
    }
    #[inline]
    fn empty() -> Self {
        None
    }
}

impl<T: Default, E> First for Result<T, E> {
    #[inline]
    fn stops(&self) -> bool {
        self.is_err()
    }
    #[inline]
    fn empty() -> Self {
        Ok(T::default())
    }
}

impl<B, C: Default> First for ControlFlow<B, C> {
    #[inline]
    fn stops(&self) -> bool {
        self.is_break()
    }
    #[inline]
    fn empty() -> Self {
        Self::Continue(C::default())
    }
}

/// What every element of a chain is passed: a copy each.
#[diagnostic::on_unimplemented(
    message = "every element of a chain is passed this argument, so `{Self}` must be `Copy` or a reference",
    note = "take it by reference, or give the method a default body and the rule `#[chain(own)]`"
)]
pub trait Again: Copy {}
impl<T: Copy> Again for T {}

/// For `#[dispatch]`: a copy of an argument.
#[inline(always)]
#[must_use]
pub fn again<T: Again>(argument: &T) -> T {
    *argument
}

/// For `#[dispatch]`: see [`Combine::First`].
///
/// # Safety
///
/// `result` is valid and initialised; where the answer is false, or where this panics, nobody uses its value any more.
pub unsafe extern "C-unwind" fn step<R: First>(result: *mut R) -> bool {
    /// Drops the value, also where `stops`, which is the user's, panics.
    struct Passed<R>(*mut R);
    impl<R> Drop for Passed<R> {
        fn drop(&mut self) {
            // SAFETY: the promise of the caller of `step`, which made this.
            unsafe { self.0.drop_in_place() }
        }
    }
    let passed = Passed(result);
    // SAFETY: the caller's promise.
    let stops = unsafe { &*result }.stops();
    if stops {
        core::mem::forget(passed);
    }
    stops
}

/// For `#[dispatch]`: the entry point of a method of a chain without elements.
#[must_use]
pub const fn entry_point(code: Code) -> EntryPoint {
    EntryPoint::new(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_result_knows_its_stop() {
        assert!(Some(1).stops() && !None::<u8>.stops() && <Option<u8> as First>::empty().is_none());
        assert!(
            Err::<(), _>(1).stops()
                && !Ok::<u8, u8>(1).stops()
                && Ok::<_, u8>(0) == <Result<u8, u8>>::empty()
        );
        assert!(ControlFlow::<_, ()>::Break(1).stops() && !ControlFlow::<u8, ()>::empty().stops());
        assert!(true.stops() && !bool::empty());
    }

    #[test]
    fn a_step_drops_what_it_passes_over() {
        let shared = std::rc::Rc::new(());
        let mut passed = core::mem::MaybeUninit::new(Ok::<_, ()>(Some(shared.clone())));
        // SAFETY: initialised, and not used again.
        assert!(!unsafe { step(passed.as_mut_ptr()) });
        assert_eq!(std::rc::Rc::strong_count(&shared), 1);
    }

    #[test]
    fn a_step_drops_what_panics_when_it_is_asked() {
        struct Asked(#[allow(dead_code, reason = "held for its count")] std::rc::Rc<()>);
        impl First for Asked {
            fn stops(&self) -> bool {
                panic!("asked")
            }
            fn empty() -> Self {
                Self(std::rc::Rc::default())
            }
        }
        let shared = std::rc::Rc::new(());
        let mut asked = core::mem::MaybeUninit::new(Asked(shared.clone()));
        let at = asked.as_mut_ptr();
        // SAFETY: initialised, and not used again.
        let ask = std::panic::AssertUnwindSafe(|| unsafe { step(at) });
        assert!(std::panic::catch_unwind(ask).is_err());
        assert_eq!(std::rc::Rc::strong_count(&shared), 1);
    }
}

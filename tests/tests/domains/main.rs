//! Traits as they are in audio hosts, engines, services and stores, each in every form that it has: the answers are those of a
//! `Box<dyn Trait>`.
//!
//! What a trait lends is asked for where it may be lent: of a bound slot, a lock, what a guard keeps, an instance.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![allow(clippy::type_complexity, reason = "the traits are as they are elsewhere")]

/// A trait whose slots are shared.
macro_rules! shared {
    ($slot:ident: $interface:ty = $value:expr; |$x:ident| $calls:expr; lends |$y:ident| $lent:expr) => {{
        let boxed: Box<$interface> = Box::new($value);
        let expected = {
            let $x = &*boxed;
            $calls
        };
        let lent = {
            let $y = &*boxed;
            $lent
        };
        drop(hotcall::Slot::replace(&$slot, $value).unwrap());
        let plain = {
            let $x = &$slot;
            $calls
        };
        assert_eq!(plain, expected, "a plain call");
        let guard = hotcall::pin();
        let bound = hotcall::Slot::bind(&$slot, &guard);
        let held = hotcall::Slot::get(&$slot, &guard);
        let mut handle: hotcall::Patched<$interface> = hotcall::Patched::new($value);
        let instance: hotcall::Instance<$interface> = hotcall::Instance::new($value);
        {
            let $x = &bound;
            assert_eq!($calls, expected, "bound");
        }
        {
            let $x = &held;
            assert_eq!($calls, expected, "held");
        }
        {
            let $x = &handle;
            assert_eq!($calls, expected, "a handle");
        }
        {
            let $x = &instance;
            assert_eq!($calls, expected, "an instance");
        }
        {
            let $y = &bound;
            assert_eq!($lent, lent, "bound");
        }
        {
            let $y = &held;
            assert_eq!($lent, lent, "held");
        }
        {
            let $y = handle.get_mut(&guard);
            assert_eq!($lent, lent, "a handle");
        }
        {
            let $y = &instance;
            assert_eq!($lent, lent, "an instance");
        }
    }};
}

/// A trait with `&mut self`.
macro_rules! locked {
    ($slot:ident: $interface:ty = $value:expr; |$x:ident| $calls:expr; lends |$y:ident| $lent:expr) => {{
        let mut boxed: Box<$interface> = Box::new($value);
        let expected = {
            let $x = &mut *boxed;
            $calls
        };
        let lent = {
            let $y = &mut *boxed;
            $lent
        };
        drop(hotcall::Slot::replace(&$slot, $value).unwrap());
        let mut lock = hotcall::Slot::lock(&$slot);
        let mut handle: hotcall::Patched<$interface> = hotcall::Patched::new($value);
        let mut instance: hotcall::Instance<$interface> = hotcall::Instance::new($value);
        {
            let $x = &mut lock;
            assert_eq!($calls, expected, "a lock");
        }
        {
            let $x = &mut handle;
            assert_eq!($calls, expected, "a handle");
        }
        {
            let $x = &mut instance;
            assert_eq!($calls, expected, "an instance");
        }
        {
            let $y = &mut lock;
            assert_eq!($lent, lent, "a lock");
        }
        {
            let guard = hotcall::pin();
            let $y = handle.get_mut(&guard);
            assert_eq!($lent, lent, "a handle");
        }
        {
            let $y = &mut instance;
            assert_eq!($lent, lent, "an instance");
        }
    }};
}

mod audio;
mod engines;
mod observing;
mod storage;
mod web;
mod windows;

//! Names that the expansions might trip over: of methods, arguments, types and modules.
#![forbid(unsafe_code)]
#![allow(non_snake_case)]
#![allow(missing_docs, non_camel_case_types, dead_code)]

/// Everything the expansions use is shadowed in here.
mod shadowed {
    pub mod core {}
    pub mod std {}
    pub mod hotcall {}
    pub mod alloc {}
    pub struct Result {}
    pub struct Option {}
    pub struct String(pub ::core::primitive::u8);
    pub struct Some;
    pub struct None;
    pub struct Ok;
    pub struct Err;
    pub struct Vec;
    pub struct Box;
    pub trait Send {}
    pub trait Sync {}
    pub trait Sized {}
    pub trait Drop {}
    pub trait Copy {}
    pub trait Fn {}
    pub struct Slot;
    pub struct Bound;
    pub struct Instance;
    pub struct Definition;
    pub struct usize_;
    #[allow(unused_macros)]
    macro_rules! panic {
        ($($t:tt)*) => {
            ::core::compile_error!("shadowed")
        };
    }
    #[allow(unused_macros)]
    macro_rules! concat {
        ($($t:tt)*) => {
            ::core::compile_error!("shadowed")
        };
    }
    #[allow(unused_macros)]
    macro_rules! stringify {
        ($($t:tt)*) => {
            ::core::compile_error!("shadowed")
        };
    }

    #[::hotcall::dispatch]
    pub trait Names: ::core::marker::Send + ::core::marker::Sync {
        fn this(&self, this: u8) -> u8 {
            this
        }
        fn self_(&self, self_: u8, out: u8, ret: u8, guard: u8) -> u8 {
            self_ + out + ret + guard
        }
        fn out(&self, __this: u8, __out: u8) -> [u8; 40] {
            [__this + __out; 40]
        }
        fn ret(&self, core: u8, std: u8, hotcall: u8, __a1: u8) -> u8 {
            core + std + hotcall + __a1
        }
        fn guard(&self, __bound: String, __result: u8) -> String {
            String(__bound.0 + __result)
        }
        fn core(&self, __slot: u8, __entered: u8, __code: u8, __method: u8) -> u8 {
            __slot + __entered + __code + __method
        }
        fn std(&self, Result: u8) -> Option {
            let _ = Result;
            Option {}
        }
        fn replace(&self, x: u8) -> Result {
            let _ = x;
            Result {}
        }
        fn bind(&self) -> u8 {
            1
        }
        fn get(&self) -> u8 {
            2
        }
        fn default(&self) -> u8 {
            3
        }
        fn method(&self) -> u8 {
            4
        }
        fn clone(&self) -> u8 {
            5
        }
        fn drop(&self) -> u8 {
            6
        }
        fn enter(&self) -> u8 {
            7
        }
        fn stub(&self, slot: u8, definition: u8, instance: u8, invoke: u8) -> u8 {
            slot + definition + instance + invoke
        }
        fn shim_0(&self) -> u8 {
            8
        }
        fn __shim_0(&self, __INDEX_0: u8) -> u8 {
            __INDEX_0
        }
        fn __enter(&self) -> u8 {
            9
        }
        fn __this(&self) -> u8 {
            10
        }
        fn __load(&self) -> u8 {
            11
        }
        fn __core(&self) -> u8 {
            12
        }
        fn __bound(&self) -> u8 {
            13
        }
    }

    pub struct Default;
    impl Names for Default {}
    pub struct Full(pub u64);
    impl Names for Full {
        fn this(&self, this: u8) -> u8 {
            this + 100
        }
    }

    #[::hotcall::slot]
    pub static NAMES: dyn Names = Default;

    /// A trait whose parameters are named like the expansion's own.
    #[::hotcall::dispatch]
    pub trait Parameters<__Implementor, __Slot, T>: ::core::marker::Send + ::core::marker::Sync {
        type Error;
        type __AssocT;
        fn go(&self, a: __Implementor, b: &__Slot, c: T) -> Self::Error;
    }
    impl Parameters<u8, u16, u32> for Default {
        type Error = u64;
        type __AssocT = ();
        fn go(&self, a: u8, b: &u16, c: u32) -> u64 {
            u64::from(a) + u64::from(*b) + u64::from(c)
        }
    }
    #[::hotcall::slot]
    pub static PARAMETERS: dyn Parameters<u8, u16, u32, Error = u64, __AssocT = ()> = Default;
}

use shadowed::{Full, NAMES, Names, PARAMETERS, Parameters};

fn check(names: &impl Names, this: u8) {
    assert_eq!(names.this(1), this);
    assert_eq!(names.self_(1, 2, 3, 4), 10);
    assert_eq!(names.out(1, 2), [3; 40]);
    assert_eq!(names.ret(1, 2, 3, 4), 10);
    assert_eq!(names.guard(shadowed::String(1), 2).0, 3);
    assert_eq!(Names::core(names, 1, 2, 3, 4), 10);
    let shadowed::Option {} = names.std(1);
    let shadowed::Result {} = Names::replace(names, 1);
    let small = [Names::bind(names), Names::get(names), Names::default(names), Names::method(names)];
    assert_eq!(small, [1, 2, 3, 4]);
    assert_eq!([Names::clone(names), Names::drop(names), Names::enter(names), names.shim_0()], [5, 6, 7, 8]);
    assert_eq!(Names::stub(names, 1, 2, 3, 4), 10);
    assert_eq!(names.__shim_0(9), 9);
    let hidden = [Names::__enter(names), Names::__this(names), Names::__load(names), Names::__core(names)];
    assert_eq!((hidden, Names::__bound(names)), ([9, 10, 11, 12], 13));
}

#[test]
fn any_name_will_do() {
    check(&NAMES, 1);
    drop(hotcall::Slot::replace(&NAMES, Full(1)).unwrap());
    check(&NAMES, 101);
    let guard = hotcall::pin();
    check(&hotcall::Slot::bind(&NAMES, &guard), 101);
    check(&hotcall::Slot::get(&NAMES, &guard), 101);
    check(&hotcall::Instance::<dyn Names>::new(Full(2)), 101);
    assert_eq!(PARAMETERS.go(1, &2, 3), 6);
}

/// A trait named like the ones the runtime has.
mod traits {
    use hotcall::{dispatch, slot};
    #[dispatch]
    pub trait Interface: Send + Sync {
        fn a(&self) -> Result<(), ()>;
    }
    #[dispatch]
    pub trait Implements: Send + Sync {
        fn b(&self) -> Option<Box<str>>;
    }
    #[dispatch]
    pub trait Stubs: Send + Sync {
        fn c(&self);
    }
    pub struct All;
    impl Interface for All {
        fn a(&self) -> Result<(), ()> {
            Err(())
        }
    }
    impl Implements for All {
        fn b(&self) -> Option<Box<str>> {
            None
        }
    }
    impl Stubs for All {
        fn c(&self) {}
    }
    #[slot]
    pub static A: dyn Interface = All;
    #[slot]
    pub static B: dyn Implements = All;
    #[slot]
    pub static C: dyn Stubs = All;
}

#[test]
fn traits_named_like_the_runtimes() {
    use traits::{Implements, Interface, Stubs};
    assert_eq!(traits::A.a(), Err(()));
    assert_eq!(traits::B.b(), None);
    traits::C.c();
}

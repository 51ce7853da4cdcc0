//! Which interfaces lead nowhere into the library of their implementor: after its last instance, nobody has anything of it.
//!
//! # Problem
//!
//! A library may be unmapped when nothing of it is used any more. Its instances are counted; what its methods hand out is not: a
//! `&'static str`, the vtable of a `Box<dyn Error>`, a function, an `Arc` of a type with a destructor.
//!
//! # Idea
//!
//! Of some interfaces the types alone say that nothing of the kind is handed out: those whose methods take and give numbers,
//! text, and collections of them, and whose supertraits have no methods. [`Plain`] is implemented for the types; what
//! `#[dispatch]` asks of them it asks with the types themselves, not their names ([`Asked`]).
//!
//! | part of a method | may be |
//! |---|---|
//! | an argument | a plain type, or a reference to one: what is written through it is plain |
//! | the result | a plain type. No reference: its lifetime might be `'static` |
//! | a type of the interface's own crate | none: it may hold what it likes |
#![allow(unsafe_code)]

use core::marker::PhantomData;

/// A type that holds numbers and text, in memory of its own or of the allocator's.
///
/// # Safety
///
/// No value of it refers to anything else, nor has code of its own: functions, vtables, destructors of the user's.
pub unsafe trait Plain {}

macro_rules! plain {
    ($($ty:ty)*) => { $(
        // SAFETY: a primitive, or text.
        unsafe impl Plain for $ty {}
    )* };
}
plain!(() bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 str String core::time::Duration);

macro_rules! of_plain {
    ($([$($parameter:ident)*] $ty:ty;)*) => { $(
        // SAFETY: it holds its parts, and memory of the allocator's.
        unsafe impl<$($parameter: Plain),*> Plain for $ty {}
    )* };
}
of_plain! {
    [T] [T];
    [T] Vec<T>;
    [T] Box<[T]>;
    [T] Option<T>;
    [T E] Result<T, E>;
    [A] (A,);
    [A B] (A, B);
    [A B C] (A, B, C);
    [A B C D] (A, B, C, D);
}
// SAFETY: text, in memory of the allocator's.
unsafe impl Plain for Box<str> {}
// SAFETY: it holds its parts.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// For `#[dispatch]`: asks about a type. The constants of the type itself come before those of [`Otherwise`].
#[derive(Debug)]
pub struct Asked<T: ?Sized>(PhantomData<T>);

/// What is so of every type.
pub trait Otherwise {
    /// It may hold anything.
    const IS_PLAIN: bool = false;
    /// It may have methods.
    const IS_MARKER: bool = false;
}

impl<T: ?Sized> Otherwise for Asked<T> {}

impl<T: ?Sized + Plain> Asked<T> {
    /// It is [`Plain`].
    pub const IS_PLAIN: bool = true;
}

macro_rules! markers {
    ($($marker:path)*) => { $(
        impl Asked<dyn $marker> {
            /// It is a trait object of a trait without methods.
            pub const IS_MARKER: bool = true;
        }
    )* };
}
markers!(core::marker::Send core::marker::Sync core::marker::Unpin
    core::panic::UnwindSafe core::panic::RefUnwindSafe);

#[cfg(test)]
#[allow(clippy::assertions_on_constants, reason = "what is asked is answered when it is compiled")]
mod tests {
    use super::{Asked, Otherwise as _};

    #[test]
    fn a_type_is_asked_and_not_its_name() {
        struct Own;
        mod shadowed {
            pub struct String(pub &'static str);
        }
        assert!(Asked::<u8>::IS_PLAIN && Asked::<Vec<(f32, Option<String>)>>::IS_PLAIN);
        assert!(Asked::<[[u8; 3]]>::IS_PLAIN && Asked::<Result<(), String>>::IS_PLAIN);
        assert!(!Asked::<&'static str>::IS_PLAIN && !Asked::<Vec<&'static str>>::IS_PLAIN);
        assert!(!Asked::<Own>::IS_PLAIN && !Asked::<shadowed::String>::IS_PLAIN);
        assert!(
            !Asked::<fn()>::IS_PLAIN && !Asked::<Box<dyn Send>>::IS_PLAIN && !Asked::<*const u8>::IS_PLAIN
        );
        let _ = shadowed::String("").0;
    }

    #[test]
    fn a_trait_is_asked_and_not_its_name() {
        mod shadowed {
            pub trait Send {}
        }
        assert!(Asked::<dyn Send>::IS_MARKER && Asked::<dyn Sync>::IS_MARKER);
        assert!(!Asked::<dyn core::fmt::Debug>::IS_MARKER && !Asked::<dyn shadowed::Send>::IS_MARKER);
    }
}

//! 16,384 places in which a key is asked, an atomic, or a key of the `static-keys` crate.
//!
//! A static cannot be generic, so 1,024 are made by macros that nest modules: sixteen to a leaf, and two levels above. The functions
//! that ask them are compiled sixteen times; each copy has atomics of its own, and asks the same keys, which is no matter: what a
//! key costs is paid where it is asked. The functions of [`TREES`] are those of subtrees. Between two questions nothing is done: what
//! is measured is how many a core gets through.
#![allow(unsafe_code)]

use core::arch::asm;

/// How often the functions that ask are compiled.
const COPIES: usize = 16;

/// So many questions.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// In how many places it asks, each once; in one place, sixteen times.
    pub places: usize,
    /// Asks keys.
    pub ask_keys: fn(u64) -> u64,
    /// Asks an `AtomicBool` each, relaxed.
    pub ask_atomics: fn(u64) -> u64,
    /// Asks keys of the `static-keys` crate.
    pub ask_static_keys: fn(u64) -> u64,
    /// Compares `log::max_level()`, the same everywhere.
    pub ask_log: fn(u64) -> u64,
    /// Asks nothing: calls, loops and turns as the others do.
    pub ask_nothing: fn(u64) -> u64,
}

/// What is done where the answer is yes: a call, as of a function that traces. Cold: so it stands out of line for atomics, too.
#[cold]
#[inline(never)]
pub fn aside(x: u64) -> u64 {
    let mut y = x;
    // SAFETY: no instruction: the compiler does not know what becomes of `y`.
    unsafe { asm!("/* {y} */", y = inout(reg) y, options(nomem, nostack, preserves_flags)) };
    y
}

/// What is done once a leaf: the calls depend on each other.
#[inline(always)]
fn turn<const COPY: usize>(x: u64) -> u64 {
    // Another constant for each copy: or the compiler takes them for one function.
    (x ^ (0x9e37_79b9_7f4a_7c15 + COPY as u64)).rotate_left(7)
}

/// Sixteen of each.
macro_rules! leaf {
    () => { leaf!(A B C D E F G H I J K L M N O P); };
    ($($key:ident)*) => {
        pub(crate) mod keys { $(
            #[hotcall::key]
            pub(crate) static $key: bool = false;
        )* }
        pub(crate) mod atomics { $(
            pub(crate) static $key: [core::sync::atomic::AtomicBool; $crate::COPIES] =
                [const { core::sync::atomic::AtomicBool::new(false) }; $crate::COPIES];
        )* }
        #[allow(missing_docs)]
        pub(crate) mod static_keys { $(
            pub(crate) static $key: ::static_keys::StaticFalseKey = ::static_keys::new_static_false_key();
        )* }

        #[inline(never)]
        pub(crate) fn ask_keys<const COPY: usize>(mut x: u64) -> u64 {
            $(if keys::$key.is_on() { x = $crate::aside(x); })*
            $crate::turn::<COPY>(x)
        }
        #[inline(never)]
        pub(crate) fn ask_atomics<const COPY: usize>(mut x: u64) -> u64 {
            $(if atomics::$key[COPY].load(core::sync::atomic::Ordering::Relaxed) { x = $crate::aside(x); })*
            $crate::turn::<COPY>(x)
        }
        #[inline(never)]
        pub(crate) fn ask_static_keys<const COPY: usize>(mut x: u64) -> u64 {
            $(if ::static_keys::static_branch_unlikely!(static_keys::$key) { x = $crate::aside(x); })*
            $crate::turn::<COPY>(x)
        }
        #[inline(never)]
        pub(crate) fn ask_log<const COPY: usize>(mut x: u64) -> u64 {
            $({ let _ = stringify!($key); if log::Level::Debug <= log::max_level() { x = $crate::aside(x); } })*
            $crate::turn::<COPY>(x)
        }
        #[inline(never)]
        pub(crate) fn ask_nothing<const COPY: usize>(x: u64) -> u64 {
            $crate::turn::<COPY>(x)
        }
        pub(crate) fn turn_keys(batch: &mut hotcall::Batch, on: bool) {
            $(batch.set(&keys::$key, on);)*
        }
        pub(crate) fn turn_atomics(on: bool) {
            $(for one in &atomics::$key { one.store(on, core::sync::atomic::Ordering::Relaxed); })*
        }
        pub(crate) unsafe fn turn_static_keys(on: bool) {
            $(
                // SAFETY: the caller's promise: no other thread runs.
                unsafe { if on { static_keys::$key.enable() } else { static_keys::$key.disable() } };
            )*
        }
    };
}

/// What all of some modules ask.
macro_rules! ask_all {
    ($($module:ident)*; $($ask:ident)*) => { ask_all!(@ [$($module)*] $($ask)*); };
    (@ $modules:tt $($ask:ident)*) => { $(ask_all!(@@ $modules $ask);)* };
    (@@ [$($module:ident)*] $ask:ident) => {
        #[inline(never)]
        pub(crate) fn $ask<const COPY: usize>(x: u64) -> u64 {
            $(let x = $module::$ask::<COPY>(x);)*
            x
        }
    };
}

/// A module each, and what asks them all.
macro_rules! node {
    ($inner:ident: $($module:ident)*) => {
        $(pub(crate) mod $module { $inner!(); })*
        ask_all!($($module)*; ask_keys ask_atomics ask_static_keys ask_log ask_nothing);
        pub(crate) fn turn_keys(batch: &mut hotcall::Batch, on: bool) {
            $($module::turn_keys(batch, on);)*
        }
        pub(crate) fn turn_atomics(on: bool) {
            $($module::turn_atomics(on);)*
        }
        pub(crate) unsafe fn turn_static_keys(on: bool) {
            // SAFETY: the caller's promise, passed on.
            $(unsafe { $module::turn_static_keys(on) };)*
        }
    };
}

macro_rules! branch {
    () => { node!(leaf: a b c d e f g h i j k l m n o p); };
}
pub(crate) mod all {
    node!(branch: a b c d);
}

/// One key, asked sixteen times in a loop.
macro_rules! in_a_loop {
    ($name:ident, $x:ident, $question:expr) => {
        #[inline(never)]
        fn $name(mut $x: u64) -> u64 {
            for _ in 0..16 {
                // SAFETY: no instruction: so that the loop stays one.
                unsafe { asm!("/* {x} */", x = inout(reg) $x, options(nomem, nostack, preserves_flags)) };
                $question
            }
            turn::<0>($x)
        }
    };
}
in_a_loop!(
    one_key,
    x,
    if all::a::a::keys::A.is_on() {
        x = aside(x);
    }
);
in_a_loop!(
    one_atomic,
    x,
    if all::a::a::atomics::A[0].load(core::sync::atomic::Ordering::Relaxed) {
        x = aside(x);
    }
);
in_a_loop!(
    one_static_key,
    x,
    if ::static_keys::static_branch_unlikely!(all::a::a::static_keys::A) {
        x = aside(x);
    }
);
in_a_loop!(
    one_log,
    x,
    if log::Level::Debug <= log::max_level() {
        x = aside(x);
    }
);
in_a_loop!(nothing, x, {});

/// All of them, as often as there are copies.
macro_rules! copies {
    ($name:ident, $ask:ident, $($copy:literal)*) => {
        fn $name(x: u64) -> u64 {
            $(let x = all::$ask::<$copy>(x);)*
            x
        }
    };
}

macro_rules! tree {
    ($places:literal, $($module:ident)::*) => {
        Tree {
            places: $places,
            ask_keys: $($module)::*::ask_keys::<0>,
            ask_atomics: $($module)::*::ask_atomics::<0>,
            ask_static_keys: $($module)::*::ask_static_keys::<0>,
            ask_log: $($module)::*::ask_log::<0>,
            ask_nothing: $($module)::*::ask_nothing::<0>,
        }
    };
    ($places:literal, copies $($copy:literal)*) => {{
        copies!(ask_keys, ask_keys, $($copy)*);
        copies!(ask_atomics, ask_atomics, $($copy)*);
        copies!(ask_static_keys, ask_static_keys, $($copy)*);
        copies!(ask_log, ask_log, $($copy)*);
        copies!(ask_nothing, ask_nothing, $($copy)*);
        Tree { places: $places, ask_keys, ask_atomics, ask_static_keys, ask_log, ask_nothing }
    }};
}

/// Trees of each size. That of one place asks there sixteen times.
pub static TREES: [Tree; 5] = [
    Tree {
        places: 1,
        ask_keys: one_key,
        ask_atomics: one_atomic,
        ask_static_keys: one_static_key,
        ask_log: one_log,
        ask_nothing: nothing,
    },
    tree!(16, all::a::a),
    tree!(256, all::a),
    tree!(4096, copies 0 1 2 3),
    tree!(16_384, copies 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
];

/// Turns all of them.
///
/// # Errors
///
/// Keys cannot be turned.
///
/// # Safety
///
/// No other thread runs: keys of the `static-keys` crate must not be turned under one.
pub unsafe fn turn_all(on: bool) -> Result<(), hotcall::Error> {
    all::turn_atomics(on);
    log::set_max_level(if on { log::LevelFilter::Debug } else { log::LevelFilter::Info });
    // SAFETY: the caller's promise.
    unsafe { all::turn_static_keys(on) };
    hotcall::batch(|batch| all::turn_keys(batch, on)).map(drop)
}

/// Before anything is turned or asked.
///
/// # Errors
///
/// As for [`hotcall::prepare`].
pub fn prepare() -> Result<(), hotcall::Error> {
    static_keys::global_init();
    hotcall::prepare()
}

//! Where and how a key is declared and asked.

use core::hint::black_box;

use hotcall::{Key, KeyDefinition, key, on};

use crate::{alone, patches, reported};

#[key]
static OFF: bool = false;
#[key]
static ON: bool = true;

/// Every form, in one line of code.
#[inline(never)]
fn asked() -> [bool; 8] {
    [
        OFF.is_on(),
        OFF.is_likely_on(),
        OFF.is_unlikely_on(),
        on!(OFF),
        ON.is_on(),
        on!(likely ON),
        on!(unlikely ON),
        on!(ON),
    ]
}

/// An arm each, with something to do.
#[inline(never)]
fn arms(x: u64) -> u64 {
    let mut y = x;
    if OFF.is_on() {
        y = black_box(y) * 3;
    }
    if ON.is_on() { y + 1 } else { black_box(y) + 100 }
}

#[test]
fn each_form_answers_what_was_set() {
    let _alone = alone();
    let (off, on) = ([false; 4], [true; 4]);
    let both = |first: [bool; 4], second: [bool; 4]| [first, second].concat();
    assert_eq!(asked().to_vec(), both(off, on));
    assert_eq!(arms(7), 8);
    OFF.set(true).unwrap();
    assert_eq!(asked().to_vec(), both(on, on));
    assert_eq!(arms(7), 22);
    ON.set(false).unwrap();
    assert_eq!(asked().to_vec(), both(on, off));
    assert_eq!(arms(7), 121);
    OFF.set(false).unwrap();
    assert_eq!(asked().to_vec(), both(off, off));
    assert_eq!(arms(7), 107);
    ON.set(true).unwrap();
    assert_eq!(asked().to_vec(), both(off, on));
    assert_eq!(arms(7), 8);
    if patches() {
        // Those above, and no copy of one that is left behind.
        assert!(reported("OFF").unwrap().branches >= 5);
        assert!(reported("ON").unwrap().branches >= 5);
        assert_eq!(hotcall::stats().kept_branches.total(), 0);
    }
    assert_eq!(OFF.name(), "keys::forms::OFF");
    assert_eq!(format!("{OFF:?}"), "Key { name: \"keys::forms::OFF\", on: false }");
}

/// Whichever key it is.
#[inline(never)]
fn generic<D: KeyDefinition>(key: &Key<D>) -> u32 {
    if key.is_on() { 1 } else { 0 }
}

fn counted<T: Default + Into<u64>>(x: T) -> u64 {
    #[key]
    static IN_A_GENERIC_FUNCTION: bool = false;
    IN_A_GENERIC_FUNCTION.set(true).unwrap();
    let on = if IN_A_GENERIC_FUNCTION.is_on() { x.into() } else { 0 };
    IN_A_GENERIC_FUNCTION.set(false).unwrap();
    let off = if IN_A_GENERIC_FUNCTION.is_on() { 1000 } else { T::default().into() };
    on + off
}

macro_rules! declared {
    ($($name:ident)*) => { $(
        #[key]
        static $name: bool = false;
    )* };
}
declared!(FIRST SECOND);

#[test]
fn wherever_it_is_declared() {
    let _alone = alone();
    assert_eq!((generic(&FIRST), generic(&SECOND)), (0, 0));
    FIRST.set(true).unwrap();
    assert_eq!((generic(&FIRST), generic(&SECOND)), (1, 0));
    SECOND.set(true).unwrap();
    FIRST.set(false).unwrap();
    assert_eq!((generic(&FIRST), generic(&SECOND)), (0, 1));

    // Two functions that are compiled from one source ask one key.
    assert_eq!(counted(7_u8) + counted(8_u32), 15);

    {
        #[key]
        static LOCAL: bool = true;
        assert!(LOCAL.is_on());
        LOCAL.set(false).unwrap();
        assert!(!LOCAL.is_on());
    }
    // In a closure, in a constant's place, in a loop that ends by it.
    #[key]
    static ENDS: bool = false;
    let ended = || ENDS.is_on();
    let mut rounds = 0;
    while !ENDS.is_on() {
        rounds += 1;
        if rounds == 3 {
            ENDS.set(true).unwrap();
        }
    }
    assert!(ended() && rounds == 3);
}

#[test]
fn what_a_library_asks() {
    let _alone = alone();
    // Of a library crate, asked there, in its generic and inlined functions that are compiled here, and here.
    use hotcall_host_slots::keys::{self, SHARED};
    assert_eq!((keys::asked(), keys::asked_generic::<u8>(), keys::asked_inline()), (false, false, false));
    SHARED.set(true).unwrap();
    assert_eq!((keys::asked(), keys::asked_generic::<u8>(), keys::asked_inline()), (true, true, true));
    assert!(SHARED.is_on());
    SHARED.set(false).unwrap();
    assert_eq!((keys::asked(), keys::asked_generic::<u8>(), keys::asked_inline()), (false, false, false));
    // One that is private there.
    assert!(!keys::asked_private());
    keys::set_private(true);
    assert!(keys::asked_private());
    keys::set_private(false);
}

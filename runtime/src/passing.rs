//! Arguments as words: what the convention of `#[dispatch]` (its `passing.rs`) turns them into, and back.
//!
//! A word is eight bytes that may be a pointer: whoever unpacks it gets back what was packed, provenance included. A value of
//! more than eight bytes stays where it is, and its address is the word. Either way it moves: the place that it was in is a
//! `ManuallyDrop`, and who unpacks it has it.
#![allow(unsafe_code)]

use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr;

/// An argument, or its address.
pub type Word = MaybeUninit<*mut ()>;

const SIZE: usize = size_of::<Word>();

/// Packs the value in `place`, which moves out of it; it lives until the callee has it.
#[inline(always)]
pub const fn word<T>(place: &mut ManuallyDrop<T>) -> Word {
    if size_of::<T>() > SIZE {
        return self::place(place);
    }
    let mut word = Word::new(ptr::null_mut());
    // SAFETY: both are that long at least, and are not the same.
    unsafe {
        ptr::copy_nonoverlapping(
            ptr::from_mut(place).cast::<MaybeUninit<u8>>(),
            word.as_mut_ptr().cast(),
            size_of::<T>(),
        );
    }
    word
}

/// Packs a pointer of two words.
#[inline(always)]
pub const fn pair<T>(place: &mut ManuallyDrop<T>) -> (Word, Word) {
    const { assert!(size_of::<T>() == 2 * SIZE, "a reference to something unsized is two words") };
    // SAFETY: a value of that length can be read as two words, whatever they hold; it moves out of its place.
    unsafe { ptr::from_mut(place).cast::<(Word, Word)>().read_unaligned() }
}

/// The address of a place. What is in it moves out.
#[inline(always)]
pub const fn place<T>(place: &mut ManuallyDrop<T>) -> Word {
    Word::new(ptr::from_mut(place).cast())
}

/// What [`word`] has packed.
///
/// # Safety
///
/// It was a `T`, whose place is still there, and is unpacked once.
#[inline(always)]
pub const unsafe fn unword<T>(word: Word) -> T {
    if size_of::<T>() > SIZE {
        // SAFETY: the caller's promise.
        return unsafe { unplace(word) };
    }
    let at = ptr::from_ref(&word).cast::<T>();
    // SAFETY: the caller's promise: the first bytes of the word are a `T`.
    unsafe { at.read_unaligned() }
}

/// What [`pair`] has packed.
///
/// # Safety
///
/// As for [`unword`].
#[inline(always)]
pub const unsafe fn unpair<T>(first: Word, second: Word) -> T {
    const { assert!(size_of::<T>() == 2 * SIZE) };
    let both = (first, second);
    // SAFETY: the caller's promise.
    unsafe { ptr::from_ref(&both).cast::<T>().read_unaligned() }
}

/// What is in the [`place`].
///
/// # Safety
///
/// As for [`unword`].
#[inline(always)]
pub const unsafe fn unplace<T>(word: Word) -> T {
    // SAFETY: the caller's promise: the word was made of a pointer.
    let place = unsafe { word.assume_init() };
    // SAFETY: the caller's promise.
    unsafe { place.cast::<T>().read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through<T>(value: T) -> T {
        let mut place = ManuallyDrop::new(value);
        let word = word(&mut place);
        // SAFETY: packed just before, unpacked once.
        unsafe { unword(word) }
    }

    #[test]
    fn values_of_any_size_come_back() {
        assert_eq!(through(7_u8), 7);
        assert_eq!(through(-7_i64), -7);
        through(());
        assert_eq!(through([1_u8, 2, 3, 4, 5, 6, 7]), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(through([1_u64; 9]), [1; 9]);
        assert_eq!(through(Some(5_u32)), Some(5));
        assert_eq!(*through(Box::new(5)), 5);
        assert_eq!(through("both words"), "both words");
        assert_eq!(through(String::from("three words")), "three words");
        let mut place = ManuallyDrop::new("fat");
        let (first, second) = pair(&mut place);
        // SAFETY: as above.
        assert_eq!(unsafe { unpair::<&str>(first, second) }, "fat");
    }
}

//! Which registers a method needs kept from one element to the next.
//!
//! In the C calling convention of x86-64 Linux the first six words of integers and pointers, and the first eight
//! floats, travel in registers; the instance is the first word, the out pointer, where there is one, the second. A
//! method overwrites all of them. What the next element needs again is kept in registers that a method preserves
//! (`rbx`, `r12` to `r15`: five, just enough) and, for floats, of which it preserves none, on the stack.
//!
//! Types are known as they are written. One that is not written as a primitive, a reference or a pointer may travel
//! in either kind of register, in two, or in memory; a method with such an argument is a loop instead, and so is one
//! that needs more registers than there are.

use super::rule::{Class, Combine, MethodRule, Word};
use crate::interface::Code;

/// The registers for words: `rdi`, `rsi`, `rdx`, `rcx`, `r8`, `r9`, by their numbers in instructions.
const ARGUMENTS: [u8; 6] = [7, 6, 2, 1, 8, 9];
/// How many floats travel in registers.
const FLOATS: u8 = 8;
/// What methods preserve: `rbx`, `r12` to `r15`. DWARF has the same numbers for these.
const PRESERVED: [u8; 5] = [3, 12, 13, 14, 15];

/// A word that is kept: where it travels, and where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) argument: u8,
    pub(super) preserved: u8,
}

/// Where the result of an element goes for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    Nowhere,
    /// From `rax` to this register, extended from so many bytes.
    Word {
        argument: u8,
        size: u8,
        signed: bool,
    },
    /// From `xmm0` to this one.
    Float(u8),
}

/// When no further element is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Never,
    /// When `al` is not 0.
    Flag,
    /// When this function says so of what the out pointer leads to.
    Ask(Code),
}

/// What is emitted for a method, in terms of registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kept: Vec<Kept>,
    /// Vector registers that are kept on the stack.
    pub(super) floats: Vec<u8>,
    pub(super) carry: Carry,
    pub(super) stop: Stop,
}

impl Shape {
    /// The method's shape; `None` where it is to be a loop.
    pub(super) fn of(rule: &MethodRule) -> Option<Self> {
        let through = match rule.combine {
            Combine::Through(index) if !rule.out => Some(index),
            Combine::All if !rule.out => None,
            Combine::First(ask) if rule.out == ask.is_some() => None,
            _ => return None,
        };
        let (mut words, mut floats) = (1, 0);
        let mut shape =
            Self { kept: Vec::new(), floats: Vec::new(), carry: Carry::Nowhere, stop: Stop::Never };
        if rule.out {
            shape.keep(&mut words)?;
        }
        for (index, word) in rule.arguments.iter().enumerate() {
            let goes_through = through == Some(index);
            match *word {
                Word { size: 0, .. } => return None,
                Word { class: Class::Other, .. } => return None,
                Word { class: Class::Float, .. } => {
                    if floats == FLOATS {
                        return None;
                    }
                    if goes_through {
                        shape.carry = Carry::Float(floats)
                    } else {
                        shape.floats.push(floats)
                    }
                    floats += 1;
                }
                Word { class, size: size @ 1..=8 } if goes_through => {
                    let argument = *ARGUMENTS.get(words)?;
                    words += 1;
                    shape.carry = Carry::Word { argument, size: size as u8, signed: class == Class::Signed };
                }
                Word { size: 1..=8, .. } => shape.keep(&mut words)?,
                Word { size: 16, .. } if !goes_through => {
                    // Both words, or none: else the value is in memory.
                    shape.keep(&mut words)?;
                    shape.keep(&mut words)?;
                }
                Word { .. } => return None,
            }
        }
        shape.stop = match rule.combine {
            Combine::First(Some(ask)) => Stop::Ask(ask),
            Combine::First(None) if rule.result.size == 1 => Stop::Flag,
            Combine::First(None) => return None,
            _ => Stop::Never,
        };
        Some(shape)
    }

    fn keep(&mut self, words: &mut usize) -> Option<()> {
        let argument = *ARGUMENTS.get(*words)?;
        let preserved = *PRESERVED.get(self.kept.len())?;
        *words += 1;
        self.kept.push(Kept { argument, preserved });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Code = Code::new(core::ptr::null());
    const UNIT: Word = Word { class: Class::Other, size: 0 };
    const POINTER: Word = Word { class: Class::Unsigned, size: 8 };
    const SLICE: Word = Word { class: Class::Unsigned, size: 16 };
    const F32: Word = Word { class: Class::Float, size: 4 };
    const I16: Word = Word { class: Class::Signed, size: 2 };
    const BOOL: Word = Word { class: Class::Unsigned, size: 1 };

    fn shape(combine: Combine, arguments: &'static [Word], result: Word, out: bool) -> Option<Shape> {
        Shape::of(&MethodRule { combine, arguments, result, out, empty: NONE, looped: NONE })
    }

    #[test]
    fn words_are_kept_in_order() {
        let shape = shape(Combine::All, &[POINTER, F32, SLICE, I16, F32], UNIT, false).unwrap();
        let arguments: Vec<_> = shape.kept.iter().map(|kept| kept.argument).collect();
        assert_eq!(arguments, [6, 2, 1, 8]);
        assert_eq!(shape.kept[3].preserved, 14);
        assert_eq!(shape.floats, [0, 1]);
    }

    #[test]
    fn a_value_that_goes_through_is_carried_and_not_kept() {
        let through = shape(Combine::Through(1), &[POINTER, I16, F32], I16, false).unwrap();
        assert_eq!(through.carry, Carry::Word { argument: 2, size: 2, signed: true });
        assert_eq!(through.kept, [Kept { argument: 6, preserved: 3 }]);
        let through = shape(Combine::Through(2), &[F32, POINTER, F32], F32, false).unwrap();
        assert_eq!((through.carry, through.floats), (Carry::Float(1), vec![0]));
    }

    #[test]
    fn an_out_pointer_is_the_first_word_kept() {
        let first = shape(Combine::First(Some(NONE)), &[POINTER], SLICE, true).unwrap();
        assert_eq!(first.kept[0], Kept { argument: 6, preserved: 3 });
        assert_eq!(first.stop, Stop::Ask(NONE));
        assert_eq!(shape(Combine::First(None), &[], BOOL, false).unwrap().stop, Stop::Flag);
    }

    #[test]
    fn what_may_be_in_memory_is_a_loop() {
        assert_eq!(shape(Combine::All, &[Word { class: Class::Other, size: 8 }], UNIT, false), None);
        assert_eq!(shape(Combine::All, &[POINTER, SLICE, SLICE, POINTER], UNIT, false), None);
        assert_eq!(shape(Combine::All, &[SLICE, SLICE, POINTER], UNIT, false).unwrap().kept.len(), 5);
        assert_eq!(shape(Combine::All, &[POINTER, POINTER, POINTER, POINTER, SLICE], UNIT, false), None);
        assert_eq!(shape(Combine::All, &[F32; 9], UNIT, false), None);
        assert_eq!(shape(Combine::Through(0), &[SLICE], SLICE, false), None);
        assert_eq!(shape(Combine::Own, &[], UNIT, false), None);
    }
}

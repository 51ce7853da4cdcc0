//! A leaf as machine code: a function of a record, with its constant inside.
//!
//! ```text
//!   bytes > 1000                     path ~ "api"
//!   cmp qword [rdi + bytes], 1000    add rdi, path
//!   seta al                          lea rsi, [needle]
//!   ret                              mov edx, 3
//!                                    jmp contains         a site: one search for another
//!                                    needle: "api"
//! ```
#![allow(unsafe_code)]

use std::mem::offset_of;

use hotcall::dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use hotcall::{Assembler, Code, Error, Marked, Site};

use crate::expr::{FlagField, Leaf, Match, NumberField, Order, TextField};
use crate::publish::Publisher;
use crate::record::Record;
use crate::search::{Search, contains, equals};

/// A leaf, and a whole filter: whether it holds of a record. It does not unwind: the code has no unwind information.
pub type Predicate = unsafe extern "C-unwind" fn(*const Record<'static>) -> bool;

/// A leaf's code, and the site of its search, if it searches.
#[derive(Debug)]
pub struct LeafCode {
    pub code: Code,
    pub search: Option<Site<Search>>,
}

impl LeafCode {
    pub fn new(leaf: &Leaf, publisher: &Publisher) -> Result<Self, Error> {
        // SAFETY: what is written is a `Predicate`, and only run as that.
        let (code, search) = unsafe { publisher.publish(|ops| write(leaf, ops)) }?;
        let search = search.map(|marked| code.site(marked)).transpose()?;
        Ok(Self { code, search })
    }

    /// The function that the code is, for a site: keep `self` until the site has been retargeted.
    pub fn predicate(&self) -> Predicate {
        // SAFETY: `new` wrote a function of this type.
        unsafe { std::mem::transmute::<*const u8, Predicate>(self.code.address()) }
    }
}

/// In: `rdi`, the record. Out: `al`.
fn write(leaf: &Leaf, ops: &mut Assembler) -> Result<Option<Marked<Search>>, Error> {
    match leaf {
        Leaf::Number(field, order, number) => {
            let at = match field {
                NumberField::Bytes => offset_of!(Record<'static>, bytes),
                NumberField::Length => offset_of!(Record<'static>, length),
                NumberField::Status => offset_of!(Record<'static>, status),
            } as i32;
            match i32::try_from(*number) {
                Ok(number) => dynasm!(ops ; .arch x64 ; cmp QWORD [rdi + at], number),
                Err(_) => dynasm!(ops ; .arch x64 ; mov rax, QWORD *number as i64 ; cmp [rdi + at], rax),
            }
            match order {
                Order::Less => dynasm!(ops ; .arch x64 ; setb al),
                Order::AtMost => dynasm!(ops ; .arch x64 ; setbe al),
                Order::Equal => dynasm!(ops ; .arch x64 ; sete al),
                Order::Not => dynasm!(ops ; .arch x64 ; setne al),
                Order::AtLeast => dynasm!(ops ; .arch x64 ; setae al),
                Order::Greater => dynasm!(ops ; .arch x64 ; seta al),
            }
            dynasm!(ops ; .arch x64 ; ret);
            Ok(None)
        }
        Leaf::Flag(field) => {
            let at = match field {
                FlagField::Cached => offset_of!(Record<'static>, cached),
                FlagField::Failed => offset_of!(Record<'static>, failed),
            } as i32;
            dynasm!(ops ; .arch x64 ; mov al, [rdi + at] ; ret);
            Ok(None)
        }
        Leaf::Text(field, how, needle) => {
            let at = match field {
                TextField::Host => offset_of!(Record<'static>, host),
                TextField::Line => offset_of!(Record<'static>, line),
                TextField::Method => offset_of!(Record<'static>, method),
                TextField::Path => offset_of!(Record<'static>, path),
            } as i32;
            // The needle is freed with the code.
            dynasm!(ops ; .arch x64
                ; add rdi, at
                ; lea rsi, [>needle]
                ; mov edx, needle.len() as i32
            );
            let search: Search = match how {
                Match::Equal => equals,
                Match::Contains => contains,
            };
            let marked = ops.jump(search)?;
            dynasm!(ops ; .arch x64 ; needle: ; .bytes needle.as_bytes());
            Ok((*how == Match::Contains).then_some(marked))
        }
    }
}

//! The instructions for one element, assembled once and copied.
//!
//! ```text
//!  head                     next, for each further element         tail
//!  ----                     ------------------------------         ----
//!  push rbx …               stop?  test al, al; jnz tail           add rsp, frame
//!  sub rsp, frame           carry  mov rsi, rax                    pop … rbx
//!  mov rbx, rsi …           again  mov rdx, rbx …                  ret
//!  movsd [rsp+…], xmm1 …           movsd xmm1, [rsp+…] …
//!  (nops)                   (nops)
//!  lea rdi, instance        lea rdi, instance
//!  call method              call method
//! ```
//!
//! Each ends with its call, and is a multiple of 8 bytes long: so every call's opcode is at 3 mod 8, where it can be
//! retargeted. For a value that goes through `xmm0` or `rax` an element is 16 bytes.
//!
//! A short chain ends with a jump where nothing of the frame is needed after its last element: that is one return less.
//!
//! ```text
//!  last                     of a chain of up to 4 elements that does not stop
//!  ----
//!  carry, again             as in next
//!  add rsp, frame; pop … rbx
//!  (nops)
//!  lea rdi, instance
//!  jmp method
//! ```
//!
//! Its last element sees the chain's caller as its own in a backtrace, as the one element of a chain of one does. In
//! longer chains it would save too little for that.
//!
//! Long chains are bound by how fast code can be fetched, so an instance is a displacement of 4 bytes where all
//! instances of the list are in reach of the code, and an immediate of 8 where one is not. The system's allocator keeps
//! what the main thread allocates near the program.
#![allow(clippy::useless_conversion, reason = "dynasm converts what it is given")]

use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynasmApi, VecAssembler, dynasm};

use super::frames::Unwind;
use super::shape::{Carry, Shape, Stop};
use crate::arch;

/// How instances are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// `lea rdi, [rip + displacement]`.
    Near,
    /// `mov rdi, imm64`.
    Far,
}

impl Reach {
    /// The length of the instruction.
    const fn load_len(self) -> usize {
        match self {
            Self::Near => 7,
            Self::Far => 10,
        }
    }
}

/// The most elements of a chain that ends with a jump.
const SHORT: usize = 4;
const CALL: u8 = 0xe8;
const JUMP: u8 = 0xe9;

/// Instructions with holes.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) bytes: Vec<u8>,
    /// Where the displacement of the jump to the tail is.
    pub(super) exit_at: Option<usize>,
    /// Where the displacement of the call of the function that is asked is.
    pub(super) ask_at: Option<usize>,
}

impl Template {
    /// Where the instance is: the end of the instruction before the call.
    pub(super) fn this_at(&self, reach: Reach) -> usize {
        match reach {
            Reach::Near => self.call_at() - 4,
            Reach::Far => self.call_at() - 8,
        }
    }

    /// Where the opcode of the call is.
    pub(super) fn call_at(&self) -> usize {
        self.bytes.len() - arch::BRANCH_LEN
    }
}

/// What is emitted for a method of a chain of two elements or more.
#[derive(Clone, Debug)]
pub(super) struct Line {
    head: Template,
    next: Template,
    /// What follows the last call.
    tail: Vec<u8>,
    unwind: Unwind,
    /// Instead of the last `next` and the tail, where the chain is short.
    last: Option<(Template, Unwind)>,
    pub(super) reach: Reach,
    pub(super) stop: Stop,
}

impl Line {
    pub(super) fn new(shape: &Shape, reach: Reach) -> Self {
        // With the return address and what is pushed, a multiple of 16, as every call demands.
        let pushed = 8 * (1 + shape.kept.len());
        let frame = (pushed + 8 * shape.floats.len()).next_multiple_of(16) - pushed;
        let mut unwind = Unwind::default();
        let head = head(shape, reach, frame, &mut unwind);
        let next = next(shape, reach);
        let last = (shape.stop == Stop::Never).then(|| {
            let mut unwind = unwind.clone();
            (last(shape, reach, frame, &mut unwind), unwind)
        });
        let tail = tail(shape, frame, &mut unwind);
        Self { head, next, tail, unwind, last, reach, stop: shape.stop }
    }

    fn last(&self, elements: usize) -> Option<&(Template, Unwind)> {
        self.last.as_ref().filter(|_| elements <= SHORT)
    }

    /// The instructions for one of so many elements.
    pub(super) fn template(&self, element: usize, elements: usize) -> &Template {
        match self.last(elements) {
            _ if element == 0 => &self.head,
            Some((last, _)) if element + 1 == elements => last,
            _ => &self.next,
        }
    }

    /// The instructions after those of all elements.
    pub(super) fn tail(&self, elements: usize) -> &[u8] {
        if self.last(elements).is_some() { &[] } else { &self.tail }
    }

    /// Where the frame is, and where it begins to go: counted from the first instruction.
    pub(super) fn unwind(&self, elements: usize) -> (&Unwind, usize) {
        match self.last(elements) {
            Some((last, unwind)) => (unwind, self.len(elements) - last.bytes.len()),
            None => (&self.unwind, self.len(elements) - self.tail.len()),
        }
    }

    /// The length for so many elements.
    pub(super) fn len(&self, elements: usize) -> usize {
        let last = self.template(elements - 1, elements).bytes.len();
        self.start(elements - 1) + last + self.tail(elements).len()
    }

    /// Where an element's instructions begin, counted from the first.
    fn start(&self, element: usize) -> usize {
        match element {
            0 => 0,
            _ => self.head.bytes.len() + (element - 1) * self.next.bytes.len(),
        }
    }

    /// Where the opcode of an element's call or jump is, counted from the first instruction.
    pub(super) fn site(&self, element: usize, elements: usize) -> usize {
        self.start(element) + self.template(element, elements).call_at()
    }
}

type Assembler = VecAssembler<X64Relocation>;

fn bytes(ops: Assembler) -> Vec<u8> {
    ops.finalize().expect("a template has no labels")
}

/// Fills up so that an instance and a branch come to end at a multiple of 8; and adds them, with zeroes.
fn branch(ops: &mut Assembler, reach: Reach, opcode: u8) {
    let len = ops.offset().0 + reach.load_len() + arch::BRANCH_LEN;
    match len.next_multiple_of(arch::SITE_ALIGN) - len {
        0 => {}
        1 => dynasm!(ops ; .arch x64 ; nop),
        2 => ops.extend([0x66, 0x90]),
        3 => ops.extend([0x0f, 0x1f, 0x00]),
        4 => ops.extend([0x0f, 0x1f, 0x40, 0x00]),
        5 => ops.extend([0x0f, 0x1f, 0x44, 0x00, 0x00]),
        6 => ops.extend([0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00]),
        _ => ops.extend([0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00]),
    }
    match reach {
        Reach::Near => dynasm!(ops ; .arch x64 ; .bytes [0x48, 0x8d, 0x3d, 0, 0, 0, 0]),
        Reach::Far => dynasm!(ops ; .arch x64 ; mov rdi, QWORD 0),
    }
    dynasm!(ops ; .arch x64 ; .bytes [opcode, 0, 0, 0, 0]);
    debug_assert_eq!(ops.offset().0 % arch::SITE_ALIGN, 0);
}

fn head(shape: &Shape, reach: Reach, frame: usize, unwind: &mut Unwind) -> Template {
    let mut ops = Assembler::new(0);
    for kept in &shape.kept {
        dynasm!(ops ; .arch x64 ; push Rq(kept.preserved));
        unwind.pushed(ops.offset().0, kept.preserved);
    }
    if frame != 0 {
        dynasm!(ops ; .arch x64 ; sub rsp, BYTE frame as i8);
        unwind.grown(ops.offset().0, frame);
    }
    for kept in &shape.kept {
        dynasm!(ops ; .arch x64 ; mov Rq(kept.preserved), Rq(kept.argument));
    }
    for (place, float) in shape.floats.iter().enumerate() {
        dynasm!(ops ; .arch x64 ; movsd QWORD [rsp + 8 * place as i32], Rx(*float));
    }
    branch(&mut ops, reach, CALL);
    Template { bytes: bytes(ops), exit_at: None, ask_at: None }
}

fn next(shape: &Shape, reach: Reach) -> Template {
    let mut ops = Assembler::new(0);
    let (mut exit_at, mut ask_at) = (None, None);
    if let Stop::Ask(_) = shape.stop {
        // The out pointer is the first word that is kept.
        let out = shape.kept[0].preserved;
        dynasm!(ops ; .arch x64 ; mov rdi, Rq(out) ; .bytes [0xe8, 0, 0, 0, 0]);
        ask_at = Some(ops.offset().0 - 4);
    }
    if shape.stop != Stop::Never {
        dynasm!(ops ; .arch x64 ; test al, al ; .bytes [0x0f, 0x85, 0, 0, 0, 0]);
        exit_at = Some(ops.offset().0 - 4);
    }
    carry(&mut ops, shape);
    branch(&mut ops, reach, CALL);
    Template { bytes: bytes(ops), exit_at, ask_at }
}

/// What the element before returned goes to its argument; the others are as they were.
fn carry(ops: &mut Assembler, shape: &Shape) {
    match shape.carry {
        Carry::Nowhere | Carry::Float(0) => {}
        Carry::Float(to) => dynasm!(ops ; .arch x64 ; movaps Rx(to), xmm0),
        Carry::Word { argument, size: 1, signed: false } => dynasm!(ops ; .arch x64 ; movzx Rd(argument), al),
        Carry::Word { argument, size: 1, signed: true } => dynasm!(ops ; .arch x64 ; movsx Rd(argument), al),
        Carry::Word { argument, size: 2, signed: false } => dynasm!(ops ; .arch x64 ; movzx Rd(argument), ax),
        Carry::Word { argument, size: 2, signed: true } => dynasm!(ops ; .arch x64 ; movsx Rd(argument), ax),
        Carry::Word { argument, size: 4, .. } => dynasm!(ops ; .arch x64 ; mov Rd(argument), eax),
        Carry::Word { argument, .. } => dynasm!(ops ; .arch x64 ; mov Rq(argument), rax),
    }
    for kept in &shape.kept {
        dynasm!(ops ; .arch x64 ; mov Rq(kept.argument), Rq(kept.preserved));
    }
    for (place, float) in shape.floats.iter().enumerate() {
        dynasm!(ops ; .arch x64 ; movsd Rx(*float), QWORD [rsp + 8 * place as i32]);
    }
}

/// The frame goes.
fn leave(ops: &mut Assembler, shape: &Shape, frame: usize, unwind: &mut Unwind) {
    if frame != 0 {
        dynasm!(ops ; .arch x64 ; add rsp, BYTE frame as i8);
        unwind.shrunk(ops.offset().0, frame);
    }
    for kept in shape.kept.iter().rev() {
        dynasm!(ops ; .arch x64 ; pop Rq(kept.preserved));
        unwind.popped(ops.offset().0, kept.preserved);
    }
}

fn last(shape: &Shape, reach: Reach, frame: usize, unwind: &mut Unwind) -> Template {
    let mut ops = Assembler::new(0);
    carry(&mut ops, shape);
    leave(&mut ops, shape, frame, unwind);
    branch(&mut ops, reach, JUMP);
    Template { bytes: bytes(ops), exit_at: None, ask_at: None }
}

fn tail(shape: &Shape, frame: usize, unwind: &mut Unwind) -> Vec<u8> {
    let mut ops = Assembler::new(0);
    leave(&mut ops, shape, frame, unwind);
    dynasm!(ops ; .arch x64 ; ret);
    bytes(ops)
}

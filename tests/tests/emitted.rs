//! Everything emitted, disassembled by somebody else: opcode, target, alignment; and no page both writable
//! and executable.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::time::{Duration, Instant};

use hotcall::__private::{Emitted, emitted};
use hotcall::{dispatch, key, slot};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

#[dispatch]
pub trait Three: Send + Sync {
    fn one(&self, x: u64) -> u64;
    fn two(&self, x: &mut [u8]) -> String;
    fn three(&self, a: f64, b: [u64; 4]) -> f64;
}

macro_rules! three {
    ($ty:ty) => {
        impl Three for $ty {
            fn one(&self, x: u64) -> u64 {
                x + size_of::<Self>() as u64
            }
            fn two(&self, x: &mut [u8]) -> String {
                format!("{}{}", x.len(), stringify!($ty))
            }
            fn three(&self, a: f64, b: [u64; 4]) -> f64 {
                a + b[3] as f64
            }
        }
    };
}
struct Empty;
struct Small(#[allow(dead_code)] u8);
struct Large(#[allow(dead_code)] [u64; 100]);
three!(Empty);
three!(Small);
three!(Large);

#[slot]
static FIRST: dyn Three = Empty;
#[slot]
static SECOND: dyn Three = Small(1);

#[key]
static TURNED: bool = false;
#[key]
static LEFT: bool = true;

/// Branches at many alignments.
#[inline(never)]
fn many_branches(x: u64) -> u64 {
    let mut y = x;
    macro_rules! branches {
        ($($n:literal)*) => { $(
            if TURNED.is_on() {
                y = core::hint::black_box(y).wrapping_mul($n);
            }
            if LEFT.is_on() {
                y = y.wrapping_add($n);
            }
        )* };
    }
    branches!(3 300 70000 5 500 90000 7 700 11 1100 13 1300);
    y
}

/// Calls at many alignments: some can be patched in place, some cannot.
#[inline(never)]
fn many_callers(x: u64) -> u64 {
    macro_rules! calls {
        ($($n:literal)*) => { 0 $(+ FIRST.one(core::hint::black_box(x)) + $n * 0)* };
    }
    let first = calls!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    let guard = hotcall::pin();
    let bound = FIRST.bind(&guard);
    macro_rules! bound_calls {
        ($($n:literal)*) => { 0 $(+ bound.one(core::hint::black_box(x)) + $n * 0)* };
    }
    first + bound_calls!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

/// Reads what is executed, not what was meant to be.
fn code(address: usize, length: usize) -> Vec<u8> {
    let bytes = core::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: the runtime says that code of this length is there; the test's own thread is the only writer.
    unsafe { core::slice::from_raw_parts(bytes, length) }.to_vec()
}

fn instructions(one: &Emitted) -> Vec<Instruction> {
    let bytes = code(one.address, one.length);
    let decoder = Decoder::with_ip(64, &bytes, one.address as u64, DecoderOptions::NONE);
    let until_trap = decoder.into_iter().take_while(|instruction| instruction.code() != Code::Int3);
    until_trap.filter(|instruction| instruction.mnemonic() != Mnemonic::Nop).collect()
}

fn check(one: &Emitted) {
    let found = if one.kind == "cell" { Vec::new() } else { instructions(one) };
    match one.kind {
        "cell" => {
            let pointer = code(one.address, 8);
            assert_eq!(usize::from_ne_bytes(pointer.try_into().unwrap()), one.target, "{one:x?}");
        }
        "call" => {
            let displacement = one.address + one.length - 4;
            assert!(displacement % 8 <= 4, "{one:x?}: the displacement crosses an aligned quadword");
            assert!(matches!(found[0].code(), Code::Call_rel32_64 | Code::Jmp_rel32_64), "{one:x?}");
            assert_eq!(found[0].len(), one.length);
            assert_eq!(found[0].near_branch_target() as usize, one.target, "{one:x?}");
        }
        "thunk" => {
            assert_eq!(found[0].code(), Code::Mov_r64_imm64, "{one:x?}");
            assert_eq!(found[0].op0_register(), Register::RDI);
            assert_eq!(found[0].immediate64() as usize, one.instance, "{one:x?}: loads another instance");
            check_jump(one, &found[1]);
        }
        "trampoline" => check_jump(one, &found[0]),
        "branch" => {
            assert!(one.address % 8 + one.length <= 8, "{one:x?}: the branch crosses an aligned quadword");
            // Nops are left out of what was found.
            match found.as_slice() {
                [] => assert_eq!(one.target, one.address + one.length, "{one:x?}"),
                [jump] => {
                    assert_eq!((jump.code(), jump.len()), (Code::Jmp_rel32_64, one.length), "{one:x?}");
                    assert_eq!(jump.near_branch_target() as usize, one.target, "{one:x?}");
                }
                more => panic!("{one:x?}: {} instructions", more.len()),
            }
            let decoded = Decoder::with_ip(64, &code(one.address, one.length), 0, DecoderOptions::NONE)
                .into_iter()
                .map(|instruction| instruction.len())
                .collect::<Vec<_>>();
            assert_eq!(decoded, [one.length], "{one:x?}: one instruction");
        }
        other => panic!("unknown kind {other}"),
    }
}

fn check_jump(one: &Emitted, jump: &Instruction) {
    match jump.code() {
        Code::Jmp_rel32_64 => {
            assert_eq!(jump.ip() % 8, 3, "{one:x?}: the jump is not at 3 mod 8");
            assert_eq!(jump.near_branch_target() as usize, one.target);
        }
        Code::Jmp_rm64 => {
            assert_eq!(jump.op0_kind(), OpKind::Memory);
            assert!(jump.is_ip_rel_memory_operand());
            let pointer = code(jump.ip_rel_memory_address() as usize, 8);
            assert_eq!(usize::from_ne_bytes(pointer.try_into().unwrap()), one.target, "{one:x?}");
        }
        other => panic!("{one:x?}: {other:?} where a jump belongs"),
    }
}

#[test]
fn all_that_is_emitted_is_what_it_should_be() {
    hotcall::patch_callers(true);
    let guard = hotcall::pin();
    assert_eq!(many_callers(1), 32);
    assert_eq!(FIRST.one(1), 1);
    drop(FIRST.replace(Large([0; 100])).unwrap());
    drop(SECOND.replace(Empty).unwrap());
    let slots = emitted().unwrap();
    let cells_of = |slots: &[Emitted], name: &str| {
        slots.iter().filter(|one| one.kind == "cell" && one.slot.ends_with(name)).count()
    };
    assert_eq!((cells_of(&slots, "FIRST"), cells_of(&slots, "SECOND")), (3, 3), "one a method");
    let thunks = slots.iter().filter(|one| one.kind == "thunk").count();
    assert_eq!(thunks, 3, "a thunk for each method; while a guard is held, only the stateful one has thunks");
    slots.iter().for_each(check);
    assert_eq!(FIRST.two(&mut [0; 3]), "3Large");
    assert_eq!(SECOND.three(1.0, [2; 4]), 3.0);
    drop(guard);

    // Settled: no thunk is left.
    let deadline = Instant::now() + Duration::from_secs(20);
    while hotcall::stats().thunks != 0 {
        assert!(Instant::now() < deadline, "never settled: {:?}", hotcall::stats());
        std::thread::sleep(Duration::from_millis(1));
    }
    let settled = emitted().unwrap();
    assert!(settled.iter().all(|one| matches!(one.kind, "cell" | "call" | "branch")));
    let callers = settled.iter().filter(|one| one.kind == "call").count();
    // A debug build inlines nothing into callers: all calls of a method share one call instruction. For many see `sites`.
    let least = if cfg!(debug_assertions) { 2 } else { 32 };
    assert!(callers >= least, "of 32 calls only {callers} are patched: {:?}", hotcall::stats());
    assert_eq!(many_callers(1), 32 * 801);
    settled.iter().for_each(check);
    assert_eq!(FIRST.one(1), 801);

    // Branches: all of them, whatever their key says.
    let branches = |on: bool| {
        let mut branches = emitted().unwrap();
        branches.retain(|one| one.kind == "branch");
        branches.iter().for_each(check);
        let jumping = branches.iter().filter(|one| one.target != one.address + one.length);
        let turned = jumping.filter(|one| one.slot.ends_with("TURNED")).count();
        assert_eq!(turned != 0, on, "{branches:x?}");
        branches.len()
    };
    let off = many_branches(2);
    let count = branches(false);
    assert!(hotcall::stats().kept_branches.total() != 0 || count >= 24, "{count}");
    TURNED.set(true).unwrap();
    assert_ne!(many_branches(2), off);
    assert_eq!(branches(true), count);
    TURNED.set(false).unwrap();
    assert_eq!((many_branches(2), branches(false)), (off, count));

    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let both = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|flags| flags.contains("wx")));
    assert_eq!(both.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(maps.contains("hotcall"), "the pages of calls come from the runtime's memfd:\n{maps}");
}

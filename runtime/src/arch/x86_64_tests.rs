//! Exact bytes, an assembler and a disassembler as oracles, and the real thing executed.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

use super::*;
use crate::sys::memory::DualMap;

/// A small generator of numbers (SplitMix64): the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize
    }

    /// An address in user space.
    fn address(&mut self) -> usize {
        self.next() & ((1 << 47) - 1)
    }

    /// An address for a thunk, and a target that is as often near as far.
    fn place(&mut self) -> (ExecAddr, ExecAddr) {
        let at = (self.address() & !(CODE_ALIGN - 1)).clamp(1 << 32, (1 << 47) - (1 << 32));
        let near = (at as i64 + i64::from(self.next() as i32 / 2)) as usize;
        let target = if self.next() & 1 == 0 { near } else { self.address() };
        (ExecAddr::new(at), ExecAddr::new(target))
    }
}

fn decode(code: &[u8], at: ExecAddr) -> Vec<Instruction> {
    Decoder::with_ip(64, code, at.get() as u64, DecoderOptions::NONE).into_iter().collect()
}

#[test]
fn a_near_thunk_is_these_bytes() {
    let code = thunk(ExecAddr::new(0x1000_0000), 0x1122_3344_5566_7788, ExecAddr::new(0x1000_1000));
    let wanted =
        [0x48, 0xbf, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x90, 0xe9, 0xf0, 0x0f, 0x00, 0x00];
    assert_eq!(code.as_bytes(), wanted);
}

#[test]
fn a_far_thunk_is_these_bytes() {
    let code = thunk(ExecAddr::new(0x1000_0000), 0x1122_3344_5566_7788, ExecAddr::new(0x7fff_1234_5678));
    let wanted = [
        0x48, 0xbf, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xff, 0x25, 0x00, 0x00, 0x00, 0x00, 0x78,
        0x56, 0x34, 0x12, 0xff, 0x7f, 0x00, 0x00,
    ];
    assert_eq!(code.as_bytes(), wanted);
}

#[test]
fn a_trampoline_is_these_bytes() {
    let code = trampoline(ExecAddr::new(0x7fff_1234_5678));
    let wanted = [0xff, 0x25, 0x00, 0x00, 0x00, 0x00, 0x78, 0x56, 0x34, 0x12, 0xff, 0x7f, 0x00, 0x00];
    assert_eq!(code.as_bytes(), wanted);
}

#[test]
fn an_instance_is_what_the_assembler_makes() {
    let mut numbers = Numbers(1);
    let mut near = 0;
    for _ in 0..20_000 {
        let ((at, target), this) = (numbers.place(), numbers.next());
        let assembled = match displacement(at.add(NEAR_JUMP_AT), target) {
            Some(_) => {
                near += 1;
                assemble_near_thunk(at, this, target)
            }
            None => assemble_far_thunk(at, this, target),
        };
        assert_eq!(thunk(at, this, target).as_bytes(), assembled.unwrap());
        assert_eq!(trampoline(target).as_bytes(), assemble_trampoline(at, target).unwrap());
    }
    assert!((5_000..15_000).contains(&near), "{near}");
}

#[test]
fn a_disassembler_reads_what_was_meant() {
    let mut numbers = Numbers(2);
    for _ in 0..20_000 {
        let ((at, target), this) = (numbers.place(), numbers.next());
        let thunk = thunk(at, this, target);
        let read = decode(thunk.as_bytes(), at);
        assert_eq!((read[0].code(), read[0].op0_register()), (Code::Mov_r64_imm64, Register::RDI));
        assert_eq!(read[0].immediate64(), this as u64);
        let jump = if displacement(at.add(NEAR_JUMP_AT), target).is_some() {
            assert_eq!((read[1].code(), read[2].code(), read.len()), (Code::Nopd, Code::Jmp_rel32_64, 3));
            assert_eq!(read[2].ip() as usize % SITE_ALIGN, SITE_OFFSET);
            read[2].near_branch_target() as usize
        } else {
            through_memory(&read[1], thunk.as_bytes(), at)
        };
        assert_eq!(jump, target.get());
        let trampoline = trampoline(target);
        let read = decode(trampoline.as_bytes(), at);
        assert_eq!(through_memory(&read[0], trampoline.as_bytes(), at), target.get());
    }
}

/// Where a `jmp` through the memory behind it goes.
fn through_memory(jump: &Instruction, code: &[u8], at: ExecAddr) -> usize {
    assert_eq!(jump.code(), Code::Jmp_rm64);
    assert!(jump.is_ip_rel_memory_operand());
    let offset = jump.ip_rel_memory_address() as usize - at.get();
    usize::from_le_bytes(code[offset..offset + 8].try_into().unwrap())
}

#[test]
fn a_displacement_reaches_two_gibibytes_and_no_further() {
    let site = ExecAddr::new(0x7000_0000_0003);
    let next = site.get() + BRANCH_LEN;
    let to = |distance: i64| displacement(site, ExecAddr::new((next as i64 + distance) as usize));
    assert_eq!(to(0), Some(0));
    assert_eq!(to(i64::from(i32::MAX)), Some(i32::MAX));
    assert_eq!(to(i64::from(i32::MIN)), Some(i32::MIN));
    assert_eq!(to(i64::from(i32::MAX) + 1), None);
    assert_eq!(to(i64::from(i32::MIN) - 1), None);
    assert_eq!(displacement(ExecAddr::new(3), ExecAddr::new(usize::MAX)), Some(-9));
}

#[test]
fn only_an_aligned_jump_or_call_is_a_site() {
    let jump = [JMP, 1, 2, 3, 4];
    let call = [CALL, 1, 2, 3, 4];
    for at in 0x1000..0x1010 {
        let wanted = (at % 8 == 3).then_some(Branch::Jump);
        assert_eq!(decode_site(ExecAddr::new(at), &jump), wanted);
    }
    let at = ExecAddr::new(0x100b);
    assert_eq!(decode_site(at, &call), Some(Branch::Call));
    assert_eq!(decode_site(at, &jump[..4]), None);
    for opcode in (0..=255).filter(|opcode| ![JMP, CALL].contains(opcode)) {
        assert_eq!(decode_site(at, &[opcode, 0, 0, 0, 0]), None);
    }
}

extern "C" fn first(this: usize, x: usize) -> usize {
    this.wrapping_mul(10).wrapping_add(x)
}

extern "C" fn second(this: usize, x: usize) -> usize {
    this.wrapping_mul(1000).wrapping_add(x)
}

fn exec_of(function: extern "C" fn(usize, usize) -> usize) -> ExecAddr {
    ExecAddr::new(function as *const () as usize)
}

fn call(at: ExecAddr, this: usize, x: usize) -> usize {
    let at: *const () = core::ptr::with_exposed_provenance(at.get());
    // SAFETY: the tests write code of this signature there first.
    let function = unsafe { core::mem::transmute::<*const (), extern "C" fn(usize, usize) -> usize>(at) };
    function(this, x)
}

#[test]
fn thunks_and_trampolines_run() {
    let near = exec_of(first);
    let far = (0..32).map(|_| DualMap::anywhere(4096).unwrap());
    let close = DualMap::near(near.get()..near.get() + 1, 4096).unwrap();
    for mut map in far.chain([close]) {
        let at = ExecAddr::new(map.exec_range().start);
        map.write(at, thunk(at, 7, near).as_bytes()).unwrap();
        map.write(at.add(64), trampoline(near).as_bytes()).unwrap();
        assert_eq!(call(at, 1, 2), 72);
        assert_eq!(call(at.add(64), 1, 2), 12);
    }
}

#[test]
fn a_retargeted_site_runs_the_other_function() {
    let (one, two) = (exec_of(first), exec_of(second));
    let mut map = DualMap::near(one.get()..one.get() + 1, 4096).unwrap();
    let at = ExecAddr::new(map.exec_range().start);
    map.write(at, thunk(at, 7, one).as_bytes()).unwrap();
    let site = at.add(NEAR_JUMP_AT);
    assert_eq!((branch_at(site), target_of(site)), (Some(Branch::Jump), one));
    retarget(site, map.write_addr(site).unwrap(), displacement(site, two).unwrap());
    assert_eq!(target_of(site), two);
    serialise();
    assert_eq!(call(at, 1, 2), 7002);
}

#[test]
fn a_site_can_be_retargeted_while_it_runs() {
    use core::sync::atomic::AtomicBool;

    let (one, two) = (exec_of(first), exec_of(second));
    let mut map = DualMap::near(one.get()..one.get() + 1, 4096).unwrap();
    let at = ExecAddr::new(map.exec_range().start);
    map.write(at, thunk(at, 7, one).as_bytes()).unwrap();
    let site = at.add(NEAR_JUMP_AT);
    let write = map.write_addr(site).unwrap();
    let (stop, seen) = (AtomicBool::new(false), [const { AtomicBool::new(false) }; 2]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                match call(at, 1, 2) {
                    72 => seen[0].store(true, Ordering::Relaxed),
                    7002 => seen[1].store(true, Ordering::Relaxed),
                    other => panic!("{other}"),
                }
            }
        });
        let mut swaps = 0_u64;
        while swaps < 100_000 || !seen.iter().all(|seen| seen.load(Ordering::Relaxed)) {
            let target = if swaps.is_multiple_of(2) { two } else { one };
            retarget(site, write, displacement(site, target).unwrap());
            swaps += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

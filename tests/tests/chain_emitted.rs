//! The emitted code of random chains, disassembled by somebody else: what it calls, with what, in which order.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", not(hotcall_portable)))]

use hotcall::__private::chain::EmittedChain;
use hotcall::{Chain, Instance, dispatch};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

#[dispatch]
pub trait Stage: Send + Sync {
    #[chain(through)]
    fn float(&self, x: f32) -> f32;
    #[chain(through = x)]
    fn word(&self, x: i16, other: &u64, scale: f64) -> i16;
    fn all(&self, a: &[u8], b: &str, sum: &mut u64);
    #[chain(first)]
    fn flag(&self, x: u64) -> bool;
    #[chain(first)]
    fn find(&self, x: &str) -> Option<u64>;
    fn looped(&self, by_value: (u8, u64));
}

struct Typed<const N: u8>(u64);
impl<const N: u8> Stage for Typed<N> {
    fn float(&self, x: f32) -> f32 {
        x + f32::from(N)
    }
    fn word(&self, x: i16, other: &u64, scale: f64) -> i16 {
        x.wrapping_add(*other as i16 + i16::from(N) + scale as i16)
    }
    fn all(&self, a: &[u8], b: &str, sum: &mut u64) {
        *sum = sum.wrapping_mul(3) + self.0 + u64::from(N) + (a.len() + b.len()) as u64;
    }
    fn flag(&self, x: u64) -> bool {
        self.0 == x + u64::from(N)
    }
    fn find(&self, x: &str) -> Option<u64> {
        (x.len() as u64 == self.0 + u64::from(N)).then_some(self.0)
    }
    fn looped(&self, _: (u8, u64)) {}
}

fn typed(n: u64, value: u64) -> Instance<dyn Stage> {
    match n % 4 {
        0 => Instance::new(Typed::<0>(value)),
        1 => Instance::new(Typed::<1>(value)),
        2 => Instance::new(Typed::<2>(value)),
        _ => Instance::new(Typed::<3>(value)),
    }
}

/// Reads what is executed.
fn code(address: usize, length: usize) -> Vec<u8> {
    let bytes = core::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: the runtime says that code of this length is there; the test's own thread is the only writer.
    unsafe { core::slice::from_raw_parts(bytes, length) }.to_vec()
}

fn instructions(address: usize, length: usize) -> Vec<Instruction> {
    let bytes = code(address, length);
    Decoder::with_ip(64, &bytes, address as u64, DecoderOptions::NONE).into_iter().collect()
}

/// The instance that an instruction loads, if it loads one.
fn loads(instruction: &Instruction) -> Option<usize> {
    let rdi = instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RDI;
    match instruction.code() {
        Code::Mov_r64_imm64 if rdi => Some(instruction.immediate64() as usize),
        Code::Lea_r64_m if rdi && instruction.is_ip_rel_memory_operand() => {
            Some(instruction.ip_rel_memory_address() as usize)
        }
        _ => None,
    }
}

/// Where control ends up that goes to `target`, and the instance that is loaded on the way: past thunks and trampolines.
fn destination(target: usize, instance: usize, final_target: usize) -> (usize, usize) {
    if target == final_target {
        return (target, instance);
    }
    let found = instructions(target, 24);
    let (instance, jump) = match loads(&found[0]) {
        Some(other) => (other, found[1..].iter().find(|one| one.mnemonic() == Mnemonic::Jmp).unwrap()),
        None => (instance, &found[0]),
    };
    let to = match jump.code() {
        Code::Jmp_rel32_64 => jump.near_branch_target() as usize,
        Code::Jmp_rm64 => {
            usize::from_ne_bytes(code(jump.ip_rel_memory_address() as usize, 8).try_into().unwrap())
        }
        other => panic!("{other:?} at {target:#x}, where a thunk or a trampoline belongs"),
    };
    (to, instance)
}

fn check(method: &EmittedChain, elements: usize) {
    if method.length == 0 {
        assert!(elements == 0 || (method.method == 5 && elements >= 2), "{method:x?}");
        return;
    }
    assert_eq!(method.sites.len(), elements, "{method:x?}");
    let found = instructions(method.entry, method.length);
    let mut element = 0;
    let mut loaded = None;
    let mut depth = 8;
    // A short chain that cannot stop ends with a jump. Methods 3 and 4 can.
    let jumps = elements <= 4 && ![3, 4].contains(&method.method) || elements == 1;
    for one in &found {
        assert_ne!(one.code(), Code::INVALID);
        match one.mnemonic() {
            Mnemonic::Push => depth += 8,
            Mnemonic::Sub => depth += one.immediate32to64() as usize,
            Mnemonic::Add => depth -= one.immediate32to64() as usize,
            Mnemonic::Pop => depth -= 8,
            // A loop or a load of what to call is what this is there to avoid.
            Mnemonic::Jne => {
                let tail = one.near_branch_target() as usize;
                assert!(tail > one.ip() as usize && tail < method.entry + method.length);
            }
            _ => {}
        }
        loaded = loads(one).or(loaded);
        let at = one.ip() as usize;
        if element < elements && at == method.sites[element] {
            assert_eq!(at % 8, 3, "the opcode is not at 3 mod 8");
            assert_eq!(one.len(), 5);
            if jumps && element + 1 == elements {
                assert_eq!((one.code(), depth), (Code::Jmp_rel32_64, 8), "the stack is as it was");
            } else {
                assert_eq!(one.code(), Code::Call_rel32_64);
                assert!(depth.is_multiple_of(16), "a call with the stack at {depth}");
            }
            let target = method.targets[element];
            let end = destination(one.near_branch_target() as usize, loaded.unwrap(), target);
            assert_eq!(end, (target, method.instances[element]), "element {element} of {method:x?}");
            element += 1;
            if elements == 1 {
                return;
            }
        } else {
            assert_ne!(one.code(), Code::Jmp_rel32_64);
            assert_ne!(one.mnemonic(), Mnemonic::Jmp);
        }
    }
    assert_eq!((element, depth), (elements, 8), "all is called, and the stack is as it was");
    let end = found.last().unwrap();
    assert_eq!(end.mnemonic(), if jumps { Mnemonic::Jmp } else { Mnemonic::Ret });
    assert!(!jumps || end.ip() as usize == method.sites[elements - 1]);
}

#[test]
fn the_code_of_random_chains_is_what_it_should_be() {
    let mut state = 7_u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % n.max(1)
    };
    let chain: Chain<dyn Stage> = Chain::EMPTY;
    let mut types: Vec<u64> = Vec::new();
    for step in 0..400 {
        let (ty, value, at) = (random(4) as u64, random(100) as u64, random(types.len()));
        match random(4) {
            0 if types.len() > 1 => {
                drop(chain.remove(at).unwrap());
                types.remove(at);
            }
            1 | 2 if !types.is_empty() => {
                // In place, if the last one is over.
                let old = chain.replace(at, typed(types[at], value)).unwrap();
                if random(3) != 0 {
                    drop(old.wait().unwrap());
                }
            }
            _ if types.len() < 40 => {
                chain.insert(at, typed(ty, value)).unwrap();
                types.insert(at, ty);
            }
            _ => {}
        }
        let emitted = chain.__emitted().unwrap();
        assert_eq!(emitted.len(), 6, "step {step}");
        emitted.iter().for_each(|method| check(method, types.len()));
    }
    assert!(types.len() > 5);
}

#[test]
fn an_element_that_is_replaced_in_place_keeps_the_code_where_it_is() {
    // A chain with a loop is emitted anew at each edit: a value that goes through in memory is one.
    #[dispatch]
    trait Looped: Send + Sync {
        fn run(&self, log: &mut Vec<u64>);
        #[chain(through)]
        fn fold(&self, both: [u64; 2]) -> [u64; 2];
    }
    impl Looped for Typed<1> {
        fn run(&self, log: &mut Vec<u64>) {
            log.push(self.0);
        }
        fn fold(&self, [first, second]: [u64; 2]) -> [u64; 2] {
            [second, first + self.0]
        }
    }
    let chain: Chain<dyn Looped> = Chain::EMPTY;
    drop(chain.edit(|list| (0..16).for_each(|n| list.push(Typed::<1>(n)))).unwrap());
    let before = chain.__emitted().unwrap()[0].entry;
    drop(chain.replace(3, Typed::<1>(9)).unwrap().wait().unwrap());
    assert_ne!(chain.__emitted().unwrap()[0].entry, before);
    let sum = chain.fold([0, 0]);
    assert_eq!(sum[0] + sum[1], (0..16).sum::<u64>() + 9 - 3);

    #[dispatch]
    trait Straight: Send + Sync {
        fn run(&self, log: &mut Vec<u64>);
    }
    impl Straight for Typed<1> {
        fn run(&self, log: &mut Vec<u64>) {
            log.push(self.0);
        }
    }
    let chain: Chain<dyn Straight> = Chain::new((0..16).map(|n| Instance::new(Typed::<1>(n)))).unwrap();
    let entry = || chain.__emitted().unwrap()[0].entry;
    let first = entry();
    for at in 0..5 {
        let old = chain.replace(at, Typed::<1>(100 + at as u64)).unwrap();
        chain.__emitted().unwrap().iter().for_each(|method| check(method, 16));
        drop(old.wait().unwrap());
        // The mark is taken back on the reclaimer's thread, just before or after the wait ends.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(entry(), first, "replaced in place");
    drop(chain.replace(9, Typed::<1>(109)).unwrap());
    assert_ne!(entry(), first, "a quarter of the elements have thunks: emitted anew");
    let second = entry();
    drop(chain.replace(9, Typed::<1>(209)).unwrap());
    assert_eq!(entry(), second);
    drop(chain.replace(8, Typed::<1>(208)).unwrap());
    assert_ne!(entry(), second, "the replacement before may still be on its way in some call");
    let mut log = Vec::new();
    chain.run(&mut log);
    assert_eq!(log, [100, 101, 102, 103, 104, 5, 6, 7, 208, 209, 10, 11, 12, 13, 14, 15]);
}

/// Allocated by another thread, instances may be far from the code.
#[test]
fn instances_out_of_reach() {
    let far: Vec<_> = std::thread::spawn(|| {
        // The second arena of the allocator is a mapping of its own.
        (0..8).map(|n| typed(n, n)).collect()
    })
    .join()
    .unwrap();
    let chain: Chain<dyn Stage> = Chain::new(far).unwrap();
    chain.__emitted().unwrap().iter().for_each(|method| check(method, 8));
    let (mut sum, mut model) = (1, 1);
    chain.all(b"ab", "c", &mut sum);
    for n in 0..8_u64 {
        model = model * 3 + n + n % 4 + 3;
    }
    assert_eq!((sum, chain.float(0.5)), (model, 12.5));
    assert_eq!((chain.flag(4), chain.flag(99), chain.find("12345678")), (true, false, Some(6)));
}

//! The machine code of a caller, as the compiler makes it for release: a direct call to the stub, aligned, and neither a fence,
//! nor a locked instruction, nor a call to find thread-local storage.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpAccess, OpKind, Register,
};
use iced_x86::{InstructionInfoFactory, UsedMemory};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// Builds the two callers for release, runs them, and gives back the executable.
fn build() -> Vec<u8> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--release", "--package", "hotcall-golden"]);
    cargo.arg("--message-format=json-render-diagnostics").arg("--target-dir").arg(target);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .expect("cargo names the executable");
    assert!(Command::new(&executable).status().expect("it runs").success());
    std::fs::read(executable).expect("it can be read")
}

/// What is to be known of the executable.
struct Image<'a> {
    file: object::File<'a>,
    /// What recorded calls go to.
    stubs: HashSet<u64>,
    /// Slots of the global offset table, and the imports that the dynamic linker puts there.
    imports: HashMap<u64, String>,
}

impl<'a> Image<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let file = object::File::parse(bytes).expect("cargo makes executables");
        let section = file.section_by_name("hotcall_calls").expect("there are calls");
        let (start, records) = (section.address(), section.data().expect("it can be read"));
        // Of each record the second word: how far from it the stub is.
        let stubs = records.chunks_exact(16).zip(0..).filter(|(record, _)| record[..4] != [0; 4]);
        let stubs = stubs.map(|(record, number)| {
            let distance = i32::from_le_bytes(record[4..8].try_into().expect("four bytes"));
            (start + 16 * number + 4).wrapping_add_signed(distance.into())
        });
        let stubs = stubs.collect();
        let symbols = file.dynamic_symbol_table();
        let imports = file.dynamic_relocations().into_iter().flatten().filter_map(|(address, relocation)| {
            let RelocationTarget::Symbol(index) = relocation.target() else { return None };
            use object::ObjectSymbolTable;
            let name = symbols.as_ref()?.symbol_by_index(index).ok()?.name().ok()?.to_owned();
            Some((address, name))
        });
        let imports = imports.collect();
        Self { file, stubs, imports }
    }

    fn function(&self, name: &str) -> Vec<Instruction> {
        let symbol =
            self.file.symbols().find(|symbol| symbol.name() == Ok(name)).expect("the function is there");
        let section =
            self.file.section_by_index(symbol.section_index().expect("it is defined")).expect("as said");
        let code =
            section.data_range(symbol.address(), symbol.size()).expect("it can be read").expect("as said");
        Decoder::with_ip(64, code, symbol.address(), DecoderOptions::NONE).into_iter().collect()
    }

    fn calls_stub(&self, instruction: &Instruction) -> bool {
        instruction.is_call_near() && self.stubs.contains(&instruction.near_branch_target())
    }

    /// The import that an indirect call or jump goes to.
    fn import(&self, instruction: &Instruction) -> Option<&str> {
        let indirect = matches!(instruction.code(), Code::Call_rm64 | Code::Jmp_rm64);
        if !indirect || !instruction.is_ip_rel_memory_operand() {
            return None;
        }
        self.imports.get(&instruction.ip_rel_memory_address()).map(String::as_str)
    }

    /// What no caller may contain, on any of its paths.
    fn check_nothing_slow(&self, code: &[Instruction]) {
        for one in code {
            let fence = matches!(one.mnemonic(), Mnemonic::Mfence | Mnemonic::Lfence | Mnemonic::Sfence);
            let exchange =
                one.mnemonic() == Mnemonic::Xchg && one.op_kinds().any(|kind| kind == OpKind::Memory);
            assert!(!fence && !exchange && !one.has_lock_prefix(), "{:#x}: {one}", one.ip());
            assert_ne!(self.import(one), Some("__tls_get_addr"), "{:#x}: {one}", one.ip());
        }
    }
}

fn listing(code: &[Instruction]) -> String {
    code.iter().map(|one| format!("{:#x}: {one}\n", one.ip())).collect()
}

/// `call rel32`, where its displacement lies in one aligned 8 bytes.
fn is_direct(call: &Instruction) -> bool {
    call.code() == Code::Call_rel32_64 && call.len() == 5 && call.ip() % 8 <= 3
}

/// The bytes of a plain call, all of its cold part included, that are not those of a function that only passes its argument on:
/// two instructions that keep a register, and the return.
fn size_of_site(code: &[Instruction]) -> usize {
    let is_of_function = |one: &&Instruction| {
        matches!(one.mnemonic(), Mnemonic::Push | Mnemonic::Pop | Mnemonic::Ret | Mnemonic::Int3)
    };
    code.iter().filter(|one| !is_of_function(one)).map(Instruction::len).sum()
}

/// The instructions from the first on, with every conditional jump not taken, up to a return or a jump.
fn straight_on(code: &[Instruction]) -> &[Instruction] {
    let end = code.iter().position(|one| {
        matches!(
            one.flow_control(),
            FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::IndirectBranch
        )
    });
    &code[..=end.expect("a function ends")]
}

fn check_plain(image: &Image<'_>) {
    let code = image.function("golden_plain");
    let listing = listing(&code);
    image.check_nothing_slow(&code);
    let calls: Vec<_> = code.iter().filter(|one| image.calls_stub(one)).collect();
    assert!(
        calls.len() == 1 && is_direct(calls[0]),
        "one direct call to the stub, at 0 to 3 mod 8, is expected:\n{listing}"
    );

    // The path of an outermost call: two stores to the record, one conditional jump, one call.
    let path = straight_on(&code);
    assert!(path.iter().any(|one| image.calls_stub(one)), "the call is not on the straight path:\n{listing}");
    assert_eq!(
        path.iter().filter(|one| one.is_call_near() || one.is_call_near_indirect()).count(),
        1,
        "{listing}"
    );
    let jumps = path.iter().filter(|one| one.flow_control() == FlowControl::ConditionalBranch).count();
    assert_eq!(jumps, 1, "one predictable branch:\n{listing}");
    let stores = path.iter().filter(|one| stores_outside_the_stack(one)).count();
    assert_eq!(stores, 2, "the section is two stores:\n{listing}");
    let by_thread = path.iter().filter(|one| one.segment_prefix() == Register::FS).count();
    assert_eq!(by_thread, 1, "the record is found by one load:\n{listing}");
    let size = size_of_site(&code);
    println!("a plain call is {size} bytes, its cold part included");
    assert!(size <= SITE, "a plain call is {size} bytes:\n{listing}");
}

/// What a plain call of `fn(&self, u64) -> u64` may take: the straight path, what enters slowly, and what leaves where a panic
/// comes through.
const SITE: usize = 88;

fn stores_outside_the_stack(instruction: &Instruction) -> bool {
    let writes = |memory: &UsedMemory| {
        let access = memory.access();
        (access == OpAccess::Write || access == OpAccess::ReadWrite) && memory.base() != Register::RSP
    };
    InstructionInfoFactory::new().info(instruction).used_memory().iter().any(writes)
}

fn check_bound(image: &Image<'_>) {
    let code = image.function("golden_bound");
    let listing = listing(&code);
    let calls: Vec<_> = code.iter().filter(|one| image.calls_stub(one)).collect();
    assert!(!calls.is_empty() && calls.iter().all(|call| is_direct(call)), "{listing}");
    // The loop: from where a jump goes back to, to that jump; the innermost.
    let back = code.iter().enumerate().filter(|(_, jump)| {
        matches!(jump.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
    });
    let bodies = back.filter_map(|(end, jump)| {
        let begin = code[..end].iter().position(|one| one.ip() == jump.near_branch_target())?;
        Some(&code[begin..=end])
    });
    let around_calls = bodies.filter(|body| body.iter().any(|one| image.calls_stub(one)));
    let body = around_calls.min_by_key(|body| body.len()).expect("there is a loop");

    image.check_nothing_slow(body);
    let calls = body.iter().filter(|one| image.calls_stub(one)).count();
    let all_calls = body.iter().filter(|one| one.is_call_near() || one.is_call_near_indirect()).count();
    assert_eq!(all_calls, calls, "only the stub is called:\n{listing}");
    assert!(body.iter().all(|one| !stores_outside_the_stack(one)), "nothing is announced:\n{listing}");
    // The instance and the argument into their registers, the call, the result out of its own, count, jump; one jump more
    // where the compiler leaves the loop at its head.
    assert!(body.len() <= 4 * calls + 3, "more than calls and a loop:\n{listing}");
}

#[test]
fn callers_are_what_a_person_would_write() {
    let bytes = build();
    let image = Image::new(&bytes);
    check_plain(&image);
    check_bound(&image);
}

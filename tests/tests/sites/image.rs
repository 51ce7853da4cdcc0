//! The oracle: an image's records and calls, read from its file by somebody else than the runtime.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionKind, SegmentFlags};

use crate::process::Process;

/// A call to a stub, or a jump at the end of a function.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub at: u64,
    pub length: usize,
    through_pointer: bool,
    /// Where its record says that it begins.
    pub label: Option<u64>,
}

impl Call {
    /// What is stored to when it is patched: the displacement, or all of it where another instruction takes its place.
    pub fn rewritten(&self) -> Range<u64> {
        let end = self.at + self.length as u64;
        if self.through_pointer { self.at..end } else { end - 4..end }
    }

    /// Whether that lies in one aligned 8 bytes.
    pub fn lies_right(&self) -> bool {
        let Range { start, end } = self.rewritten();
        start / 8 == (end - 1) / 8
    }
}

/// One image's file. All addresses are those of the file.
pub struct Image<'a> {
    file: object::File<'a>,
    /// By label: the stub.
    records: Vec<(u64, u64)>,
}

impl<'a> Image<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let file = object::File::parse(bytes).expect("it is an executable");
        let section = file.section_by_name("hotcall_calls").expect("it has calls");
        let (start, bytes) = (section.address(), section.data().expect("it can be read"));
        let word = |at: usize| i32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let distance = |at: usize| (start + at as u64).wrapping_add_signed(word(at).into());
        let records = (0..bytes.len() / 16).map(|number| number * 16).filter(|at| word(*at) != 0);
        let records = records.map(|at| (distance(at), distance(at + 4))).collect();
        Self { file, records }
    }

    /// The executable sections.
    fn code(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let sections = self.file.sections().filter(|section| section.kind() == SectionKind::Text);
        sections.map(|section| (section.address(), section.data().expect("it can be read")))
    }

    /// Code from an address on.
    fn from(&self, address: u64) -> Decoder<'a> {
        let (start, bytes) = self
            .code()
            .find(|(start, bytes)| (*start..*start + bytes.len() as u64).contains(&address))
            .expect("there is code");
        Decoder::with_ip(64, &bytes[(address - start) as usize..], address, DecoderOptions::NONE)
    }

    pub fn has_code(&self, address: u64) -> bool {
        self.code().any(|(start, bytes)| (start..start + bytes.len() as u64).contains(&address))
    }

    /// The call of each record, by address; and the labels without one. `pointer` reads memory.
    pub fn recorded(&self, pointer: impl Fn(u64) -> Option<u64>) -> (BTreeMap<u64, Call>, Vec<u64>) {
        let (mut recorded, mut without) = (BTreeMap::new(), Vec::new());
        for (label, stub) in &self.records {
            let near = self.from(*label).into_iter().take_while(|one| one.ip() < label + 160);
            let mut calls = near.filter_map(|one| Some((call(&one, &pointer)?, one)));
            match calls.find(|((_, target), _)| target == stub) {
                Some(((call, _), _)) => {
                    recorded.insert(call.at, Call { label: Some(*label), ..call });
                }
                None => without.push(*label),
            }
        }
        (recorded, without)
    }

    /// Every call to a stub that is recorded anywhere, wherever it stands: but for those of a stub to itself, which never run.
    pub fn swept(&self, pointer: impl Fn(u64) -> Option<u64>) -> BTreeMap<u64, Call> {
        let stubs: HashSet<u64> = self.records.iter().map(|(_, stub)| *stub).collect();
        let extent = |symbol: object::Symbol<'_, '_>| (symbol.address(), symbol.size());
        let lengths: HashMap<u64, u64> =
            self.file.symbols().filter(|symbol| symbol.size() != 0).map(extent).collect();
        let of_itself =
            |at: u64, stub: u64| at > stub && at - stub < lengths.get(&stub).copied().unwrap_or(0);
        let mut swept = BTreeMap::new();
        for (start, bytes) in self.code() {
            for one in Decoder::with_ip(64, bytes, start, DecoderOptions::NONE) {
                if let Some((call, target)) = call(&one, &pointer)
                    && stubs.contains(&target)
                    && !of_itself(call.at, target)
                {
                    swept.insert(call.at, call);
                }
            }
        }
        swept
    }

    /// Bytes of code that are others in memory: where, and what they were and are.
    pub fn changed(&self, base: u64, process: &Process) -> Vec<(u64, String)> {
        let mut changed = Vec::new();
        for segment in self.file.segments() {
            let SegmentFlags::Elf { p_flags, .. } = segment.flags() else { continue };
            if p_flags & object::elf::PF_X != object::elf::PF_X {
                continue;
            }
            let bytes = segment.data().expect("it can be read");
            let now = process.read(base + segment.address(), bytes.len()).expect("it is mapped");
            let each = bytes.iter().zip(&now).enumerate().filter(|(_, (was, is))| was != is);
            changed.extend(each.map(|(at, (was, is))| {
                (segment.address() + at as u64, format!("{was:#04x}, now {is:#04x},"))
            }));
        }
        changed
    }

    /// A few instructions, for a message.
    pub fn around(&self, at: u64) -> String {
        self.from(at).into_iter().take(12).map(|one| format!("    {:x} {one}\n", one.ip())).collect()
    }
}

/// Where an instruction leads, if it is a call or a jump that may be one to a stub.
fn call(one: &Instruction, pointer: &impl Fn(u64) -> Option<u64>) -> Option<(Call, u64)> {
    let (at, length) = (one.ip(), one.len());
    match one.code() {
        Code::Call_rel32_64 | Code::Jmp_rel32_64 => {
            Some((Call { at, length, through_pointer: false, label: None }, one.near_branch_target()))
        }
        Code::Call_rm64 | Code::Jmp_rm64 if one.is_ip_rel_memory_operand() => {
            let target = pointer(one.ip_rel_memory_address())?;
            Some((Call { at, length, through_pointer: true, label: None }, target))
        }
        _ => None,
    }
}

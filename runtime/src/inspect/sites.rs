//! The slots and the calls of a program, from the sections in which they are recorded.
//!
//! What [`report`](crate::report()) says of a program that runs, of one that does not. The records hold distances, so they are
//! followed in the file's addresses; whether a call stands where a record says, and lies so that it can be rewritten, the
//! runtime's own [`find_call`](crate::arch::find_call) says.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use object::read::RelocationTarget;
use object::{
    Architecture, File, Object, ObjectSection, ObjectSegment, ObjectSymbol, ObjectSymbolTable as _,
};

use super::{Unreadable, parse};
use crate::arch::{self, Kept};
use crate::plugin::file::{read, refused};
use crate::slot::SlotCore;
use crate::sys::image::{CallRecord, Declaration};

type SlotRecord = Declaration<SlotCore>;

/// The slots and calls of a program or a library.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sites {
    /// The file that was read.
    pub path: PathBuf,
    /// How many calls of slots are recorded.
    pub calls: usize,
    /// How many of them lie so that they are patched when their slot is replaced.
    pub patched: usize,
    /// How many are left alone, because the compiler put no direct call where the record is.
    pub no_call: usize,
    /// How many are left alone, because they cross an aligned 8 bytes.
    pub crosses: usize,
    /// Its slots, by name. A call of a slot that another library declares counts for one that is named so.
    pub slots: Vec<SlotSites>,
}

/// A slot, and its calls in one file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlotSites {
    /// Its path: `host::EFFECT`. Where symbols were stripped, its address in the file.
    pub name: String,
    /// How many calls of it are recorded.
    pub calls: usize,
    /// How many of them lie so that they are patched.
    pub patched: usize,
}

/// Calls whose slot the file does not declare.
const ELSEWHERE: &str = "(slots of other libraries)";
/// No address of a process is higher: sums of two do not overflow.
const HIGHEST: u64 = 1 << 47;

/// Reads the slots and calls of the program or library at `path`.
///
/// ```no_run
/// let sites = hotcall::inspect::sites("target/release/host".as_ref())?;
/// println!("{} of {} calls are patched", sites.patched, sites.calls);
/// # Ok::<(), hotcall::inspect::Unreadable>(())
/// ```
///
/// # Errors
///
/// [`Unreadable`] if the file cannot be read, is no ELF file for x86-64, is damaged, or has neither slots nor calls.
pub fn sites(path: &Path) -> Result<Sites, Unreadable> {
    of(path, &read(path)?)
}

pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Sites, Unreadable> {
    let elf = parse(path, bytes)?;
    if elf.architecture() != Architecture::X86_64 || !elf.is_64() || !elf.is_little_endian() {
        let of = super::architecture(elf.architecture());
        return Err(refused(path, format!("it is for {of}: calls are patched on x86-64 alone")).into());
    }
    let (Some(calls), Some(slots)) =
        (table(path, &elf, "hotcall_calls")?, table(path, &elf, "hotcall_slots")?)
    else {
        return Err(refused(path, "it has no slots and no calls of slots that could be patched").into());
    };
    let image = Image::of(path, &elf)?;
    let names = names(&elf);
    let name = |core: u64| names.get(&core).cloned().unwrap_or_else(|| format!("(the slot of {core:#x})"));
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let records = slots.1.chunks_exact(size_of::<SlotRecord>()).enumerate();
    let cores: Vec<u64> = records
        .filter_map(|(number, record)| {
            let at = slots.0 + (number * size_of::<SlotRecord>()) as u64;
            let core = image.pointers.get(&at).copied().or_else(|| word(record, 0))?;
            (core != 0).then_some(core)
        })
        .collect();
    for core in &cores {
        found.entry(name(*core)).or_default();
    }
    let mut sites =
        Sites { path: path.to_owned(), calls: 0, patched: 0, no_call: 0, crosses: 0, slots: Vec::new() };
    for (number, record) in calls.1.chunks_exact(size_of::<CallRecord>()).enumerate() {
        let at = calls.0 + (number * size_of::<CallRecord>()) as u64;
        let Some(call) = Call::read(at, record) else { continue };
        let of = if cores.contains(&call.core) { name(call.core) } else { ELSEWHERE.to_owned() };
        let slot = found.entry(of).or_default();
        sites.calls += 1;
        slot.0 += 1;
        match image.find(&call) {
            Ok(()) => {
                sites.patched += 1;
                slot.1 += 1;
            }
            Err(Kept::Crosses) => sites.crosses += 1,
            Err(_) => sites.no_call += 1,
        }
    }
    sites.slots =
        found.into_iter().map(|(name, (calls, patched))| SlotSites { name, calls, patched }).collect();
    Ok(sites)
}

/// Where a section is to be loaded, and its bytes.
fn table<'data>(
    path: &Path,
    elf: &File<'data>,
    name: &str,
) -> Result<Option<(u64, &'data [u8])>, Unreadable> {
    let Some(section) = elf.section_by_name(name) else { return Ok(None) };
    let damaged = |what: &str| refused(path, format!("its section `{name}` is damaged: {what}"));
    let bytes = section.data().map_err(|error| damaged(&error.to_string()))?;
    if section.address() >= HIGHEST {
        return Err(damaged("no program can be loaded there").into());
    }
    Ok(Some((section.address(), bytes)))
}

/// A record of a call, followed: addresses in the file.
struct Call {
    label: u64,
    stub: u64,
    core: u64,
}

impl Call {
    /// `None` for a record of nothing.
    fn read(at: u64, record: &[u8]) -> Option<Self> {
        let follow = |offset: usize| {
            let distance = i32::from_le_bytes(record.get(offset..offset + 4)?.try_into().ok()?);
            Some((distance, (at + offset as u64).wrapping_add_signed(distance.into())))
        };
        let (call, label) = follow(core::mem::offset_of!(CallRecord, call))?;
        let (_, stub) = follow(core::mem::offset_of!(CallRecord, stub))?;
        let (_, core) = follow(core::mem::offset_of!(CallRecord, core))?;
        (call != 0).then_some(Self { label, stub, core })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What of a file the calls are looked for in.
struct Image<'data> {
    /// Its segments: where they are to be loaded, and their bytes.
    segments: Vec<(u64, &'data [u8])>,
    /// What the dynamic linker stores, by address.
    pointers: HashMap<u64, u64>,
}

impl<'data> Image<'data> {
    fn of(path: &Path, elf: &File<'data>) -> Result<Self, Unreadable> {
        let mut segments = Vec::new();
        for segment in elf.segments() {
            let damaged = |what: &str| refused(path, format!("a segment of it is damaged: {what}"));
            let bytes = segment.data().map_err(|error| damaged(&error.to_string()))?;
            if segment.address() >= HIGHEST {
                return Err(damaged("no program can be loaded there").into());
            }
            segments.push((segment.address(), bytes));
        }
        let symbol = |index| {
            let symbol = elf.dynamic_symbol_table()?.symbol_by_index(index).ok()?;
            symbol.is_definition().then(|| symbol.address())
        };
        let pointers = elf.dynamic_relocations().into_iter().flatten().filter_map(|(at, relocation)| {
            let base = match relocation.target() {
                RelocationTarget::Symbol(index) => symbol(index)?,
                RelocationTarget::Absolute => 0,
                _ => return None,
            };
            Some((at, base.wrapping_add_signed(relocation.addend())))
        });
        Ok(Self { pointers: pointers.collect(), segments })
    }

    /// Whether the call is there, and can be patched.
    fn find(&self, call: &Call) -> Result<(), Kept> {
        let has = |segment: &&(u64, &[u8])| {
            call.label.checked_sub(segment.0).is_some_and(|offset| offset < segment.1.len() as u64)
        };
        let (base, code) = self.segments.iter().find(has).ok_or(Kept::NoCall)?;
        let pointer = |at: usize| self.pointer(at as u64).map(|value| value as usize);
        arch::find_call(code, *base as usize, call.label as usize, call.stub as usize, pointer).map(drop)
    }

    /// The pointer at `address`, once the program is loaded.
    fn pointer(&self, address: u64) -> Option<u64> {
        self.pointers.get(&address).copied().or_else(|| {
            self.segments.iter().find_map(|(base, bytes)| {
                let offset = usize::try_from(address.checked_sub(*base)?).ok()?;
                word(bytes, offset).filter(|_| offset < bytes.len())
            })
        })
    }
}

/// The names of slots, by the address of the function that gives one.
fn names(elf: &File<'_>) -> HashMap<u64, String> {
    let symbols = elf.symbols().chain(elf.dynamic_symbols());
    let named = symbols.filter_map(|symbol| {
        let name = symbol.name().ok()?;
        // What cannot be one is not decoded: there are many.
        name.contains(DEFINITION).then_some(())?;
        Some((symbol.address(), slot_of(&format!("{:#}", rustc_demangle::demangle(name)))?))
    });
    named.collect()
}

/// What the module's name begins with that `#[slot]` declares a definition in.
const DEFINITION: &str = "__hotcall_";

/// `host::EFFECT`, of `host::_::<impl hotcall::slot::Definition for host::__hotcall_EFFECT::EFFECT>::core`, or of
/// `<host::__hotcall_EFFECT::EFFECT as hotcall::slot::Definition>::core`.
fn slot_of(function: &str) -> Option<String> {
    let implementation = function.strip_suffix(">::core").filter(|name| name.contains("slot::Definition"))?;
    let mut words = implementation.split([' ', '<']);
    let definition = words.rfind(|word| word.contains(DEFINITION))?;
    let parts: Vec<_> = definition.split("::").filter(|part| !part.starts_with(DEFINITION)).collect();
    Some(parts.join("::"))
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    #[test]
    fn a_slot_is_named_by_the_function_that_gives_it() {
        for function in [
            "<host::audio::__hotcall_EFFECT::EFFECT as hotcall::slot::Definition>::core",
            "host::audio::_::<impl hotcall::slot::Definition for host::audio::__hotcall_EFFECT::EFFECT>::core",
        ] {
            assert_eq!(slot_of(function).as_deref(), Some("host::audio::EFFECT"));
        }
        assert_eq!(slot_of("<host::__hotcall_EFFECT::EFFECT as hotcall::slot::Definition>::slot"), None);
        assert_eq!(slot_of("host::__hotcall_EFFECT::EFFECT::default"), None);
    }
}

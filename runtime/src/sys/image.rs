//! Finding slots and calls, keys and branches: each loaded image says in an ELF note where its tables of records are.
//!
//! Every call site writes a record ([`CallRecord`]) into the section `hotcall_calls`, every slot one ([`Declaration`]) into
//! `hotcall_slots`, every branch one ([`BranchRecord`]) into `hotcall_branches`, every key one ([`Declaration`]) into
//! `hotcall_keys`; and a note of owner `hotcall` holds the distances from itself to the start and the end of each.
//! Notes are in a segment of their own, so they are found without section headers, in the program and in every shared
//! library, by whichever of them this code runs in.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use super::fork;
use super::loaded::{copy_of_segment, segment, walk};
use super::note::{Kind, descriptions};
use crate::key::KeyCore;
use crate::quiesce::linked::{OWN, Runtime};
use crate::slot::backend::SlotCore;

/// What a call site says of itself: distances, so that nothing is relocated when the program starts. Written by the
/// assembler, in [`crate::call!`](crate::__call). One that is all zeroes stands for no call.
#[repr(C)]
pub(crate) struct CallRecord {
    /// From here to where the call begins.
    pub(crate) call: i32,
    /// From the next word to the stub that it calls.
    pub(crate) stub: i32,
    /// From the one after to a function that gives the slot, or to the linkage table's entry for it.
    pub(crate) core: i32,
    /// The method's index in its interface.
    pub(crate) method: u32,
}

impl CallRecord {
    /// Where the call begins; `None` for a record of nothing.
    pub(crate) fn label(&self) -> Option<usize> {
        (self.call != 0).then(|| follow(&self.call))
    }

    /// The stub that it calls.
    pub(crate) fn stub(&self) -> usize {
        follow(&self.stub)
    }

    /// The address of a function that gives the slot.
    pub(crate) fn core(&self) -> usize {
        follow(&self.core)
    }

    pub(crate) fn method(&self) -> usize {
        self.method as usize
    }
}

/// The address that lies so far from the word.
fn follow(distance: &i32) -> usize {
    core::ptr::from_ref(distance).addr().wrapping_add_signed(*distance as isize)
}

/// Calls what a record names.
///
/// # Safety
///
/// `address` is that of a declaration's function of this type, or came from [`CallRecord::core`], for a slot, or from
/// [`BranchRecord::core`], for a key; and the image stays loaded.
pub(crate) unsafe fn declared_at<T>(address: usize) -> &'static T {
    let function: *const () = core::ptr::with_exposed_provenance(address);
    // SAFETY: the caller's promise: the assembler has put the address of a function of this type there.
    let core = unsafe { core::mem::transmute::<*const (), extern "C" fn() -> &'static T>(function) };
    core()
}

/// What a slot or a key says of itself. Written by the assembler, in [`crate::slot_record!`](crate::__slot_record) and
/// [`crate::key_record!`](crate::__key_record).
#[repr(C)]
pub(crate) struct Declaration<T: 'static> {
    /// Gives it, in the runtime that `runtime` names. Nothing, in a record of nothing.
    pub(crate) core: Option<extern "C" fn() -> &'static T>,
    /// Which copy of hotcall it was compiled with: each shared library may have its own.
    pub(crate) runtime: Option<extern "C" fn() -> &'static Runtime>,
}

/// What a branch says of itself. Written by the assembler, in `key::branch`. Distances, and nothing, as for calls.
#[repr(C)]
pub(crate) struct BranchRecord {
    /// From here to the branch.
    branch: i32,
    /// From the next word to where it leads at first.
    slow: i32,
    /// From the one after to where it leads when the key is as `jumps_when` says.
    there: i32,
    /// From the one after to a function that gives the key, or to the linkage table's entry for it.
    core: i32,
    /// 1 where it jumps when the key is on; 0 where it does when that is off.
    jumps_when: u32,
}

impl BranchRecord {
    /// Where the branch is; `None` for a record of nothing.
    pub(crate) fn branch(&self) -> Option<usize> {
        (self.branch != 0).then(|| follow(&self.branch))
    }

    /// Where it leads at first.
    pub(crate) fn slow(&self) -> usize {
        follow(&self.slow)
    }

    /// Where it jumps to.
    pub(crate) fn there(&self) -> usize {
        follow(&self.there)
    }

    /// The address of a function that gives the key.
    pub(crate) fn core(&self) -> usize {
        follow(&self.core)
    }

    /// It jumps when the key is that.
    pub(crate) fn jumps_when(&self) -> bool {
        self.jumps_when != 0
    }
}

/// Names this copy of hotcall, and says how others reach it. Every slot's and key's record carries its address.
#[doc(hidden)]
#[inline(never)]
pub extern "C" fn runtime_anchor() -> &'static Runtime {
    &OWN
}

/// Eight distances.
const DESCRIPTION_LEN: usize = 64;

/// What a walk over the loaded images gives.
pub(crate) struct Images {
    /// How many images had been loaded so far: where it has not changed, nor have the images.
    pub(crate) loads: u64,
    /// Those that have tables.
    pub(crate) images: Vec<Image>,
}

/// A loaded image that has slots or calls, keys or branches.
pub(crate) struct Image {
    /// Its file; empty for the program itself.
    pub(crate) name: String,
    /// Its calls.
    pub(crate) calls: &'static [CallRecord],
    /// Its slots.
    pub(crate) slots: &'static [Declaration<SlotCore>],
    /// Its branches.
    pub(crate) branches: &'static [BranchRecord],
    /// Its keys.
    pub(crate) keys: &'static [Declaration<KeyCore>],
    /// Its executable segments.
    pub(crate) code: Vec<&'static [u8]>,
    /// All of it that can be read.
    readable: Vec<Range<usize>>,
}

impl Image {
    /// Whether its code has the address.
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.code_at(address).is_some()
    }

    /// The segment of code that the address is in.
    pub(crate) fn code_at(&self, address: usize) -> Option<&'static [u8]> {
        let has =
            |code: &&&'static [u8]| code.as_ptr_range().contains(&core::ptr::without_provenance(address));
        self.code.iter().find(has).copied()
    }

    /// The pointer at `address`; `None` where that is not of this image.
    pub(crate) fn pointer_at(&self, address: usize) -> Option<usize> {
        let whole = |part: &Range<usize>| part.contains(&address) && part.contains(&(address + 7));
        if !self.readable.iter().any(whole) {
            return None;
        }
        let pointer: *const usize = core::ptr::with_exposed_provenance(address);
        // SAFETY: it lies in a loaded segment that can be read; the image stays loaded, as said of its tables.
        Some(unsafe { pointer.read_unaligned() })
    }
}

/// In which process, counted in forks, a library was last loaded by hotcall, plus one.
static LOADED_IN: AtomicU32 = AtomicU32::new(0);

/// A library has been loaded in this process.
pub(crate) fn has_loaded() {
    LOADED_IN.store(fork::generation() + 1, Ordering::Relaxed);
}

/// Whether the dynamic linker may be asked. It takes a lock for it, which glibc does not free in the child of a fork: where
/// another thread of the parent was loading something just then, the child would wait for ever. So a child asks only
/// once it has itself loaded a library, which needs that lock as well. Until then it knows what its parent knew; calls in what
/// is loaded by others there go through their stubs.
pub(crate) fn may_be_asked() -> bool {
    let forks = fork::generation();
    forks == 0 || LOADED_IN.load(Ordering::Relaxed) == forks + 1
}

/// How many images have been loaded so far.
pub(crate) fn loads() -> u64 {
    let mut loads = 0;
    walk(&mut |info| {
        loads = info.dlpi_adds;
        false
    });
    loads
}

/// Finds the images that have tables.
pub(crate) fn images() -> Images {
    let mut found = Images { loads: 0, images: Vec::new() };
    walk(&mut |info| {
        found.loads = info.dlpi_adds;
        if !info.dlpi_phdr.is_null() {
            images_of(info, &mut found.images);
        }
        true
    });
    found
}

/// The code of the image that this is part of: the program, as a rule.
pub(crate) fn own_code() -> Option<Range<usize>> {
    let here = (runtime_anchor as *const ()).addr();
    let mut code = None;
    walk(&mut |info| {
        if info.dlpi_phdr.is_null() {
            return true;
        }
        // SAFETY: the dynamic linker describes `dlpi_phnum` headers at `dlpi_phdr`.
        let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        code = headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
            .map(|header| {
                let start = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
                start..start + header.p_memsz as usize
            })
            .find(|code| code.contains(&here));
        code.is_none()
    });
    code
}

/// Where the image that has the address was loaded, less what its file says; and its file, empty for the program itself.
pub(crate) fn origin(address: usize) -> Option<(usize, String)> {
    let mut origin = None;
    walk(&mut |info| {
        if info.dlpi_phdr.is_null() {
            return true;
        }
        let base = info.dlpi_addr as usize;
        // SAFETY: the dynamic linker describes `dlpi_phnum` headers at `dlpi_phdr`.
        let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let has = |header: &libc::Elf64_Phdr| {
            let start = base.wrapping_add(header.p_vaddr as usize);
            header.p_type == libc::PT_LOAD && (start..start + header.p_memsz as usize).contains(&address)
        };
        if headers.iter().any(has) {
            origin = Some((base, name_of(info)));
        }
        origin.is_none()
    });
    origin
}

fn name_of(info: &libc::dl_phdr_info) -> String {
    if info.dlpi_name.is_null() {
        return String::new();
    }
    // SAFETY: the dynamic linker gives a C string.
    unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned()
}

fn images_of(info: &libc::dl_phdr_info, found: &mut Vec<Image>) {
    // SAFETY: the dynamic linker describes `dlpi_phnum` headers at `dlpi_phdr`.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_NOTE) {
        // SAFETY: a note segment is part of a loaded segment: readable, `p_memsz` bytes long, there as long as
        // its image is.
        let (start, notes) = unsafe { copy_of_segment(base, header) };
        for (at, description) in notes_of_ours(&notes) {
            let Some(Tables { calls, slots, branches, keys }) = tables_at(start + at, description) else {
                continue;
            };
            if found.iter().any(|known| core::ptr::eq(known.calls.as_ptr(), calls.as_ptr())) {
                continue;
            }
            let name = name_of(info);
            let executable = headers.iter().filter(|header| {
                header.p_type == libc::PT_LOAD
                    && header.p_flags & libc::PF_X != 0
                    && header.p_flags & libc::PF_R != 0
            });
            // SAFETY: a loaded segment that can be read, there as long as its image is.
            let code = executable.map(|header| unsafe { segment(base, header) }).collect();
            let readable = headers
                .iter()
                .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0);
            let extent = |header: &libc::Elf64_Phdr| {
                let start = base.wrapping_add(header.p_vaddr as usize);
                start..start + header.p_memsz as usize
            };
            let readable = readable.map(extent).collect();
            found.push(Image { name, calls, slots, branches, keys, code, readable });
        }
    }
}

/// The notes of a segment that lead to tables: where each description starts, and its bytes.
fn notes_of_ours(notes: &[u8]) -> Vec<(usize, [u8; DESCRIPTION_LEN])> {
    descriptions(notes, Kind::Tables).filter_map(|(at, bytes)| Some((at, bytes.try_into().ok()?))).collect()
}

/// What a description leads to.
struct Tables {
    calls: &'static [CallRecord],
    slots: &'static [Declaration<SlotCore>],
    branches: &'static [BranchRecord],
    keys: &'static [Declaration<KeyCore>],
}

/// Follows the distances of a description: each from the description's first byte.
fn tables_at(address: usize, description: [u8; DESCRIPTION_LEN]) -> Option<Tables> {
    let [calls, slots, branches, keys] = core::array::from_fn(|table| &description[table * 16..][..16]);
    // SAFETY: the linker made the section `hotcall_calls` of whole records (`call!` is what writes to it). The image stays
    // loaded: the runtime that the records belong to is part of it, or it is never unloaded (see `Library`).
    let calls = unsafe { table_at::<CallRecord>(address, calls) }?;
    // SAFETY: as above, for `hotcall_slots` and `slot_record!`; and the dynamic linker has relocated them before any code of
    // the image ran.
    let slots = unsafe { table_at::<Declaration<SlotCore>>(address, slots) }?;
    // SAFETY: as for calls; `hotcall_branches` is written by `key::branch`.
    let branches = unsafe { table_at::<BranchRecord>(address, branches) }?;
    // SAFETY: as for slots; `hotcall_keys` is written by `key_record!`.
    let keys = unsafe { table_at::<Declaration<KeyCore>>(address, keys) }?;
    Some(Tables { calls, slots, branches, keys })
}

/// The table between two distances from `address`.
///
/// # Safety
///
/// There is one, of whole records, in an image that stays loaded.
unsafe fn table_at<R>(address: usize, distances: &[u8]) -> Option<&'static [R]> {
    let (start, stop) = distances.split_at(8);
    let start = address.wrapping_add_signed(isize::from_ne_bytes(start.try_into().ok()?));
    let stop = address.wrapping_add_signed(isize::from_ne_bytes(stop.try_into().ok()?));
    let count = stop.checked_sub(start)? / size_of::<R>();
    // SAFETY: the caller's promise.
    Some(unsafe { core::slice::from_raw_parts(start as *const R, count) })
}

#[cfg(test)]
mod tests {
    use super::{DESCRIPTION_LEN, Kind, notes_of_ours};

    const TYPE_TABLES: u32 = Kind::Tables as u32;

    /// A segment, written note by note as a linker does: each padded to the alignment of the section it comes from.
    #[derive(Default)]
    struct Segment(Vec<u8>);

    impl Segment {
        fn note(mut self, align: usize, name: &[u8], kind: u32, description: &[u8]) -> Self {
            let Self(bytes) = &mut self;
            bytes.resize(bytes.len().next_multiple_of(align), 0);
            for word in [name.len() as u32, description.len() as u32, kind] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(name);
            bytes.resize(bytes.len().next_multiple_of(align), 0);
            bytes.extend(description);
            bytes.resize(bytes.len().next_multiple_of(align), 0);
            self
        }

        /// As `call!` has it: of 4, wherever it comes to lie.
        fn ours(self, byte: u8) -> Self {
            self.note(4, b"hotcall\0", TYPE_TABLES, &[byte; DESCRIPTION_LEN])
        }

        fn build_id(self) -> Self {
            self.note(4, b"GNU\0", 3, &[0xab; 20])
        }

        fn property(self) -> Self {
            self.note(8, b"GNU\0", 5, &[0xcd; 16])
        }

        fn found(&self) -> Vec<u8> {
            let found = notes_of_ours(&self.0);
            found
                .into_iter()
                .map(|(at, bytes)| {
                    assert_eq!(bytes, self.0[at..at + DESCRIPTION_LEN]);
                    bytes[0]
                })
                .collect()
        }
    }

    #[test]
    fn between_notes_of_either_alignment() {
        let segment = Segment::default;
        assert_eq!(segment().ours(1).found(), [1]);
        // Of 4 in a segment of 8, as mold writes it, before and after notes whose ends are no multiples of 8.
        assert_eq!(segment().property().ours(1).found(), [1]);
        assert_eq!(segment().property().build_id().ours(1).found(), [1]);
        assert_eq!(segment().build_id().property().ours(1).build_id().found(), [1]);
        assert_eq!(segment().ours(1).property().build_id().ours(2).found(), [1, 2]);
        // Of 8 in a segment of 4: the gap before it is no note.
        assert_eq!(segment().build_id().note(8, b"odd\0\0\0", 9, &[7; 9]).ours(1).found(), [1]);
        assert_eq!(segment().ours(1).note(8, b"longer name\0", 9, &[7; 4]).ours(2).found(), [1, 2]);
    }

    #[test]
    fn what_is_not_ours() {
        let segment = Segment::default;
        assert_eq!(segment().found(), []);
        assert_eq!(segment().build_id().property().found(), []);
        // Another type, another owner, another length.
        assert_eq!(segment().note(4, b"hotcall\0", 2, &[1; DESCRIPTION_LEN]).found(), []);
        assert_eq!(segment().note(4, b"hotcalL\0", TYPE_TABLES, &[1; DESCRIPTION_LEN]).found(), []);
        assert_eq!(segment().note(4, b"hotcall\0", TYPE_TABLES, &[1; 20]).found(), []);
        // Cut short.
        let Segment(whole) = segment().ours(1);
        for length in 0..whole.len() {
            assert_eq!(notes_of_ours(&whole[..length]), [], "{length} bytes of it");
        }
    }
}

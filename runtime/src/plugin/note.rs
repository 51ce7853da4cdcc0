//! What a program or a library says of itself in ELF notes: the build of its hotcall, each interface that it knows, each slot.
//!
//! | kind | description | read by |
//! |---|---|---|
//! | `Record` | a record, as `header` has it, without an export: what this hotcall was built with, and each interface without parameters | tools (`hotcall inspect --host`): what a library is compared with is otherwise a constant of the program |
//! | `Slot` | a slot: what tells its declaration from others, and its name | [`Library::open`](super::Library::open), where slots cannot be linked |
//!
//! What notes are, `sys::note` says.
#![allow(unsafe_code)]

use super::header::{OF_THIS_BUILD, Record, fnv1a};
#[cfg(target_os = "linux")]
use crate::sys::loaded::Notes;
#[cfg(target_os = "linux")]
use crate::sys::note::descriptions;
use crate::sys::note::{Head, Kind};

/// What every name of a section with such notes begins with: compilers take it for a section of notes.
#[cfg(target_os = "linux")]
pub(crate) const SECTIONS: &str = ".note.hotcall";

/// A note with a record of `N` bytes.
#[repr(C)]
#[derive(Debug)]
pub struct Note<const N: usize> {
    head: Head,
    record: [u8; N],
}

impl<const N: usize> Note<N> {
    /// The note of `record`, whose length is `N`.
    #[must_use]
    pub const fn new(record: &Record) -> Self {
        Self { head: Head::new(Kind::Record, N), record: record.encode() }
    }
}

/// This program, or whatever this copy of hotcall is part of. It names no interface.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".note.hotcall.record"))]
#[used]
static THIS: Note<{ OF_THIS_BUILD.length() }> = Note::new(&OF_THIS_BUILD);

/// A note that names a slot, in `N` bytes.
#[repr(C)]
#[derive(Debug)]
pub struct SlotNote<const N: usize> {
    head: Head,
    key: [u8; 8],
    name: [u8; N],
}

impl<const N: usize> SlotNote<N> {
    /// The note of the slot `name`. `parts` tell its declaration from others; a slot with a lock of its own is nobody else's.
    #[must_use]
    pub const fn new(name: &str, mut parts: &[Option<&str>], place: [u64; 3], exclusive: bool) -> Self {
        // Each part's own hash, so that where one ends counts.
        let mut key = fnv1a(name.as_bytes());
        while let [part, tail @ ..] = parts {
            key = mix(key, if let Some(part) = part { fnv1a(part.as_bytes()) } else { 0 });
            parts = tail;
        }
        let mut at = 0;
        while at < place.len() {
            key = mix(key, place[at]);
            at += 1;
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(name.as_bytes());
        let key = if exclusive { 0 } else { key | 1 };
        Self { head: Head::new(Kind::Slot, 8 + N), key: key.to_le_bytes(), name: bytes }
    }
}

const fn mix(hash: u64, with: u64) -> u64 {
    let (one, two) = (hash.to_le_bytes(), with.to_le_bytes());
    let mut both = [0; 16];
    both.split_at_mut(8).0.copy_from_slice(&one);
    both.split_at_mut(8).1.copy_from_slice(&two);
    fnv1a(&both)
}

/// A slot, as its note names it.
#[cfg(target_os = "linux")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    key: u64,
    pub(crate) name: String,
}

/// The records that notes hold.
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(crate) fn records(notes: &[u8]) -> impl Iterator<Item = &[u8]> {
    descriptions(notes, Kind::Record).map(|(_, record)| record)
}

/// The slots that notes name, but for those that are nobody else's.
#[cfg(target_os = "linux")]
pub(crate) fn slots(notes: &[u8]) -> impl Iterator<Item = Slot> {
    let slots = descriptions(notes, Kind::Slot).filter_map(|(_, description)| {
        let (key, name) = description.split_first_chunk()?;
        let name = core::str::from_utf8(name).ok().filter(|name| !name.contains(char::is_control))?;
        Some(Slot { key: u64::from_le_bytes(*key), name: name.to_owned() })
    });
    slots.filter(|slot| slot.key != 0)
}

/// The names of those slots of a library that the program has, too.
#[cfg(target_os = "linux")]
pub(crate) fn shared(library: &[Slot], program: &[Slot]) -> Vec<String> {
    let both = library.iter().filter(|slot| program.iter().any(|known| known.key == slot.key));
    both.map(|slot| slot.name.clone()).collect()
}

/// The slots of this program: of all that is loaded, but for plugins, and of what this copy of hotcall is part of.
#[cfg(target_os = "linux")]
pub(crate) fn slots_of_this_program() -> Vec<Slot> {
    let here = core::ptr::from_ref(&THIS).addr();
    let is_its_own =
        |notes: &Notes| notes.addresses.contains(&here) || super::opened::file_of(&notes.file).is_none();
    let all = crate::sys::loaded::notes();
    all.iter().filter(|notes| is_its_own(notes)).flat_map(|notes| slots(&notes.bytes)).collect()
}

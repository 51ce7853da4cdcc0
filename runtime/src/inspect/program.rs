//! What a program says of itself, and what it would refuse.

use std::path::{Path, PathBuf};

use object::{Endian, Object, ObjectSection};

use super::library::{Build, Export, Library};
use super::{Unreadable, architecture, parse};
use crate::error::PluginError;
use crate::plugin::compare::{Difference, difference};
use crate::plugin::file::{another_build, read, refused};
use crate::plugin::header::{self, InterfaceRecord};
use crate::plugin::note;

/// What a program says of itself: it, or a library that loads plugins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Program {
    /// The file that was read.
    pub path: PathBuf,
    /// The processor that it was built for: `x86_64`.
    pub architecture: String,
    /// What its hotcall was built with.
    pub build: Build,
    /// The interfaces that it knows, as written, each once: those whose traits have no parameters.
    pub interfaces: Vec<String>,
    known: header::Build,
    records: Vec<InterfaceRecord>,
}

/// Reads what the program at `path` was built with.
///
/// # Errors
///
/// [`Unreadable`] if the file cannot be read, or is no program with hotcall in it, or one whose hotcall has another format.
pub fn program(path: &Path) -> Result<Program, Unreadable> {
    Ok(of(path, &read(path)?)?)
}

pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Program, PluginError> {
    let elf = parse(path, bytes)?;
    let mut known = None;
    let mut records: Vec<InterfaceRecord> = Vec::new();
    for section in elf.sections() {
        if !section.name().is_ok_and(|name| name.starts_with(note::SECTIONS)) {
            continue;
        }
        let notes =
            section.data().map_err(|error| refused(path, format!("its notes are damaged: {error}")))?;
        for record in records_of(notes, elf.endianness()) {
            let Some(record) = header::records(record).next().and_then(Result::ok) else {
                return Err(refused(path, "a note of what it was built with is damaged"));
            };
            let build = record.build.clone();
            // Without a format there is nothing to read; it is told below.
            if let Some(header) = record.read().ok().flatten()
                && !header.interface.name.is_empty()
                && !records.contains(&header.interface)
            {
                records.push(header.interface);
            }
            known = known.or(Some(build));
        }
    }
    let known = known.ok_or_else(|| refused(path, "nothing in it says with which hotcall it was built"))?;
    if known.format != header::FORMAT {
        return Err(refused(path, format!("its hotcall is {}, which this tool cannot read", known.hotcall)));
    }
    records.sort_by(|one, other| one.name.cmp(&other.name));
    let mut interfaces: Vec<_> = records.iter().map(|record| record.name.clone()).collect();
    interfaces.dedup();
    Ok(Program {
        path: path.to_owned(),
        architecture: architecture(elf.architecture()),
        build: Build::from(&known),
        interfaces,
        known,
        records,
    })
}

/// The records in a section of notes.
fn records_of(notes: &[u8], endian: impl Endian) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = notes;
    let word = |bytes: &[u8], at: usize| Some(endian.read_u32(bytes.get(at..at + 4)?.try_into().ok()?));
    while let (Some(owner_length), Some(length), Some(kind)) = (word(rest, 0), word(rest, 4), word(rest, 8)) {
        let padded = |length: u32| (length as usize).checked_next_multiple_of(4);
        let (Some(owner), Some(padded)) = (padded(owner_length), padded(length)) else { break };
        let Some(at) = owner.checked_add(12) else { break };
        let Some(end) = at.checked_add(length as usize) else { break };
        let Some(description) = rest.get(at..end) else { break };
        if kind == note::TYPE_RECORD && rest[12..].starts_with(&note::OWNER) {
            records.push(description);
        }
        rest = rest.get(at + padded..).unwrap_or_default();
    }
    records
}

/// What a program would make of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be accepted, as far as files tell: what the allocator is, and what the dynamic linker and the constructor say, is
    /// known when the library is loaded.
    Accepted,
    /// It would be refused, in these words.
    Refused(String),
    /// Files do not tell, for this reason.
    Unknown(String),
}

impl Program {
    /// What this program would make of an export of the library, in the words of [`Library::open`](crate::Library::open) and
    /// [`Library::instantiate`](crate::Library::instantiate).
    #[must_use]
    pub fn judge(&self, library: &Library, export: &Export) -> Verdict {
        match self.refusal(library, export) {
            Some(error) => Verdict::Refused(error.to_string()),
            None => self.compare(library, export),
        }
    }

    /// Why it would not be opened.
    fn refusal(&self, library: &Library, export: &Export) -> Option<PluginError> {
        let path = &library.path;
        if library.architecture != self.architecture {
            let (theirs, ours) = (&library.architecture, &self.architecture);
            return Some(refused(path, format!("it is for {theirs}, the program for {ours}")));
        }
        if export.known.build != self.known {
            return Some(another_build(path, &export.known.build, &self.known));
        }
        export.unusable.as_ref().map(|reason| refused(path, reason.as_str()))
    }

    /// What it would make of the interface.
    fn compare(&self, library: &Library, export: &Export) -> Verdict {
        let Some(header) = &export.known.header else {
            return Verdict::Unknown("its header is of another format".to_owned());
        };
        let theirs = &header.interface;
        let mut found: Option<Difference> = None;
        for ours in self.records.iter().filter(|known| known.name == theirs.name) {
            let Some(difference) = difference(theirs, ours) else { return Verdict::Accepted };
            // Traits of one name may come from several crates: blame the one that was meant.
            if found.is_none() || ours.crate_name == theirs.crate_name {
                found = Some(difference);
            }
        }
        match found {
            Some(Difference { library: has, host }) => Verdict::Refused(
                PluginError::Interface {
                    path: library.path.clone(),
                    name: theirs.name.clone(),
                    library: has,
                    host,
                }
                .to_string(),
            ),
            None if theirs.name.contains('<') => Verdict::Unknown(format!(
                "`{}` has parameters, with which programs do not list it",
                theirs.name
            )),
            None => {
                let known = match self.interfaces.as_slice() {
                    [] => "none".to_owned(),
                    several => format!("`{}`", several.join("`, `")),
                };
                Verdict::Refused(format!("the program knows no `{}`: it knows {known}", theirs.name))
            }
        }
    }
}

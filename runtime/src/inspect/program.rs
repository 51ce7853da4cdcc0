//! What a program says of itself, and what it would refuse.

use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};

use super::library::{Build, Export, Library};
use super::{Unreadable, architecture, parse};
use crate::error::PluginError;
use crate::plugin::compare::{Difference, difference};
use crate::plugin::file::{another_build, backend_that_links_nothing, not_linked, read, refused, slots};
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
    backend: String,
    slots: Vec<note::Slot>,
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
    let (mut known, mut backend) = (None, None);
    let mut records: Vec<InterfaceRecord> = Vec::new();
    for section in elf.sections() {
        if !section.name().is_ok_and(|name| name.starts_with(note::SECTIONS)) {
            continue;
        }
        let notes =
            section.data().map_err(|error| refused(path, format!("its notes are damaged: {error}")))?;
        for record in note::records(notes) {
            let Some(record) = header::records(record).next().and_then(Result::ok) else {
                return Err(refused(path, "a note of what it was built with is damaged"));
            };
            let build = record.build.clone();
            // Without a format there is nothing to read; it is told below.
            let header = record.read().ok().flatten();
            if let Some(header) = &header
                && !header.interface.name.is_empty()
                && !records.contains(&header.interface)
            {
                records.push(header.interface.clone());
            }
            backend = header.map(|header| header.backend).or(backend);
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
        backend: backend.unwrap_or_default(),
        slots: slots(&elf),
    })
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
        if let Some(reason) = &export.unusable {
            return Some(refused(path, reason.as_str()));
        }
        let headers = export.known.header.as_slice();
        let backend = backend_that_links_nothing(headers, &self.backend)?;
        let shared = note::shared(&library.slots, &self.slots);
        (!shared.is_empty()).then(|| not_linked(path, shared, backend, &self.backend))
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

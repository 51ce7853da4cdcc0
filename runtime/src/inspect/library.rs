//! What a library exports.

use std::path::{Path, PathBuf};

use object::{Object, ObjectKind};

use super::{Unreadable, architecture, parse};
use crate::error::PluginError;
use crate::plugin::file::{is_there, read, refused, section, slots};
use crate::plugin::header::{self, EMPTY, Flaw, Header};
use crate::plugin::note;

/// What a library says of itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Library {
    /// The file that was read.
    pub path: PathBuf,
    /// The processor that it was built for: `x86_64`.
    pub architecture: String,
    /// What it exports, in the order in which it stands in the file.
    pub exports: Vec<Export>,
    /// The libraries that the dynamic linker loads with it.
    pub needs: Vec<String>,
    pub(super) slots: Vec<note::Slot>,
}

/// What a library says of one export.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Export {
    /// What it was built with.
    pub build: Build,
    /// Its name. Empty where the header is of another format: then all that follows is as well.
    pub name: String,
    /// The interface, as written: `dyn Effect`.
    pub interface: String,
    /// The crate that declares the interface.
    pub crate_name: String,
    /// The version of that crate.
    pub crate_version: String,
    /// The oldest version that it says to be compatible with; empty where it says nothing.
    pub since: String,
    /// A hash of all that the header says of it.
    pub fingerprint: u64,
    /// The signatures of the interface's methods.
    pub methods: Vec<String>,
    /// Why no host could load it, if that is so: its constructor was stripped.
    pub unusable: Option<String>,
    pub(super) known: Known,
}

/// What a library or a program was built with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Build {
    /// The version of hotcall, and a hash of its sources.
    pub hotcall: String,
    /// The compiler, its commit, its LLVM and the target.
    pub compiler: String,
    /// What its panics do: `unwind` or `abort`; empty where the header is of another format.
    pub panic: String,
    /// The format of its header.
    pub format: u32,
}

/// The records themselves, for the comparison.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) build: header::Build,
    pub(super) header: Option<Header>,
}

impl From<&header::Build> for Build {
    fn from(build: &header::Build) -> Self {
        let header::Build { format, hotcall, compiler, panic, .. } = build.clone();
        Self { hotcall, compiler, panic, format }
    }
}

/// Reads what the library at `path` exports.
///
/// # Errors
///
/// [`Unreadable`] if the file cannot be read, or is no shared library with hotcall's exports, of whatever machine, compiler and
/// version.
pub fn library(path: &Path) -> Result<Library, Unreadable> {
    Ok(of(path, &read(path)?)?)
}

pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Library, PluginError> {
    let elf = parse(path, bytes)?;
    if elf.kind() != ObjectKind::Dynamic {
        return Err(refused(path, format!("it is not a shared library but of the kind {:?}", elf.kind())));
    }
    let mut exports = Vec::new();
    for record in header::records(section(path, &elf)?) {
        let record = record.map_err(|flaw| damaged(path, flaw))?;
        let known = record.build.clone();
        let header = if known.format == header::FORMAT {
            Some(record.exported().map_err(|flaw| damaged(path, flaw))?)
        } else {
            None
        };
        let missing = header.as_ref().and_then(|header| is_there(path, &elf, header).err());
        let unusable = missing.map(|error| match error {
            PluginError::NotAPlugin { reason, .. } => reason,
            error => error.to_string(),
        });
        exports.push(Export::new(Known { build: known, header }, unusable));
    }
    if exports.is_empty() {
        return Err(refused(path, EMPTY));
    }
    // A library without a section of them needs none.
    let needs = elf.import_libraries().into_iter().flatten().filter_map(Result::ok);
    let needs = needs.map(|library| String::from_utf8_lossy(library.name()).into_owned()).collect();
    Ok(Library {
        path: path.to_owned(),
        architecture: architecture(elf.architecture()),
        exports,
        needs,
        slots: slots(&elf),
    })
}

fn damaged(path: &Path, flaw: Flaw) -> PluginError {
    match flaw {
        Flaw::Malformed(reason) => refused(path, reason),
        Flaw::Build(build) => refused(path, format!("it was built with {build}")),
    }
}

impl Export {
    fn new(known: Known, unusable: Option<String>) -> Self {
        let build = Build::from(&known.build);
        let Some(header) = &known.header else {
            let empty = String::new;
            return Self {
                build,
                name: empty(),
                interface: empty(),
                crate_name: empty(),
                crate_version: empty(),
                since: empty(),
                fingerprint: 0,
                methods: Vec::new(),
                unusable,
                known,
            };
        };
        let interface = header.interface.clone();
        Self {
            build,
            name: header.name.clone(),
            interface: interface.name,
            crate_name: interface.crate_name,
            crate_version: interface.crate_version,
            since: interface.since,
            fingerprint: header.fingerprint,
            methods: interface.methods.into_iter().map(|method| method.signature).collect(),
            unusable,
            known,
        }
    }
}

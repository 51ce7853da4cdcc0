//! What a library or a program says of itself, read from its file: nothing of it runs.
//!
//! [`library`] shows what a library exports and for whom it was built; [`program`] what a program was built with, and which
//! interfaces it knows; [`Program::judge`] why that program would refuse an export of that library, with the comparison that
//! [`Library`](crate::Library) makes before it loads anything. [`sites`] shows a program's slots and calls.
//!
//! This is what the tool `hotcall` prints. Any file may be given: what is read is checked, and what is wrong is said.
//!
//! ```no_run
//! use hotcall::inspect;
//!
//! let host = inspect::program("target/release/host".as_ref())?;
//! let library = inspect::library("libreverb.so".as_ref())?;
//! for export in &library.exports {
//!     println!("{}: {:?}", export.name, host.judge(&library, export));
//! }
//! # Ok::<(), inspect::Unreadable>(())
//! ```

mod library;
mod program;
#[cfg(patched)]
mod sites;
#[cfg(test)]
mod tests;
mod unreadable;

pub use library::{Build, Export, Library, library};
pub use program::{Program, Verdict, program};
#[cfg(patched)]
pub use sites::{Sites, SlotSites, sites};
pub use unreadable::Unreadable;

use std::path::Path;

use object::{Architecture, File};

use crate::error::PluginError;
use crate::plugin::file::refused;

/// An ELF file of any machine.
fn parse<'data>(path: &Path, bytes: &'data [u8]) -> Result<File<'data>, PluginError> {
    File::parse(bytes).map_err(|error| refused(path, format!("it is cut short or damaged: {error}")))
}

/// `X86_64`, as people write it.
fn architecture(of: Architecture) -> String {
    format!("{of:?}").to_lowercase()
}

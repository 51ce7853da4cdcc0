//! Plugins in shared libraries: accepted by their header before any of their code runs.
//!
//! # Problem
//!
//! A shared library is code that runs as soon as it is loaded, written against types that another compiler
//! may lay out otherwise and against an interface that may have changed since. The dynamic linker checks
//! none of it. By the time a wrong library could be asked what it is, its constructors have run.
//!
//! # Idea
//!
//! `export!` writes a record about each export into a section of the library, in plain bytes that need no
//! relocation. The host reads them from the file, as it would read any other data, and loads the library
//! only when one of the exports is wanted *and* agrees with this program in everything that a call depends
//! on: hotcall, compiler, panic strategy, each method's name, signature, and the sizes, alignments and definitions of its types.
//!
//! ```text
//!   open(path)                instantiate::<dyn Effect>(config)
//!   ----------                ---------------------------------
//!   file                      export found? interface equal?       no: refused, nothing of it has run
//!    | copy                     | yes
//!    v                          v
//!   sealed memfd  ----------> dlopen /proc/self/fd/N   (first time only: constructors of the ELF run)
//!    | parse                    |
//!    v                          v
//!   records: hotcall,         entry(config) -> data, table  or  text of what failed
//!   compiler, interfaces        |
//!    | equal?                   v
//!    v                        Instance { data, table, keeper: the library }
//!   Library / refused
//! ```
//!
//! # Invariants
//!
//! 1. *What is checked is what is loaded.* Both read one copy, sealed against every change.
//! 2. *No code before agreement.* Loading takes a proof that the interface agrees (`library::Agreed`).
//! 3. *A copy's name is its own for as long as its library is loaded.* The dynamic linker recognises a
//!    loaded library by its name before it looks at the file: were `/proc/self/fd/7` closed and reused for
//!    another copy, it would answer with the first library. The descriptor is kept.
//! 4. *Code outlives its instances.* Each instance holds its library.
//! 5. *No panic of a library's reaches the host.* What a table of a library names lets none out (`boundary`).
//! 6. *A library that may still run stays.* It is unmapped only where `remains` knows of nothing.
//! 7. *What was handed out outlives its user.* A library is unmapped only where the caller says that nothing of it was kept, or
//!    where the interfaces of all its instances hand out nothing that could be (`crate::plain`).
//!
//! # What it cannot do
//!
//! The header is a check against mistakes. A library that lies in it is believed, which is why
//! [`Library::open`] is unsafe.

mod allocator;
pub(crate) mod boundary;
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64", panic = "unwind")),
    path = "catch_elsewhere.rs"
)]
pub(crate) mod catch;
pub(crate) mod compare;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
pub(crate) mod export;
#[cfg(target_os = "linux")]
pub(crate) mod file;
pub(crate) mod header;
pub(crate) mod library;
#[cfg(target_os = "linux")]
mod load;
pub(crate) mod note;
#[cfg(target_os = "linux")]
pub(crate) mod opened;
#[cfg(target_os = "linux")]
mod remains;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(patched)]
pub(crate) use allocator::{Allocator, Kin};
#[cfg(patched)]
pub(crate) use compare::description_difference;
pub use library::{Export, Library, load_libraries_near};

#[cfg(not(target_os = "linux"))]
use elsewhere as platform;

/// What the host needs of the system, by the names that every platform's module gives it.
#[cfg(target_os = "linux")]
mod platform {
    pub(super) use super::file::{PrivateCopy, examine};
    pub(super) use super::load::Loaded;
}

//! The dynamic linker: loading a copy that was accepted, finding its entries, and letting go of it.
#![allow(unsafe_code)]

use core::error::Error;
use core::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};

use super::export::Entry;
use super::file::PrivateCopy;
use super::opened;
use super::remains::Remains;
use crate::sabotage::{self, Sabotage};

/// A library in this process. Dropping it leaves it there: see [`Loaded::unload`].
///
/// Invariants:
/// 1. `handle` is that of the library loaded from `copy`.
/// 2. `copy` stays open while the library is loaded, and `name` names no other.
pub(crate) struct Loaded {
    handle: ManuallyDrop<Library>,
    copy: ManuallyDrop<PrivateCopy>,
    /// What it is called.
    name: PathBuf,
    remains: Remains,
}

impl Loaded {
    /// Loads `copy`, of `file`, or gives it back with what the dynamic linker said. What the library needs is bound at
    /// once: a missing symbol is an error here, not a crash later.
    ///
    /// # Safety
    ///
    /// The library's constructors run. The caller vouches for them.
    pub(crate) unsafe fn load(copy: PrivateCopy, file: &Path) -> Result<Self, (PrivateCopy, String)> {
        let name = match copy.name() {
            Ok(name) => name,
            Err(reason) => return Err((copy, reason)),
        };
        // SAFETY: the caller's promise.
        match unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) } {
            Ok(handle) => {
                let handle = handle.into_raw();
                opened::add(name.clone(), file.to_owned());
                // SAFETY: it has just been loaded.
                let remains = unsafe { Remains::watch(handle) };
                // SAFETY: as above.
                let handle = ManuallyDrop::new(unsafe { Library::from_raw(handle) });
                Ok(Self { handle, copy: ManuallyDrop::new(copy), name, remains })
            }
            Err(error) => Err((copy, answer(&error))),
        }
    }

    /// The function behind `symbol`.
    ///
    /// # Safety
    ///
    /// `symbol` is that of an [`Entry`], and the library is loaded for as long as the result is called.
    pub(crate) unsafe fn entry(&self, symbol: &str) -> Result<Entry, String> {
        // SAFETY: the caller's promise.
        let entry = unsafe { self.handle.get::<Entry>(symbol) };
        entry.map(|entry| *entry).map_err(|error| answer(&error))
    }

    /// Gives the library back to the dynamic linker. Why it stays, where it does.
    ///
    /// # Safety
    ///
    /// Nothing uses the library's code or data any more, now or later, but what [`Remains`] knows of and what the dynamic
    /// linker does.
    pub(crate) unsafe fn unload(self) -> Result<(), String> {
        if let Some(reason) = self.remains.reason().filter(|_| !sabotage::is(Sabotage::UnloadAtOnce)) {
            return Err(reason);
        }
        let Self { handle, copy, name, .. } = self;
        let closed = ManuallyDrop::into_inner(handle).close();
        // SAFETY: with NOLOAD nothing is loaded and no constructor runs; a library that is still there was
        // loaded by `load`, and stays as it is.
        let resident = unsafe { Library::open(Some(&name), RTLD_LAZY | RTLD_LOCAL | libc::RTLD_NOLOAD) };
        if closed.is_ok() && resident.is_err() {
            opened::remove(&name);
            drop(ManuallyDrop::into_inner(copy));
            return Ok(());
        }
        // Otherwise a thread-local destructor, or a mark in the library, keeps it loaded: invariant 2 asks
        // that `copy` leaks. Dropping `resident` takes back the reference that asking for it has added.
        Err("the dynamic linker keeps it: a thread has a destructor of it to run, or it is marked to stay"
            .to_owned())
    }
}

/// What the dynamic linker said, rather than which call said it.
fn answer(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

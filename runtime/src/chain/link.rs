//! What the caller of a chain reads: an entry point for each method, and the links for the loop.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::installed::Installed;
use crate::interface::{Code, Table};

/// Where a method of a chain begins, as of now.
#[derive(Debug)]
#[repr(transparent)]
pub struct EntryPoint(AtomicPtr<()>);

impl EntryPoint {
    pub(super) const fn new(code: Code) -> Self {
        Self(AtomicPtr::new(code.as_ptr().cast_mut()))
    }

    /// What a call is to run. The caller is inside a section, or holds a guard.
    #[inline(always)]
    pub(super) fn load(&self) -> Code {
        // Acquire, partner of the Release in `store`: the code and what it works on are there.
        Code::new(self.0.load(Ordering::Acquire))
    }

    pub(super) fn store(&self, code: Code) {
        self.0.store(code.as_ptr().cast_mut(), Ordering::Release);
    }
}

/// An array of entry points.
pub trait Entries: Send + Sync + 'static {
    /// As a slice.
    fn as_slice(&self) -> &[EntryPoint];
}

impl<const N: usize> Entries for [EntryPoint; N] {
    #[inline(always)]
    fn as_slice(&self) -> &[EntryPoint] {
        self
    }
}

/// One element, as the loop sees it.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    data: *mut (),
    table: &'static Table,
}

// SAFETY: a chain takes `Send + Sync` instances only; `data` is only a copy of the instance's address.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

impl Link {
    pub(super) fn new(installed: &Installed) -> Self {
        Self { data: installed.data(), table: installed.table() }
    }

    /// The instance.
    #[inline(always)]
    #[must_use]
    pub fn this(&self) -> *const () {
        self.data
    }

    /// The code of method `index`.
    #[inline(always)]
    #[must_use]
    pub fn method(&self, index: usize) -> Code {
        self.table.method(index)
    }
}

/// What a published list of links is.
pub(super) type Links = Box<[Link]>;

/// The list of links of a chain, for the methods that are loops.
///
/// Invariant: null, or from `Box::into_raw` of [`Links`] boxed once more; what has been replaced is freed a grace
/// period later.
#[derive(Debug)]
#[repr(transparent)]
pub struct Published(AtomicPtr<Links>);

impl Published {
    pub(super) const fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The links as of now.
    ///
    /// # Safety
    ///
    /// A section or a guard of this thread lasts as long as `'a`.
    #[inline(always)]
    #[must_use]
    pub unsafe fn links<'a>(&self) -> &'a [Link] {
        // Acquire, partner of the AcqRel in `publish`.
        let links = self.0.load(Ordering::Acquire);
        // SAFETY: the type's invariant, and the caller's promise.
        unsafe { links.as_ref() }.map_or(&[], |links| links)
    }

    /// Publishes other links, and gives those that were there: to be dropped a grace period later.
    pub(super) fn publish(&self, links: Option<Links>) -> Option<Box<Links>> {
        let new = links.map_or(ptr::null_mut(), |links| Box::into_raw(Box::new(links)));
        let old = self.0.swap(new, Ordering::AcqRel);
        if old.is_null() {
            return None;
        }
        // SAFETY: the type's invariant; it is no longer published, and this is its only owner.
        Some(unsafe { Box::from_raw(old) })
    }
}

/// For `#[dispatch]`: the links of the chain that a loop's first argument is.
///
/// # Safety
///
/// `this` came from `Chain::__this`; a section or a guard of this thread lasts as long as `'a`.
#[inline(always)]
#[must_use]
pub unsafe fn links<'a>(this: *const ()) -> &'a [Link] {
    // SAFETY: the caller's promise.
    let published = unsafe { &*this.cast::<Published>() };
    // SAFETY: the caller's promise.
    unsafe { published.links() }
}

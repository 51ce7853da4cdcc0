//! The two addresses of one byte of code.
//!
//! Code memory is mapped twice. One address executes, the other writes, and they have nothing to do with one
//! another:
//!
//! ```text
//!   ExecAddr 0x5581_2c3f_1000 ──┐ R+X
//!                               ├─ the same page of one memfd
//!   WriteAddr 0x7f04_99d0_0000 ─┘ R+W
//! ```
//!
//! A displacement is computed from `ExecAddr`s and stored through a `WriteAddr`. They are different types, so
//! that neither can be taken for the other.

use core::fmt;

/// Where code executes: in the image, in a library, or in the executable view of code memory.
///
/// Invariant 1: whoever makes one knows that code is, or is about to be, mapped there, readable, for as long
/// as the address is used. [`crate::arch`] reads instructions through it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct ExecAddr(usize);

/// Where code is written: in the writable view of code memory. Never executable.
///
/// Invariant 1: it came from [`crate::sys::memory::DualMap::write_addr`], or from such an address, and that map
/// is still there: the byte can be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct WriteAddr(usize);

impl ExecAddr {
    /// See invariant 1.
    pub(crate) const fn new(address: usize) -> Self {
        Self(address)
    }

    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// The address `bytes` further on.
    #[must_use]
    pub(crate) const fn add(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl WriteAddr {
    /// See invariant 1: for [`crate::sys::memory`] only.
    pub(crate) const fn new(address: usize) -> Self {
        Self(address)
    }

    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// The address `bytes` further on.
    #[must_use]
    pub(crate) const fn add(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The start of the aligned 8 bytes that it is in, which are of the same map: maps are whole pages.
    #[must_use]
    pub(crate) const fn of_quadword(self) -> Self {
        Self(self.0 & !7)
    }

    pub(crate) fn as_ptr<T>(self) -> *mut T {
        core::ptr::with_exposed_provenance_mut(self.0)
    }
}

impl fmt::Debug for ExecAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exec:{:#x}", self.0)
    }
}

impl fmt::Debug for WriteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write:{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_says_which_it_is() {
        assert_eq!(format!("{:?}", ExecAddr::new(0x1003)), "exec:0x1003");
        assert_eq!(format!("{:?}", WriteAddr::new(0x2003).add(1)), "write:0x2004");
        assert_eq!(ExecAddr::new(0x1003).add(5).get(), 0x1008);
    }
}

//! A branch that can be retargeted while it is executed.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;

use super::code::Code;
use super::signature::Signature;
use crate::error::Error;

/// A call or a jump in an arena whose target can be changed at any moment, by one aligned store.
///
/// A thread that runs it goes to the old target or to the new one. It keeps its code alive.
pub struct Site<F> {
    code: Code,
    index: usize,
    signature: PhantomData<F>,
}

impl<F: Signature> Site<F> {
    /// `index` is that of a mark with this signature, of the assembler that wrote the code.
    pub(super) fn new(code: Code, index: usize) -> Self {
        Self { code, index, signature: PhantomData }
    }

    /// Makes the branch go to another function: when this returns, every thread's next run of it does.
    ///
    /// The old target may still be running where a call began before.
    ///
    /// # Errors
    ///
    /// Where `target` is out of reach and there is no memory for a trampoline.
    ///
    /// # Safety
    ///
    /// Whoever runs the code may call `target`, which stays until the site has been retargeted and a grace period has passed.
    pub unsafe fn retarget(&self, target: F) -> Result<(), Error> {
        self.code.owner.retarget(self.index, target.address())
    }

    /// Where the branch goes.
    #[must_use]
    pub fn target(&self) -> F {
        // SAFETY: invariant 3 of `Owner`: it is the address of the `F` that the site was made with, or retargeted to.
        unsafe { F::at(self.code.owner.target(self.index)) }
    }

    /// Calls what the branch goes to now.
    ///
    /// # Safety
    ///
    /// What the target demands.
    pub unsafe fn call(&self, arguments: F::Arguments) -> F::Result {
        // SAFETY: the caller's promise.
        unsafe { self.target().call(arguments) }
    }

    /// The address of the branch's opcode. For a site made by [`Arena::site`](super::Arena::site) it is a function of type
    /// `F`, to be called under a [`Guard`](crate::Guard).
    #[must_use]
    pub fn entry(&self) -> *const u8 {
        core::ptr::with_exposed_provenance(self.code.owner.site_address(self.index).get())
    }

    /// The code that it lies in.
    #[must_use]
    pub fn code(&self) -> &Code {
        &self.code
    }
}

impl<F> Clone for Site<F> {
    fn clone(&self) -> Self {
        Self { code: self.code.clone(), index: self.index, signature: PhantomData }
    }
}

impl<F: Signature> fmt::Debug for Site<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("at", &self.entry())
            .field("target", &format_args!("{:#x}", self.target().address()))
            .finish()
    }
}

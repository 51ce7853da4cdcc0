//! The sites of one method in one region, which have one target.

use super::Unused;
use crate::arch::{self, CallSite};
use crate::arena::{Block, ExecAddr, WriteAddr};
use crate::interface::Code;
use crate::slot::backend::CodeCell;
use crate::sys::fork::HeldOff;

/// How the sites of an entry reach the code they are to run.
#[derive(Debug)]
pub(super) enum Via {
    /// Straight: their target is the method's code.
    Direct,
    /// Through a thunk that loads the instance.
    Thunk(Block),
    /// Through the trampoline, shared within the region, to this code.
    Trampoline(ExecAddr),
    /// Through the stub, which reads what the slot holds: there was no memory for a thunk.
    Installed,
}

/// A call that the compiler placed.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) site: CallSite,
    /// Where its first byte is written.
    pub(super) write: WriteAddr,
}

impl Call {
    /// The atomic store that swaps. `target` is in reach: it was checked, or allocated to be.
    /// The call's memory was made this process's own, and forks have been held off since.
    fn retarget(&mut self, target: ExecAddr, _held_off: &HeldOff) {
        let displacement =
            arch::call_displacement(self.site, target).expect("the target was chosen within reach");
        self.site.form = arch::retarget_call(self.site, self.write, displacement);
    }
}

/// The sites of one method in one region: they have one target.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) method: usize,
    pub(super) region: usize,
    /// The slot's cell, in the region of the image that declares it.
    pub(super) cell: Option<&'static CodeCell>,
    /// The first call stands here, and not behind a pointer: most entries have one, and a large batch waits for
    /// memory more than for anything else.
    pub(super) call: Option<Call>,
    pub(super) others: Vec<Call>,
    /// Nothing before the first replacement, when stubs go to the default, and while they read what the slot holds: then calls
    /// go to their stubs.
    pub(super) target: Option<ExecAddr>,
    pub(super) via: Via,
}

/// Where an entry's sites are to go next.
pub(super) struct Next {
    /// Nothing with [`Via::Installed`], and only there.
    pub(super) target: Option<ExecAddr>,
    pub(super) via: Via,
}

impl Entry {
    pub(super) fn new(method: usize, region: usize) -> Self {
        Self { method, region, cell: None, call: None, others: Vec::new(), target: None, via: Via::Direct }
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.call.iter().chain(&self.others)
    }

    /// Adds a call. It goes where the others go, once the entry is next stored.
    pub(super) fn add_call(&mut self, call: Call) {
        match &self.call {
            None => self.call = Some(call),
            Some(_) => self.others.push(call),
        }
    }

    /// Whether its calls reach their stubs: one that was behind a pointer may not.
    pub(super) fn reaches_stubs(&self) -> bool {
        self.calls().all(|call| arch::call_displacement(call.site, call.site.stub).is_some())
    }

    /// Whether a target must be within reach of the region: a cell goes anywhere.
    pub(super) fn has_calls(&self) -> bool {
        self.call.is_some()
    }

    /// Stores the entry's target to every site.
    fn store(&mut self, held_off: &HeldOff) {
        if let Some(cell) = self.cell {
            match self.target {
                Some(target) => cell.store(Code::new(core::ptr::with_exposed_provenance(target.get()))),
                None => cell.store_installed(),
            }
        }
        for call in self.call.iter_mut().chain(&mut self.others) {
            call.retarget(self.target.unwrap_or(call.site.stub), held_off);
        }
    }

    /// Retargets every site. What they have stopped using goes to `unused`.
    pub(super) fn retarget(&mut self, next: Next, unused: &mut Vec<Unused>, held_off: &HeldOff) {
        self.target = next.target;
        self.store(held_off);
        let via = core::mem::replace(&mut self.via, next.via);
        if !matches!(via, Via::Direct | Via::Installed) {
            unused.push(Unused { region: self.region, via });
        }
    }
}

//! An instance that its host and its slot own together, so that it can be put back, and asked for its state, at any moment.
//!
//! ```text
//!   slot -> Installed -> RawInstance (borrowed) -> Lease -.
//!                                                         v
//!   host ----------------------------------------------> Owner -> RawInstance (owned) -> Library
//! ```
//!
//! What is installed borrows the instance, and keeps it by a lease. Each installation has a lease of its own: when it is
//! dropped, no thread is inside any more, and the host is told. The instance is dropped with its last owner.
//!
//! This is for interfaces without `&mut self`, whose implementors everybody shares: it matters to nobody that the host is one more. What a
//! library exports is `Send` and `Sync`.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::installed::{Installed, report};
use crate::instance::RawInstance;
use crate::interface::Table;
use crate::plugin::export::Handing;
use crate::plugin::library::Made;
use crate::slot::{Change, SlotCore, commit};

/// An instance of a library's.
///
/// Invariants:
/// 1. `handing` is that of the export that made `raw`.
/// 2. `raw` is there until this is dropped.
pub(crate) struct Owner {
    raw: ManuallyDrop<RawInstance>,
    handing: Option<&'static Handing>,
}

impl Owner {
    pub(super) fn new(made: Made) -> Arc<Self> {
        Arc::new(Self { raw: ManuallyDrop::new(made.raw), handing: made.handing })
    }

    /// Where it is, and its code. For whoever keeps the owner while it uses them.
    pub(crate) fn parts(&self) -> (*mut (), &'static Table) {
        (self.raw.data(), self.raw.table())
    }

    /// Its state, or why there is none.
    pub(super) fn save(&self) -> Result<Vec<u8>, String> {
        let (handing, data) = self.handing()?;
        // SAFETY: invariant 1; it lives as long as `self`.
        unsafe { handing.save(data) }
    }

    /// Restores state.
    pub(super) fn restore(&self, state: &[u8]) -> Result<(), String> {
        let (handing, data) = self.handing()?;
        // SAFETY: as above.
        unsafe { handing.restore(data, state) }
    }

    fn handing(&self) -> Result<(&'static Handing, NonNull<()>), String> {
        let handing = self.handing.ok_or("it names no functions to save and restore its state")?;
        Ok((handing, NonNull::new(self.raw.data()).ok_or("it has no instance")?))
    }

    /// An instance that borrows this one, for a slot. `ended` is called when it is dropped: when no thread is inside.
    pub(super) fn lease(self: &Arc<Self>, ended: impl FnOnce() + Send + Sync + 'static) -> RawInstance {
        let (data, table) = (self.handle(), self.raw.table());
        let lease = Lease { ended: Some(Box::new(ended)), _owner: Arc::clone(self) };
        // SAFETY: the lease keeps the owner, and that the instance and its library.
        unsafe { RawInstance::kept(data, table, Arc::new(lease)) }
    }

    fn handle(&self) -> NonNull<()> {
        NonNull::new(self.raw.data()).unwrap_or(NonNull::dangling())
    }
}

/// Whoever owns it last may be the runtime's thread, the host's, or one that was inside. A destructor that panics is told of, and
/// goes no further on any of them.
impl Drop for Owner {
    fn drop(&mut self) {
        let plugin = self.raw.table().type_name();
        // SAFETY: invariant 2: it is taken once, here.
        let raw = unsafe { ManuallyDrop::take(&mut self.raw) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(raw))) {
            report(plugin, payload);
        }
    }
}

/// What an installed instance keeps.
struct Lease {
    ended: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// Dropped after `ended` was called: who is told of the end hears of it before what the end brings.
    _owner: Arc<Owner>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended();
        }
    }
}

/// Puts an implementor into a slot. What it replaces is retired.
pub(super) fn install(core: &'static SlotCore, raw: RawInstance) -> Result<Out, crate::Error> {
    commit::commit_one(Change::new(core, raw)).map(Out).map_err(|(error, _)| error)
}

/// Puts the implementor back that a slot was declared with.
pub(super) fn install_default(core: &'static SlotCore) -> Result<Out, crate::Error> {
    install(core, RawInstance::borrowed(core.default_data(), core.default_table()))
}

/// What was replaced: dropped when no thread is inside, by the runtime, or here if none is by then.
pub(super) struct Out(Arc<Installed>);

impl Drop for Out {
    fn drop(&mut self) {
        crate::installed::drop_each(self.0.abandon());
    }
}

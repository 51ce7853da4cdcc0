//! Linking: the slots of a plugin's library follow those of the program.
//!
//! # Problem
//!
//! A crate that declares a slot may be linked into the program and into a plugin. Each then has a static of its own, and
//! stubs of its own. What the plugin calls is its copy, which nobody ever replaces.
//!
//! # Idea
//!
//! A stub's record says which slot it belongs to, and in which copy of hotcall. When a library has been accepted and
//! loaded, and before any plugin is made, its slots are looked up by name among those of the program. Where there is one:
//!
//! ```text
//!   program's slot ──▶ its sites:   stubs in the program, stubs in the library     (retargeted together)
//!        │
//!        └──── copies: the library's static: `this` and `installed` are stored after the program's own
//! ```
//!
//! A call in the library is what it was: it enters a section of the library's runtime, loads its `this` word, and calls its
//! stub. The invariants of the parent module hold for it as for any other call, for
//! * the library's sites, calls and cells, are retargeted with the others, before the one barrier, which reaches every thread;
//! * its `this` words are stored after it, and its stubs settle with the others;
//! * a grace period waits for the readers of the library's runtime, too ([`crate::quiesce::linked`]).
//!
//! The program alone may replace: to its writers the library's are strangers. And it stays loaded.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SlotCore;
use super::sites::{Found, is_ours};
use super::writer::{Committed, Writer};
use crate::error::Error;
use crate::installed::Installed;
use crate::instance::RawInstance;
use crate::plugin::description_difference;
use crate::quiesce::{linked, reclaimer, section};
use crate::slot::commit::Writing;
use crate::sys::image;

/// Why a library cannot be linked.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A slot of the library has the name of one of the program's, and another interface.
    Differs { slot: &'static str, library: String, host: String },
    /// Its stubs cannot be retargeted.
    Error(Error),
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Differs { slot, library, host } => write!(
                f,
                "its slot `{slot}` is not the program's: the library has {library}, the program has {host}; build both \
                 with the same version of the crate that declares it"
            ),
            Self::Error(error) => error.fmt(f),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Links the slots of the library whose code has `address`, and which was found to agree with this program on compiler and
/// version. How many there are.
pub(crate) fn link(address: usize) -> Result<usize, Refused> {
    Writing::begin()?.link(address)
}

impl Writer {
    fn link(&mut self, address: usize) -> Result<usize, Refused> {
        self.adopt_new_images()?;
        let images = image::images();
        let Some(image) = images.images.iter().find(|image| image.contains(address)) else { return Ok(0) };
        let own: HashMap<_, _> = self.own_slots().map(|slot| (slot.name(), slot)).collect();
        // By the address of the function that gives the library's slot: the program's.
        let mut followed = HashMap::new();
        let mut copies = Vec::new();
        let mut known = HashSet::new();
        for record in image.slots.iter().filter(|record| !is_ours(record)) {
            let (Some(give), Some(runtime)) = (record.slot, record.runtime) else { continue };
            let copy = give();
            let Some(&slot) = own.get(copy.name()) else { continue };
            if let Some((library, host)) = description_difference(copy.description, slot.description) {
                return Err(Refused::Differs { slot: slot.name(), library, host });
            }
            followed.insert((give as *const ()).addr(), slot);
            if known.insert(core::ptr::from_ref(copy)) {
                copies.push((slot, copy));
            }
            linked::add(runtime());
        }
        for (slot, _) in &copies {
            self.register(slot);
        }
        let region = self.images().add_region(image);
        let calls = self.images().add_calls(image, region, |give| followed.get(&give).copied());
        // The calls first: where they are, their entry's target is in their reach.
        let cells = copies.iter().flat_map(|(slot, copy)| copy.cells_found(region).map(|found| (*slot, found)));
        for (slot, one) in calls.into_iter().chain(cells) {
            self.follow(slot, one)?;
        }
        // Invariants 2 and 4.
        section::heavy_barrier();
        let mut advance = Vec::new();
        for (slot, copy) in &copies {
            copy.mirror(slot);
            copy.linked.store(true, Ordering::Release);
            advance.extend(self.add_copy(slot, copy));
        }
        reclaimer::defer_commit(Committed::advancing(advance));
        Ok(copies.len())
    }

    /// Makes a branch of the library's a site of the slot, and retargets it to what the slot holds.
    fn follow(&mut self, slot: &'static SlotCore, found: Found) -> Result<(), Error> {
        // The default's code ignores `this`, so it needs no thunk.
        let default =
            || Arc::new(Installed::new(RawInstance::borrowed(slot.default_data, slot.default_table)));
        let (holds, thunk) = match self.holds(slot) {
            Some(current) => {
                let thunk = !current.table().is_zero_sized();
                (current, thunk)
            }
            None => (default(), false),
        };
        self.add_and_retarget(slot, found, &holds, thunk)
    }
}

impl SlotCore {
    /// Whether it follows a slot of the program.
    pub(crate) fn is_linked(&self) -> bool {
        // Acquire, partner of the Release in `link`.
        self.linked.load(Ordering::Acquire)
    }

    /// Refuses a slot that is the program's.
    pub(crate) fn check_is_own(&self) -> Result<(), Error> {
        if self.is_linked() { Err(Error::SlotOfHost { slot: self.name() }) } else { Ok(()) }
    }

    /// Takes over what `slot` holds. The caller holds the writers' lock of `slot`, has retargeted the sites of both and has
    /// passed the barrier.
    pub(super) fn mirror(&self, slot: &Self) {
        let mut installed = slot.installed.load(Ordering::Acquire);
        if installed.is_null() {
            // Here null stands for the library's own default. The program's lives for ever, and so does this.
            let default = Installed::new(RawInstance::borrowed(slot.default_data, slot.default_table));
            installed = Arc::into_raw(Arc::new(default)).cast_mut();
        }
        // Release, partners of the Acquires in `current` and `BoundCore::this`.
        self.installed.store(installed, Ordering::Release);
        self.this.store(slot.this.load(Ordering::Acquire), Ordering::Release);
    }
}

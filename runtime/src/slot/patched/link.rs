//! Linking: the slots of a plugin's library follow those of the program.
//!
//! # Problem
//!
//! A crate that declares a slot may be linked into the program and into a plugin. Each then has a static of its own, and
//! calls of its own. What the plugin calls is its copy, which nobody ever replaces.
//!
//! # Idea
//!
//! A slot's record says in which copy of hotcall it is, and a call's of which slot. When a library has been accepted and
//! loaded, and before any plugin is made, its slots are looked up by name among those of the program. Where there is one:
//!
//! ```text
//!   program's slot ──▶ its sites:   calls in the program and in the library, and the cells of both
//!        │
//!        └──── copies: the library's static: `this` and `installed` are stored after the program's own
//! ```
//!
//! A call in the library is what it was: it enters a section of the library's runtime, loads its `this` word, and makes
//! its call. The invariants of the parent module hold for it as for any other call, for
//! * the library's sites are retargeted with the others, before the one barrier, which reaches every thread;
//! * its `this` words are stored after it, and its sites settle with the others;
//! * a grace period waits for the readers of the library's runtime, too ([`crate::quiesce::linked`]).
//!
//! What follows a slot of the program's is replaced by the program alone. The library's other slots stay its own; their
//! calls lie between those that follow, so the program's writer has them too, and the library replaces through it. It
//! stays loaded.
//!
//! # Invariants
//!
//! 1. A slot follows the one slot of the program that comes from the same declaration ([`crate::slot::identity`]). Where one
//!    side has two of an identity, none of them follows or is followed.
//! 2. A library is linked wholly or not at all: everything that may be refused comes first, and what it took is given back.
//! 3. Its readers are waited for before any of its sites leads to what is freed one day.
//! 4. The two images have a default each, of two types for all that is known: a crate may have been compiled with other
//!    features. A default has two sorts of code. What stubs run at first ignores `this`, and reads the static of
//!    the image that it lies in; the code in the default's *table* reads `this`, as that of any other type. So a site
//!    of the library may go to the former, of the program's default, without a thunk; and to the latter as to any other.
//! 5. Before it is linked, the library's callers pass its own default. They do so until a grace period has passed that began
//!    after its `this` word was stored: until then its sites go to code that ignores `this`, or through thunks (see
//!    [`super::writer::adopt`]).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SlotCore;
use super::sites::{Found, Region, address_of, is_ours, slots_of, strangers_of};
use super::writer::{Committed, Joining, Writer};
use crate::error::Error;
use crate::installed::Installed;
use crate::instance::RawInstance;
use crate::plugin::description_difference;
use crate::quiesce::linked::{self, OWN, Runtime};
use crate::quiesce::{reclaimer, section};
use crate::rehearsal::{self, Point};
use crate::slot::commit::Writing;
use crate::slot::identity::Key;
use crate::sys::image::{self, Image, SlotRecord};

/// What came of linking a library.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// How many of its slots follow the program's.
    pub(crate) slots: usize,
    /// Slots that follow none, because two declarations have one identity.
    pub(crate) ambiguous: Vec<&'static str>,
    /// Slots that follow none, although the program has one of the name: it is declared in another place or way.
    pub(crate) other_sources: Vec<&'static str>,
}

/// Why a library cannot be linked.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A slot of the library has the name of one of the program's, and another interface.
    Differs { slot: &'static str, library: String, host: String },
    /// It has begun to write its sites itself.
    Writes,
    /// It has an allocator of its own.
    Allocates,
    /// Its sites cannot be retargeted.
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
            Self::Writes => f.write_str(
                "it replaced slots while it was loaded, before they could be linked to the program's: replace them in a \
                 plugin's constructor, not in a constructor of the ELF file",
            ),
            Self::Allocates => f.write_str(
                "it has slots of the program's and a global allocator of its own, and what one allocates for a slot the other \
                 frees: build the library with the allocator of the program",
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
/// version.
pub(crate) fn link(address: usize) -> Result<Linked, Refused> {
    match linked::host() {
        // Where a linked library loads another, that follows the program, too.
        Some(host) => host.link(address, &OWN),
        None => link_here(address, &OWN),
    }
}

/// The same, for a library that was loaded by `from`: this copy of hotcall, or one that follows it.
pub(crate) fn link_here(address: usize, from: &'static Runtime) -> Result<Linked, Refused> {
    let mut writing = Writing::begin()?;
    rehearsal::reached(Point::Linking);
    writing.link(address, from)
}

/// A slot of the program's, and one of a library's that is to follow it.
struct Pair {
    slot: &'static SlotCore,
    copy: &'static SlotCore,
}

/// How a library's slots belong to those of the program.
#[derive(Default)]
struct Pairs {
    pairs: Vec<Pair>,
    /// By the copy's address: what it follows.
    followed: HashMap<usize, &'static SlotCore>,
    ambiguous: Vec<&'static str>,
    other_sources: Vec<&'static str>,
}

/// A slot, or more than one of the identity.
enum Declared {
    Once(&'static SlotCore),
    Often,
}

/// Slots by identity.
fn by_identity(slots: impl Iterator<Item = &'static SlotCore>) -> HashMap<Key, Declared> {
    let mut all = HashMap::new();
    for slot in slots {
        match all.entry(slot.identity.key()) {
            Entry::Vacant(entry) => {
                entry.insert(Declared::Once(slot));
            }
            Entry::Occupied(mut entry) => {
                if !matches!(entry.get(), Declared::Once(known) if core::ptr::eq(*known, slot)) {
                    entry.insert(Declared::Often);
                }
            }
        }
    }
    all
}

impl Pairs {
    /// Invariant 1.
    fn of(host: Vec<&'static SlotCore>, library: &[&'static SlotCore]) -> Result<Self, Refused> {
        let names: HashSet<_> = host.iter().map(|slot| slot.identity.name()).collect();
        let host = by_identity(host.into_iter());
        let own = by_identity(library.iter().copied());
        let mut pairs = Self::default();
        for &copy in library {
            if copy.exclusive {
                // Each has a lock of its own, so they must not share what is behind it.
                continue;
            }
            let key = copy.identity.key();
            match (host.get(&key), own.get(&key)) {
                (Some(Declared::Once(slot)), Some(Declared::Once(_))) => {
                    if let Some((library, host)) = description_difference(copy.description, slot.description)
                    {
                        return Err(Refused::Differs { slot: slot.name(), library, host });
                    }
                    pairs.followed.insert(address_of(copy), slot);
                    pairs.pairs.push(Pair { slot, copy });
                }
                (Some(_), _) => pairs.ambiguous.push(copy.name()),
                (None, _) if names.contains(&copy.identity.name()) => pairs.other_sources.push(copy.name()),
                (None, _) => {}
            }
        }
        Ok(pairs)
    }

    fn linked(self) -> Linked {
        let Self { pairs, ambiguous, other_sources, .. } = self;
        Linked { slots: pairs.len(), ambiguous, other_sources }
    }

    /// What a library's slot follows.
    fn followed(&self, copy: &SlotCore) -> Option<&'static SlotCore> {
        self.followed.get(&address_of(copy)).copied()
    }
}

/// The sites of a library, ready to be published.
#[derive(Default)]
struct Prepared {
    joining: Vec<Joining>,
    /// Slots that follow none, each with the region of its image.
    own: Vec<(&'static SlotCore, usize)>,
    /// Their calls.
    calls: Vec<(&'static SlotCore, Found)>,
}

impl Writer {
    fn link(&mut self, address: usize, from: &'static Runtime) -> Result<Linked, Refused> {
        self.adopt_new_images()?;
        let images = image::images().images;
        let Some(image) = images.iter().find(|image| image.contains(address)) else {
            return Ok(Linked::default());
        };
        let foreign = image.slots.iter().find(|record| record.slot.is_some() && !is_ours(record));
        let Some(runtime) = foreign.and_then(|record| Some((record.runtime?)())) else {
            return Ok(Linked::default());
        };
        let is_its = |record: &SlotRecord| record.runtime.is_some_and(|of| core::ptr::eq(of(), runtime));
        // Its records lie in more than one image where it shares its copy of hotcall with another library.
        let of_it: Vec<(&Image, Vec<&'static SlotCore>)> = images
            .iter()
            .filter(|image| !self.images().knows(image))
            .map(|image| (image, slots_of(image, is_its)))
            .filter(|(image, slots)| !slots.is_empty() || image.contains(address))
            .collect();
        let slots: Vec<_> = of_it.iter().flat_map(|(_, slots)| slots.iter().copied()).collect();
        let pairs = Pairs::of(self.slots_of(from), &slots)?;
        if pairs.pairs.is_empty() {
            return Ok(pairs.linked());
        }

        if !runtime.may_follow(&OWN) {
            return Err(Refused::Writes);
        }
        if runtime.allocates_elsewhere() {
            return Err(Refused::Allocates);
        }
        let prepared = self.prepare_to_link(&of_it, &pairs)?;
        // The last that may be refused.
        if let Err(refused) = rehearsal::step()
            .map_err(|error| Refused::from(Error::from(error)))
            .and_then(|()| if runtime.begin_to_follow(&OWN) { Ok(()) } else { Err(Refused::Writes) })
        {
            prepared.joining.into_iter().for_each(|joining| self.give_up(joining));
            return Err(refused);
        }
        for (image, _) in of_it {
            self.images().has_looked_at(image);
        }
        self.publish_links(prepared, &pairs, runtime);
        Ok(pairs.linked())
    }

    /// Everything that may be refused. Nothing that a caller can see changes (invariant 2).
    fn prepare_to_link(
        &mut self,
        images: &[(&Image, Vec<&'static SlotCore>)],
        pairs: &Pairs,
    ) -> Result<Prepared, Error> {
        let mut prepared = Prepared::default();
        let known = self.images().regions.len();
        match self.prepare_links(images, pairs, &mut prepared) {
            Ok(()) => Ok(prepared),
            Err(error) => {
                prepared.joining.into_iter().for_each(|joining| self.give_up(joining));
                // Pages that were remapped stay so: they hold what they held, and the library stays loaded.
                let is_opened = |region: &mut Region| region.opened().is_some();
                let regions = &mut self.images().regions;
                while regions.len() > known && !regions.last_mut().is_some_and(is_opened) {
                    regions.pop();
                }
                Err(error)
            }
        }
    }

    fn prepare_links(
        &mut self,
        images: &[(&Image, Vec<&'static SlotCore>)],
        pairs: &Pairs,
        prepared: &mut Prepared,
    ) -> Result<(), Error> {
        let mut joining: HashMap<usize, Vec<Found>> = HashMap::new();
        let its: HashMap<usize, &'static SlotCore> =
            images.iter().flat_map(|(_, slots)| slots).map(|slot| (address_of(slot), *slot)).collect();
        for (image, slots) in images {
            rehearsal::step()?;
            let region = self.images().add_region(image);
            let ours = strangers_of(image, |record| !is_ours(record));
            let slot_of = |core: usize| {
                if ours.contains(&core) {
                    return None;
                }
                // SAFETY: the library has been loaded, and stays so from here on, or is at least while this looks at it.
                let slot = unsafe { image::slot_at(core) };
                its.get(&address_of(slot)).copied()
            };
            let calls = self.images().add_calls(image, region, slot_of);
            for (copy, call) in calls {
                match pairs.followed(copy) {
                    Some(slot) => {
                        rehearsal::step()?;
                        joining.entry(self.register(slot)).or_default().push(call);
                    }
                    None => prepared.calls.push((copy, call)),
                }
            }
            for &copy in slots {
                match pairs.followed(copy) {
                    Some(slot) => {
                        rehearsal::step()?;
                        joining.entry(self.register(slot)).or_default().extend(copy.cells_found(region));
                    }
                    None => prepared.own.push((copy, region)),
                }
            }
        }
        for (index, sites) in joining {
            prepared.joining.push(self.prepare_to_join(index, &sites)?);
        }
        Ok(())
    }

    /// Nothing here can fail.
    fn publish_links(&mut self, prepared: Prepared, pairs: &Pairs, runtime: &'static Runtime) {
        // Invariant 3.
        linked::add(runtime);
        let joined: Vec<_> = prepared.joining.into_iter().filter_map(|joining| self.join(joining)).collect();
        // Invariants 2 and 4 of the parent module.
        section::heavy_barrier();
        for Pair { slot, copy } in &pairs.pairs {
            if copy.is_linked() {
                // By the link of another image of the library's.
                continue;
            }
            copy.mirror(slot);
            // Release, partner of the Acquire in `is_linked`.
            copy.linked.store(true, Ordering::Release);
            self.add_copy(slot, copy);
        }
        for (slot, region) in prepared.own {
            self.adopt_slot(slot, region, runtime);
        }
        prepared.calls.into_iter().for_each(|(slot, call)| self.adopt_call(slot, call));
        // A grace period that begins now: the words are stored, and the library's readers are waited for (invariant 5).
        reclaimer::defer_commit(Committed::advancing(joined));
    }
}

impl SlotCore {
    /// Whether it follows a slot of the program.
    pub(crate) fn is_linked(&self) -> bool {
        // Acquire, partner of the Release in `publish_links`.
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

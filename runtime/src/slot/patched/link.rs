//! Linking: the slots and keys of a plugin's library follow those of the program.
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
//! # Keys
//!
//! A key that both contain is one key. The program's writer turns both, and whoever names either turns it: nothing of the
//! library's is installed by that. Its branches are patched with the program's, and its static's word, which a branch loads that is not,
//! says what the program's says.
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
use super::sites::{Found, FoundBranch, Region, address_of, declared, is_ours, strangers};
use super::writer::{Committed, Joining, Writer};
use crate::error::Error;
use crate::installed::Installed;
use crate::instance::RawInstance;
use crate::key::KeyCore;
use crate::plugin::description_difference;
use crate::quiesce::linked::{self, OWN, Runtime};
use crate::quiesce::{reclaimer, section};
use crate::rehearsal::{self, Point};
use crate::slot::commit::Writing;
use crate::slot::identity::{Identity, Key};
use crate::sys::image::{self, Declaration, Image};

/// What came of linking a library.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// How many of its slots follow the program's.
    pub(crate) slots: usize,
    /// How many of its keys are the program's.
    pub(crate) keys: usize,
    /// Slots and keys that follow none, because two declarations have one identity.
    pub(crate) ambiguous: Vec<&'static str>,
    /// Slots and keys that follow none, although the program has one of the name: it is declared in another place or way.
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

/// A slot or a key, or more than one of the identity.
enum Declared<T: 'static> {
    Once(&'static T),
    Often,
}

/// What is declared once or often, by identity.
fn by_identity<T>(
    declared: impl Iterator<Item = &'static T>,
    identity: fn(&T) -> &Identity,
) -> HashMap<Key, Declared<T>> {
    let mut all = HashMap::new();
    for one in declared {
        match all.entry(identity(one).key()) {
            Entry::Vacant(entry) => {
                entry.insert(Declared::Once(one));
            }
            Entry::Occupied(mut entry) => {
                if !matches!(entry.get(), Declared::Once(known) if core::ptr::eq(*known, one)) {
                    entry.insert(Declared::Often);
                }
            }
        }
    }
    all
}

/// How a library's keys belong to those of the program.
#[derive(Default)]
struct KeyPairs {
    /// By the copy's address: it, and which it is.
    same: HashMap<usize, (&'static KeyCore, &'static KeyCore)>,
    ambiguous: Vec<&'static str>,
    other_sources: Vec<&'static str>,
}

impl KeyPairs {
    /// Invariant 1.
    fn of(host: &[&'static KeyCore], library: &[&'static KeyCore]) -> Self {
        let names: HashSet<_> = host.iter().map(|key| key.identity().name()).collect();
        let host = by_identity(host.iter().copied(), |key| key.identity());
        let own = by_identity(library.iter().copied(), |key| key.identity());
        let mut pairs = Self::default();
        for &copy in library {
            let identity = copy.identity().key();
            match (host.get(&identity), own.get(&identity)) {
                (Some(Declared::Once(key)), Some(Declared::Once(_))) => {
                    pairs.same.insert(address_of(copy), (copy, key));
                }
                (Some(_), _) => pairs.ambiguous.push(copy.name()),
                (None, _) if names.contains(&copy.identity().name()) => pairs.other_sources.push(copy.name()),
                (None, _) => {}
            }
        }
        pairs
    }

    /// The program's, where the library's is that; else the library's own.
    fn resolved(&self, copy: &'static KeyCore) -> &'static KeyCore {
        self.same.get(&address_of(copy)).map_or(copy, |(_, key)| key)
    }
}

impl Pairs {
    /// Invariant 1.
    fn of(host: Vec<&'static SlotCore>, library: &[&'static SlotCore]) -> Result<Self, Refused> {
        let names: HashSet<_> = host.iter().map(|slot| slot.identity.name()).collect();
        let host = by_identity(host.into_iter(), |slot| slot.identity);
        let own = by_identity(library.iter().copied(), |slot| slot.identity);
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

    fn linked(self, keys: KeyPairs) -> Linked {
        let Self { pairs, mut ambiguous, mut other_sources, .. } = self;
        ambiguous.extend(keys.ambiguous);
        other_sources.extend(keys.other_sources);
        Linked { slots: pairs.len(), keys: keys.same.len(), ambiguous, other_sources }
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
    /// Branches of keys, the program's or the library's own.
    branches: Vec<FoundBranch>,
    /// Keys that are none of the program's.
    own_keys: Vec<&'static KeyCore>,
}

/// An image of a library, with what it declares of the library's copy of hotcall.
struct Part<'a> {
    image: &'a Image,
    slots: Vec<&'static SlotCore>,
    keys: Vec<&'static KeyCore>,
}

/// The copy of hotcall that what an image declares belongs to, where that is not this one.
fn runtime_of(image: &Image) -> Option<&'static Runtime> {
    fn foreign<T>(records: &[Declaration<T>]) -> Option<&'static Runtime> {
        let foreign = records.iter().find(|record| record.core.is_some() && !is_ours(record))?;
        Some((foreign.runtime?)())
    }
    foreign(image.slots).or_else(|| foreign(image.keys))
}

fn is_of<T>(record: &Declaration<T>, runtime: &'static Runtime) -> bool {
    record.runtime.is_some_and(|of| core::ptr::eq(of(), runtime))
}

impl Writer {
    fn link(&mut self, address: usize, from: &'static Runtime) -> Result<Linked, Refused> {
        self.adopt_new_images()?;
        let images = image::images().images;
        let Some(image) = images.iter().find(|image| image.contains(address)) else {
            return Ok(Linked::default());
        };
        let Some(runtime) = runtime_of(image) else { return Ok(Linked::default()) };
        // Its records lie in more than one image where it shares its copy of hotcall with another library.
        let parts: Vec<_> = images
            .iter()
            .filter(|image| !self.images().knows(image))
            .map(|image| Part {
                image,
                slots: declared(image.slots, |record| is_of(record, runtime)),
                keys: declared(image.keys, |record| is_of(record, runtime)),
            })
            .filter(|part| !part.slots.is_empty() || !part.keys.is_empty() || part.image.contains(address))
            .collect();
        let slots: Vec<_> = parts.iter().flat_map(|part| part.slots.iter().copied()).collect();
        let keys: Vec<_> = parts.iter().flat_map(|part| part.keys.iter().copied()).collect();
        let pairs = Pairs::of(self.slots_of(from), &slots)?;
        let key_pairs = KeyPairs::of(&self.keys.of(from), &keys);
        if pairs.pairs.is_empty() && key_pairs.same.is_empty() {
            return Ok(pairs.linked(key_pairs));
        }

        if !runtime.may_follow(&OWN) {
            return Err(Refused::Writes);
        }
        if runtime.allocates_elsewhere() {
            return Err(Refused::Allocates);
        }
        let prepared = self.prepare_to_link(&parts, &pairs, &key_pairs)?;
        // The last that may be refused.
        if let Err(refused) = rehearsal::step()
            .map_err(|error| Refused::from(Error::from(error)))
            .and_then(|()| if runtime.begin_to_follow(&OWN) { Ok(()) } else { Err(Refused::Writes) })
        {
            prepared.joining.into_iter().for_each(|joining| self.give_up(joining));
            return Err(refused);
        }
        for part in parts {
            self.images().has_looked_at(part.image);
        }
        self.publish_links(prepared, &pairs, &key_pairs, runtime);
        Ok(pairs.linked(key_pairs))
    }

    /// Everything that may be refused. Nothing that a caller can see changes (invariant 2).
    fn prepare_to_link(
        &mut self,
        parts: &[Part<'_>],
        pairs: &Pairs,
        key_pairs: &KeyPairs,
    ) -> Result<Prepared, Error> {
        let mut prepared = Prepared::default();
        let known = self.images().regions.len();
        match self.prepare_links(parts, pairs, key_pairs, &mut prepared) {
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
        parts: &[Part<'_>],
        pairs: &Pairs,
        key_pairs: &KeyPairs,
        prepared: &mut Prepared,
    ) -> Result<(), Error> {
        let mut joining: HashMap<usize, Vec<Found>> = HashMap::new();
        let its: HashMap<usize, &'static SlotCore> =
            parts.iter().flat_map(|part| &part.slots).map(|slot| (address_of(*slot), *slot)).collect();
        let its_keys: HashMap<usize, &'static KeyCore> =
            parts.iter().flat_map(|part| &part.keys).map(|key| (address_of(*key), *key)).collect();
        for Part { image, slots, keys } in parts {
            rehearsal::step()?;
            let region = self.images().add_region(image);
            let ours = strangers(image.slots, |record| !is_ours(record));
            let slot_of = |core: usize| {
                if ours.contains(&core) {
                    return None;
                }
                // SAFETY: the library has been loaded, and stays so from here on, or is at least while this looks at it.
                let slot = unsafe { image::declared_at::<SlotCore>(core) };
                its.get(&address_of(slot)).copied()
            };
            let our_keys = strangers(image.keys, |record| !is_ours(record));
            let key_of = |core: usize| {
                if our_keys.contains(&core) {
                    return None;
                }
                // SAFETY: as above.
                let key = unsafe { image::declared_at::<KeyCore>(core) };
                its_keys.get(&address_of(key)).map(|key| key_pairs.resolved(key))
            };
            let calls = self.images().add_calls(image, region, slot_of);
            let branches = self.images().add_branches(image, region, key_of);
            self.images().set_pages(region, &calls, &branches);
            prepared.branches.extend(branches);
            let is_own = |key: &&&'static KeyCore| !key_pairs.same.contains_key(&address_of(**key));
            prepared.own_keys.extend(keys.iter().filter(is_own).copied());
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
    fn publish_links(
        &mut self,
        prepared: Prepared,
        pairs: &Pairs,
        key_pairs: &KeyPairs,
        runtime: &'static Runtime,
    ) {
        // Invariant 3.
        linked::add(runtime);
        let joined: Vec<_> = prepared.joining.into_iter().filter_map(|joining| self.join(joining)).collect();
        for (copy, key) in key_pairs.same.values() {
            let index = self.keys.register(key);
            self.keys.add_copy(index, copy);
        }
        prepared.own_keys.into_iter().for_each(|key| self.adopt_key(key, runtime));
        self.add_branches(prepared.branches);
        self.patch_branches();
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

//! Sites that come later than their slot: those of images of this copy of hotcall that were loaded since, and those of
//! libraries that are linked.
//!
//! # What they join
//!
//! A site that joins led to its stub, and so to a default's code, which ignores `this`. What it is retargeted to may
//! read it; and where it lies in a library, its callers pass the library's word, which is stored after it. So:
//!
//! 1. A site goes through a thunk when it joins, or through a stub that reads what is installed, unless what it goes to reads nothing through `this`: code of a type without
//!    bytes, or of a slot that was never replaced ([`SlotCore::default_code`]).
//! 2. With either there, the slot's stage is at most `Published`.
//! 3. A slot that is joined enters its stage anew: what was deferred before is not in time any more. So its sites go
//!    straight only after a grace period that began after the joining: it waits for the readers of the site's image, each of
//!    whom has loaded a word that was stored by then.

use super::{Advance, Entry, Next, SlotCore, Stage, Unused, Via, Writer};
use crate::arena::ExecAddr;
use crate::error::Error;
use crate::quiesce::linked::Runtime;
use crate::rehearsal;
use crate::sabotage::{self, Sabotage};
use crate::slot::backend::sites::{Found, Fresh, address_of};
use crate::sys::fork;

/// Sites that are to join a slot, and where they go. Nothing that a caller can see has changed.
pub(in super::super) struct Joining {
    index: usize,
    entries: Vec<(Entry, Next)>,
}

impl Writer {
    /// Calls in images that were loaded since the last commit. Those of slots that hold something are retargeted now; and branches
    /// are patched.
    pub(in super::super) fn adopt_new_images(&mut self) -> Result<(), Error> {
        let Fresh { calls, keys, branches } = self.images().look();
        for key in keys {
            self.keys.register(key);
        }
        self.add_branches(branches);
        self.patch_branches();
        if calls.is_empty() && self.late.is_empty() {
            return Ok(());
        }
        self.late.extend(calls);
        self.late.sort_by_key(|(slot, _)| address_of(*slot));
        while let Some(&(slot, _)) = self.late.last() {
            let first = self.late.partition_point(|(other, _)| address_of(*other) < address_of(slot));
            let sites: Vec<_> = self.late[first..].iter().map(|(_, found)| *found).collect();
            self.adopt(slot, &sites)?;
            self.late.truncate(first);
        }
        Ok(())
    }

    fn adopt(&mut self, slot: &'static SlotCore, sites: &[Found]) -> Result<(), Error> {
        let Some(index) = slot.index() else {
            sites.iter().for_each(|site| self.images().remember(slot, *site));
            return Ok(());
        };
        // Those of a slot that was never replaced stay as they were compiled.
        if self.slots[index].current.is_none() {
            let mut entries = Vec::new();
            sites.iter().for_each(|site| self.add_site(&mut entries, *site));
            self.slots[index].entries.extend(entries);
            return Ok(());
        }
        let joining = self.prepare_to_join(index, sites)?;
        let advance = self.join(joining);
        self.joined.extend(advance);
        Ok(())
    }

    /// Everything about sites that join a slot that may be refused. The slot has been registered.
    pub(in super::super) fn prepare_to_join(
        &mut self,
        index: usize,
        sites: &[Found],
    ) -> Result<Joining, Error> {
        let mut entries = Vec::new();
        for &site in sites {
            rehearsal::step()?;
            self.add_site(&mut entries, site);
        }
        let mut joining = Joining { index, entries: Vec::with_capacity(entries.len()) };
        for entry in entries {
            match self.joins_at(index, &entry) {
                Ok(next) => joining.entries.push((entry, next)),
                Err(error) => {
                    self.give_up(joining);
                    return Err(error);
                }
            }
        }
        let regions: Vec<_> = joining.entries.iter().map(|(entry, _)| entry.region).collect();
        if let Err(error) = self.make_own(regions.into_iter()) {
            self.give_up(joining);
            return Err(error.into());
        }
        Ok(joining)
    }

    /// Invariant 1.
    fn joins_at(&mut self, index: usize, entry: &Entry) -> Result<Next, Error> {
        rehearsal::step()?;
        let state = &self.slots[index];
        let Some(current) = state.current.clone() else {
            let code = state.slot.default_code(entry.method);
            return self.straight(entry.region, entry.has_calls(), code);
        };
        let code = ExecAddr::new(current.table().method(entry.method).address());
        let next = if current.table().is_zero_sized() {
            self.straight(entry.region, entry.has_calls(), code)
        } else {
            self.through_thunk(entry.region, code, &current)
        };
        self.or_installed(next, entry.reaches_stubs())
    }

    /// Nobody has seen what they were to use.
    pub(in super::super) fn give_up(&mut self, joining: Joining) {
        for (entry, next) in joining.entries {
            self.release(Unused { region: entry.region, via: next.via });
        }
    }

    /// Stores that cannot fail. What is to advance a grace period after the `this` words of all callers were stored.
    pub(in super::super) fn join(&mut self, joining: Joining) -> Option<Advance> {
        let Joining { index, entries } = joining;
        let thunk = entries.iter().any(|(_, next)| matches!(next.via, Via::Thunk(_) | Via::Installed));
        let state = &mut self.slots[index];
        let known = state.entries.len();
        let (new, mut nexts): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        state.entries.extend(new);
        // What an entry used before is nothing: it is new. So nothing is allocated or freed while forks are held off.
        let mut unused = Vec::new();
        let Some(held_off) = fork::hold_off() else {
            unreachable!(
                "what is joined was prepared under the same hold of the lock, outside a fork's handlers"
            )
        };
        for (entry, next) in state.entries[known..].iter_mut().zip(nexts.drain(..)) {
            entry.retarget(next, &mut unused, &held_off);
        }
        drop(held_off);
        state.current.as_ref()?;
        // Invariants 2 and 3.
        let stage = if thunk { state.stage.min(Stage::Published) } else { state.stage };
        if !(sabotage::is(Sabotage::JoinsStage) && state.stage == stage) {
            state.enter(stage);
        }
        Some(Advance { index, serial: state.serial })
    }

    /// Every slot of this copy of hotcall, and those of `other` that are written here.
    pub(in super::super) fn slots_of(&mut self, other: &'static Runtime) -> Vec<&'static SlotCore> {
        let untouched: Vec<_> = self.images().untouched().collect();
        let all = untouched.into_iter().chain(self.slots.iter().map(|state| state.slot));
        let whose = |slot: &SlotCore| self.adopted.as_ref()?.get(&address_of(slot)).copied();
        all.filter(|slot| whose(slot).is_none_or(|whose| core::ptr::eq(whose, other))).collect()
    }

    /// From now on a library's slot that follows none is written here, as if it were of this copy of hotcall.
    pub(in super::super) fn adopt_slot(
        &mut self,
        slot: &'static SlotCore,
        region: usize,
        owner: &'static Runtime,
    ) {
        // Else it was declared in an image that was linked before, which shares its copy of hotcall with this one.
        if slot.index().is_none() {
            self.images().adopt(slot, region);
        }
        self.adopted.get_or_insert_default().insert(address_of(slot), owner);
    }

    /// A call of such a slot.
    pub(in super::super) fn adopt_call(&mut self, slot: &'static SlotCore, call: Found) {
        match slot.index() {
            None => self.images().remember(slot, call),
            Some(_) => self.late.push((slot, call)),
        }
    }

    /// From now on `copy` is told what `slot`, which has been registered, holds.
    pub(in super::super) fn add_copy(&mut self, slot: &SlotCore, copy: &'static SlotCore) {
        if let Some(index) = slot.index() {
            self.slots[index].copies.push(copy);
        }
    }
}

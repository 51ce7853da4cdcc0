//! Adopting sites: those of images that are loaded late, and those of libraries that are linked.

use std::sync::Arc;

use super::{Advance, Planned, SlotCore, Stage, Writer};
use crate::error::Error;
use crate::installed::Installed;
use crate::slot::backend::sites::Found;

impl Writer {
    /// Stubs in images that were loaded since the last commit. They begin with the default, whose code
    /// ignores `this`; those of slots that hold something else are retargeted now.
    pub(in super::super) fn adopt_new_images(&mut self) -> Result<(), Error> {
        let fresh = self.images().look()?;
        self.late.extend(fresh);
        while let Some((slot, found)) = self.late.pop() {
            let adopted = match slot.index() {
                None => {
                    self.images().keep(slot, found);
                    Ok(())
                }
                Some(index) => self.adopt(index, found),
            };
            if let Err(error) = adopted {
                self.late.push((slot, found));
                return Err(error);
            }
        }
        Ok(())
    }

    fn adopt(&mut self, index: usize, found: Found) -> Result<(), Error> {
        match self.slots[index].current.clone() {
            Some(current) => {
                let thunk = !current.table().is_zero_sized();
                self.add_and_retarget(self.slots[index].slot, found, &current, thunk)
            }
            None => {
                let mut entries = core::mem::take(&mut self.slots[index].entries);
                let added = self.add_site(&mut entries, found);
                self.slots[index].entries = entries;
                added
            }
        }
    }

    /// Makes the branch a site of the slot, which has been registered, and retargets it to what that holds.
    pub(in super::super) fn add_and_retarget(
        &mut self,
        slot: &'static SlotCore,
        found: Found,
        holds: &Installed,
        thunk: bool,
    ) -> Result<(), Error> {
        let index = self.register(slot)?;
        let mut entries = core::mem::take(&mut self.slots[index].entries);
        let known = entries.len();
        let added = self.add_site(&mut entries, found);
        let is_new = entries.len() > known;
        self.slots[index].entries = entries;
        added?;
        if !is_new {
            // The entry has a target, and its sites' heap reaches the new one too.
            return self.store_again(index).map_err(Error::from);
        }
        match self.next(index, known, holds, thunk) {
            Ok(next) => {
                let mut stores = vec![Planned { index, number: known, next }];
                if let Err(error) = self.store(&mut stores, &mut Vec::new()) {
                    self.forget(stores);
                    self.slots[index].entries.pop();
                    return Err(error.into());
                }
                let state = &mut self.slots[index];
                if thunk && state.stage > Stage::Published {
                    state.enter(Stage::Published);
                }
                Ok(())
            }
            Err(error) => {
                self.slots[index].entries.pop();
                Err(error)
            }
        }
    }

    /// Every slot of this copy of hotcall that has stubs.
    pub(in super::super) fn own_slots(&mut self) -> impl Iterator<Item = &'static SlotCore> {
        let untouched: Vec<_> = self.images().untouched().collect();
        let touched: Vec<_> = self.slots.iter().map(|state| state.slot).collect();
        untouched.into_iter().chain(touched).filter(|slot| !slot.is_linked())
    }

    /// What a slot holds; nothing while that is the default.
    pub(in super::super) fn holds(&self, slot: &SlotCore) -> Option<Arc<Installed>> {
        self.slots[slot.index()?].current.clone()
    }

    /// From now on `copy` is told what `slot`, which has been registered, holds. What is to advance.
    pub(in super::super) fn add_copy(&mut self, slot: &SlotCore, copy: &'static SlotCore) -> Option<Advance> {
        let index = slot.index()?;
        let state = &mut self.slots[index];
        state.copies.push(copy);
        Some(Advance { index, serial: state.serial })
    }
}

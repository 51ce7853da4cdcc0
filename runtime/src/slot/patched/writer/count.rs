//! What the writer has to say of itself: to statistics, to the report, and to tests that disassemble.

use std::collections::HashMap;
use std::sync::Arc;

use super::Writer;
use super::entry::Via;
use crate::arch::{self, Kept};
use crate::error::Error;
use crate::installed::Installed;
use crate::report::{ImageReport, SlotReport};
use crate::slot::backend::CodeCell;
use crate::slot::commit::Writing;
use crate::slot::inspect::{Account, Counts, Emitted};
use crate::stats;

impl Writer {
    pub(crate) fn counts(&mut self) -> Counts {
        let mut counts = Counts { slots: self.slots.len(), in_place: self.in_place, ..Counts::default() };
        for entry in self.slots.iter().flat_map(|state| &state.entries) {
            counts.callers += entry.calls().count();
            counts.sites += usize::from(entry.cell.is_some());
            counts.thunks += usize::from(matches!(entry.via, Via::Thunk(_)));
        }
        counts.waiting = self.images().waiting();
        counts.kept = by_why(&self.images().kept);
        counts.kept_branches = by_why(&self.images().kept_branches);
        counts.keys = self.keys.len();
        counts.branches = self.branches.patched();
        for opened in self.images().regions.iter_mut().filter_map(|region| region.opened()) {
            let heap = opened.heap.stats();
            counts.regions += 1;
            counts.bytes_remapped += opened.bytes_remapped();
            counts.trampolines += opened.trampolines();
            counts.code_bytes_mapped += heap.bytes_mapped;
            counts.code_bytes_used += heap.bytes_used;
        }
        counts.pages_remapped = counts.bytes_remapped / rustix::param::page_size();
        counts
    }

    /// What is to be said of each slot that has been replaced, of each key, and of each image.
    pub(crate) fn account(&mut self) -> Account {
        let of_slot = |state: &super::SlotState| {
            let entries = || state.entries.iter();
            SlotReport {
                name: state.slot.name(),
                calls: entries().map(|entry| entry.calls().count()).sum(),
                cells: entries().filter(|entry| entry.cell.is_some()).count(),
                thunks: entries().filter(|entry| matches!(entry.via, Via::Thunk(_))).count(),
            }
        };
        let slots = self.slots.iter().map(of_slot).collect();
        let mut calls = HashMap::<usize, usize>::new();
        for entry in self.slots.iter().flat_map(|state| &state.entries) {
            *calls.entry(entry.region).or_default() += entry.calls().count();
        }
        let keys = self.keys.account(|index| self.branches.patched_of(index));
        let branches = self.branches.by_region();
        let mut images = Vec::new();
        for (number, region) in self.images().regions.iter_mut().enumerate() {
            let file = (!region.name().is_empty()).then(|| region.name().to_owned());
            let Some(opened) = region.opened() else { continue };
            let heap = opened.heap.stats();
            images.push(ImageReport {
                file,
                calls: calls.get(&number).copied().unwrap_or_default(),
                branches: branches.get(&number).copied().unwrap_or_default(),
                bytes_remapped: opened.bytes_remapped(),
                trampolines: opened.trampolines(),
                code_bytes_mapped: heap.bytes_mapped,
                code_bytes_used: heap.bytes_used,
            });
        }
        Account { slots, keys, images, refused: self.refused().map(str::to_owned) }
    }

    /// Everything emitted, as this bookkeeping has it.
    fn emitted(&mut self) -> Vec<Emitted> {
        let mut emitted = Vec::new();
        for state in &self.slots {
            let slot = state.slot.name();
            let data = state.current.as_ref().map_or(0, |current| current.data().addr());
            for entry in &state.entries {
                // Before the first replacement, what runs is not code of the default's table: see `link`.
                let default = || state.slot.default_code(entry.method).get();
                let of_current = |current: &Arc<Installed>| current.table().method(entry.method).address();
                let code = state.current.as_ref().map_or_else(default, of_current);
                if let Via::Thunk(block) = &entry.via {
                    let (address, length) = (block.exec().get(), block.len());
                    emitted.push(Emitted {
                        kind: "thunk",
                        slot,
                        address,
                        length,
                        target: code,
                        instance: data,
                    });
                }
                // What the bookkeeping believes, not what stands there.
                let believed = match (&entry.via, entry.target) {
                    (Via::Direct, Some(_)) => Some(code),
                    (_, target) => target.map(|target| target.get()),
                };
                if let Some(cell) = entry.cell {
                    let (address, length) = (core::ptr::from_ref(cell).addr(), size_of::<usize>());
                    let installed = matches!(entry.via, Via::Installed);
                    let otherwise = if installed { CodeCell::INSTALLED.addr() } else { 0 };
                    let target = believed.unwrap_or(otherwise);
                    emitted.push(Emitted { kind: "cell", slot, address, length, target, instance: 0 });
                }
                for call in entry.calls() {
                    let (address, length) = (call.site.at.get(), call.site.form.len());
                    let target = believed.unwrap_or_else(|| arch::target_of_call(call.site).get());
                    emitted.push(Emitted { kind: "call", slot, address, length, target, instance: 0 });
                }
            }
        }
        emitted.extend(self.branches.emitted(&self.keys));
        for opened in self.images().regions.iter_mut().filter_map(|region| region.opened()) {
            opened.for_each_trampoline(&mut |target, block| {
                let (address, length) = (block.exec().get(), block.len());
                emitted.push(Emitted { kind: "trampoline", slot: "", address, length, target, instance: 0 });
            });
        }
        emitted
    }
}

/// Counts, as statistics have them.
fn by_why(kept: &HashMap<Kept, usize>) -> stats::Kept {
    let of = |why| kept.get(&why).copied().unwrap_or_default();
    stats::Kept {
        no_call: of(Kept::NoCall),
        crosses: of(Kept::Crosses),
        page: of(Kept::Page),
        changed: of(Kept::Changed),
        unwanted: of(Kept::Unwanted),
        no_barrier: of(Kept::NoBarrier),
    }
}

/// For tests: everything emitted for slots that have been replaced, and the branches of keys, as the runtime believes it to be.
///
/// # Errors
///
/// [`Error::Reentrant`] where this thread is replacing.
pub fn emitted() -> Result<Vec<Emitted>, Error> {
    Ok(Writing::begin()?.emitted())
}

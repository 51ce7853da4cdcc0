//! The writer's side: prepare, publish, barrier, finish; and settling, a grace period later.
//!
//! Invariant numbers are those of the parent module's head.

use std::sync::Arc;

use super::SlotCore;
use super::sites::{Found, Images, Marks, Region, RegionSnapshot};
use crate::arch;
use crate::arena::{Block, ExecAddr, WriteAddr};
use crate::error::{Error, ImageError, MemoryError};
use crate::installed::Installed;
use crate::quiesce::{reclaimer, section};
use crate::sabotage::{self, Sabotage};
use crate::slot::commit::{Change, Outcome, Writing};
use crate::slot::inspect::{Counts, Emitted, News};

/// How a site reaches the code it is to run.
#[derive(Debug)]
enum Via {
    /// Straight: the site's target is the method's code.
    Direct,
    /// Through a thunk of the site's own that loads the instance.
    Thunk(Block),
    /// Through the trampoline, shared within the region, to this code.
    Trampoline(ExecAddr),
}

/// A stub that can be retargeted.
#[derive(Debug)]
struct Site {
    exec: ExecAddr,
    write: WriteAddr,
    method: usize,
    region: usize,
    via: Via,
}

/// Where a site is to go next.
struct Next {
    target: ExecAddr,
    via: Via,
}

/// A slot that has been replaced at least once.
struct SlotState {
    slot: &'static SlotCore,
    sites: Vec<Site>,
    /// Grows with each replacement: tells whether a settling comes too late.
    version: u64,
    /// The instance that thunks load, and the code of its methods; while both are those of the default, none.
    current: Option<Arc<Installed>>,
}

/// What a site has stopped using, to be released after a grace period.
struct Unused {
    region: usize,
    via: Via,
}

/// All state of the writers, behind their lock.
pub(crate) struct Writer {
    images: Option<Images>,
    slots: Vec<SlotState>,
    /// Stubs found in images that were loaded late, not yet looked at.
    late: Vec<(&'static SlotCore, Found)>,
    /// Between the handlers of a fork: what code memory holds.
    snapshot: Vec<RegionSnapshot>,
    /// In a child whose memory could not be made its own: why nothing can be replaced here.
    refused: Option<String>,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self { images: None, slots: Vec::new(), late: Vec::new(), snapshot: Vec::new(), refused: None }
    }

    fn images(&mut self) -> &mut Images {
        self.images.get_or_insert_with(Images::empty)
    }

    /// All changes, or none.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Outcome {
        let plans = match self.prepare(&changes) {
            Ok(plans) => plans,
            Err(error) => return Err((error, changes)),
        };
        let mut unused = Vec::with_capacity(changes.len());
        for (index, nexts) in &mut plans.into_iter() {
            self.publish(index, nexts, &mut unused);
        }
        // Invariants 2 and 4: from here on no call, on any core, runs what the stores above replaced.
        section::heavy_barrier();
        let mut old = Vec::with_capacity(changes.len());
        let mut settle = Vec::with_capacity(changes.len());
        for Change { slot, new } in changes {
            if let Some(index) = slot.index() {
                let state = &mut self.slots[index];
                state.version += 1;
                state.current = Some(Arc::clone(&new));
                settle.push((index, state.version));
            }
            old.push(slot.install(new));
        }
        if sabotage::is(Sabotage::SettleAtOnce) {
            unused.extend(self.settle(&settle));
        }
        if sabotage::is(Sabotage::ReuseAtOnce) {
            core::mem::take(&mut unused).into_iter().for_each(|one| self.release(one));
            let marks = self.marks();
            self.recycle(marks);
        }
        let replaced = old.clone();
        reclaimer::defer(Box::new(move || after_grace_period(&replaced, unused, &settle)));
        Ok(old)
    }

    /// Everything that may be refused. Nothing that a caller can see changes.
    fn prepare(&mut self, changes: &[Change]) -> Result<Vec<(usize, Vec<Next>)>, Error> {
        if let Some(reason) = &self.refused {
            return Err(MemoryError::AfterFork { reason: reason.clone() }.into());
        }
        self.adopt_new_images()?;
        let mut plans: Vec<(usize, Vec<Next>)> = Vec::with_capacity(changes.len());
        for change in changes {
            match self.plan(change) {
                Ok(plan) => plans.push(plan),
                Err(error) => {
                    for (index, nexts) in plans {
                        self.discard(index, nexts);
                    }
                    return Err(error);
                }
            }
        }
        Ok(plans)
    }

    fn plan(&mut self, change: &Change) -> Result<(usize, Vec<Next>), Error> {
        let index = self.register(change.slot)?;
        let mut nexts = Vec::with_capacity(self.slots[index].sites.len());
        for number in 0..self.slots[index].sites.len() {
            let thunk = !change.new.table().is_zero_sized();
            match self.next(index, number, &change.new, thunk) {
                Ok(next) => nexts.push(next),
                Err(error) => {
                    self.discard(index, nexts);
                    return Err(error);
                }
            }
        }
        Ok((index, nexts))
    }

    /// How the site is to reach the instance: with a thunk, or as it does when the slot has settled.
    fn next(&mut self, index: usize, number: usize, new: &Installed, thunk: bool) -> Result<Next, Error> {
        let site = &self.slots[index].sites[number];
        let code = ExecAddr::new(new.table().method(site.method).address());
        let (exec, region) = (site.exec, site.region);
        let opened = self.images().regions[region].open()?;
        if thunk {
            let block = opened.heap.allocate(arch::THUNK_LEN)?;
            let bytes = arch::thunk(block.exec(), new.data().addr(), code);
            opened.heap.write(&block, bytes.as_bytes());
            return Ok(Next { target: block.exec(), via: Via::Thunk(block) });
        }
        if arch::displacement(exec, code).is_some() {
            return Ok(Next { target: code, via: Via::Direct });
        }
        let target = opened.acquire_trampoline(code)?;
        Ok(Next { target, via: Via::Trampoline(code) })
    }

    /// Stores that cannot fail. What the sites stop using goes to `unused`.
    fn publish(&mut self, index: usize, nexts: Vec<Next>, unused: &mut Vec<Unused>) {
        for (site, next) in self.slots[index].sites.iter_mut().zip(nexts) {
            site.retarget(next.target);
            let via = core::mem::replace(&mut site.via, next.via);
            if !matches!(via, Via::Direct) {
                unused.push(Unused { region: site.region, via });
            }
        }
    }

    /// Gives back what a plan took that is not to be published. No thread has seen it.
    fn discard(&mut self, index: usize, nexts: Vec<Next>) {
        for (number, next) in nexts.into_iter().enumerate() {
            let region = self.slots[index].sites[number].region;
            self.release(Unused { region, via: next.via });
        }
    }

    fn release(&mut self, unused: Unused) {
        if let Some(opened) = self.images().regions[unused.region].opened() {
            match unused.via {
                Via::Direct => {}
                Via::Thunk(block) => opened.heap.release(block),
                Via::Trampoline(target) => opened.release_trampoline(target),
            }
        }
    }

    /// The slot's place in `slots`; finds its stubs the first time.
    fn register(&mut self, slot: &'static SlotCore) -> Result<usize, Error> {
        if let Some(index) = slot.index() {
            return Ok(index);
        }
        let found = self.images().take(slot)?;
        let mut sites = Vec::with_capacity(found.len());
        for one in &found {
            match self.site(*one) {
                Ok(site) => sites.push(site),
                Err(error) => {
                    found.iter().for_each(|one| self.images().keep(slot, *one));
                    return Err(error);
                }
            }
        }
        let index = self.slots.len();
        self.slots.push(SlotState { slot, sites, version: 0, current: None });
        slot.set_index(index);
        Ok(index)
    }

    fn site(&mut self, found: Found) -> Result<Site, Error> {
        let opened = self.images().regions[found.region].open()?;
        let write = opened.write_addr(found.exec).ok_or_else(|| ImageError::Malformed {
            address: found.exec.get(),
            reason: "it lies outside the pages that its image's records span".to_owned(),
        })?;
        let Found { exec, method, region } = found;
        Ok(Site { exec, write, method, region, via: Via::Direct })
    }

    /// Stubs in images that were loaded since the last commit. They begin with the default, whose code
    /// ignores `this`; those of slots that hold something else are retargeted now.
    fn adopt_new_images(&mut self) -> Result<(), Error> {
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
        let site = self.site(found)?;
        self.slots[index].sites.push(site);
        let number = self.slots[index].sites.len() - 1;
        let Some(current) = self.slots[index].current.clone() else { return Ok(()) };
        match self.next(index, number, &current, !current.table().is_zero_sized()) {
            Ok(next) => {
                let site = &mut self.slots[index].sites[number];
                site.retarget(next.target);
                site.via = next.via;
                Ok(())
            }
            Err(error) => {
                self.slots[index].sites.pop();
                Err(error)
            }
        }
    }

    /// Makes the stubs of `settle` go straight to the code that is installed, where it still is.
    fn settle(&mut self, settle: &[(usize, u64)]) -> Vec<Unused> {
        let mut unused = Vec::new();
        for &(index, version) in settle {
            let state = &self.slots[index];
            let Some(current) = state.current.clone().filter(|_| state.version == version) else { continue };
            for number in 0..state.sites.len() {
                if !matches!(self.slots[index].sites[number].via, Via::Thunk(_)) {
                    continue;
                }
                // Without memory for a trampoline the site keeps its thunk, which is right, if slower.
                let Ok(next) = self.next(index, number, &current, false) else { continue };
                let site = &mut self.slots[index].sites[number];
                // Invariant 1: the grace period that this settling follows began after `this` became `current`.
                site.retarget(next.target);
                let via = core::mem::replace(&mut site.via, next.via);
                unused.push(Unused { region: site.region, via });
            }
        }
        unused
    }

    fn marks(&mut self) -> Marks {
        let regions = self.images().regions.iter_mut().enumerate();
        regions.filter_map(|(number, region)| Some((number, region.opened()?.heap.mark()))).collect()
    }

    fn recycle(&mut self, marks: Marks) {
        for (region, mark) in marks {
            if let Some(opened) = self.images().regions[region].opened() {
                opened.heap.recycle(mark);
            }
        }
    }
}

/// Around a fork: see [`crate::sys::fork`].
impl Writer {
    pub(crate) fn before_fork(&mut self) {
        self.snapshot = self.images().regions.iter().map(Region::snapshot).collect();
    }

    pub(crate) fn after_fork_in_parent(&mut self) {
        self.snapshot = Vec::new();
    }

    pub(crate) fn after_fork_in_child(&mut self) {
        let snapshot = core::mem::take(&mut self.snapshot);
        let mut regions = self.images().regions.iter_mut().zip(&snapshot);
        let refused = regions.try_for_each(|(region, snapshot)| region.privatise(snapshot)).err();
        self.refused = refused.map(|error| error.to_string());
    }
}

impl Writer {
    /// What has happened to code memory since this was last asked.
    pub(crate) fn news(&mut self) -> Vec<News> {
        self.images().regions.iter_mut().flat_map(Region::news).collect()
    }

    pub(crate) fn counts(&mut self) -> Counts {
        let mut counts = Counts { slots: self.slots.len(), ..Counts::default() };
        for site in self.slots.iter().flat_map(|state| &state.sites) {
            counts.sites += 1;
            counts.thunks += usize::from(matches!(site.via, Via::Thunk(_)));
        }
        for opened in self.images().regions.iter_mut().filter_map(|region| region.opened()) {
            let heap = opened.heap.stats();
            counts.regions += 1;
            counts.trampolines += opened.trampolines();
            counts.code_bytes_mapped += heap.bytes_mapped;
            counts.code_bytes_used += heap.bytes_used;
        }
        counts
    }

    /// Everything emitted, as this bookkeeping has it.
    fn emitted(&mut self) -> Vec<Emitted> {
        let mut emitted = Vec::new();
        for state in &self.slots {
            let slot = state.slot.name();
            let table = state.current.as_ref().map_or(state.slot.default_table(), |current| current.table());
            let data = state.current.as_ref().map_or(0, |current| current.data().addr());
            for site in &state.sites {
                let code = table.method(site.method).address();
                let address = site.exec.get();
                let target = match &site.via {
                    Via::Direct if state.current.is_none() => arch::target_of(site.exec).get(),
                    Via::Direct => code,
                    Via::Trampoline(_) => arch::target_of(site.exec).get(),
                    Via::Thunk(block) => {
                        let (address, length) = (block.exec().get(), block.len());
                        emitted.push(Emitted { kind: "thunk", slot, address, length, target: code, instance: data });
                        address
                    }
                };
                let length = arch::BRANCH_LEN;
                emitted.push(Emitted { kind: "stub", slot, address, length, target, instance: 0 });
            }
        }
        for opened in self.images().regions.iter_mut().filter_map(|region| region.opened()) {
            opened.for_each_trampoline(&mut |target, block| {
                let (address, length) = (block.exec().get(), block.len());
                emitted.push(Emitted { kind: "trampoline", slot: "", address, length, target, instance: 0 });
            });
        }
        emitted
    }
}

/// For tests: everything emitted for slots that have been replaced, as the runtime believes it to be.
///
/// # Errors
///
/// [`Error::Reentrant`] where this thread is replacing.
pub fn emitted() -> Result<Vec<Emitted>, Error> {
    Ok(Writing::begin()?.emitted())
}

impl Site {
    /// The atomic store that swaps. `target` is in reach: it was checked, or allocated to be.
    fn retarget(&self, target: ExecAddr) {
        let displacement = arch::displacement(self.exec, target).expect("the target was chosen within reach");
        arch::retarget(self.exec, self.write, displacement);
    }
}

/// A grace period has passed since the commit: nobody is inside what it replaced.
fn after_grace_period(replaced: &[Arc<Installed>], unused: Vec<Unused>, settle: &[(usize, u64)]) {
    if let Ok(mut writer) = Writing::begin() {
        unused.into_iter().for_each(|one| writer.release(one));
        let thunks = writer.settle(settle);
        drop(writer);
        release_later(thunks);
    }
    for installed in replaced {
        installed.drain();
    }
}

/// Releases what settling has made unused, a grace period later, and lets code memory be reused after one more.
fn release_later(unused: Vec<Unused>) {
    reclaimer::defer(Box::new(move || {
        let Ok(mut writer) = Writing::begin() else { return };
        unused.into_iter().for_each(|one| writer.release(one));
        let marks = writer.marks();
        drop(writer);
        // What is released is `int3` now. Before it becomes other code, every core drops what it prefetched of
        // the old: the barrier that begins the next grace period.
        reclaimer::defer(Box::new(move || {
            if let Ok(mut writer) = Writing::begin() {
                writer.recycle(marks);
            }
        }));
    }));
}

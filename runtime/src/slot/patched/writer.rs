//! The writer's side: prepare, publish, barrier, finish; and settling, a grace period later.
//!
//! Invariant numbers are those of the parent module's head.

mod adopt;

use std::sync::Arc;

use super::SlotCore;
use super::sites::{Found, Images, Kind, Marks, Region};
use crate::arch;
use crate::arena::{Block, ExecAddr, WriteAddr};
use crate::error::{Error, ImageError, MemoryError};
use crate::installed::Installed;
use crate::quiesce::{reclaimer, section};
use crate::sabotage::{self, Sabotage};
use crate::slot::commit::{Change, Outcome, Writing};
use crate::slot::inspect::{Counts, Emitted, News};
use crate::sys::fork::{self, HeldOff};
use crate::sys::memory::Refusal;

/// How the sites of an entry reach the code they are to run.
#[derive(Debug)]
enum Via {
    /// Straight: their target is the method's code.
    Direct,
    /// Through a thunk that loads the instance.
    Thunk(Block),
    /// Through the trampoline, shared within the region, to this code.
    Trampoline(ExecAddr),
}

/// A branch that can be retargeted.
#[derive(Debug)]
struct Site {
    kind: Kind,
    exec: ExecAddr,
    /// Of the opcode, for a stub; of the displacement, for a caller.
    write: WriteAddr,
}

/// The sites of one method in one region: they have one target.
#[derive(Debug)]
struct Entry {
    method: usize,
    region: usize,
    /// The first site stands here, and not behind a pointer: most entries have one, and a large batch waits for
    /// memory more than for anything else.
    first: Site,
    others: Vec<Site>,
    /// Nothing before the first replacement: then stubs go to the default, and callers to their stubs.
    target: Option<ExecAddr>,
    via: Via,
}

/// Where an entry's sites are to go next.
struct Next {
    target: ExecAddr,
    via: Via,
}

/// What is to be published: of slot `index`, entry `number` goes to `next`.
struct Planned {
    index: usize,
    number: usize,
    next: Next,
}

/// What a commit is to do.
struct Plan {
    stores: Vec<Planned>,
    /// By change: it needs no stores.
    in_place: Vec<bool>,
    /// Some core may have fetched what is to be run no more.
    barrier: bool,
}

impl Plan {
    /// Nothing yet, with room for so many changes: most have one method, and a large batch would copy its plan often.
    fn with_capacity(changes: usize) -> Self {
        Self { stores: Vec::with_capacity(changes), in_place: Vec::with_capacity(changes), barrier: false }
    }
}

/// A slot that has been replaced at least once.
struct SlotState {
    slot: &'static SlotCore,
    entries: Vec<Entry>,
    stage: Stage,
    /// Grows with each change of the stage, and with each replacement by other code: tells whether an advance comes too late.
    serial: u64,
    /// The commit under way has planned to retarget its sites.
    moves: bool,
    /// What is installed; nothing while that is the default.
    current: Option<Arc<Installed>>,
    /// Slots of libraries that follow this one: see [`super::link`].
    copies: Vec<&'static SlotCore>,
}

/// How far a slot has come since it was last given code of another type. A grace period lies between each two; between the
/// last two a barrier is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    /// The `this` words are of another type than `current`. Only where no barrier could be passed.
    Unpublished,
    /// They are of its type. Sites go through thunks, or to code that ignores `this`.
    Published,
    /// Sites go straight to the code of `current`. A core may still run the jump to a thunk that it has fetched before.
    Straight,
    /// No core does: a barrier has been passed since.
    Settled,
}

/// A slot, and its serial as of when this was deferred: a grace period later it may advance to the next stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advance {
    index: usize,
    serial: u64,
}

impl SlotState {
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.serial += 1;
    }

    /// Whether `new` can be installed by storing the `this` words alone: see "In place" in the parent module's head.
    fn takes_in_place(&self, new: &Installed) -> bool {
        let straight = self.stage >= Stage::Straight && !self.moves;
        (straight || sabotage::is(Sabotage::InPlaceUnsettled)) && self.holds_code_of(new)
    }

    fn holds_code_of(&self, new: &Installed) -> bool {
        self.current.as_ref().is_some_and(|current| current.has_code_of(new))
    }

    /// What callers pass becomes `current`, in the copies too.
    fn publish(&self, current: &Installed) {
        self.slot.publish(current);
        self.copies.iter().for_each(|copy| copy.mirror(self.slot));
    }
}

/// What an entry has stopped using, to be released after a grace period.
struct Unused {
    region: usize,
    via: Via,
}

/// All state of the writers, behind their lock.
pub(crate) struct Writer {
    images: Option<Images>,
    slots: Vec<SlotState>,
    /// How many changes were made in place.
    in_place: u64,
    /// Stubs found in images that were loaded late, not yet looked at.
    late: Vec<(&'static SlotCore, Found)>,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self { images: None, slots: Vec::new(), in_place: 0, late: Vec::new() }
    }

    pub(super) fn images(&mut self) -> &mut Images {
        self.images.get_or_insert_with(Images::empty)
    }

    /// All changes, or none.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Outcome {
        let mut plan = match self.prepare(&changes) {
            Ok(plan) => plan,
            Err(error) => return Err((error, changes)),
        };
        let mut unused = Vec::with_capacity(plan.stores.len());
        if let Err(error) = self.store(&mut plan.stores, &mut unused) {
            self.forget(plan.stores);
            return Err((error.into(), changes));
        }
        if sabotage::is(Sabotage::ReuseAtOnce) {
            core::mem::take(&mut unused).into_iter().for_each(|one| self.release(one));
            let marks = self.marks();
            self.recycle(marks);
        }
        // Invariants 2 and 4: from here on no call, on any core, runs what the stores above replaced.
        if plan.barrier {
            section::heavy_barrier();
        }
        let count = changes.len();
        let (mut old, mut replaced) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut advance = Vec::with_capacity(count);
        for (Change { slot, new }, in_place) in changes.into_iter().zip(plan.in_place) {
            self.in_place += u64::from(in_place);
            let Some(index) = slot.index() else { unreachable!("`plan` has registered it") };
            let state = &mut self.slots[index];
            let same = state.holds_code_of(&new);
            // Invariant 2: another type not before a barrier, or a grace period.
            let published = section::has_barrier() || (same && state.stage != Stage::Unpublished);
            if published {
                slot.publish(&new);
            }
            let installed = slot.install(Arc::clone(&new));
            state.copies.iter().for_each(|copy| copy.mirror(slot));
            // The two counts that there were of it, handed on without touching it.
            replaced.push(state.current.replace(new).unwrap_or_else(|| Arc::clone(&installed)));
            old.push(installed);
            if in_place {
                if state.stage == Stage::Straight {
                    state.enter(Stage::Settled);
                }
            } else {
                let stage = if published { Stage::Published } else { Stage::Unpublished };
                // What has been deferred for the same type and stage is in time.
                if !same || state.stage != stage {
                    state.enter(stage);
                }
                advance.push(Advance { index, serial: state.serial });
            }
        }
        let mut committed = Committed { replaced, unused, advance };
        if sabotage::is(Sabotage::SettleAtOnce) {
            self.advance(&core::mem::take(&mut committed.advance), &mut committed);
        }
        reclaimer::defer_commit(committed);
        Ok(old)
    }

    /// Everything that may be refused. Nothing that a caller can see changes.
    fn prepare(&mut self, changes: &[Change]) -> Result<Plan, Error> {
        self.adopt_new_images()?;
        let mut plan = Plan::with_capacity(changes.len());
        for change in changes {
            if let Err(error) = self.plan(change, &mut plan) {
                self.forget(plan.stores);
                return Err(error);
            }
        }
        Ok(plan)
    }

    /// Gives back what the plans took: no thread has seen it.
    fn forget(&mut self, stores: Vec<Planned>) {
        for Planned { index, number, next } in stores {
            self.slots[index].moves = false;
            let region = self.slots[index].entries[number].region;
            self.release(Unused { region, via: next.via });
        }
    }

    /// Stores what was planned: all of it, or where a fork has shared the sites' memory and it cannot be copied, nothing.
    ///
    /// What was stored is taken out of `stores`; what the sites have stopped using goes to `unused`, which has room for it:
    /// nothing is allocated or freed while forks are held off.
    fn store(&mut self, stores: &mut Vec<Planned>, unused: &mut Vec<Unused>) -> Result<(), MemoryError> {
        unused.reserve(stores.len());
        let held_off = fork::hold_off().ok_or_else(|| Refusal::IN_HANDLER.after_fork())?;
        let images = self.images.get_or_insert_with(Images::empty);
        let mut own = Ok(());
        for Planned { index, number, .. } in &*stores {
            let region = self.slots[*index].entries[*number].region;
            if let Some(opened) = images.regions[region].opened() {
                own = own.and_then(|()| opened.make_own(&held_off));
            }
        }
        if own.is_ok() {
            // Stores that cannot fail.
            for Planned { index, number, next } in stores.drain(..) {
                let state = &mut self.slots[index];
                state.moves = false;
                state.entries[number].retarget(next, unused, &held_off);
            }
        }
        // Only then is anything allocated: what was refused has a text.
        drop(held_off);
        own.map_err(Refusal::after_fork)
    }

    fn plan(&mut self, change: &Change, plan: &mut Plan) -> Result<(), Error> {
        change.slot.check_is_own()?;
        let index = self.register(change.slot)?;
        let in_place = self.slots[index].takes_in_place(&change.new);
        plan.in_place.push(in_place);
        plan.barrier |= !in_place || self.slots[index].stage == Stage::Straight;
        if in_place {
            return Ok(());
        }
        let thunk = !change.new.table().is_zero_sized();
        for number in 0..self.slots[index].entries.len() {
            let next = self.next(index, number, &change.new, thunk)?;
            plan.stores.push(Planned { index, number, next });
            self.slots[index].moves = true;
        }
        Ok(())
    }

    /// Stores the targets of a slot's entries anew: a site has come to one of them.
    fn store_again(&mut self, index: usize) -> Result<(), MemoryError> {
        let held_off = fork::hold_off().ok_or_else(|| Refusal::IN_HANDLER.after_fork())?;
        let images = self.images.get_or_insert_with(Images::empty);
        let mut own = Ok(());
        for entry in &self.slots[index].entries {
            if let Some(opened) = images.regions[entry.region].opened() {
                own = own.and_then(|()| opened.make_own(&held_off));
            }
        }
        if own.is_ok() {
            for entry in &self.slots[index].entries {
                if let Some(target) = entry.target {
                    entry.sites().for_each(|site| site.retarget(target, &held_off));
                }
            }
        }
        drop(held_off);
        own.map_err(Refusal::after_fork)
    }

    /// How the entry is to reach the instance: with a thunk, or as it does when the slot has settled.
    fn next(&mut self, index: usize, number: usize, new: &Installed, thunk: bool) -> Result<Next, Error> {
        let entry = &self.slots[index].entries[number];
        let code = ExecAddr::new(new.table().method(entry.method).address());
        let region = entry.region;
        let opened = self.images().regions[region].open()?;
        if thunk {
            let block =
                opened.heap.emit(arch::THUNK_LEN, |exec| arch::thunk(exec, new.data().addr(), code))?;
            return Ok(Next { target: block.exec(), via: Via::Thunk(block) });
        }
        if opened.reaches(code) {
            return Ok(Next { target: code, via: Via::Direct });
        }
        let target = opened.acquire_trampoline(code)?;
        Ok(Next { target, via: Via::Trampoline(code) })
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
    pub(super) fn register(&mut self, slot: &'static SlotCore) -> Result<usize, Error> {
        if let Some(index) = slot.index() {
            return Ok(index);
        }
        let found = self.images().take(slot)?;
        let mut entries = Vec::new();
        for one in &found {
            if let Err(error) = self.add_site(&mut entries, *one) {
                found.iter().for_each(|one| self.images().keep(slot, *one));
                return Err(error);
            }
        }
        let index = self.slots.len();
        self.slots.push(SlotState {
            slot,
            entries,
            stage: Stage::Published,
            serial: 0,
            moves: false,
            current: None,
            copies: Vec::new(),
        });
        slot.set_index(index);
        Ok(index)
    }

    /// Makes the branch a site of the entry that it belongs to; that entry's number. A caller on a page that could not
    /// be remapped is left alone: it goes through its stub.
    fn add_site(&mut self, entries: &mut Vec<Entry>, found: Found) -> Result<(), Error> {
        let Found { kind, exec, method, region } = found;
        let opened = self.images().regions[region].open()?;
        let write = match kind {
            Kind::Stub => opened.write_addr(exec),
            Kind::Caller => opened.write_addr(exec.add(1)),
        };
        let Some(write) = write else {
            let reason = "it lies outside the pages that its image's records span".to_owned();
            let missing = ImageError::Malformed { address: exec.get(), reason };
            return if kind == Kind::Stub { Err(missing.into()) } else { Ok(()) };
        };
        let site = Site { kind, exec, write };
        match entries.iter_mut().find(|entry| entry.method == method && entry.region == region) {
            Some(entry) => entry.others.push(site),
            None => entries.push(Entry {
                method,
                region,
                first: site,
                others: Vec::new(),
                target: None,
                via: Via::Direct,
            }),
        }
        Ok(())
    }

    /// A grace period has passed since these were deferred: each that has not changed since enters its next stage. What is
    /// to be done a grace period later goes to `next`.
    fn advance(&mut self, due: &[Advance], next: &mut Committed) {
        for &Advance { index, serial } in due {
            let state = &mut self.slots[index];
            if state.serial != serial {
                continue;
            }
            match (state.stage, &state.current) {
                // The grace period stands in for the barrier: whoever is inside now has serialised its core.
                (Stage::Unpublished, Some(current)) => {
                    state.publish(current);
                    state.enter(Stage::Published);
                }
                (Stage::Published, Some(current)) => {
                    let current = Arc::clone(current);
                    if !self.straighten(index, &current, &mut next.unused) {
                        continue;
                    }
                    self.slots[index].enter(Stage::Straight);
                }
                (Stage::Straight, _) => state.enter(Stage::Settled),
                // Settled, or its default from the beginning.
                _ => continue,
            }
            let state = &self.slots[index];
            if state.stage != Stage::Settled {
                next.advance.push(Advance { index, serial: state.serial });
            }
        }
    }

    /// Makes a slot's sites go straight to the code that is installed. Whether they all do.
    fn straighten(&mut self, index: usize, current: &Installed, unused: &mut Vec<Unused>) -> bool {
        let mut all = true;
        for number in 0..self.slots[index].entries.len() {
            if !matches!(self.slots[index].entries[number].via, Via::Thunk(_)) {
                continue;
            }
            match self.next(index, number, current, false) {
                // Invariant 1: the grace period that this follows began after `this` came to be of the type of `current`.
                Ok(next) => {
                    let mut stores = vec![Planned { index, number, next }];
                    if self.store(&mut stores, unused).is_err() {
                        self.forget(stores);
                        all = false;
                    }
                }
                // Without memory for a trampoline the entry keeps its thunk, which is right, if slower.
                Err(_) => all = false,
            }
        }
        all
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

impl Writer {
    /// What has happened to code memory since this was last asked.
    pub(crate) fn news(&mut self) -> Vec<News> {
        self.images().regions.iter_mut().flat_map(Region::news).collect()
    }

    pub(crate) fn counts(&mut self) -> Counts {
        let mut counts = Counts { slots: self.slots.len(), in_place: self.in_place, ..Counts::default() };
        for entry in self.slots.iter().flat_map(|state| &state.entries) {
            let callers = entry.sites().filter(|site| site.kind == Kind::Caller).count();
            counts.callers += callers;
            counts.sites += entry.sites().count() - callers;
            counts.thunks += usize::from(matches!(entry.via, Via::Thunk(_)));
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
            for entry in &state.entries {
                let code = table.method(entry.method).address();
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
                for site in entry.sites() {
                    let (address, length) = (site.exec.get(), arch::BRANCH_LEN);
                    let (kind, now) = match site.kind {
                        Kind::Stub => ("stub", arch::target_of(site.exec)),
                        Kind::Caller => ("caller", arch::target_of_caller(site.exec)),
                    };
                    let target = match (&entry.via, entry.target) {
                        (Via::Direct, Some(_)) => code,
                        (_, target) => target.unwrap_or(now).get(),
                    };
                    emitted.push(Emitted { kind, slot, address, length, target, instance: 0 });
                }
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

impl Entry {
    fn sites(&self) -> impl Iterator<Item = &Site> {
        core::iter::once(&self.first).chain(&self.others)
    }

    /// Retargets every site. What they have stopped using goes to `unused`.
    fn retarget(&mut self, next: Next, unused: &mut Vec<Unused>, held_off: &HeldOff) {
        self.target = Some(next.target);
        self.sites().for_each(|site| site.retarget(next.target, held_off));
        let via = core::mem::replace(&mut self.via, next.via);
        if !matches!(via, Via::Direct) {
            unused.push(Unused { region: self.region, via });
        }
    }
}

impl Site {
    /// The atomic store that swaps. `target` is in reach: it was checked, or allocated to be. The site's memory was made this
    /// process's own, and forks have been held off since.
    fn retarget(&self, target: ExecAddr, _held_off: &HeldOff) {
        let displacement = arch::displacement(self.exec, target).expect("the target was chosen within reach");
        match self.kind {
            Kind::Stub => arch::retarget(self.exec, self.write, displacement),
            Kind::Caller => arch::retarget_caller(self.write, displacement),
        }
    }
}

/// A commit that took effect: what is left to do a grace period later.
pub(crate) struct Committed {
    replaced: Vec<Arc<Installed>>,
    unused: Vec<Unused>,
    advance: Vec<Advance>,
}

impl Committed {
    /// Nothing was replaced, and something is to advance.
    pub(super) fn advancing(advance: Vec<Advance>) -> Self {
        Self { replaced: Vec::new(), unused: Vec::new(), advance }
    }
}

/// A grace period has passed since the commits: nobody is inside what they replaced. That goes to `past`.
pub(crate) fn finish(writing: Option<Writing>, mut commits: Vec<Committed>, past: &mut Vec<Arc<Installed>>) {
    if let Some(mut writer) = writing {
        let mut next = Committed::advancing(Vec::new());
        let mut released = false;
        for commit in &mut commits {
            released |= !commit.unused.is_empty();
            commit.unused.drain(..).for_each(|one| writer.release(one));
            writer.advance(&commit.advance, &mut next);
        }
        let marks = released.then(|| writer.marks());
        drop(writer);
        if !next.advance.is_empty() || !next.unused.is_empty() {
            reclaimer::defer_commit(next);
        }
        if let Some(marks) = marks {
            recycle_later(marks);
        }
    }
    past.extend(commits.into_iter().flat_map(|commit| commit.replaced));
}

/// What has been released is `int3` now. Before it becomes other code, every core drops what it prefetched of the old: the
/// barrier that begins the next grace period.
fn recycle_later(marks: Marks) {
    reclaimer::defer(move |_| {
        if let Ok(mut writer) = Writing::begin() {
            writer.recycle(marks);
        }
    });
}

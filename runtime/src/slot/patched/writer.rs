//! The writer's side: prepare, publish, barrier, finish; and settling, a grace period later.
//!
//! Invariant numbers are those of the parent module's head.

pub(super) mod adopt;
mod count;
mod entry;
mod keys;
mod refused;

use std::collections::HashMap;
use std::sync::Arc;

pub(super) use adopt::Joining;

use super::SlotCore;
use super::sites::{Found, Images, Kind, Marks};
use crate::arch;
use crate::arena::ExecAddr;
use crate::error::{Error, MemoryError};
use crate::installed::Installed;
use crate::key::{KeyPlan, Keys};
use crate::quiesce::linked::Runtime;
use crate::quiesce::{reclaimer, section};
use crate::rehearsal;
use crate::sabotage::{self, Sabotage};
use crate::slot::commit::{Change, Changes, Outcome, Writing};
use crate::slot::inspect::News;
use crate::sys::fork;
use crate::sys::memory::Refusal;
pub use count::emitted;
use entry::{Call, Entry, Next, Via};
use keys::Branches;

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
    keys: KeyPlan,
}

impl Plan {
    /// Nothing yet, with room for so many changes: most have one method, and a large batch would copy its plan often.
    fn with_capacity(changes: usize) -> Self {
        Self {
            stores: Vec::with_capacity(changes),
            in_place: Vec::with_capacity(changes),
            barrier: false,
            keys: KeyPlan::default(),
        }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Calls found in images that were loaded late, not yet looked at.
    late: Vec<(&'static SlotCore, Found)>,
    /// Slots that sites have joined: they enter their next stage a grace period after the next commit.
    joined: Vec<Advance>,
    /// Slots of libraries that follow none of this program's and are written here all the same, by address: whose they
    /// are. Nothing where there is no such library.
    adopted: Option<HashMap<usize, &'static Runtime>>,
    /// Why code memory was first refused, and slots do without.
    refused: Option<String>,
    /// What is to be told once the lock is free.
    untold: Vec<News>,
    pub(super) keys: Keys,
    branches: Branches,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self {
            images: None,
            slots: Vec::new(),
            in_place: 0,
            late: Vec::new(),
            joined: Vec::new(),
            adopted: None,
            refused: None,
            untold: Vec::new(),
            keys: Keys::new(),
            branches: Branches::new(),
        }
    }

    pub(super) fn images(&mut self) -> &mut Images {
        self.images.get_or_insert_with(Images::empty)
    }

    /// All changes, or none.
    pub(crate) fn commit(&mut self, changes: Changes) -> Outcome {
        let mut plan = match self.prepare(&changes) {
            Ok(plan) => plan,
            Err(error) => return Err((error, changes)),
        };
        let mut unused = Vec::with_capacity(plan.stores.len());
        if let Err(error) = self.store(&mut plan.stores, &plan.keys, &mut unused) {
            self.forget(plan);
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
        self.keys.confirm(&plan.keys);
        let count = changes.slots.len();
        let (mut old, mut replaced) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut advance = Vec::with_capacity(count);
        for (Change { slot, new }, in_place) in changes.slots.into_iter().zip(plan.in_place) {
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
        advance.append(&mut self.joined);
        let mut committed = Committed { replaced, unused, advance };
        if sabotage::is(Sabotage::SettleAtOnce) {
            self.advance(&core::mem::take(&mut committed.advance), &mut committed);
        }
        // Turning keys leaves nothing to be done later.
        if count != 0 || !committed.advance.is_empty() {
            reclaimer::defer_commit(committed);
        }
        Ok(old)
    }

    /// Everything that may be refused. Nothing that a caller can see changes.
    fn prepare(&mut self, changes: &Changes) -> Result<Plan, Error> {
        self.adopt_new_images()?;
        let mut plan = Plan::with_capacity(changes.slots.len());
        match self.plan_all(changes, &mut plan) {
            Ok(()) => Ok(plan),
            Err(error) => {
                self.forget(plan);
                Err(error)
            }
        }
    }

    fn plan_all(&mut self, changes: &Changes, plan: &mut Plan) -> Result<(), Error> {
        self.turn_overdue();
        plan.keys = self.keys.plan(&changes.keys);
        self.check_turns(&plan.keys)?;
        plan.barrier |= !plan.keys.stores.is_empty();
        changes.slots.iter().try_for_each(|change| self.plan(change, plan))
    }

    /// Gives back what the plan took: no thread has seen it.
    fn forget(&mut self, plan: Plan) {
        self.keys.forget(&plan.keys);
        self.forget_stores(plan.stores);
    }

    fn forget_stores(&mut self, stores: Vec<Planned>) {
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
    fn store(
        &mut self,
        stores: &mut Vec<Planned>,
        keys: &KeyPlan,
        unused: &mut Vec<Unused>,
    ) -> Result<(), MemoryError> {
        unused.reserve(stores.len());
        let held_off = fork::hold_off().ok_or_else(|| Refusal::IN_HANDLER.after_fork())?;
        // Taken out for a moment, which allocates nothing.
        let mut images = self.images.take();
        let of_calls =
            stores.iter().map(|Planned { index, number, .. }| self.slots[*index].entries[*number].region);
        let mut own = Ok(());
        for region in of_calls.chain(self.regions_of(keys)) {
            if let Some(opened) = images.as_mut().and_then(|images| images.regions[region].opened()) {
                own = own.and_then(|()| opened.make_own(&held_off));
            }
        }
        self.images = images;
        if own.is_ok() {
            // Stores that cannot fail.
            self.turn(keys, &held_off);
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
        let index = self.register(change.slot);
        rehearsal::step()?;
        let in_place = self.slots[index].takes_in_place(&change.new);
        plan.in_place.push(in_place);
        plan.barrier |= !in_place || self.slots[index].stage == Stage::Straight;
        if in_place {
            return Ok(());
        }
        let thunk = !change.new.table().is_zero_sized();
        for number in 0..self.slots[index].entries.len() {
            let next = self.next(index, number, &change.new, thunk);
            let next = self.or_installed(next, self.slots[index].entries[number].reaches_stubs())?;
            plan.stores.push(Planned { index, number, next });
            self.slots[index].moves = true;
        }
        Ok(())
    }

    /// Makes the sites of the regions this process's own, where a fork has shared them. No other thread forks before the
    /// writers' lock is given up, so that they stay so.
    fn make_own(&mut self, regions: impl Iterator<Item = usize>) -> Result<(), MemoryError> {
        let held_off = fork::hold_off().ok_or_else(|| Refusal::IN_HANDLER.after_fork())?;
        let images = self.images.get_or_insert_with(Images::empty);
        let mut own = Ok(());
        for region in regions {
            if let Some(opened) = images.regions[region].opened() {
                own = own.and_then(|()| opened.make_own(&held_off));
            }
        }
        drop(held_off);
        own.map_err(Refusal::after_fork)
    }

    /// How the entry is to reach the instance: with a thunk, or as it does when the slot has settled.
    fn next(&mut self, index: usize, number: usize, new: &Installed, thunk: bool) -> Result<Next, Error> {
        let entry = &self.slots[index].entries[number];
        let (region, has_calls) = (entry.region, entry.has_calls());
        let code = ExecAddr::new(new.table().method(entry.method).address());
        if thunk { self.through_thunk(region, code, new) } else { self.straight(region, has_calls, code) }
    }

    /// To code that is called with the instance, whatever callers pass.
    fn through_thunk(&mut self, region: usize, code: ExecAddr, new: &Installed) -> Result<Next, Error> {
        let opened = self.images().regions[region].open();
        let block = opened.heap.emit(arch::THUNK_LEN, |exec| arch::thunk(exec, new.data().addr(), code))?;
        Ok(Next { target: Some(block.exec()), via: Via::Thunk(block) })
    }

    /// To code that is called with what callers pass. Only calls need it in reach.
    fn straight(&mut self, region: usize, has_calls: bool, code: ExecAddr) -> Result<Next, Error> {
        let opened = self.images().regions[region].open();
        if !has_calls || opened.reaches(code) {
            return Ok(Next { target: Some(code), via: Via::Direct });
        }
        let target = Some(opened.acquire_trampoline(code)?);
        Ok(Next { target, via: Via::Trampoline(code) })
    }

    fn release(&mut self, unused: Unused) {
        if let Some(opened) = self.images().regions[unused.region].opened() {
            match unused.via {
                Via::Direct | Via::Installed => {}
                Via::Thunk(block) => opened.heap.release(block),
                Via::Trampoline(target) => opened.release_trampoline(target),
            }
        }
    }

    /// The slot's place in `slots`; finds its sites the first time.
    pub(super) fn register(&mut self, slot: &'static SlotCore) -> usize {
        if let Some(index) = slot.index() {
            return index;
        }
        let mut entries = Vec::new();
        for found in self.images().take(slot) {
            self.add_site(&mut entries, found);
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
        index
    }

    /// Makes what was found a site of the entry that it belongs to. A call on a page that could not be remapped is left alone: it
    /// goes through its stub.
    fn add_site(&mut self, entries: &mut Vec<Entry>, found: Found) {
        let Found { kind, method, region } = found;
        let call = match kind {
            Kind::Cell(_) => None,
            Kind::Call(site) => match self.images().regions[region].open().write_addr(site.at) {
                Some(write) => Some(Call { site, write }),
                None => {
                    let kept = self.images().regions[region].why_kept(site.at);
                    self.images().keep(kept);
                    return;
                }
            },
        };
        let known = entries.iter().position(|entry| entry.method == method && entry.region == region);
        let place = known.unwrap_or_else(|| {
            entries.push(Entry::new(method, region));
            entries.len() - 1
        });
        match (kind, call) {
            (Kind::Cell(cell), _) => entries[place].cell = Some(cell),
            (_, Some(call)) => entries[place].add_call(call),
            _ => {}
        }
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
            if !matches!(self.slots[index].entries[number].via, Via::Thunk(_) | Via::Installed) {
                continue;
            }
            match self.next(index, number, current, false) {
                // Invariant 1: the grace period that this follows began after `this` came to be of the type of `current`.
                Ok(next) => {
                    let mut stores = vec![Planned { index, number, next }];
                    if self.store(&mut stores, &KeyPlan::default(), unused).is_err() {
                        self.forget_stores(stores);
                        all = false;
                    }
                }
                // Without memory for a trampoline the entry keeps what it has, which is right, if slower.
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

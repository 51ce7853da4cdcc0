//! The branches of keys: found, patched for the first time, and exchanged when their key is turned.
//!
//! A branch leads to a load of its key at first ([`crate::key`]). It is *patched* as soon as its image has been looked through: made what
//! its key is now. That changes nothing which a thread could see, so it needs no barrier and may be refused: a branch that could not
//! be patched goes on loading, which is right, and the next commit tries again.
//!
//! # Invariants
//!
//! 1. While the writers' lock is free, a branch that is patched says what its key's word says.
//! 2. A key changes under a lock, by stores to its word and to its branches that are patched, and before the lock is given up a
//!    barrier is passed. So no thread runs, after that, what it fetched before.
//! 3. Without a barrier no branch is patched. Where a fork has taken it away (a child that may not use it), keys with patched
//!    branches are not turned.

use std::collections::HashMap;

use super::Writer;
use crate::arch::{self, BranchSite, Kept};
use crate::arena::WriteAddr;
use crate::error::{Error, MemoryError};
use crate::key::{KeyCore, KeyPlan, Keys};
use crate::quiesce::section;
use crate::sabotage::{self, Sabotage};
use crate::slot::backend::sites::FoundBranch;
use crate::slot::inspect::Emitted;
use crate::sys::fork::{self, HeldOff};

/// A branch on a page that has been mapped anew.
#[derive(Debug)]
struct Branch {
    site: BranchSite,
    /// Where its first byte is written.
    write: WriteAddr,
    region: usize,
    /// Else it loads its key.
    patched: bool,
}

impl Branch {
    /// The branch's memory was made this process's own, and forks have been held off since.
    fn exchange(&self, on: bool, _held_off: &HeldOff) {
        arch::exchange_branch(self.site, self.write, on);
    }
}

/// All branches, by the index of their key.
#[derive(Debug)]
pub(super) struct Branches {
    of: Vec<Vec<Branch>>,
    /// Those that are not patched yet: key and number.
    idle: Vec<(usize, usize)>,
}

impl Branches {
    pub(super) const fn new() -> Self {
        Self { of: Vec::new(), idle: Vec::new() }
    }

    fn add(&mut self, key: usize, branch: Branch) {
        if self.of.len() <= key {
            self.of.resize_with(key + 1, Vec::new);
        }
        self.idle.push((key, self.of[key].len()));
        self.of[key].push(branch);
    }

    fn of(&self, key: usize) -> &[Branch] {
        self.of.get(key).map_or(&[], Vec::as_slice)
    }

    /// How many are patched.
    pub(super) fn patched(&self) -> usize {
        (0..self.of.len()).map(|key| self.patched_of(key)).sum()
    }

    /// How many of the key at `index` are.
    pub(super) fn patched_of(&self, index: usize) -> usize {
        self.of(index).iter().filter(|branch| branch.patched).count()
    }

    /// The same, by the region that they are in.
    pub(super) fn by_region(&self) -> HashMap<usize, usize> {
        let mut counts = HashMap::new();
        for branch in self.of.iter().flatten().filter(|branch| branch.patched) {
            *counts.entry(branch.region).or_default() += 1;
        }
        counts
    }

    /// Those that are patched, as this bookkeeping has them.
    pub(super) fn emitted(&self, keys: &Keys) -> Vec<Emitted> {
        let of_key = |(index, branches): (usize, &Vec<Branch>)| {
            let (name, on) = (keys.name(index), keys.is_on(index));
            let emitted = |branch: &Branch| Emitted {
                kind: "branch",
                slot: name,
                address: branch.site.at.get(),
                length: BranchSite::LEN,
                target: branch.site.leads(on).get(),
                instance: 0,
            };
            branches.iter().filter(|branch| branch.patched).map(emitted).collect::<Vec<_>>()
        };
        self.of.iter().enumerate().flat_map(of_key).collect()
    }
}

impl Writer {
    /// Branches of images that have been looked through. One on a page that could not be remapped is left alone.
    pub(in super::super) fn add_branches(&mut self, found: Vec<FoundBranch>) {
        for FoundBranch { key, site, region } in found {
            let index = self.keys.register(key);
            match self.images().regions[region].open().write_addr(site.at) {
                Some(write) => self.branches.add(index, Branch { site, write, region, patched: false }),
                None => self.images().keep_branch(Kept::Page),
            }
        }
    }

    /// Patches the branches that are not patched yet, where the system lets it.
    pub(in super::super) fn patch_branches(&mut self) {
        if self.branches.idle.is_empty() {
            return;
        }
        let Some(held_off) = fork::hold_off() else { return };
        let images = self.images.get_or_insert_with(super::Images::empty);
        let mut own = true;
        for &(key, number) in &self.branches.idle {
            let region = self.branches.of[key][number].region;
            if let Some(opened) = images.regions[region].opened() {
                own = own && opened.make_own(&held_off).is_ok();
            }
        }
        if !own {
            return;
        }
        for (key, number) in self.branches.idle.drain(..) {
            let branch = &mut self.branches.of[key][number];
            // Invariant 1.
            let on = self.keys.is_on(key) && !sabotage::is(Sabotage::BranchesJoinOff);
            branch.exchange(on, &held_off);
            branch.patched = true;
        }
    }

    /// Turns keys whose holders' ends were refused before, where the system lets it now.
    pub(super) fn turn_overdue(&mut self) {
        let plan = self.keys.plan_overdue();
        if plan.stores.is_empty() {
            return;
        }
        let mut none = (Vec::new(), Vec::new());
        if self.check_turns(&plan).is_ok() && self.store(&mut none.0, &plan, &mut none.1).is_ok() {
            section::heavy_barrier();
            self.keys.confirm(&plan);
        } else {
            self.keys.forget(&plan);
        }
    }

    /// Whether keys may be turned as planned: invariant 3.
    pub(super) fn check_turns(&self, plan: &KeyPlan) -> Result<(), Error> {
        let is_patched = |(index, _): &(usize, bool)| self.branches.patched_of(*index) != 0;
        if section::has_barrier() || !plan.stores.iter().any(is_patched) {
            return Ok(());
        }
        let reason =
            "`membarrier` is refused to this process, and was not to the one that patched its branches";
        Err(MemoryError::AfterFork { reason: reason.to_owned() }.into())
    }

    /// The regions that turning keys as planned writes to.
    pub(super) fn regions_of(&self, plan: &KeyPlan) -> impl Iterator<Item = usize> {
        let branches = plan.stores.iter().flat_map(|(index, _)| self.branches.of(*index));
        branches.filter(|branch| branch.patched).map(|branch| branch.region)
    }

    /// Stores that cannot fail: the regions have been made this process's own.
    pub(super) fn turn(&self, plan: &KeyPlan, held_off: &HeldOff) {
        for &(index, on) in &plan.stores {
            self.keys.store(index, on);
            let patched = self.branches.of(index).iter().filter(|branch| branch.patched);
            patched.for_each(|branch| branch.exchange(on, held_off));
        }
    }

    /// From now on a library's key that follows none is written here.
    pub(in super::super) fn adopt_key(
        &mut self,
        key: &'static KeyCore,
        owner: &'static crate::quiesce::linked::Runtime,
    ) {
        self.keys.adopt(key, owner);
    }
}

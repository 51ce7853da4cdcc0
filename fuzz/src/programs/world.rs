//! What the actors share, and what is known of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hotcall::{Batch, Chain, Instance, Patched, Remote, Retired, RetiredBatch, RetiredElements};

use super::edits::Exchange;
use super::instance::{Poisoned, SLOTS, Step};
use super::ledger::{self, DEFAULT, Ending, Open, Place, lock};

/// What is planted, and how patient a program is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// A hole: two edits change places, as if they could be moved.
    pub exchange: Option<Exchange>,
    /// How long a program stands still, where something could be freed that must not be.
    pub patience: Duration,
    /// Threads in place of coroutines, for what does not know other stacks.
    pub no_coroutines: bool,
}

/// A chain and what is in it.
#[derive(Default)]
pub struct ChainCell {
    list: Mutex<Vec<usize>>,
    /// All lists that it once had.
    history: Mutex<Vec<Vec<usize>>>,
    /// The thread that edits it.
    pub editor: Mutex<Option<usize>>,
    pub chain: Chain<dyn Step>,
}

impl ChainCell {
    pub fn new(chain: Chain<dyn Step>, ids: Vec<usize>) -> Self {
        Self { list: ids.into(), history: Mutex::default(), editor: Mutex::default(), chain }
    }

    pub fn list(&self) -> Vec<usize> {
        lock(&self.list).clone()
    }

    pub fn change<R>(&self, change: impl FnOnce(&mut Vec<usize>) -> R) -> R {
        let mut list = lock(&self.list);
        lock(&self.history).push(list.clone());
        change(&mut list)
    }

    /// How often it has changed.
    pub fn changes(&self) -> usize {
        lock(&self.history).len()
    }

    /// The list that it has, and those that it had after so many changes.
    pub fn since(&self, changes: usize) -> Vec<Vec<usize>> {
        let mut lists = lock(&self.history)[changes..].to_vec();
        lists.push(self.list());
        lists
    }
}

impl Drop for ChainCell {
    fn drop(&mut self) {
        lock(&self.list).iter().for_each(|id| ledger::put(*id, Place::Owned));
    }
}

/// A handle and what is in it.
pub struct HandleCell {
    pub id: AtomicUsize,
    /// Its instances are nobody's from now on.
    pub leaked: AtomicBool,
    pub gone: AtomicBool,
}

/// A handle, and what is known of it.
pub type Owned = (Patched<dyn Step>, Arc<HandleCell>);
/// One of its remotes, and the same.
pub type Afar = (Remote<dyn Step>, Arc<HandleCell>);

/// What was retired, and is kept.
pub enum Pending {
    One(Retired<dyn Step>, usize),
    Elements(RetiredElements<dyn Step>, Vec<usize>),
    Batch(RetiredBatch, Vec<usize>),
}

/// A batch that is not committed yet.
pub type Uncommitted = (Batch, Vec<(usize, usize)>);

/// Whose turn a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Free,
    /// Replacing in it is refused.
    Mine,
    /// Who replaces in it waits.
    Anothers,
}

#[derive(Default)]
pub struct World {
    pub settings: Settings,
    pub slots: Mutex<[usize; SLOTS]>,
    pub function: Mutex<usize>,
    pub chains: Mutex<Vec<Arc<ChainCell>>>,
    pub handles: Mutex<Vec<Option<Owned>>>,
    pub remotes: Mutex<Vec<Afar>>,
    pub pending: Mutex<Vec<Pending>>,
    pub batches: Mutex<Vec<Uncommitted>>,
    pub instances: Mutex<Vec<(Instance<dyn Step>, usize)>>,
    /// The thread that is inside `replace_with`, of each slot.
    pub turns: Mutex<[Option<usize>; SLOTS]>,
    /// How many are building batches.
    pub building: AtomicUsize,
    /// How many are inside edits.
    pub editing: AtomicUsize,
}

/// Chains, handles.
pub const CHAINS: usize = 3;
pub const HANDLES: usize = 3;
/// So much of anything is kept at most.
pub const KEPT: usize = 6;

impl World {
    pub fn new(settings: Settings) -> Arc<Self> {
        let world = Self { settings, ..Self::default() };
        lock(&world.chains).extend((0..CHAINS).map(|_| Arc::<ChainCell>::default()));
        lock(&world.handles).extend((0..HANDLES).map(|_| None));
        Arc::new(world)
    }

    /// Whether a grace period that begins now ends.
    pub fn is_outside(&self) -> bool {
        !Open::any() && !self.hands_over() && self.editing.load(SeqCst) == 0
    }

    /// Whether anybody is inside `replace_with`.
    pub fn hands_over(&self) -> bool {
        lock(&self.turns).iter().any(Option::is_some)
    }

    /// Whose turn the slot is, as a thread sees it.
    pub fn turn(&self, slot: usize, thread: usize) -> Turn {
        match lock(&self.turns)[slot] {
            None => Turn::Free,
            Some(holder) if holder == thread => Turn::Mine,
            Some(_) => Turn::Anothers,
        }
    }

    /// How long a wait may take.
    pub fn patience(&self) -> Duration {
        if self.is_outside() { FOR_EVER } else { Duration::ZERO }
    }

    pub fn keep(&self, pending: Pending) {
        let mut kept = lock(&self.pending);
        kept.push(pending);
        let over = (kept.len() > KEPT).then(|| kept.remove(0));
        drop(kept);
        drop(over);
    }

    pub fn keep_instance(&self, instance: Instance<dyn Step>, id: usize) {
        ledger::put(id, Place::Owned);
        let mut kept = lock(&self.instances);
        kept.push((instance, id));
        let over = (kept.len() > KEPT).then(|| kept.remove(0));
        drop(kept);
        drop(over);
    }
}

/// Longer than anything takes, on whatever machine.
pub const FOR_EVER: Duration = Duration::from_secs(60);

/// A new instance, and its number.
pub fn make(ending: u8) -> (Poisoned, usize) {
    let id = ledger::born(Ending::of(ending));
    (Poisoned::new(id), id)
}

/// What was had back must not be in use.
pub fn had_back(instance: &Instance<dyn Step>, id: usize) {
    if let Some(why) = ledger::must_live(id) {
        ledger::report(format!("had back: {why}"));
    }
    ledger::put(id, Place::Owned);
    let answer = instance.peek(7);
    if answer != super::instance::answer(7, id) {
        ledger::report(format!("had back: not instance {id}"));
    }
}

/// Those of `ids` that live, and nobody keeps.
pub fn leak(ids: impl IntoIterator<Item = usize>) {
    ids.into_iter().filter(|id| *id != DEFAULT).collect::<HashSet<_>>().into_iter().for_each(|id| {
        if !ledger::is_dead(id) {
            ledger::put(id, Place::Leaked);
        }
    });
}

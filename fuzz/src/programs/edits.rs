//! Edits of chains: what an actor can do inside one, and with several that are nested.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use hotcall::Edit;

use super::actor::{At, serve};
use super::instance::Step;
use super::ledger::{self, Place, lock};
use super::world::{ChainCell, Pending, World, make};

/// What an actor is inside of, as far as it can do something with it.
pub trait Level {
    /// One operation in the innermost edit, if this is one.
    fn step(&mut self, _what: u8, _a: u8, _b: u8) -> bool {
        false
    }
    /// The two innermost edits change places, and what is known of them does: for a hole that is planted.
    fn exchange(&mut self, _exchange: Exchange) {}
    /// For [`Level::exchange`].
    fn parts(&mut self) -> Option<(&mut Edit<dyn Step>, &mut Known)> {
        None
    }
    /// The innermost `hotcall::batch`.
    fn batch(&mut self) -> Option<(&mut hotcall::Batch, &mut Vec<(usize, usize)>)> {
        None
    }
}

/// Nothing to do something with.
pub struct Bottom;
impl Level for Bottom {}

/// Inside the closure of `hotcall::batch`.
pub struct Building<'a> {
    pub batch: &'a mut hotcall::Batch,
    pub changes: &'a mut Vec<(usize, usize)>,
}

impl Level for Building<'_> {
    fn batch(&mut self) -> Option<(&mut hotcall::Batch, &mut Vec<(usize, usize)>)> {
        Some((self.batch, self.changes))
    }
}

#[derive(Clone, Copy)]
struct Entry {
    id: usize,
    fresh: bool,
}

/// Inside an edit: the list, as it is to be.
struct Editing<'a> {
    edit: &'a mut Edit<dyn Step>,
    known: Known,
}

/// What is known of an edit.
#[derive(Default)]
pub struct Known {
    list: Vec<Entry>,
    gone: Vec<usize>,
    added: Vec<usize>,
}

/// Two edits change places.
pub type Exchange = fn(&mut Edit<dyn Step>, &mut Edit<dyn Step>);

struct Nested<'a, 'b> {
    editing: Editing<'a>,
    up: &'b mut dyn Level,
}

impl Level for Nested<'_, '_> {
    fn step(&mut self, what: u8, a: u8, b: u8) -> bool {
        self.editing.step(what, a, b);
        true
    }
    fn exchange(&mut self, exchange: Exchange) {
        if let Some((outer, known)) = self.up.parts() {
            exchange(self.editing.edit, outer);
            std::mem::swap(&mut self.editing.known, known);
        }
    }
    fn parts(&mut self) -> Option<(&mut Edit<dyn Step>, &mut Known)> {
        Some((self.editing.edit, &mut self.editing.known))
    }
    fn batch(&mut self) -> Option<(&mut hotcall::Batch, &mut Vec<(usize, usize)>)> {
        self.up.batch()
    }
}

impl Editing<'_> {
    /// These leave the list.
    fn leave(gone: &mut Vec<usize>, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if !entry.fresh {
                gone.push(entry.id);
            }
        }
    }

    /// One operation on the list.
    fn step(&mut self, what: u8, a: u8, ending: u8) {
        let len = self.known.list.len();
        if self.edit.len() != len {
            ledger::report(format!("an edit of {len} elements has {}", self.edit.len()));
            return;
        }
        let at = usize::from(a) % len.max(1);
        let to = usize::from(ending) % len.max(1);
        match what % 10 {
            0 | 1 if len < 8 => {
                let (value, id) = make(ending);
                self.known.added.push(id);
                self.known.list.push(Entry { id, fresh: true });
                self.edit.push(value);
            }
            2 if len < 8 => {
                let (value, id) = make(ending);
                self.known.added.push(id);
                self.known.list.insert(at, Entry { id, fresh: true });
                self.edit.insert(at, value);
            }
            3 if len > 0 => {
                let entry = self.known.list.remove(at);
                Self::leave(&mut self.known.gone, [entry]);
                // Its destructor may panic; it is out of the list then.
                self.edit.remove(at);
            }
            4 if len > 0 => {
                let (value, id) = make(ending);
                self.known.added.push(id);
                let entry = std::mem::replace(&mut self.known.list[at], Entry { id, fresh: true });
                Self::leave(&mut self.known.gone, [entry]);
                self.edit.replace(at, value);
            }
            5 if len > 0 => {
                self.known.list.swap(at, to);
                self.edit.swap(at, to);
            }
            6 if len > 0 => {
                let entry = self.known.list.remove(at);
                self.known.list.insert(to, entry);
                self.edit.shift(at, to);
            }
            7 => {
                self.known.list.reverse();
                self.edit.reverse();
            }
            8 => {
                let all = std::mem::take(&mut self.known.list);
                Self::leave(&mut self.known.gone, all);
                self.edit.clear();
            }
            9 => self.out_of_range(a, len),
            _ => {}
        }
    }

    fn out_of_range(&mut self, which: u8, len: usize) {
        let edit = AssertUnwindSafe(&mut *self.edit);
        let refused = catch_unwind(move || {
            let edit = edit;
            let edit: &mut Edit<dyn Step> = edit.0;
            // The values are dropped, quietly: this panics already.
            match which % 5 {
                0 => edit.insert(len + 1, make(7).0),
                1 => edit.replace(len, make(7).0),
                2 => edit.remove(len),
                3 => edit.swap(0, len),
                _ => edit.shift(len, 0),
            }
        });
        if refused.is_ok() {
            ledger::report("an index out of range was taken");
        }
    }
}

/// An edit, in which the program goes on.
pub fn edit(at: &At<'_>, level: &mut dyn Level, cell: &Arc<ChainCell>) {
    let world = &at.actor.world;
    let editor = *lock(&cell.editor);
    match editor {
        // It would be waited for.
        Some(thread) if thread != at.actor.thread => return,
        Some(_) => {
            if cell.chain.edit(|_| ledger::report("an edit inside an edit of the chain")).is_ok() {
                ledger::report("an edit of a chain that this thread edits was made");
            }
            return;
        }
        None => {}
    }
    let list: Vec<Entry> = cell.list().into_iter().map(|id| Entry { id, fresh: false }).collect();
    let mut added = Vec::new();
    let mut planned = (Vec::new(), Vec::new());
    let edited = {
        let _turn = Turn::new(world, cell, at.actor.thread);
        let (added, planned) = (&mut added, &mut planned);
        catch_unwind(AssertUnwindSafe(|| {
            cell.chain.edit(|edit| {
                struct Tells<'a, 'b, 'c>(Nested<'a, 'b>, &'c mut Vec<usize>);
                impl Drop for Tells<'_, '_, '_> {
                    fn drop(&mut self) {
                        self.1.append(&mut self.0.editing.known.added);
                    }
                }
                let editing = Editing { edit, known: Known { list, ..Known::default() } };
                let mut nested = Tells(Nested { editing, up: level }, added);
                serve(at, &mut nested.0);
                let known = &mut nested.0.editing.known;
                *planned = (std::mem::take(&mut known.list), std::mem::take(&mut known.gone));
            })
        }))
    };
    let (list, gone) = planned;
    match edited {
        Ok(Ok(((), elements))) => {
            if elements.len() != gone.len() {
                ledger::report(format!(
                    "{} elements left a chain by an edit that took out {}",
                    elements.len(),
                    gone.len()
                ));
            }
            list.iter().for_each(|entry| ledger::put(entry.id, Place::Installed));
            cell.change(|old| *old = list.iter().map(|entry| entry.id).collect());
            gone.iter().for_each(|id| ledger::put(*id, Place::Retired));
            world.keep(Pending::Elements(elements, gone));
        }
        Ok(Err(error)) => ledger::report(format!("an edit was refused: {error}")),
        Err(payload) => {
            if let Some(id) = added.iter().find(|id| !ledger::is_dead(**id)) {
                ledger::report(format!("an edit panicked, and instance {id}, which it had added, lives"));
            }
            std::panic::resume_unwind(payload);
        }
    }
}

struct Turn<'a>(&'a World, &'a ChainCell);

impl<'a> Turn<'a> {
    fn new(world: &'a World, cell: &'a ChainCell, thread: usize) -> Self {
        *lock(&cell.editor) = Some(thread);
        world.editing.fetch_add(1, SeqCst);
        Self(world, cell)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.1.editor) = None;
        self.0.editing.fetch_sub(1, SeqCst);
    }
}

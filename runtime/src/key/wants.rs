//! Who wants which key on, and what follows from it. Behind the writers' lock, the same in both backends.
//!
//! A key is on while it was set on, or somebody holds it. A commit has three steps here, as for slots: [`Keys::plan`] says which
//! keys are to change, after what is wanted has; [`Keys::confirm`] is told that they have changed, or [`Keys::forget`] that they
//! have not.

use super::KeyCore;
use super::core::has_late;
#[cfg(patched)]
use crate::quiesce::linked::Runtime;
use crate::report::KeyReport;

/// What is asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// It is to be on, or off, for as long as nobody holds it.
    Set(bool),
    /// One more holds it on.
    Hold,
    /// One less does.
    Release,
}

/// A change of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyChange {
    pub(crate) key: &'static KeyCore,
    pub(crate) want: Want,
}

/// What is wanted of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    set: bool,
    holders: usize,
}

impl Wanted {
    fn on(self) -> bool {
        self.set || self.holders != 0
    }

    fn after(self, want: Want) -> Self {
        match want {
            Want::Set(set) => Self { set, ..self },
            Want::Hold => Self { holders: self.holders + 1, ..self },
            Want::Release => Self { holders: self.holders.saturating_sub(1), ..self },
        }
    }
}

#[derive(Debug)]
struct State {
    key: &'static KeyCore,
    /// The copy of hotcall that it was compiled with, where that is not this one.
    #[cfg(patched)]
    owner: Option<&'static Runtime>,
    /// Keys of libraries that are this one.
    copies: Vec<&'static KeyCore>,
    wanted: Wanted,
    /// What its branches say.
    on: bool,
    /// The commit under way is to change it.
    planned: bool,
}

impl State {
    fn is_overdue(&self) -> bool {
        self.wanted.on() != self.on
    }

    /// Adds it to what is to be stored, once, where it is not as it is wanted.
    fn plan_into(&mut self, index: usize, stores: &mut Vec<(usize, bool)>) {
        if self.is_overdue() && !self.planned {
            self.planned = true;
            stores.push((index, self.wanted.on()));
        }
    }
}

/// What a commit is to do to keys.
#[derive(Debug, Default)]
pub(crate) struct KeyPlan {
    /// By index: what the key is to be.
    pub(crate) stores: Vec<(usize, bool)>,
    /// What was wanted before, to be wanted again if the commit is refused.
    before: Vec<(usize, Wanted)>,
}

/// Every key that was ever changed; in the patched backend, also those that are declared in images that were looked through.
#[derive(Debug)]
pub(crate) struct Keys {
    states: Vec<State>,
    /// Those that are not as they are wanted: a holder's end was refused.
    overdue: Vec<usize>,
}

impl Keys {
    pub(crate) const fn new() -> Self {
        Self { states: Vec::new(), overdue: Vec::new() }
    }

    /// The key's place.
    pub(crate) fn register(&mut self, key: &'static KeyCore) -> usize {
        if let Some(index) = key.index() {
            return index;
        }
        let index = self.states.len();
        let wanted = Wanted { set: key.default(), holders: 0 };
        self.states.push(State {
            key,
            #[cfg(patched)]
            owner: None,
            copies: Vec::new(),
            wanted,
            on: key.is_on(),
            planned: false,
        });
        key.set_index(index);
        index
    }

    /// From now on a library's key that is none of the program's is written here, as if it were of this copy of hotcall.
    #[cfg(patched)]
    pub(crate) fn adopt(&mut self, key: &'static KeyCore, owner: &'static Runtime) {
        let index = self.register(key);
        self.states[index].owner = Some(owner);
    }

    /// Every key of this copy of hotcall, and those of `other` that are written here.
    #[cfg(patched)]
    pub(crate) fn of(&self, other: &'static Runtime) -> Vec<&'static KeyCore> {
        let of = |state: &&State| state.owner.is_none_or(|owner| core::ptr::eq(owner, other));
        self.states.iter().filter(of).map(|state| state.key).collect()
    }

    /// From now on `copy` is the key at `index`.
    #[cfg(patched)]
    pub(crate) fn add_copy(&mut self, index: usize, copy: &'static KeyCore) {
        if copy.index() == Some(index) {
            // By the link of another image of the library's.
            return;
        }
        let state = &mut self.states[index];
        copy.set_index(index);
        copy.store(state.on);
        state.copies.push(copy);
    }

    #[cfg(patched)]
    pub(crate) fn is_on(&self, index: usize) -> bool {
        self.states[index].on
    }

    #[cfg(patched)]
    pub(crate) fn name(&self, index: usize) -> &'static str {
        self.states[index].key.name()
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// What is to be said of each; `branches` says how many of those of the key at an index are patched.
    pub(crate) fn account(&self, branches: impl Fn(usize) -> usize) -> Vec<KeyReport> {
        let of = |(index, state): (usize, &State)| KeyReport {
            name: state.key.name(),
            on: state.on,
            holders: state.wanted.holders,
            branches: branches(index),
        };
        self.states.iter().enumerate().map(of).collect()
    }

    /// From here on it is wanted as `changes` say. Which keys are to change for it, each once.
    pub(crate) fn plan(&mut self, changes: &[KeyChange]) -> KeyPlan {
        let mut plan = KeyPlan::default();
        for &KeyChange { key, want } in changes {
            let index = self.register(key);
            let state = &mut self.states[index];
            plan.before.push((index, state.wanted));
            state.wanted = state.wanted.after(want);
        }
        for &(index, _) in &plan.before {
            self.states[index].plan_into(index, &mut plan.stores);
        }
        plan
    }

    /// Which keys are to change because holders' ends were refused before. A commit by itself: nothing else depends on it.
    pub(crate) fn plan_overdue(&mut self) -> KeyPlan {
        let mut plan = KeyPlan::default();
        if has_late() {
            self.count_late();
        }
        if !self.overdue.is_empty() {
            self.overdue.retain(|index| self.states[*index].is_overdue());
            for &index in &self.overdue {
                self.states[index].plan_into(index, &mut plan.stores);
            }
        }
        plan
    }

    fn count_late(&mut self) {
        for (index, state) in self.states.iter_mut().enumerate() {
            let keys = core::iter::once(state.key).chain(state.copies.iter().copied());
            let gone: usize = keys.map(KeyCore::take_released).sum();
            if gone != 0 {
                state.wanted.holders = state.wanted.holders.saturating_sub(gone);
                self.overdue.push(index);
            }
        }
    }

    /// The word that branches load which are not patched, in the key and its copies.
    pub(crate) fn store(&self, index: usize, on: bool) {
        let State { key, copies, .. } = &self.states[index];
        key.store(on);
        copies.iter().for_each(|copy| copy.store(on));
    }

    /// The keys have changed.
    pub(crate) fn confirm(&mut self, plan: &KeyPlan) {
        for &(index, on) in &plan.stores {
            let state = &mut self.states[index];
            state.planned = false;
            state.on = on;
        }
    }

    /// Nothing has changed.
    #[cfg(any(patched, test))]
    pub(crate) fn forget(&mut self, plan: &KeyPlan) {
        plan.stores.iter().for_each(|(index, _)| self.states[*index].planned = false);
        // The first of a key's comes last.
        plan.before.iter().rev().for_each(|(index, wanted)| self.states[*index].wanted = *wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Identity;

    static IDENTITY: Identity = Identity {
        package: None,
        version: None,
        repository: None,
        path: || "key",
        file: "",
        line: 0,
        column: 0,
        text: 0,
    };

    fn key(default: bool) -> &'static KeyCore {
        Box::leak(Box::new(KeyCore::new("key", &IDENTITY, default)))
    }

    /// Commits changes. What was stored.
    fn commit(keys: &mut Keys, changes: &[(&'static KeyCore, Want)]) -> Vec<(usize, bool)> {
        let changes: Vec<_> = changes.iter().map(|&(key, want)| KeyChange { key, want }).collect();
        let plan = keys.plan(&changes);
        plan.stores.iter().for_each(|(index, on)| keys.store(*index, *on));
        keys.confirm(&plan);
        plan.stores
    }

    #[test]
    fn on_while_it_is_set_or_held() {
        let (mut keys, one) = (Keys::new(), key(false));
        assert_eq!(commit(&mut keys, &[(one, Want::Hold)]), [(0, true)]);
        assert_eq!(commit(&mut keys, &[(one, Want::Hold)]), []);
        assert_eq!(commit(&mut keys, &[(one, Want::Set(true))]), []);
        assert_eq!(commit(&mut keys, &[(one, Want::Release)]), []);
        assert_eq!(commit(&mut keys, &[(one, Want::Set(false))]), []);
        assert!(one.is_on());
        assert_eq!(commit(&mut keys, &[(one, Want::Release)]), [(0, false)]);
        assert!(!one.is_on());
    }

    #[test]
    fn one_that_is_on_from_the_beginning() {
        let (mut keys, one) = (Keys::new(), key(true));
        assert_eq!(commit(&mut keys, &[(one, Want::Set(true))]), []);
        assert_eq!(commit(&mut keys, &[(one, Want::Set(false))]), [(0, false)]);
        assert_eq!(commit(&mut keys, &[(one, Want::Hold), (one, Want::Release)]), []);
    }

    #[test]
    fn the_last_of_a_batch_counts_and_is_stored_once() {
        let (mut keys, one, other) = (Keys::new(), key(false), key(false));
        let changes =
            [(one, Want::Set(true)), (other, Want::Set(true)), (one, Want::Set(false)), (one, Want::Hold)];
        assert_eq!(commit(&mut keys, &changes), [(0, true), (1, true)]);
    }

    #[test]
    fn what_is_refused_is_as_it_was() {
        let (mut keys, one) = (Keys::new(), key(false));
        commit(&mut keys, &[(one, Want::Hold)]);
        let all = [Want::Set(true), Want::Release, Want::Set(false), Want::Release, Want::Release];
        for count in 1..=all.len() {
            let changes: Vec<_> = all[..count].iter().map(|&want| KeyChange { key: one, want }).collect();
            let plan = keys.plan(&changes);
            keys.forget(&plan);
            assert_eq!(keys.states[0].wanted, Wanted { set: false, holders: 1 });
        }
        assert_eq!(commit(&mut keys, &[(one, Want::Release)]), [(0, false)]);
    }
}

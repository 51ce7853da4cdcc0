//! The list of a chain as it is to be, while it is being made.
//!
//! # Invariants
//!
//! 1. Every element that was in the list at the beginning is, at any moment, also when an operation has panicked, in
//!    `list` or in `gone`, once.
//! 2. What the edit has added and taken out again is in neither: it is dropped. What it has added is dropped with this,
//!    unless it was published.
//!
//! So whatever can panic comes first, and destructors, which are the user's code, come last.

use std::sync::Arc;

use super::core::List;
use crate::installed::{Installed, drop_each};

#[derive(Debug)]
struct Entry {
    element: Arc<Installed>,
    /// Added by this edit, and not published: nobody else knows of it.
    fresh: bool,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Changes {
    list: Vec<Entry>,
    gone: List,
}

impl Changes {
    pub(super) fn of(list: &List) -> Self {
        let kept = |element| Entry { element: Arc::clone(element), fresh: false };
        Self { list: list.iter().map(kept).collect(), gone: List::new() }
    }

    /// The elements that are to be.
    pub(super) fn list(&self) -> List {
        self.list.iter().map(|entry| Arc::clone(&entry.element)).collect()
    }

    /// The list was published. What left it, which calls may be running.
    pub(super) fn published(mut self) -> List {
        // Invariant 2: nothing of it is for `drop` to drop.
        self.list.clear();
        core::mem::take(&mut self.gone)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, index: usize) -> &Installed {
        &self.list[index].element
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.list.iter().map(|entry| entry.element.table().type_name()).collect()
    }

    /// Puts an element before the one at `index`, which is at most the length. It is dropped where the edit fails.
    pub(super) fn insert(&mut self, index: usize, element: Arc<Installed>) {
        self.list.insert(index, Entry { element, fresh: true });
    }

    /// The same; where the edit fails, it is still the caller's.
    pub(super) fn insert_lent(&mut self, index: usize, element: Arc<Installed>) {
        self.list.insert(index, Entry { element, fresh: false });
    }

    pub(super) fn remove(&mut self, index: usize) {
        let old = self.list.remove(index);
        self.leave([old]);
    }

    pub(super) fn replace(&mut self, index: usize, element: Arc<Installed>) {
        let old = core::mem::replace(&mut self.list[index], Entry { element, fresh: true });
        self.leave([old]);
    }

    pub(super) fn swap(&mut self, first: usize, second: usize) {
        self.list.swap(first, second);
    }

    pub(super) fn shift(&mut self, from: usize, to: usize) {
        let len = self.list.len();
        assert!(from < len && to < len, "a shift from {from} to {to} in a chain of {len}");
        let element = self.list.remove(from);
        self.list.insert(to, element);
    }

    pub(super) fn reverse(&mut self) {
        self.list.reverse();
    }

    pub(super) fn clear(&mut self) {
        let all = core::mem::take(&mut self.list);
        self.leave(all);
    }

    /// All of `entries` have left the list. Those that this edit added were never published, and are simply dropped.
    fn leave(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut fresh = Vec::new();
        for entry in entries {
            if entry.fresh {
                fresh.push(entry.element);
            } else {
                self.gone.push(entry.element);
            }
        }
        // The user's code, last: invariant 1.
        drop_each(fresh.iter().filter_map(|element| element.take_unretired()));
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let fresh = self.list.iter().filter(|entry| entry.fresh);
        drop_each(fresh.filter_map(|entry| entry.element.take_unretired()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a shift from 0 to 1 in a chain of 0")]
    fn a_shift_is_checked_before_anything_moves() {
        Changes::of(&List::new()).shift(0, 1);
    }
}

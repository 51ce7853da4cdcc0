//! Runs of free pages: taken best fit, joined with their neighbours when they come back.

use std::collections::{BTreeMap, BTreeSet};

/// A page of a heap: its chunk, and its number in it.
///
/// Pages of different chunks are never neighbours: chunks have guard pages between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageId {
    pub(super) chunk: u32,
    pub(super) page: u32,
}

impl PageId {
    fn after(self, pages: u32) -> Self {
        Self { page: self.page + pages, ..self }
    }
}

/// Invariants:
/// 1. `by_place` and `by_length` hold the same runs, none of them empty.
/// 2. No two runs overlap, and no two touch.
#[derive(Debug, Default)]
pub(super) struct PageRuns {
    by_place: BTreeMap<PageId, u32>,
    by_length: BTreeSet<(u32, PageId)>,
}

impl PageRuns {
    /// Takes `pages` in a row from the shortest run that has them.
    pub(super) fn take(&mut self, pages: u32) -> Option<PageId> {
        let lowest = PageId { chunk: 0, page: 0 };
        let &(length, start) = self.by_length.range((pages, lowest)..).next()?;
        self.remove(start, length);
        if length > pages {
            self.insert(start.after(pages), length - pages);
        }
        Some(start)
    }

    /// Gives a run back. It is not one of those here, in whole or in part.
    pub(super) fn give(&mut self, mut start: PageId, mut pages: u32) {
        if let Some((&before, &length)) = self.by_place.range(..start).next_back() {
            debug_assert!(
                before.chunk != start.chunk || before.page + length <= start.page,
                "given back twice"
            );
            if before.after(length) == start {
                self.remove(before, length);
                (start, pages) = (before, length + pages);
            }
        }
        let after = start.after(pages);
        if let Some(&length) = self.by_place.get(&after) {
            self.remove(after, length);
            pages += length;
        }
        self.insert(start, pages);
    }

    /// How many pages there are, and how many in the longest run.
    pub(super) fn counts(&self) -> (usize, usize) {
        let all = self.by_place.values().map(|pages| *pages as usize).sum();
        (all, self.by_length.last().map_or(0, |(pages, _)| *pages as usize))
    }

    fn insert(&mut self, start: PageId, pages: u32) {
        self.by_place.insert(start, pages);
        self.by_length.insert((pages, start));
    }

    fn remove(&mut self, start: PageId, pages: u32) {
        self.by_place.remove(&start);
        self.by_length.remove(&(pages, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(chunk: u32, page: u32) -> PageId {
        PageId { chunk, page }
    }

    #[test]
    fn the_shortest_run_that_fits_is_cut() {
        let mut runs = PageRuns::default();
        runs.give(at(0, 0), 16);
        runs.give(at(1, 0), 4);
        assert_eq!(runs.take(3), Some(at(1, 0)));
        assert_eq!(runs.take(2), Some(at(0, 0)));
        assert_eq!(runs.counts(), (15, 14));
        assert_eq!(runs.take(15), None);
    }

    #[test]
    fn neighbours_are_joined_and_chunks_are_not() {
        let mut runs = PageRuns::default();
        runs.give(at(0, 0), 2);
        runs.give(at(0, 4), 2);
        runs.give(at(1, 0), 2);
        assert_eq!(runs.counts(), (6, 2));
        runs.give(at(0, 2), 2);
        assert_eq!(runs.counts(), (8, 6));
        assert_eq!(runs.take(6), Some(at(0, 0)));
    }
}

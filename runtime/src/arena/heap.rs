//! Blocks of code memory.
//!
//! # Problem
//!
//! Thunks come and go by the thousand, in tens of bytes, and lie within reach of the calls that lead to them. And
//! a block that has been given back must not become other code while a core may still hold what it fetched or
//! decoded of the old.
//!
//! # Idea
//!
//! Memory is had in chunks, each a [`DualMap`] near what it serves. Chunks are cut into pages, pages into blocks
//! of one power of two; what is larger than half a page is whole pages. What is given back waits:
//!
//! ```text
//!              allocate            write            (a site leads there)
//!     ┌──── free ────▶ allocated ────▶ code ────────────────────────────┐
//!     │                                                                 │ grace period:
//!     │ recycle(mark)                                                   │ nobody inside
//!     │                                                                 ▼
//!     └──────────── barrier on every core ◀──── mark() ◀──── quarantined, int3 (release)
//! ```
//!
//! # Invariants
//!
//! 1. No two blocks overlap, and a [`Block`] exists once: it can be neither copied nor released twice.
//! 2. Every byte of free or quarantined memory, and of a block past what was written to it, is `int3`.
//! 3. Whatever is allocated was never executed, or was quarantined when a barrier began that
//!    serialised every core.
//!
//! 1 holds by [`Slab`] and [`PageRuns`]; 2 because chunks begin so and `release` makes it so; 3 because `recycle` frees
//! only what was released before its mark, and its caller has passed a barrier since.

use core::ops::Range;
#[cfg(test)]
use std::collections::HashSet;
use std::collections::VecDeque;

use super::pages::{PageId, PageRuns};
use super::slab::{CLASSES, LARGEST, PAGE, Slab, class_of, size_of_class};
use super::{ExecAddr, WriteAddr};
use crate::error::MemoryError;
use crate::sys::jitdump;
use crate::sys::memory::DualMap;

/// The length of the first chunk. Each next one is twice as long, up to [`LAST_CHUNK`].
const FIRST_CHUNK: usize = 64 << 10;
/// Room for 32,768 thunks. Whoever needs the next chunk waits for it: 0.8 ms for 1 MiB, and 3 to 18 ms for 4 MiB,
/// most of it spent by the system on its first pages.
const LAST_CHUNK: usize = 1 << 20;

/// A part of code memory that belongs to whoever holds this. Dropped without [`CodeHeap::release`], it is never reused.
#[derive(Debug)]
#[must_use = "a block that is not released is never reused"]
pub(crate) struct Block {
    exec: ExecAddr,
    len: usize,
    chunk: u32,
}

impl Block {
    /// Where it executes. A multiple of 16.
    pub(crate) fn exec(&self) -> ExecAddr {
        self.exec
    }

    /// The length that was asked for.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What it takes up.
    fn size(&self) -> usize {
        size_for(self.len)
    }
}

fn size_for(len: usize) -> usize {
    if len <= LARGEST { size_of_class(class_of(len)) } else { len.next_multiple_of(PAGE) }
}

/// A moment in the life of a heap: what was released before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u64);

/// The heap has grown by a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Where the chunk executes.
    pub(crate) exec: Range<usize>,
    /// How many chunks there are now.
    pub(crate) chunks: usize,
}

/// What a heap holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeapStats {
    pub(crate) chunks: usize,
    /// The executable views' length, without guards.
    pub(crate) bytes_mapped: usize,
    /// What allocated blocks take up, quarantined ones not among them.
    pub(crate) bytes_used: usize,
    pub(crate) blocks: usize,
    pub(crate) bytes_quarantined: usize,
    pub(crate) blocks_quarantined: usize,
    /// Pages of which no block is taken, and the longest run of them: the largest block to be had without growing.
    pub(crate) bytes_in_free_pages: usize,
    pub(crate) longest_free_run: usize,
}

#[derive(Clone, Debug)]
enum Page {
    Free,
    Slab(Slab),
    /// The first page of a block of so many.
    Run(u32),
    /// A further page of such a block.
    Rest,
}

#[derive(Debug)]
struct Chunk {
    map: DualMap,
    pages: Vec<Page>,
}

/// Blocks of code memory within reach of a range. See the head of this file.
#[derive(Debug)]
pub(crate) struct CodeHeap {
    reach: Option<Range<usize>>,
    chunks: Vec<Chunk>,
    runs: PageRuns,
    /// By class: pages with a free block. It may name pages that have become something else since; such a name is
    /// dropped when it is met.
    partial: [Vec<PageId>; CLASSES],
    quarantine: VecDeque<Block>,
    /// Released, and not `int3` yet: since a fork their memory is not this process's own, and could not be copied.
    unerased: Vec<Block>,
    /// How many blocks have ever been released.
    released: u64,
    events: Vec<Growth>,
    bytes_used: usize,
    blocks: usize,
    bytes_quarantined: usize,
}

impl CodeHeap {
    /// A heap whose every block reaches every byte of `reach`, and is reached from there. It maps nothing yet.
    pub(crate) fn new(reach: Range<usize>) -> Self {
        Self { reach: Some(reach), ..Self::anywhere() }
    }

    /// A heap that may lie anywhere. Its chunks are near one another as long as there is room.
    pub(crate) fn anywhere() -> Self {
        Self {
            reach: None,
            chunks: Vec::new(),
            runs: PageRuns::default(),
            partial: [const { Vec::new() }; CLASSES],
            quarantine: VecDeque::new(),
            unerased: Vec::new(),
            released: 0,
            events: Vec::new(),
            bytes_used: 0,
            blocks: 0,
            bytes_quarantined: 0,
        }
    }

    /// A block of at least `len` bytes, all of them `int3`.
    ///
    /// # Errors
    ///
    /// Where the heap had to grow and could not. Nothing has changed then.
    pub(crate) fn allocate(&mut self, len: usize) -> Result<Block, MemoryError> {
        let (id, offset) =
            if len <= LARGEST { self.take_small(class_of(len))? } else { self.take_pages(len)? };
        let start = self.chunks[id.chunk as usize].map.exec_range().start;
        let exec = ExecAddr::new(start + id.page as usize * PAGE + offset);
        self.blocks += 1;
        self.bytes_used += size_for(len);
        Ok(Block { exec, len, chunk: id.chunk })
    }

    fn take_small(&mut self, class: usize) -> Result<(PageId, usize), MemoryError> {
        while let Some(&id) = self.partial[class].last() {
            if let Page::Slab(slab) = &mut self.chunks[id.chunk as usize].pages[id.page as usize]
                && slab.class() == class
                && let Some(offset) = slab.take()
            {
                if slab.is_full() {
                    self.partial[class].pop();
                }
                return Ok((id, offset));
            }
            self.partial[class].pop();
        }
        let id = self.take_run(1)?;
        let mut slab = Slab::new(class);
        let offset = slab.take().unwrap_or_default();
        *self.page(id) = Page::Slab(slab);
        self.partial[class].push(id);
        Ok((id, offset))
    }

    fn take_pages(&mut self, len: usize) -> Result<(PageId, usize), MemoryError> {
        let pages = len.div_ceil(PAGE);
        let Ok(pages) = u32::try_from(pages) else {
            return Err(self.no_room(len));
        };
        let id = self.take_run(pages)?;
        let all = id.page as usize..(id.page + pages) as usize;
        self.chunks[id.chunk as usize].pages[all].fill(Page::Rest);
        *self.page(id) = Page::Run(pages);
        Ok((id, 0))
    }

    fn take_run(&mut self, pages: u32) -> Result<PageId, MemoryError> {
        if let Some(id) = self.runs.take(pages) {
            return Ok(id);
        }
        self.grow(pages)?;
        self.runs.take(pages).ok_or_else(|| self.no_room(pages as usize * PAGE))
    }

    fn no_room(&self, length: usize) -> MemoryError {
        let near = self.reach.as_ref().map_or(0, |reach| reach.start);
        MemoryError::NoRoom { near, length, reach: crate::arch::REACH }
    }

    fn page(&mut self, id: PageId) -> &mut Page {
        &mut self.chunks[id.chunk as usize].pages[id.page as usize]
    }

    /// One more chunk, with room for `pages`. Where there is no room for its full length, it is shorter.
    fn grow(&mut self, pages: u32) -> Result<(), MemoryError> {
        let least = (pages as usize * PAGE).next_multiple_of(FIRST_CHUNK);
        let usual = FIRST_CHUNK << self.chunks.len().min((LAST_CHUNK / FIRST_CHUNK).ilog2() as usize);
        let mut len = usual.max(least);
        let map = loop {
            match self.map(len) {
                Err(MemoryError::NoRoom { .. }) if len > least => len = (len / 2).max(least),
                other => break other?,
            }
        };
        let exec = map.exec_range();
        jitdump::emitted("hotcall_code", &exec);
        let pages = exec.len() / PAGE;
        self.runs.give(PageId { chunk: self.chunks.len() as u32, page: 0 }, pages as u32);
        self.chunks.push(Chunk { map, pages: vec![Page::Free; pages] });
        self.events.push(Growth { exec, chunks: self.chunks.len() });
        Ok(())
    }

    fn map(&self, len: usize) -> Result<DualMap, MemoryError> {
        match (&self.reach, self.chunks.first()) {
            (Some(reach), _) => DualMap::near(reach.clone(), len),
            (None, None) => DualMap::anywhere(len),
            (None, Some(first)) => {
                DualMap::near(first.map.exec_range(), len).or_else(|_| DualMap::anywhere(len))
            }
        }
    }

    /// A block with what `code` says for where it executes, at most `len` bytes. Nothing leads there yet.
    ///
    /// # Errors
    ///
    /// As for [`CodeHeap::allocate`] and [`CodeHeap::write`].
    ///
    /// # Panics
    ///
    /// Where the code is longer than `len`.
    pub(crate) fn emit<C: AsRef<[u8]>>(
        &mut self,
        len: usize,
        code: impl FnOnce(ExecAddr) -> C,
    ) -> Result<Block, MemoryError> {
        let block = self.allocate(len)?;
        match self.write(&block, code(block.exec()).as_ref()) {
            Ok(()) => Ok(block),
            Err(error) => {
                self.release(block);
                Err(error)
            }
        }
    }

    /// Writes `code` to the start of the block. Nothing leads there yet.
    ///
    /// # Errors
    ///
    /// [`MemoryError::AfterFork`]: nothing was written.
    ///
    /// # Panics
    ///
    /// Where the code is longer than the block, or the block is another heap's.
    pub(crate) fn write(&mut self, block: &Block, code: &[u8]) -> Result<(), MemoryError> {
        assert!(code.len() <= block.len, "{} bytes of code for a block of {}", code.len(), block.len);
        self.chunks[block.chunk as usize].map.write(block.exec, code)
    }

    /// Runs `store` with where the block's first byte can be written: it patches code that may be running. It allocates
    /// nothing, waits for nothing and calls nobody.
    ///
    /// # Errors
    ///
    /// [`MemoryError::AfterFork`]: `store` was not run.
    ///
    /// # Panics
    ///
    /// Where the block is another heap's.
    pub(crate) fn patch<R>(
        &mut self,
        block: &Block,
        store: impl FnOnce(WriteAddr) -> R,
    ) -> Result<R, MemoryError> {
        let map = &mut self.chunks[block.chunk as usize].map;
        let start =
            map.write_addr(block.exec).expect("code is patched in the memory that it was allocated from");
        map.patch(|_| store(start))
    }

    /// Takes a block back: it is `int3` from now on, and free after [`CodeHeap::recycle`]. No thread is inside it,
    /// and nothing leads there.
    ///
    /// Where it cannot be made `int3` since a fork, it is kept until a later call can do it.
    ///
    /// # Panics
    ///
    /// Where the block is another heap's.
    pub(crate) fn release(&mut self, block: Block) {
        let size = block.size();
        self.blocks -= 1;
        self.bytes_used -= size;
        self.bytes_quarantined += size;
        if let Err(block) = self.quarantine(block) {
            self.unerased.push(block);
            return;
        }
        while let Some(late) = self.unerased.pop() {
            if let Err(late) = self.quarantine(late) {
                self.unerased.push(late);
                break;
            }
        }
    }

    /// Makes the block `int3`. Gives it back where that was refused.
    fn quarantine(&mut self, block: Block) -> Result<(), Block> {
        if self.chunks[block.chunk as usize].map.erase(block.exec, block.size()).is_err() {
            return Err(block);
        }
        self.released += 1;
        self.quarantine.push_back(block);
        Ok(())
    }

    /// Now: what has been released so far. For [`CodeHeap::recycle`].
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.released)
    }

    /// Frees what was released before `mark`. Since then, a barrier has serialised every core (invariant 3).
    ///
    /// A second call with the same mark frees nothing more.
    pub(crate) fn recycle(&mut self, mark: Mark) {
        while self.released - (self.quarantine.len() as u64) < mark.0
            && let Some(block) = self.quarantine.pop_front()
        {
            self.bytes_quarantined -= block.size();
            self.free(&block);
        }
    }

    fn free(&mut self, block: &Block) {
        let chunk = &mut self.chunks[block.chunk as usize];
        let offset = block.exec.get() - chunk.map.exec_range().start;
        let id = PageId { chunk: block.chunk, page: (offset / PAGE) as u32 };
        let page = &mut chunk.pages[offset / PAGE];
        match page {
            Page::Slab(slab) => {
                let partial = &mut self.partial[slab.class()];
                if slab.is_full() {
                    partial.push(id);
                }
                slab.give(offset % PAGE);
                // One page of each size is kept, so that a lone block may come and go cheaply.
                if slab.is_empty() && partial.len() > 1 {
                    *page = Page::Free;
                    self.runs.give(id, 1);
                }
            }
            Page::Run(pages) => {
                let pages = *pages;
                chunk.pages[offset / PAGE..][..pages as usize].fill(Page::Free);
                self.runs.give(id, pages);
            }
            Page::Free | Page::Rest => debug_assert!(false, "{block:?} is not allocated"),
        }
    }

    /// What happened since this was last asked: to be reported once no lock is held.
    pub(crate) fn take_events(&mut self) -> Vec<Growth> {
        core::mem::take(&mut self.events)
    }

    /// What it holds now.
    pub(crate) fn stats(&self) -> HeapStats {
        let (free, longest) = self.runs.counts();
        HeapStats {
            chunks: self.chunks.len(),
            bytes_mapped: self.chunks.iter().map(|chunk| chunk.map.exec_range().len()).sum(),
            bytes_used: self.bytes_used,
            blocks: self.blocks,
            bytes_quarantined: self.bytes_quarantined,
            blocks_quarantined: self.quarantine.len() + self.unerased.len(),
            bytes_in_free_pages: free * PAGE,
            longest_free_run: longest * PAGE,
        }
    }

    /// Every allocated block that is not quarantined: where it executes, and what it takes up.
    #[cfg(test)]
    pub(crate) fn iter_live(&self) -> impl Iterator<Item = (ExecAddr, usize)> {
        let waiting = self.quarantine.iter().chain(&self.unerased);
        let quarantined: HashSet<ExecAddr> = waiting.map(Block::exec).collect();
        let pages = self.chunks.iter().flat_map(|chunk| {
            let start = chunk.map.exec_range().start;
            chunk.pages.iter().enumerate().map(move |(number, page)| (start + number * PAGE, page))
        });
        let blocks = pages.flat_map(|(start, page)| {
            let (slab, run) = match page {
                Page::Slab(slab) => (Some(slab), None),
                Page::Run(pages) => (None, Some((start, *pages as usize * PAGE))),
                Page::Free | Page::Rest => (None, None),
            };
            let cut = slab.into_iter().flat_map(move |slab| {
                slab.taken().map(move |offset| (start + offset, size_of_class(slab.class())))
            });
            cut.chain(run)
        });
        blocks
            .map(|(start, size)| (ExecAddr::new(start), size))
            .filter(move |(start, _)| !quarantined.contains(start))
    }
}

#[cfg(test)]
#[path = "heap_tests.rs"]
mod tests;

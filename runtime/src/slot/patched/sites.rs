//! Where the stubs are, and the code memory near them.
//!
//! A stub may have been compiled more than once: by each crate that calls the slot, and by each shared library.
//! All copies are retargeted, and their records find them. The stubs of one image lie together; the
//! pages they lie on become a *region*: remapped from a memfd at the first retarget, with a heap for thunks and
//! trampolines within reach.

use core::ptr;
use core::sync::atomic::Ordering;
use std::collections::HashMap;

use crate::arch::{self, Branch};
use crate::arena::{Block, CodeHeap, ExecAddr, Mark, WriteAddr};
use crate::error::{Error, ImageError, MemoryError};
use crate::slot::backend::SlotCore;
use crate::slot::inspect::News;
use crate::sys::image;
use crate::sys::memory::DualMap;

/// One copy of one method's stub, as its record describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) exec: ExecAddr,
    pub(super) method: usize,
    pub(super) region: usize,
}

/// The stub pages of one image, and the code memory near them.
pub(super) struct Region {
    name: String,
    start: usize,
    length: usize,
    opened: Option<Opened>,
    news: Vec<News>,
}

/// What the code memory of a region holds, from before a fork.
pub(super) struct RegionSnapshot {
    stubs: Vec<u8>,
    heap: Vec<Vec<u8>>,
}

/// A region whose pages have been remapped.
pub(super) struct Opened {
    map: DualMap,
    pub(super) heap: CodeHeap,
    /// By target: the trampoline, and how many sites jump to it.
    trampolines: HashMap<usize, (Block, usize)>,
}

impl Opened {
    pub(super) fn write_addr(&self, exec: ExecAddr) -> Option<WriteAddr> {
        self.map.write_addr(exec)
    }

    /// The trampoline to `target`, with one more site counted.
    pub(super) fn acquire_trampoline(&mut self, target: ExecAddr) -> Result<ExecAddr, MemoryError> {
        if let Some((block, sites)) = self.trampolines.get_mut(&target.get()) {
            *sites += 1;
            return Ok(block.exec());
        }
        let code = arch::trampoline(target);
        let block = self.heap.allocate(code.as_bytes().len())?;
        self.heap.write(&block, code.as_bytes());
        let exec = block.exec();
        self.trampolines.insert(target.get(), (block, 1));
        Ok(exec)
    }

    /// One site less jumps to the trampoline, and no thread can be on its way through it from there.
    pub(super) fn release_trampoline(&mut self, target: ExecAddr) {
        if let Some((_, sites)) = self.trampolines.get_mut(&target.get()) {
            *sites -= 1;
            if *sites == 0
                && let Some((block, _)) = self.trampolines.remove(&target.get())
            {
                self.heap.release(block);
            }
        }
    }

    pub(super) fn trampolines(&self) -> usize {
        self.trampolines.len()
    }

    pub(super) fn for_each_trampoline(&self, visit: &mut dyn FnMut(usize, &Block)) {
        for (target, (block, _)) in &self.trampolines {
            visit(*target, block);
        }
    }
}

impl Region {
    /// Remaps the stub pages, the first time.
    pub(super) fn open(&mut self) -> Result<&mut Opened, Error> {
        if self.opened.is_none() {
            let map = DualMap::over_image(ExecAddr::new(self.start), self.length)?;
            let heap = CodeHeap::new(self.start..self.start + self.length);
            self.opened = Some(Opened { map, heap, trampolines: HashMap::new() });
            let (image, start, length) = (self.name.clone(), self.start, self.length);
            self.news.push(News::StubsMapped { image, start, length });
        }
        match &mut self.opened {
            Some(opened) => Ok(opened),
            None => unreachable!("opened above"),
        }
    }

    pub(super) fn opened(&mut self) -> Option<&mut Opened> {
        self.opened.as_mut()
    }

    /// What has happened since this was last asked.
    pub(super) fn news(&mut self) -> Vec<News> {
        let mut news = core::mem::take(&mut self.news);
        let grown = self.opened.as_mut().map(|opened| opened.heap.take_events()).unwrap_or_default();
        news.extend(grown.into_iter().map(|growth| News::ArenaGrew {
            start: growth.exec.start,
            length: growth.exec.len(),
            chunks: growth.chunks,
        }));
        news
    }

    /// Before a fork, with writers kept out: what the code memory holds.
    pub(super) fn snapshot(&self) -> RegionSnapshot {
        let opened = self.opened.as_ref();
        RegionSnapshot {
            stubs: opened.map(|opened| opened.map.copy_of_contents()).unwrap_or_default(),
            heap: opened.map(|opened| opened.heap.copy_of_contents()).unwrap_or_default(),
        }
    }

    /// In the child: memory of its own, with that content.
    pub(super) fn privatise(&mut self, snapshot: &RegionSnapshot) -> Result<(), MemoryError> {
        let Some(opened) = &mut self.opened else { return Ok(()) };
        opened.map.privatise(&snapshot.stubs)?;
        opened.heap.privatise(&snapshot.heap)
    }
}

/// All stubs of all images.
pub(super) struct Images {
    loads: u64,
    tables: Vec<usize>,
    pub(super) regions: Vec<Region>,
    found: HashMap<usize, Vec<Found>>,
}

impl Images {
    pub(super) fn empty() -> Self {
        Self { loads: 0, tables: Vec::new(), regions: Vec::new(), found: HashMap::new() }
    }

    /// Looks for images that have been loaded since the last look, and gives the stubs in them, by slot.
    pub(super) fn look(&mut self) -> Result<Vec<(&'static SlotCore, Found)>, Error> {
        if self.loads == image::loads() {
            return Ok(Vec::new());
        }
        let tables = image::tables();
        let mut fresh = Vec::new();
        for (name, table) in tables.tables {
            let identity = table.as_ptr().addr();
            if self.tables.contains(&identity) {
                continue;
            }
            self.tables.push(identity);
            let ours: Vec<_> = table
                .iter()
                .filter(|record| ptr::fn_addr_eq(record.runtime, image::runtime_anchor as extern "C" fn()))
                .collect();
            let Some(first) = ours.iter().map(|record| record.site).min() else { continue };
            let last = ours.iter().map(|record| record.site).max().unwrap_or(first);
            let page = rustix::param::page_size();
            let start = first - first % page;
            let end = (last + arch::BRANCH_LEN).next_multiple_of(page);
            let region = self.regions.len();
            self.regions.push(Region { name, start, length: end - start, opened: None, news: Vec::new() });
            let mut at = HashMap::with_capacity(ours.len());
            for record in ours {
                let exec = ExecAddr::new(record.site);
                check_stub(exec)?;
                let slot = (record.slot)();
                if let Some(other) = at.insert(record.site, (slot, record.method))
                    && (!ptr::eq::<SlotCore>(other.0, slot) || other.1 != record.method)
                {
                    let (address, first, second) = (record.site, other.0.name(), slot.name());
                    return Err(ImageError::Folded { address, first, second }.into());
                }
                fresh.push((slot, Found { exec, method: record.method, region }));
            }
        }
        self.loads = tables.loads;
        Ok(fresh)
    }

    /// Keeps stubs of a slot that has not been replaced yet.
    pub(super) fn keep(&mut self, slot: &'static SlotCore, found: Found) {
        self.found.entry(ptr::from_ref(slot).addr()).or_default().push(found);
    }

    /// The stubs of a slot that is replaced for the first time.
    pub(super) fn take(&mut self, slot: &'static SlotCore) -> Result<Vec<Found>, Error> {
        let found = self.found.remove(&ptr::from_ref(slot).addr()).unwrap_or_default();
        let own = slot.stubs.iter().enumerate();
        let mut found_own = own.map(|(method, stub)| {
            let opcode = stub.address().next_multiple_of(arch::SITE_ALIGN) + arch::SITE_OFFSET;
            found.iter().any(|site| site.method == method && site.exec.get() == opcode)
        });
        let complete = found_own.all(|is_found| is_found);
        if !complete {
            self.found.insert(ptr::from_ref(slot).addr(), found);
            return Err(ImageError::NoStubs { slot: slot.name() }.into());
        }
        Ok(found)
    }
}

fn check_stub(exec: ExecAddr) -> Result<(), ImageError> {
    let malformed = |reason: String| ImageError::Malformed { address: exec.get(), reason };
    if exec.get() % arch::SITE_ALIGN != arch::SITE_OFFSET {
        return Err(malformed(format!(
            "its opcode is at {} mod {}, and must be at {}",
            exec.get() % arch::SITE_ALIGN,
            arch::SITE_ALIGN,
            arch::SITE_OFFSET
        )));
    }
    match arch::branch_at(exec) {
        Some(Branch::Jump) => Ok(()),
        other => Err(malformed(format!("a jump was expected, {other:?} was found"))),
    }
}

/// So that a mark and the region it belongs to are not mixed up.
pub(super) type Marks = Vec<(usize, Mark)>;

impl SlotCore {
    pub(super) fn index(&self) -> Option<usize> {
        // Relaxed: written and read under the writers' lock (invariant 3).
        (self.id.load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    pub(super) fn set_index(&self, index: usize) {
        let id = u32::try_from(index + 1).expect("fewer than 2^32 slots fit an address space");
        self.id.store(id, Ordering::Relaxed);
    }
}

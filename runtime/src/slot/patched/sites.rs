//! Where the stubs are, and the code memory near them.
//!
//! A stub may have been compiled more than once: by each crate that calls the slot, and by each shared library.
//! All copies are retargeted, and their records find them. The stubs of one image lie together; the
//! pages they lie on become a *region*: remapped from a memfd at the first retarget, with a heap for thunks and
//! trampolines within reach. So do the pages of the callers that can be patched past them (see `callers`).

use core::ops::Range;
use core::ptr;
use core::sync::atomic::Ordering;
use std::collections::HashMap;

use super::callers;
use crate::arch::{self, Branch};
use crate::arena::{Block, CodeHeap, ExecAddr, Mark, WriteAddr};
use crate::error::{Error, ImageError, MemoryError};
use crate::slot::backend::SlotCore;
use crate::slot::inspect::News;
use crate::sys::fork::{self, HeldOff};
use crate::sys::image::{self, Image, SiteRecord};
use crate::sys::memory::{DualMap, Refusal};

/// What a site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The `jmp` of a stub.
    Stub,
    /// A `call` or `jmp` that the compiler placed, to a stub.
    Caller,
}

/// One branch that is to be retargeted with its slot's method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) exec: ExecAddr,
    pub(super) method: usize,
    pub(super) region: usize,
}

/// The stub pages of one image, the pages of their callers, and the code memory near them.
pub(super) struct Region {
    name: String,
    /// The stubs' pages.
    stubs: Range<usize>,
    /// The callers' pages, runs of them that lie close together.
    callers: Vec<Range<usize>>,
    /// All code of the image: thunks and trampolines reach it, and are reached from it.
    code: Range<usize>,
    opened: Option<Opened>,
    news: Vec<News>,
}

/// A region whose pages have been remapped.
pub(super) struct Opened {
    maps: Vec<DualMap>,
    /// In which all of `maps` were this process's own: a look at each is spared.
    epoch: u32,
    code: Range<usize>,
    pub(super) heap: CodeHeap,
    /// By target: the trampoline, and how many sites jump to it.
    trampolines: HashMap<usize, (Block, usize)>,
}

impl Opened {
    pub(super) fn write_addr(&self, exec: ExecAddr) -> Option<WriteAddr> {
        self.maps.iter().find_map(|map| map.write_addr(exec))
    }

    /// Makes the pages of the sites this process's own, where a fork has shared them. The sites may be written to for as
    /// long as forks are held off.
    pub(super) fn make_own(&mut self, held_off: &HeldOff) -> Result<(), Refusal> {
        if self.epoch != held_off.epoch() {
            self.maps.iter_mut().try_for_each(|map| map.make_own(held_off))?;
            self.epoch = held_off.epoch();
        }
        Ok(())
    }

    /// Whether every site of the region reaches the target.
    pub(super) fn reaches(&self, target: ExecAddr) -> bool {
        let ends = [self.code.start, self.code.end];
        ends.iter().all(|end| arch::displacement(ExecAddr::new(*end), target).is_some())
    }

    /// The trampoline to `target`, with one more site counted.
    pub(super) fn acquire_trampoline(&mut self, target: ExecAddr) -> Result<ExecAddr, MemoryError> {
        if let Some((block, sites)) = self.trampolines.get_mut(&target.get()) {
            *sites += 1;
            return Ok(block.exec());
        }
        let code = arch::trampoline(target);
        let block = self.heap.emit(code.as_bytes().len(), |_| code)?;
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
    /// Remaps the pages, the first time.
    pub(super) fn open(&mut self) -> Result<&mut Opened, Error> {
        if self.opened.is_none() {
            // No later than that of any map.
            let epoch = fork::epoch();
            let over = |pages: &Range<usize>| DualMap::over_image(ExecAddr::new(pages.start), pages.len());
            let mut maps = vec![over(&self.stubs)?];
            // A caller whose page is refused goes through its stub, as before.
            maps.extend(self.callers.iter().filter_map(|pages| over(pages).ok()));
            self.news.extend(maps.iter().map(|map| News::StubsMapped {
                image: self.name.clone(),
                start: map.exec_range().start,
                length: map.exec_range().len(),
            }));
            let code = self.code.clone();
            self.opened = Some(Opened {
                maps,
                epoch,
                heap: CodeHeap::new(code.clone()),
                code,
                trampolines: HashMap::new(),
            });
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
}

/// All stubs of all images.
pub(super) struct Images {
    loads: u64,
    tables: Vec<usize>,
    pub(super) regions: Vec<Region>,
    /// By the slot's address.
    found: HashMap<usize, (&'static SlotCore, Vec<Found>)>,
}

impl Images {
    pub(super) fn empty() -> Self {
        Self { loads: 0, tables: Vec::new(), regions: Vec::new(), found: HashMap::new() }
    }

    /// Looks for images that have been loaded since the last look, and gives the sites in them, by slot.
    pub(super) fn look(&mut self) -> Result<Vec<(&'static SlotCore, Found)>, Error> {
        if self.loads == image::loads() {
            return Ok(Vec::new());
        }
        let images = image::images();
        let mut fresh = Vec::new();
        for image in &images.images {
            let identity = image.records.as_ptr().addr();
            if !self.tables.contains(&identity) {
                self.look_at(image, &mut fresh)?;
                self.tables.push(identity);
            }
        }
        self.loads = images.loads;
        Ok(fresh)
    }

    fn look_at(&mut self, image: &Image, fresh: &mut Vec<(&'static SlotCore, Found)>) -> Result<(), Error> {
        let ours = image.records.iter().filter(|record| is_ours(record));
        let ours: Vec<_> = ours.map(|record| (record, (record.slot)())).collect();
        self.add_region(image, &ours, fresh)
    }

    /// Makes a region of those of an image's records, each with the slot that it belongs to.
    pub(super) fn add_region(
        &mut self,
        image: &Image,
        records: &[(&'static SiteRecord, &'static SlotCore)],
        fresh: &mut Vec<(&'static SlotCore, Found)>,
    ) -> Result<(), Error> {
        let Some(first) = records.iter().map(|(record, _)| record.site).min() else { return Ok(()) };
        let last = records.iter().map(|(record, _)| record.site).max().unwrap_or(first);
        let region = self.regions.len();
        let mut stubs = HashMap::with_capacity(records.len());
        for &(record, slot) in records {
            let exec = ExecAddr::new(record.site);
            check_stub(exec)?;
            // Callers go to the stub's first instruction, the padding before the jump.
            let entry = record.site - arch::SITE_OFFSET;
            if let Some((other, method)) = stubs.insert(entry, (slot, record.method))
                && (!ptr::eq::<SlotCore>(other, slot) || method != record.method)
            {
                let (address, first, second) = (record.site, other.name(), slot.name());
                return Err(ImageError::Folded { address, first, second }.into());
            }
            fresh.push((slot, Found { kind: Kind::Stub, exec, method: record.method, region }));
        }
        let callers = callers::find(image, &stubs);
        let displacements: Vec<_> = callers.iter().map(|(exec, _)| exec.add(1).get()).collect();
        fresh.extend(
            callers
                .into_iter()
                .map(|(exec, (slot, method))| (slot, Found { kind: Kind::Caller, exec, method, region })),
        );

        let stub_pages = pages_of(first, last + arch::BRANCH_LEN);
        let ends = image.code.iter().map(|code| code.as_ptr_range());
        let code = ends.fold(stub_pages.clone(), |code, end| {
            code.start.min(end.start.addr())..code.end.max(end.end.addr())
        });
        self.regions.push(Region {
            name: image.name.clone(),
            callers: page_runs(displacements, &stub_pages),
            stubs: stub_pages,
            code,
            opened: None,
            news: Vec::new(),
        });
        Ok(())
    }

    /// Slots that have stubs and have not been replaced yet.
    pub(super) fn untouched(&self) -> impl Iterator<Item = &'static SlotCore> {
        self.found.values().map(|(slot, _)| *slot)
    }

    /// Keeps stubs of a slot that has not been replaced yet.
    pub(super) fn keep(&mut self, slot: &'static SlotCore, found: Found) {
        self.found.entry(ptr::from_ref(slot).addr()).or_insert((slot, Vec::new())).1.push(found);
    }

    /// The stubs of a slot that is replaced for the first time.
    pub(super) fn take(&mut self, slot: &'static SlotCore) -> Result<Vec<Found>, Error> {
        let found =
            self.found.remove(&ptr::from_ref(slot).addr()).map(|(_, found)| found).unwrap_or_default();
        let own = slot.stubs.iter().enumerate();
        let mut found_own = own.map(|(method, stub)| {
            let opcode = stub.address().next_multiple_of(arch::SITE_ALIGN) + arch::SITE_OFFSET;
            let is_own = |site: &Found| site.method == method && site.exec.get() == opcode;
            found.iter().any(is_own)
        });
        let complete = found_own.all(|is_found| is_found);
        if !complete {
            self.found.insert(ptr::from_ref(slot).addr(), (slot, found));
            return Err(ImageError::NoStubs { slot: slot.name() }.into());
        }
        Ok(found)
    }
}

/// Whether the stub was compiled with this copy of hotcall.
pub(super) fn is_ours(record: &SiteRecord) -> bool {
    ptr::fn_addr_eq(record.runtime, image::runtime_anchor as extern "C" fn() -> _)
}

fn pages_of(start: usize, end: usize) -> Range<usize> {
    let page = rustix::param::page_size();
    start - start % page..end.next_multiple_of(page)
}

/// The pages that the addresses are on, those of the stubs left out. Runs that are close together are joined, since
/// each costs a mapping.
fn page_runs(mut addresses: Vec<usize>, stubs: &Range<usize>) -> Vec<Range<usize>> {
    const CLOSE: usize = 64 << 10;
    addresses.sort_unstable();
    let mut runs: Vec<Range<usize>> = Vec::new();
    for address in addresses.into_iter().filter(|address| !stubs.contains(address)) {
        let page = pages_of(address, address + 1);
        match runs.last_mut() {
            Some(run) if page.start <= run.end + CLOSE && !(run.end..page.start).contains(&stubs.start) => {
                run.end = run.end.max(page.end);
            }
            _ => runs.push(page),
        }
    }
    runs
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

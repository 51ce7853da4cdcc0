//! Where the sites are, and the code memory near them.
//!
//! A site is what is stored to when a slot's method gets another target: a call that the compiler placed, or the slot's cell,
//! through which every other call goes. The calls of one image lie together; the pages that they lie on become a
//! *region*: remapped from a memfd at the first retarget of one of them, with a heap for thunks and trampolines within reach.

use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering};
use std::collections::{HashMap, HashSet};

use super::CodeCell;
use crate::arch::{self, BranchSite, CallSite, Kept};
use crate::arena::{Block, CodeHeap, ExecAddr, Mark, WriteAddr};
use crate::error::MemoryError;
use crate::key::KeyCore;
use crate::quiesce::section;
use crate::slot::backend::SlotCore;
use crate::slot::inspect::News;
use crate::sys::fork::{self, HeldOff};
use crate::sys::image::{self, Declaration, Image};
use crate::sys::image_pages::ImagePages;
use crate::sys::jitdump;
use crate::sys::memory::{DualMap, Refusal};

const NEVER: u8 = 1;
const ALWAYS: u8 = 2;

static CHOICE: AtomicU8 = AtomicU8::new(ALWAYS);

/// Whether the program's own call instructions are patched, and the branches of its keys.
///
/// By default they are: a call then costs what a direct call costs. Where they are not, it goes through the slot's stub, which loads
/// where to go, at about the cost of `dyn`; and a branch loads its key. On pages that hold a patched instruction no software breakpoint can be set, and `perf`
/// does not find symbols. Takes effect for images that have not been looked through yet, which the first replacement does: call it
/// first thing. [`report`](crate::report) says how many calls are patched. The portable backend has nothing to patch.
///
/// ```
/// hotcall::patch_callers(false);
/// ```
pub fn patch_callers(patch: bool) {
    CHOICE.store(if patch { ALWAYS } else { NEVER }, Ordering::Relaxed);
}

/// One site that is to be retargeted with its slot's method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) method: usize,
    pub(super) region: usize,
}

/// What a site is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The slot's cell.
    Cell(&'static CodeCell),
    /// A call or a jump that the compiler placed.
    Call(CallSite),
}

/// A branch of a key that can be patched.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundBranch {
    pub(super) key: &'static KeyCore,
    pub(super) site: BranchSite,
    pub(super) region: usize,
}

/// What has been found in images that were loaded since the last look.
#[derive(Default)]
pub(super) struct Fresh {
    pub(super) calls: Vec<(&'static SlotCore, Found)>,
    /// Keys of this copy of hotcall that they declare.
    pub(super) keys: Vec<&'static KeyCore>,
    pub(super) branches: Vec<FoundBranch>,
}

/// The pages of one image's calls and branches, and the code memory near them.
pub(super) struct Region {
    name: String,
    /// The pages of calls and branches, in runs.
    pages: Vec<Range<usize>>,
    /// Those that differed from their file when they were to be remapped.
    changed: Vec<Range<usize>>,
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
        // They lie in the order of their addresses.
        let behind = self.maps.partition_point(|map| map.exec_range().end <= exec.get());
        self.maps.get(behind)?.write_addr(exec)
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

    pub(super) fn bytes_remapped(&self) -> usize {
        self.maps.iter().map(|map| map.exec_range().len()).sum()
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
    fn new(name: String, code: Range<usize>) -> Self {
        Self { name, pages: Vec::new(), changed: Vec::new(), code, opened: None, news: Vec::new() }
    }

    /// Makes the region's heap, and remaps the pages, the first time. A page that is refused stays as it is: the calls on it go
    /// through their stubs.
    pub(super) fn open(&mut self) -> &mut Opened {
        self.opened.get_or_insert_with(|| {
            // No later than that of any map.
            let epoch = fork::epoch();
            let mut maps = Vec::new();
            for mapped in map_over(&self.pages, &mut self.changed) {
                match mapped {
                    Ok(map) => {
                        let Range { start, end } = map.exec_range();
                        self.news.push(News::PagesMapped {
                            image: self.name.clone(),
                            start,
                            length: end - start,
                        });
                        maps.push(map);
                    }
                    Err(refused) => self.news.push(News::CodeRefused { reason: refused.to_string() }),
                }
            }
            jitdump::mapped_over(&maps.iter().map(DualMap::exec_range).collect::<Vec<_>>());
            let code = self.code.clone();
            Opened { maps, epoch, heap: CodeHeap::new(code.clone()), code, trampolines: HashMap::new() }
        })
    }

    /// The image's file; empty for the program.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn opened(&mut self) -> Option<&mut Opened> {
        self.opened.as_mut()
    }

    /// Why a call that stands there is left alone, where its page has not been remapped.
    pub(super) fn why_kept(&self, at: ExecAddr) -> Kept {
        let changed = self.changed.iter().any(|page| page.contains(&at.get()));
        if changed { Kept::Changed } else { Kept::Page }
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

/// Maps the pages over, but for those that differ from their file, which go to `changed`.
fn map_over(runs: &[Range<usize>], changed: &mut Vec<Range<usize>>) -> Vec<Result<DualMap, MemoryError>> {
    if runs.is_empty() {
        return Vec::new();
    }
    let pages = match ImagePages::look() {
        Ok(pages) => pages,
        Err(refused) => return vec![Err(refused)],
    };
    let mut maps = Vec::new();
    for run in runs {
        let first = changed.len();
        changed.extend(pages.changed(run));
        let mut start = run.start;
        for page in changed[first..].iter().chain(core::iter::once(&(run.end..run.end))) {
            if start < page.start {
                maps.push(DualMap::over_image(&pages, ExecAddr::new(start), page.start - start));
            }
            start = page.end;
        }
    }
    maps
}

/// A slot that has not been replaced yet.
struct Untouched {
    slot: &'static SlotCore,
    /// That of the image which declares it.
    region: usize,
    calls: Vec<Found>,
}

/// All calls and slots of all images.
pub(super) struct Images {
    loads: u64,
    tables: Vec<usize>,
    pub(super) regions: Vec<Region>,
    /// By the slot's address.
    untouched: HashMap<usize, Untouched>,
    /// The addresses of all slots and keys of this copy of hotcall.
    own: HashSet<usize>,
    /// Where slots are at home of which no record is found.
    home: Option<usize>,
    /// Calls that are left alone, and why.
    pub(super) kept: HashMap<Kept, usize>,
    /// Branches that are.
    pub(super) kept_branches: HashMap<Kept, usize>,
}

impl Images {
    pub(super) fn empty() -> Self {
        Self {
            loads: 0,
            tables: Vec::new(),
            regions: Vec::new(),
            untouched: HashMap::new(),
            own: HashSet::new(),
            home: None,
            kept: HashMap::new(),
            kept_branches: HashMap::new(),
        }
    }

    /// Looks for images that have been loaded since the last look, and gives what is in them.
    pub(super) fn look(&mut self) -> Fresh {
        let mut fresh = Fresh::default();
        if !image::may_be_asked() || self.loads == image::loads() {
            return fresh;
        }
        let images = image::images();
        let new: Vec<_> = images.images.iter().filter(|image| !self.knows(image)).collect();
        // Slots and keys first: a call may be of a slot that another image declares.
        let mut regions = Vec::new();
        for image in &new {
            let region = self.add_region(image);
            for slot in declared(image.slots, is_ours) {
                self.own.insert(address_of(slot));
                self.adopt(slot, region);
            }
            let keys = declared(image.keys, is_ours);
            self.own.extend(keys.iter().map(|key| address_of(*key)));
            fresh.keys.extend(keys);
            regions.push(region);
        }
        let own = core::mem::take(&mut self.own);
        for (image, region) in new.into_iter().zip(regions) {
            let calls = self.add_calls(image, region, owner_of(image.slots, &own));
            let branches = self.add_branches(image, region, owner_of(image.keys, &own));
            self.set_pages(region, &calls, &branches);
            // A library without a part in this may be linked, or unloaded so that another comes to lie where it lay.
            let has_part = !calls.is_empty() || !branches.is_empty();
            if has_part || image.slots.iter().any(is_ours) || image.keys.iter().any(is_ours) {
                self.has_looked_at(image);
            }
            fresh.calls.extend(calls);
            fresh.branches.extend(branches);
        }
        self.own = own;
        self.loads = images.loads;
        fresh
    }

    /// Whether the sites in it have been found.
    pub(super) fn knows(&self, image: &Image) -> bool {
        self.tables.contains(&image.calls.as_ptr().addr())
    }

    pub(super) fn has_looked_at(&mut self, image: &Image) {
        self.tables.push(image.calls.as_ptr().addr());
    }

    /// The cells of a slot that has not been replaced yet are sites of the region.
    pub(super) fn adopt(&mut self, slot: &'static SlotCore, region: usize) {
        self.untouched.entry(address_of(slot)).or_insert_with(|| Untouched {
            slot,
            region,
            calls: Vec::new(),
        });
    }

    /// Makes a region of an image.
    pub(super) fn add_region(&mut self, image: &Image) -> usize {
        let ends = image.code.iter().map(|code| code.as_ptr_range());
        let ends = ends.map(|end| end.start.addr()..end.end.addr());
        let code = ends.reduce(|all, one| all.start.min(one.start)..all.end.max(one.end));
        self.regions.push(Region::new(image.name.clone(), code.unwrap_or(0..0)));
        self.regions.len() - 1
    }

    /// Finds the calls of an image whose slots `slot_of` knows, by the address of the function that gives one.
    pub(super) fn add_calls(
        &mut self,
        image: &Image,
        region: usize,
        slot_of: impl Fn(usize) -> Option<&'static SlotCore>,
    ) -> Vec<(&'static SlotCore, Found)> {
        let wanted = CHOICE.load(Ordering::Relaxed) == ALWAYS;
        let mut slots = HashMap::new();
        let (mut found, mut at) = (Vec::new(), HashSet::new());
        for record in image.calls {
            let Some(label) = record.label() else { continue };
            let Some(slot) = *slots.entry(record.core()).or_insert_with_key(|core| slot_of(*core)) else {
                continue;
            };
            let code = image.code_at(label).unwrap_or_default();
            let call = if wanted {
                let base = code.as_ptr().addr();
                arch::find_call(code, base, label, record.stub(), |pointer| image.pointer_at(pointer))
            } else {
                Err(Kept::Unwanted)
            };
            match call {
                // Where two records lead to one call, it is one site.
                Ok(call) if !at.insert(call.at) => {}
                Ok(call) => {
                    found.push((slot, Found { kind: Kind::Call(call), method: record.method(), region }))
                }
                Err(kept) => self.keep(kept),
            }
        }
        found
    }

    /// Finds the branches of an image whose keys `key_of` knows, by the address of the function that gives one.
    pub(super) fn add_branches(
        &mut self,
        image: &Image,
        region: usize,
        key_of: impl Fn(usize) -> Option<&'static KeyCore>,
    ) -> Vec<FoundBranch> {
        let refused = if CHOICE.load(Ordering::Relaxed) != ALWAYS {
            Some(Kept::Unwanted)
        } else if !section::has_barrier() {
            Some(Kept::NoBarrier)
        } else {
            None
        };
        let mut keys = HashMap::new();
        let (mut found, mut at) = (Vec::new(), HashSet::new());
        for record in image.branches {
            let Some(branch) = record.branch() else { continue };
            let Some(key) = *keys.entry(record.core()).or_insert_with_key(|core| key_of(*core)) else {
                continue;
            };
            let code = image.code_at(branch).unwrap_or_default();
            let site = match refused {
                Some(kept) => Err(kept),
                None => arch::find_branch(code, branch, record.slow(), record.there(), record.jumps_when()),
            };
            match site {
                // Where two records lead to one branch, it is one.
                Ok(site) if !at.insert(site.at) => {}
                Ok(site) => found.push(FoundBranch { key, site, region }),
                Err(kept) => self.keep_branch(kept),
            }
        }
        found
    }

    /// The pages of the region are those of these, and no others: each stays as it was where nothing is rewritten.
    pub(super) fn set_pages(
        &mut self,
        region: usize,
        calls: &[(&'static SlotCore, Found)],
        branches: &[FoundBranch],
    ) {
        let calls = calls.iter().filter_map(|(_, found)| match found.kind {
            Kind::Call(call) => Some((call.at, call.form.len())),
            Kind::Cell(_) => None,
        });
        let branches = branches.iter().map(|found| (found.site.at, BranchSite::LEN));
        self.regions[region].pages = page_runs(calls.chain(branches));
    }

    /// How many calls there are of slots that have not been replaced yet.
    pub(super) fn waiting(&self) -> usize {
        self.untouched.values().map(|untouched| untouched.calls.len()).sum()
    }

    /// A call is left alone.
    pub(super) fn keep(&mut self, kept: Kept) {
        *self.kept.entry(kept).or_default() += 1;
    }

    /// A branch is.
    pub(super) fn keep_branch(&mut self, kept: Kept) {
        *self.kept_branches.entry(kept).or_default() += 1;
    }

    /// Every slot of this copy of hotcall that has not been replaced yet.
    pub(super) fn untouched(&self) -> impl Iterator<Item = &'static SlotCore> {
        self.untouched.values().map(|untouched| untouched.slot)
    }

    /// Keeps a call of a slot that has not been replaced yet.
    pub(super) fn remember(&mut self, slot: &'static SlotCore, found: Found) {
        if let Some(untouched) = self.untouched.get_mut(&address_of(slot)) {
            untouched.calls.push(found);
        }
    }

    /// The sites of a slot that is replaced for the first time: its cells, and the calls that are patched.
    pub(super) fn take(&mut self, slot: &'static SlotCore) -> Vec<Found> {
        let (region, calls) = match self.untouched.remove(&address_of(slot)) {
            Some(untouched) => (untouched.region, untouched.calls),
            None => (self.home(), Vec::new()),
        };
        slot.cells_found(region).chain(calls).collect()
    }

    fn home(&mut self) -> usize {
        *self.home.get_or_insert_with(|| {
            let code = image::own_code().unwrap_or_else(|| {
                let here = (image::runtime_anchor as *const ()).addr();
                here..here + 1
            });
            self.regions.push(Region::new(String::new(), code));
            self.regions.len() - 1
        })
    }
}

/// What a record declares.
pub(super) trait Core: 'static {}
impl Core for SlotCore {}
impl Core for KeyCore {}

/// Of the static itself: a reference to a reference to one is not taken.
pub(super) fn address_of<T: Core>(it: &T) -> usize {
    ptr::from_ref(it).addr()
}

/// Whether what a record names was compiled with this copy of hotcall.
pub(super) fn is_ours<T>(record: &Declaration<T>) -> bool {
    record
        .runtime
        .is_some_and(|runtime| ptr::fn_addr_eq(runtime, image::runtime_anchor as extern "C" fn() -> _))
}

/// What those records declare that `wanted` accepts, each once.
pub(super) fn declared<T: Core>(
    records: &'static [Declaration<T>],
    wanted: impl Fn(&Declaration<T>) -> bool,
) -> Vec<&'static T> {
    let mut known = HashSet::new();
    let records = records.iter().filter(|record| wanted(record));
    let all = records.filter_map(|record| Some((record.core?)()));
    all.filter(|it| known.insert(address_of(*it))).collect()
}

/// The addresses of the functions that give what those records declare that `ours` does not accept.
pub(super) fn strangers<T>(
    records: &'static [Declaration<T>],
    ours: impl Fn(&Declaration<T>) -> bool,
) -> HashSet<usize> {
    let records = records.iter().filter(|record| !ours(record));
    records.filter_map(|record| record.core).map(|core| (core as *const ()).addr()).collect()
}

/// What a function gives that a record of the image names, where that is one of `own`.
fn owner_of<T: Core>(
    records: &'static [Declaration<T>],
    own: &HashSet<usize>,
) -> impl Fn(usize) -> Option<&'static T> {
    let strangers = strangers(records, is_ours);
    move |core| {
        if strangers.contains(&core) {
            return None;
        }
        // SAFETY: an image whose calls are of this copy's slots stays loaded (see `Library`), and so does one that
        // is not, while its own runtime's functions are called here. The same of branches and keys.
        let it = unsafe { image::declared_at::<T>(core) };
        own.contains(&address_of(it)).then_some(it)
    }
}

fn pages_of(start: usize, end: usize) -> Range<usize> {
    let page = rustix::param::page_size();
    start - start % page..end.next_multiple_of(page)
}

/// The pages that instructions are on, each given by its address and its length.
fn page_runs(instructions: impl Iterator<Item = (ExecAddr, usize)>) -> Vec<Range<usize>> {
    let mut pages: Vec<_> = instructions.map(|(at, length)| pages_of(at.get(), at.get() + length)).collect();
    pages.sort_unstable_by_key(|pages| pages.start);
    let mut runs: Vec<Range<usize>> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some(run) if page.start <= run.end => run.end = run.end.max(page.end),
            _ => runs.push(page),
        }
    }
    runs
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

impl SlotCore {
    /// Its cells, as sites of a region.
    pub(super) fn cells_found(&self, region: usize) -> impl Iterator<Item = Found> + use<> {
        let cells = self.cells().iter().enumerate();
        cells.map(move |(method, cell)| Found { kind: Kind::Cell(cell), method, region })
    }
}

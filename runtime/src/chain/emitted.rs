//! A chain as straight-line direct calls.
//!
//! # Problem
//!
//! A loop over trait objects loads, for each element, its instance, its table and its method's address, and then calls
//! through a register, from one place for all of them. The processor has to guess where that goes.
//!
//! # Idea
//!
//! The list changes rarely. So it is emitted: for each method one piece of code, in which each element is two
//! instructions that hold its instance and its method, with calls that each have a place of their own:
//!
//! ```text
//!   elements   entry point of the method
//!   0          the method of the empty chain, which the macro wrote
//!   1          mov rdi, instance; jmp method
//!   2 or more  a frame, one call after another, ret or a last jump: see `template`
//! ```
//!
//! All pieces of one list, and the trampolines for methods out of reach, lie in one block of code memory. The first
//! attempt takes all instances and methods to be in reach; where the block turns out to lie elsewhere, a second one
//! takes none to be.
//!
//! Where code memory is refused every method is a loop, as it is in the portable backend: slower, and right.
//!
//! # Replacing one element in place
//!
//! The instance is an immediate that nothing may rewrite while it is executed; the displacement of the call may be.
//! So the call is retargeted to a thunk that brings the new instance along. It costs the element one jump until the
//! next edit emits the list anew, which happens at the latest when a quarter of the elements have thunks.
//!
//! Two such replacements must not meet in one call: one that has passed the first element before its replacement
//! and reaches the second after *its* replacement would see a list that there never was. So a second one is only done in
//! place when a grace period has passed since the first (`busy` says so); else the list is emitted anew.
//!
//! # Invariants
//!
//! 1. The opcode of every site is at 3 mod 8, and is `call`, or for the last element of a short list `jmp`.
//! 2. Every site reaches its target: a method, a trampoline in the same block, or a thunk.
//! 3. `block`, `thunks` and `frames` live until a grace period has passed in which nothing led to them.
//! 4. Between two retargetings of sites of one program a grace period passes.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Once, OnceLock};

use super::debugger::{Listed, Named};
use super::fill::{Trampolines, emit_line};
use super::fork::{self, Process};
use super::frames::{Frames, Piece, section};
use super::inspect::{Counts, EmittedChain};
use super::rule::{Combine, MethodRule};
use super::shape::{Shape, Stop};
use super::template::{Line, Reach};
use crate::arch;
use crate::arena::{Block, CodeHeap, ExecAddr, SharedHeap, WriteAddr};
use crate::error::MemoryError;
use crate::installed::Installed;
use crate::interface::Code;
use crate::quiesce::section as sections;
use crate::sys::image::runtime_anchor;
use crate::sys::jitdump;

/// Code memory for all chains, near the program's own code.
static HEAP: LazyLock<Arc<SharedHeap>> = LazyLock::new(|| {
    let near = runtime_anchor as *const () as usize;
    SharedHeap::new(CodeHeap::new(near..near + 1))
});

/// Of all chains: see [`counts`]. Changed by whoever makes and drops what is counted.
static PROGRAMS: AtomicUsize = AtomicUsize::new(0);
static SITES: AtomicUsize = AtomicUsize::new(0);
static THUNKS: AtomicUsize = AtomicUsize::new(0);

/// What is emitted for all chains.
pub(crate) fn counts() -> Counts {
    let heap = HEAP.lock().stats();
    Counts {
        programs: PROGRAMS.load(Ordering::Relaxed),
        sites: SITES.load(Ordering::Relaxed),
        thunks: THUNKS.load(Ordering::Relaxed),
        bytes_mapped: heap.bytes_mapped,
        bytes_used: heap.bytes_used,
    }
}

/// Why a chain became a loop for want of code memory, the first time.
static REFUSED: OnceLock<String> = OnceLock::new();
/// That has been said.
static TOLD: Once = Once::new();

/// Says, once, that a chain became a loop for want of code memory. No lock is held: a subscriber may itself be behind a chain.
pub(super) fn tell() {
    if let Some(reason) = REFUSED.get() {
        TOLD.call_once(|| {
            tracing::warn!(target: "hotcall::arena", reason, "code memory is refused: chains are loops");
        });
    }
}

/// Gives thunks back that nothing leads to.
fn release_thunks(thunks: impl IntoIterator<Item = Block>) {
    HEAP.release(thunks.into_iter().inspect(|_| {
        THUNKS.fetch_sub(1, Ordering::Relaxed);
    }));
}

const TRAMPOLINE: usize = arch::CODE_ALIGN;

/// How a method is reached.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It is not emitted.
    Elsewhere,
    /// One element: a thunk at this distance from the block's start.
    Jump(usize),
    /// A line at this distance.
    Line(usize),
}

/// What is emitted for each method, for instances in reach and for others.
#[derive(Debug)]
struct Lines {
    near: Vec<Option<Line>>,
    far: Vec<Option<Line>>,
}

impl Lines {
    fn new(rules: &[MethodRule]) -> Arc<Self> {
        let shapes: Vec<_> = rules.iter().map(Shape::of).collect();
        let lines =
            |reach| shapes.iter().map(|shape| shape.as_ref().map(|shape| Line::new(shape, reach))).collect();
        Arc::new(Self { near: lines(Reach::Near), far: lines(Reach::Far) })
    }

    fn of(&self, reach: Reach) -> &[Option<Line>] {
        match reach {
            Reach::Near => &self.near,
            Reach::Far => &self.far,
        }
    }
}

/// What calls run. See the head of this file for the invariants.
#[derive(Debug)]
pub(super) struct Program {
    lines: Arc<Lines>,
    reach: Reach,
    ways: Vec<Way>,
    elements: usize,
    needs_links: bool,
    block: Option<Block>,
    frames: Option<Frames>,
    listed: Option<Listed>,
    process: Process,
    /// By element: the thunks that its sites go to, one for each method that is emitted.
    thunks: HashMap<usize, Vec<Block>>,
    /// A grace period has not passed since the last retargeting.
    busy: Arc<AtomicBool>,
}

/// What a retargeting has made unused. Dropped when a grace period has passed.
pub(super) struct Retarget {
    thunks: Vec<Block>,
    busy: Arc<AtomicBool>,
}

impl Drop for Retarget {
    fn drop(&mut self) {
        release_thunks(core::mem::take(&mut self.thunks));
        // Release, partner of the Acquire in `retarget`.
        self.busy.store(false, Ordering::Release);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        release_thunks(core::mem::take(&mut self.thunks).into_values().flatten());
        let Some(block) = self.block.take() else { return };
        PROGRAMS.fetch_sub(1, Ordering::Relaxed);
        SITES.fetch_sub(self.site_count(), Ordering::Relaxed);
        let (listed, frames) = (self.listed.take(), self.frames.take());
        if frames.is_some() && self.process != Process::this() {
            // In a child that inherited it, and must not ask libgcc to forget it: see `fork`.
            core::mem::forget((listed, frames));
            return;
        }
        // Before the code: nobody looks up what is not there.
        drop((listed, frames));
        HEAP.release([block]);
    }
}

impl Program {
    /// Finds out, before a lock is held, what may take a while and be reported.
    pub(super) fn prepare(elements: usize) {
        if elements >= 2 {
            fork::can_register();
        }
    }

    /// The program for `list`, and the entry points. `before` is that of another list of the same interface.
    pub(super) fn new(
        rules: &'static [MethodRule],
        list: &[Arc<Installed>],
        before: Option<&Self>,
    ) -> (Self, Vec<Code>) {
        let lines = before.map_or_else(|| Lines::new(rules), |before| Arc::clone(&before.lines));
        let mut program = Self {
            lines,
            reach: Reach::Near,
            ways: Vec::with_capacity(rules.len()),
            elements: list.len(),
            needs_links: false,
            block: None,
            frames: None,
            listed: None,
            process: Process::this(),
            thunks: HashMap::new(),
            busy: Arc::default(),
        };
        // A call that began with a loop finds the links of the list that there is now.
        program.needs_links = before.is_some_and(|before| before.needs_links);
        let len = program.lay_out(rules, list.len());
        if len != 0
            && let Err(refused) = program.place(rules, list, len)
        {
            program.loop_instead(refused);
        }
        let start = program.block.as_ref().map_or(0, |block| block.exec().get());
        let code = |at: usize| Code::new(core::ptr::with_exposed_provenance(start + at));
        let codes = rules.iter().zip(&program.ways).map(|(rule, way)| match way {
            Way::Jump(at) | Way::Line(at) => code(*at),
            Way::Elsewhere if list.is_empty() => rule.empty,
            Way::Elsewhere => rule.looped,
        });
        let codes = codes.collect();
        (program, codes)
    }

    /// Emits the list into memory of its own.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    fn place(
        &mut self,
        rules: &[MethodRule],
        list: &[Arc<Installed>],
        mut len: usize,
    ) -> Result<(), MemoryError> {
        let mut block = HEAP.lock().allocate(len)?;
        let mut trampolines = Trampolines::new();
        if !self.reaches_all(list, &block, len) {
            self.reach = Reach::Far;
            len = self.lay_out(rules, list.len());
            // There may be one trampoline for each method of each type.
            trampolines.extend(self.targets(list).map(|target| (target, 0)));
            let start = len.next_multiple_of(TRAMPOLINE);
            let longer = HEAP.lock().allocate(start + TRAMPOLINE * trampolines.len());
            HEAP.release([block]);
            block = longer?;
            let first = block.exec().get() + start;
            trampolines.values_mut().enumerate().for_each(|(number, at)| *at = first + number * TRAMPOLINE);
        }
        self.emit(list, block, &trampolines)
    }

    /// Without code memory, every method is a loop. It is said once: see [`tell`].
    fn loop_instead(&mut self, refused: MemoryError) {
        self.ways.fill(Way::Elsewhere);
        self.needs_links = true;
        REFUSED.get_or_init(|| refused.to_string());
    }

    /// Where each method's code is to be, and how long all of it is.
    fn lay_out(&mut self, rules: &[MethodRule], elements: usize) -> usize {
        let mut len: usize = 0;
        self.ways.clear();
        let can_register = elements < 2 || fork::can_register();
        for (rule, line) in rules.iter().zip(self.lines.of(self.reach)) {
            let way = match (elements, line) {
                (0, _) => Way::Elsewhere,
                _ if rule.combine == Combine::Own => Way::Elsewhere,
                (1, line) => {
                    // Where the list before was a loop, a call that began with it finds this one's links.
                    self.needs_links |= line.is_none() || Process::this() != Process::FIRST;
                    let at = len.next_multiple_of(arch::CODE_ALIGN);
                    len = at + arch::THUNK_LEN;
                    Way::Jump(at)
                }
                (_, Some(line)) if can_register => {
                    let at = len.next_multiple_of(arch::CODE_ALIGN);
                    len = at + line.len(elements);
                    Way::Line(at)
                }
                (_, _) => {
                    self.needs_links = true;
                    Way::Elsewhere
                }
            };
            self.ways.push(way);
        }
        len
    }

    fn emit(
        &mut self,
        list: &[Arc<Installed>],
        block: Block,
        trampolines: &Trampolines,
    ) -> Result<(), MemoryError> {
        let mut code = vec![arch::TRAP; block.len()];
        let base = block.exec();
        for (target, at) in trampolines {
            let bytes = arch::trampoline(ExecAddr::new(*target));
            code[at - base.get()..][..bytes.as_bytes().len()].copy_from_slice(bytes.as_bytes());
        }
        for (method, way) in self.ways.iter().enumerate() {
            match (*way, self.line(method)) {
                (Way::Jump(at), _) => {
                    let target = ExecAddr::new(list[0].table().method(method).address());
                    let bytes = arch::thunk(base.add(at), list[0].data().addr(), target);
                    code[at..][..bytes.as_bytes().len()].copy_from_slice(bytes.as_bytes());
                }
                (Way::Line(at), Some(line)) => {
                    emit_line(
                        &mut code[at..at + line.len(list.len())],
                        base.add(at),
                        line,
                        method,
                        list,
                        trampolines,
                    );
                }
                _ => {}
            }
        }
        let written = HEAP.lock().write(&block, &code);
        if let Err(error) = written {
            HEAP.release([block]);
            return Err(error);
        }
        let pieces: Vec<_> = self.pieces(base).collect();
        if !pieces.is_empty() {
            let frames = Frames::register(section(&pieces));
            let named = |piece: &Piece<'_>| Named {
                start: piece.start,
                len: piece.len,
                name: format!("hotcall_chain_of_{}", self.elements),
            };
            let named: Vec<_> = pieces.iter().map(named).collect();
            for Named { start, len, name } in &named {
                jitdump::emitted(name, &(*start..*start + *len));
            }
            self.listed = Some(Listed::new(&named, frames.section()));
            self.frames = Some(frames);
        }
        self.block = Some(block);
        PROGRAMS.fetch_add(1, Ordering::Relaxed);
        SITES.fetch_add(self.site_count(), Ordering::Relaxed);
        Ok(())
    }

    /// One for each element in each method that is emitted.
    fn site_count(&self) -> usize {
        self.elements * self.ways.iter().filter(|way| !matches!(way, Way::Elsewhere)).count()
    }

    fn line(&self, method: usize) -> Option<&Line> {
        self.lines.of(self.reach)[method].as_ref()
    }

    fn pieces(&self, base: ExecAddr) -> impl Iterator<Item = Piece<'_>> {
        self.ways.iter().zip(self.lines.of(self.reach)).filter_map(move |(way, line)| match (way, line) {
            (Way::Line(at), Some(line)) => {
                let (unwind, tail) = line.unwind(self.elements);
                Some(Piece { start: base.get() + at, len: line.len(self.elements), tail, unwind })
            }
            _ => None,
        })
    }

    /// All addresses that are called.
    fn targets<'p>(&'p self, list: &'p [Arc<Installed>]) -> impl Iterator<Item = usize> + 'p {
        let lines = self.ways.iter().enumerate().filter(|(_, way)| matches!(way, Way::Line(_)));
        let methods =
            lines.flat_map(|(method, _)| list.iter().map(move |one| one.table().method(method).address()));
        methods.chain(self.lines.of(self.reach).iter().flatten().filter_map(|line| match line.stop {
            Stop::Ask(code) => Some(code.address()),
            _ => None,
        }))
    }

    fn reaches_all(&self, list: &[Arc<Installed>], block: &Block, len: usize) -> bool {
        if !self.ways.iter().any(|way| matches!(way, Way::Line(_))) {
            return true;
        }
        let instances = list.iter().map(|one| one.data().addr());
        let all = self.targets(list).chain(instances);
        let (least, greatest) =
            all.fold((usize::MAX, 0), |(least, greatest), at| (least.min(at), greatest.max(at)));
        let ends = [block.exec(), block.exec().add(len)];
        let targets = [ExecAddr::new(least), ExecAddr::new(greatest)];
        ends.iter().all(|end| targets.iter().all(|target| arch::displacement(*end, *target).is_some()))
    }

    pub(super) fn needs_links(&self) -> bool {
        self.needs_links
    }

    /// Where the site of an element is, in a method's code. `None` where it has none, or none that can be retargeted.
    fn site(&self, method: usize, element: usize) -> Option<(ExecAddr, usize)> {
        let block = self.block.as_ref()?;
        let at = match (self.ways[method], self.line(method)) {
            (Way::Jump(at), _) => at + arch::NEAR_JUMP_AT,
            (Way::Line(at), Some(line)) => at + line.site(element, self.elements),
            _ => return None,
        };
        let site = block.exec().add(at);
        arch::branch_at(site).map(|_| (site, at))
    }

    /// Makes the sites of one element go to `new`, of the same type. `None` where that cannot be done in place.
    pub(super) fn retarget(
        &mut self,
        rules: &[MethodRule],
        index: usize,
        new: &Installed,
    ) -> Option<Retarget> {
        let crowded = !self.thunks.contains_key(&index) && self.thunks.len() > self.elements / 4;
        if self.needs_links || crowded || self.busy.load(Ordering::Acquire) {
            return None;
        }
        let mut stores = Vec::with_capacity(rules.len());
        let mut thunks = Vec::with_capacity(rules.len());
        let planned = self.plan(rules, index, new, &mut stores, &mut thunks);
        if planned.is_none() {
            release_thunks(thunks);
            return None;
        }
        let block = self.block.as_ref()?;
        // Invariants 1 and 2: checked in `plan`.
        let store = |start: WriteAddr| {
            stores
                .iter()
                .for_each(|(site, at, displacement)| arch::retarget(*site, start.add(*at), *displacement));
        };
        let stored = HEAP.lock().patch(block, store);
        if stored.is_err() {
            release_thunks(thunks);
            return None;
        }
        // From here on every call that begins, on any core, runs the new element.
        sections::heavy_barrier();
        self.busy.store(true, Ordering::Relaxed);
        let thunks = self.thunks.insert(index, thunks).unwrap_or_default();
        Some(Retarget { thunks, busy: Arc::clone(&self.busy) })
    }

    /// The stores that retarget an element's sites, and the thunks for them. `None` where some site cannot be.
    fn plan(
        &self,
        rules: &[MethodRule],
        index: usize,
        new: &Installed,
        stores: &mut Vec<(ExecAddr, usize, i32)>,
        thunks: &mut Vec<Block>,
    ) -> Option<()> {
        let mut heap = HEAP.lock();
        for (method, rule) in rules.iter().enumerate() {
            if rule.combine == Combine::Own {
                continue;
            }
            let (site, at) = self.site(method, index)?;
            let target = ExecAddr::new(new.table().method(method).address());
            let thunk =
                heap.emit(arch::THUNK_LEN, |exec| arch::thunk(exec, new.data().addr(), target)).ok()?;
            let exec = thunk.exec();
            thunks.push(thunk);
            THUNKS.fetch_add(1, Ordering::Relaxed);
            stores.push((site, at, arch::displacement(site, exec)?));
        }
        Some(())
    }
}

impl Program {
    /// For tests: what is executed, read back.
    pub(super) fn inspect(&self, rules: &[MethodRule], list: &[Arc<Installed>]) -> Vec<EmittedChain> {
        let start = self.block.as_ref().map_or(0, |block| block.exec().get());
        let method = |(method, rule): (usize, &MethodRule)| {
            let (entry, length) = match (self.ways[method], self.line(method)) {
                (Way::Jump(at), _) => (start + at, arch::THUNK_LEN),
                (Way::Line(at), Some(line)) => (start + at, line.len(self.elements)),
                _ => (0, 0),
            };
            let sites = (0..self.elements).filter_map(|element| self.site(method, element));
            let own = rule.combine == Combine::Own;
            EmittedChain {
                method,
                entry,
                length,
                sites: sites.map(|(site, _)| site.get()).collect(),
                targets: if own {
                    Vec::new()
                } else {
                    list.iter().map(|one| one.table().method(method).address()).collect()
                },
                instances: list.iter().map(|one| one.data().addr()).collect(),
            }
        };
        rules.iter().enumerate().map(method).collect()
    }
}

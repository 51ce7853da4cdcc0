//! Operations on an arena, and what must be true after each of them.
//!
//! Run by the fuzz target `arena`, which finds scripts that reach new code, and by `tests/tests/arena_ops.rs`, which
//! draws them at random on a stable toolchain.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use hotcall::dynasmrt::DynasmApi;
use hotcall::{Arena, Assembler, Code, Error, Marked, MemoryError, Reservation, Site};

/// What is done with one arena.
#[derive(Clone, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub struct Script {
    /// Near this program, or wherever the system likes.
    pub near: bool,
    /// In this order.
    pub ops: Vec<Op>,
}

/// One operation. Numbers choose among what there is, modulo how much there is.
#[derive(Clone, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub enum Op {
    /// Sets memory aside.
    Reserve(u16),
    /// Publishes a function that calls these targets one after another, with so many nops before each.
    Commit {
        /// In which reservation: refused where the code is too long for it.
        reservation: u8,
        /// What is called.
        targets: Vec<u8>,
        /// Nops, modulo 16.
        pad: u8,
    },
    /// Commits what was written for another reservation: refused.
    CommitAnothers(u8, u8),
    /// Gives a reservation back. Code may have been written for it.
    Abort(u8, bool),
    /// Lets code and its sites go.
    Free(u8),
    /// Makes one site of some code go elsewhere.
    Retarget(u8, u8, u8),
    /// Calls some code, and a site of it by itself.
    Call(u8, u16),
    /// Makes a branch on its own.
    Branch(u8),
    /// Waits until what was freed can be reused.
    Settle,
}

type F = unsafe extern "C-unwind" fn(u64) -> u64;

unsafe extern "C-unwind" fn plus<const N: u64>(x: u64) -> u64 {
    x + N
}

unsafe extern "C-unwind" {
    /// Of the C library, which is out of reach of an arena that is near this program: it takes a trampoline. These
    /// numbers are all small.
    fn labs(x: u64) -> u64;
}

const TARGETS: [F; 6] = [plus::<0>, plus::<1>, plus::<20>, plus::<300>, plus::<4_000>, labs];
/// The most targets of one function, reservations, and pieces of code.
const MOST: usize = 200;

fn target(choice: u8) -> F {
    TARGETS[usize::from(choice) % TARGETS.len()]
}

/// Code, its sites, and where they go.
struct Live {
    code: Code,
    sites: Vec<Site<F>>,
    targets: Vec<F>,
    /// One jump, and nothing else.
    is_branch: bool,
}

struct World {
    arena: Arena,
    reserved: Vec<Reservation>,
    live: Vec<Live>,
}

/// Runs a script, and checks after each operation.
///
/// # Panics
///
/// Where something is not as it must be.
pub fn run(script: &Script) {
    let arena = if script.near { Arena::near(plus::<0> as *const u8) } else { Arena::anywhere() };
    let mut world = World { arena: arena.expect("there is memory"), reserved: Vec::new(), live: Vec::new() };
    for op in &script.ops {
        world.step(op);
        world.check(op);
    }
    let World { arena, reserved, live } = world;
    drop((reserved, live));
    settle(&arena, |stats| (stats.sites, stats.trampolines, stats.blocks, stats.bytes_used) == (0, 0, 0, 0));
}

/// Waits until everything that has been freed is free, and `done`.
fn settle(arena: &Arena, done: impl Fn(&hotcall::ArenaStats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while arena.stats().bytes_waiting != 0 || !done(&arena.stats()) {
        assert!(Instant::now() < deadline, "never free: {:?}", arena.stats());
        std::thread::yield_now();
    }
}

/// The place that a number chooses among so many.
fn choose(choice: u8, among: usize) -> Option<usize> {
    (among != 0).then(|| usize::from(choice) % among)
}

/// A function that calls `targets` one after another, each with the result of the one before.
fn write(reservation: &Reservation, targets: &[F], pad: u8) -> (Assembler, Vec<Marked<F>>) {
    let mut ops = reservation.assembler();
    ops.extend([0x48, 0x83, 0xec, 0x08]); // sub rsp, 8
    let mut marks = Vec::new();
    for target in targets {
        (0..pad % 16).for_each(|_| ops.push(0x90));
        marks.push(ops.call::<F>(*target).expect("there is memory for a trampoline"));
        ops.extend([0x48, 0x89, 0xc7]); // mov rdi, rax
    }
    ops.extend([0x48, 0x89, 0xf8, 0x48, 0x83, 0xc4, 0x08, 0xc3]); // mov rax, rdi; add rsp, 8; ret
    (ops, marks)
}

impl World {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Reserve(len) if self.reserved.len() < MOST => {
                self.reserved.push(self.arena.reserve(usize::from(len)).expect("there is memory"));
            }
            Op::Commit { reservation, ref targets, pad } => self.commit(reservation, targets, pad),
            Op::CommitAnothers(one, other) => {
                let (Some(one), Some(other)) =
                    (choose(one, self.reserved.len()), choose(other, self.reserved.len()))
                else {
                    return;
                };
                if one == other {
                    return;
                }
                let ops = self.reserved[other].assembler();
                // SAFETY: refused, so never run.
                let outcome = unsafe { self.reserved.swap_remove(one).commit(ops) };
                assert!(matches!(outcome, Err(Error::Memory(MemoryError::Assembly { .. }))), "{outcome:?}");
            }
            Op::Abort(choice, written) => {
                let Some(at) = choose(choice, self.reserved.len()) else { return };
                let reservation = self.reserved.swap_remove(at);
                if written {
                    drop(write(&reservation, &TARGETS, choice));
                }
                reservation.abort();
            }
            Op::Free(choice) => {
                if let Some(at) = choose(choice, self.live.len()) {
                    drop(self.live.swap_remove(at));
                }
            }
            Op::Retarget(code, site, to) => {
                let Some(at) = choose(code, self.live.len()) else { return };
                let live = &mut self.live[at];
                let Some(site) = choose(site, live.sites.len()) else { return };
                // SAFETY: every target may be called with any of the numbers here.
                unsafe { live.sites[site].retarget(target(to)) }.expect("there is memory for a trampoline");
                live.targets[site] = target(to);
            }
            Op::Call(choice, x) => {
                let Some(at) = choose(choice, self.live.len()) else { return };
                self.live[at].call(u64::from(x));
            }
            Op::Branch(to) if self.live.len() < MOST => {
                // SAFETY: every target may be called with any of the numbers here.
                let site = unsafe { self.arena.site::<F>(target(to)) }.expect("there is memory");
                let live = Live {
                    code: site.code().clone(),
                    sites: vec![site],
                    targets: vec![target(to)],
                    is_branch: true,
                };
                self.live.push(live);
            }
            Op::Settle => settle(&self.arena, |_| true),
            Op::Reserve(_) | Op::Branch(_) => {}
        }
    }

    fn commit(&mut self, choice: u8, targets: &[u8], pad: u8) {
        let Some(at) = choose(choice, self.reserved.len()) else { return };
        if self.live.len() == MOST {
            return;
        }
        let reservation = self.reserved.swap_remove(at);
        let targets: Vec<F> = targets.iter().take(MOST).map(|choice| target(*choice)).collect();
        let (ops, marks) = write(&reservation, &targets, pad);
        let (length, capacity) = (ops.offset().0, reservation.capacity());
        let address = reservation.address();
        // SAFETY: the code is a function of type `F`.
        match unsafe { reservation.commit(ops) } {
            Ok(code) => {
                assert!(length <= capacity && (code.address(), code.len()) == (address, length));
                let sites = marks
                    .into_iter()
                    .map(|mark| code.site(mark).expect("it was marked in this code"))
                    .collect();
                self.live.push(Live { code, sites, targets, is_branch: false });
            }
            Err(Error::Memory(MemoryError::TooLong { length: said, reserved })) => {
                assert!(length > capacity && (said, reserved) == (length, capacity));
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// What must be true at any moment.
    fn check(&self, op: &Op) {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        ranges.extend(self.live.iter().map(|one| (one.code.address().addr(), one.code.len())));
        ranges.extend(self.reserved.iter().map(|one| (one.address().addr(), one.capacity())));
        ranges.sort_unstable();
        assert!(ranges.iter().all(|(start, _)| start % 16 == 0), "{op:?}: a block is not aligned");
        let apart = ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0);
        assert!(apart, "{op:?}: blocks overlap");

        let stats = self.arena.stats();
        // Sites of code that was freed go at once, code a grace period later.
        assert_eq!(stats.sites, self.live.iter().map(|one| one.sites.len()).sum::<usize>(), "{op:?}");
        assert!(stats.bytes_used >= ranges.iter().map(|(_, len)| len).sum(), "{op:?}: {stats:?}");
        assert!(stats.blocks >= ranges.len(), "{op:?}: {stats:?}");
        let all = stats.bytes_used + stats.bytes_waiting + stats.bytes_in_free_pages;
        assert!(all <= stats.bytes_mapped, "{op:?}: {stats:?}");
        assert!((0.0..1.0).contains(&stats.fragmentation()), "{op:?}: {stats:?}");

        for reservation in &self.reserved {
            // SAFETY: so many bytes are mapped there, and nobody writes to them while they are reserved.
            let bytes = unsafe { std::slice::from_raw_parts(reservation.address(), reservation.capacity()) };
            assert!(bytes.iter().all(|byte| *byte == 0xcc), "{op:?}: something is there that would run");
        }
        self.live.iter().for_each(|live| live.call(1));
    }
}

impl Live {
    fn call(&self, x: u64) {
        // SAFETY: every target may be called with any of the numbers here.
        let wanted = self.targets.iter().fold(x, |x, target| unsafe { target(x) });
        // SAFETY: a branch begins with its nops, other code with its first instruction: both are of type `F`.
        let found = unsafe { self.code.call::<F>((x,)) };
        assert_eq!(found, wanted, "{:?}", self.code);
        for (site, target) in self.sites.iter().zip(&self.targets) {
            assert_eq!(site.entry().addr() % 8, 3);
            assert_eq!(site.target() as usize, *target as usize);
            if self.is_branch {
                // SAFETY: as above.
                assert_eq!(unsafe { site.call((x,)) }, wanted);
            }
        }
    }
}

//! Executable arenas from the outside, and under a long random script with invariants checked after each step.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotcall::dynasmrt::DynasmApi;
use hotcall::{Arena, Code, Error, Marked, MemoryError, Reservation, Site};

type F = unsafe extern "C-unwind" fn(u64) -> u64;

unsafe extern "C-unwind" fn plus<const N: u64>(x: u64) -> u64 {
    x + N
}

const TARGETS: [F; 6] = [plus::<0>, plus::<1>, plus::<20>, plus::<300>, plus::<4_000>, plus::<50_000>];

/// A function that calls `targets` one after another, each with the result of the one before.
fn write(reservation: &Reservation, targets: &[F], pad: usize) -> (hotcall::Assembler, Vec<Marked<F>>) {
    let mut ops = reservation.assembler();
    ops.extend([0x48, 0x83, 0xec, 0x08]); // sub rsp, 8
    let mut marks = Vec::new();
    for target in targets {
        for _ in 0..pad {
            ops.push(0x90);
        }
        marks.push(ops.call::<F>(*target).unwrap());
        ops.extend([0x48, 0x89, 0xc7]); // mov rdi, rax
    }
    ops.extend([0x48, 0x89, 0xf8, 0x48, 0x83, 0xc4, 0x08, 0xc3]); // mov rax, rdi; add rsp, 8; ret
    (ops, marks)
}

fn build(arena: &Arena, targets: &[F], pad: usize) -> (Code, Vec<Site<F>>) {
    let reservation = arena.reserve(64 + targets.len() * (16 + pad)).unwrap();
    let (ops, marks) = write(&reservation, targets, pad);
    // SAFETY: the code is a function of type `F`.
    let code = unsafe { reservation.commit(ops) }.unwrap();
    let sites = marks.into_iter().map(|mark| code.site(mark)).collect();
    (code, sites)
}

fn call(code: &Code, x: u64) -> u64 {
    // SAFETY: `build` made a function of type `F`.
    unsafe { code.call::<F>((x,)) }
}

fn retarget(site: &Site<F>, target: F) {
    // SAFETY: every target may be called with any number.
    unsafe { site.retarget(target) }.unwrap();
}

#[test]
fn a_site_of_its_own() {
    let arena = Arena::near(plus::<0> as *const u8).unwrap();
    // SAFETY: the targets may be called with any number.
    let site = unsafe { arena.site::<F>(plus::<1>) }.unwrap();
    assert_eq!(site.entry() as usize % 8, 3);
    let guard = hotcall::pin();
    // SAFETY: the site's entry is a function of type `F`, and the guard is held.
    let entry = unsafe { core::mem::transmute::<*const u8, F>(site.entry()) };
    // SAFETY: as above.
    assert_eq!(unsafe { entry(1) }, 2);
    retarget(&site, plus::<20>);
    // SAFETY: as above.
    assert_eq!(unsafe { entry(1) }, 21);
    assert_eq!(site.target() as usize, plus::<20> as *const () as usize);
    // SAFETY: as above.
    assert_eq!(unsafe { site.call((2,)) }, 22);
    drop(guard);
    assert_eq!(arena.stats().sites, 1);
}

#[test]
fn what_is_refused_says_why() {
    let arena = Arena::anywhere().unwrap();
    let (small, other) = (arena.reserve(16).unwrap(), arena.reserve(16).unwrap());
    let mut ops = small.assembler();
    ops.extend([0x90; 17]);
    // SAFETY: never run.
    let refused = unsafe { small.commit(ops) }.unwrap_err();
    assert!(matches!(refused, Error::Memory(MemoryError::TooLong { length: 17, reserved: 16 })), "{refused}");
    let mut ops = arena.reserve(16).unwrap().assembler();
    ops.push(0xc3);
    // SAFETY: never run.
    let refused = unsafe { other.commit(ops) }.unwrap_err();
    assert!(matches!(refused, Error::Memory(MemoryError::Assembly { .. })), "{refused}");
}

#[test]
fn far_targets_share_a_trampoline() {
    // libc is nowhere near the heap of an arena that is near this program, or the other way round.
    let arena = Arena::near(plus::<0> as *const u8).unwrap();
    unsafe extern "C" {
        fn labs(x: i64) -> i64;
    }
    type Labs = unsafe extern "C" fn(i64) -> i64;
    // SAFETY: `labs` may be called with any number but the least.
    let sites = [0; 3].map(|_| unsafe { arena.site::<Labs>(labs as Labs) }.unwrap());
    // SAFETY: as above.
    assert!(sites.iter().all(|site| unsafe { site.code().call::<Labs>((-5,)) } == 5));
    assert!(arena.stats().trampolines <= 1);
    drop(sites);
    settle(&arena, |stats| stats.trampolines == 0 && stats.sites == 0);
}

fn settle(arena: &Arena, done: impl Fn(&hotcall::ArenaStats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done(&arena.stats()) {
        assert!(Instant::now() < deadline, "{:?}", arena.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_site_is_retargeted_while_threads_run_it() {
    let arena = Arena::near(plus::<0> as *const u8).unwrap();
    let (code, sites) = build(&arena, &[plus::<1>, plus::<0>], 3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let found = call(&code, 7);
                    assert!([8, 27, 307].contains(&found), "{found}");
                }
            });
        }
        for number in 0..20_000 {
            retarget(&sites[0], [plus::<1>, plus::<20>, plus::<300>][number % 3]);
            retarget(&sites[1], plus::<0>);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

/// Code, its sites, and what it is to add.
struct Live {
    code: Code,
    sites: Vec<Site<F>>,
    targets: Vec<F>,
}

#[test]
fn a_random_script_keeps_the_invariants() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let arena =
            if seed % 2 == 0 { Arena::near(plus::<0> as *const u8) } else { Arena::anywhere() }.unwrap();
        let mut live: Vec<Live> = Vec::new();
        let mut reserved: Vec<Reservation> = Vec::new();
        for step in 0..400 {
            let at = random.below(live.len());
            match random.below(8) {
                0 | 1 if live.len() < 60 => {
                    let count = random.below(if step % 50 == 0 { 600 } else { 12 });
                    let targets: Vec<F> = (0..count).map(|_| TARGETS[random.below(6)]).collect();
                    let (code, sites) = build(&arena, &targets, random.below(9));
                    live.push(Live { code, sites, targets });
                }
                2 => reserved.push(arena.reserve(1 + random.below(9_000)).unwrap()),
                3 => drop(reserved.pop()),
                4 if !live.is_empty() => drop(live.swap_remove(at)),
                5 if !reserved.is_empty() => {
                    // Written, and thought better of.
                    let reservation = reserved.swap_remove(0);
                    drop(write(&reservation, &TARGETS[..random.below(6)], 1));
                    reservation.abort();
                }
                _ if !live.is_empty() && !live[at].sites.is_empty() => {
                    let (site, target) = (random.below(live[at].sites.len()), TARGETS[random.below(6)]);
                    retarget(&live[at].sites[site], target);
                    live[at].targets[site] = target;
                }
                _ => {}
            }
            check(&arena, &live, &reserved, step);
        }
        live.clear();
        reserved.clear();
        settle(&arena, |stats| stats.bytes_used == 0 && stats.bytes_waiting == 0 && stats.sites == 0);
        assert!(arena.stats().fragmentation() < 1.0);
    }
}

fn check(arena: &Arena, live: &[Live], reserved: &[Reservation], step: usize) {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    ranges.extend(live.iter().map(|one| (one.code.address() as usize, one.code.len())));
    ranges.extend(reserved.iter().map(|one| (one.address() as usize, one.capacity())));
    ranges.sort_unstable();
    assert!(ranges.iter().all(|(start, _)| start % 16 == 0));
    assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "step {step}: blocks overlap");
    let stats = arena.stats();
    assert_eq!(stats.sites, live.iter().map(|one| one.sites.len()).sum::<usize>());
    assert!(stats.bytes_used >= ranges.iter().map(|(_, len)| len).sum());
    assert!(stats.bytes_used + stats.bytes_waiting + stats.bytes_in_free_pages <= stats.bytes_mapped);
    for one in live {
        // SAFETY: every target may be called with any number.
        let wanted = one.targets.iter().fold(1, |x, target| unsafe { target(x) });
        assert_eq!(call(&one.code, 1), wanted, "step {step}");
        let same = one
            .sites
            .iter()
            .zip(&one.targets)
            .all(|(site, target)| site.target() as usize == *target as usize);
        assert!(same, "step {step}");
        assert!(one.sites.iter().all(|site| site.entry() as usize % 8 == 3));
    }
}

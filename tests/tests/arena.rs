//! Executable arenas from the outside. Random scripts: see `arena_ops.rs`.
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
    let sites = marks.into_iter().map(|mark| code.site(mark).unwrap()).collect();
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
    for len in [usize::MAX, 1 << 40] {
        let refused = arena.reserve(len).unwrap_err();
        assert!(
            matches!(refused, Error::Memory(MemoryError::NoRoom { length, .. }) if length == len),
            "{refused}"
        );
    }
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

#[test]
fn what_is_refused_leaves_nothing_behind() {
    unsafe extern "C-unwind" {
        fn llabs(x: u64) -> u64;
    }
    let arena = Arena::near(plus::<0> as *const u8).unwrap();
    let reservation = arena.reserve(8).unwrap();
    let (ops, _) = write(&reservation, &[llabs, llabs], 0);
    assert_eq!(arena.stats().trampolines, 1, "the C library is out of reach");
    // SAFETY: never run.
    let refused = unsafe { reservation.commit(ops) }.unwrap_err();
    assert!(matches!(refused, Error::Memory(MemoryError::TooLong { reserved: 8, .. })), "{refused}");
    settle(&arena, |stats| (stats.trampolines, stats.blocks, stats.sites) == (0, 0, 0));
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

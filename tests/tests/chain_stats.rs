//! `hotcall::stats` counts what chains and arenas hold, and no more once it is gone. One test: it counts a whole process.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", not(hotcall_portable)))]

use std::time::{Duration, Instant};

use hotcall::{Arena, Chain, Instance, Stats, dispatch, stats};

#[dispatch]
trait Hook: Send + Sync {
    #[chain(through)]
    fn one(&self, x: u64) -> u64;
    fn two(&self, sum: &mut u64);
    #[chain(through)]
    fn looped(&self, in_memory: [u64; 2]) -> [u64; 2];
    fn own(&self) -> u64 {
        0
    }
}
struct Plus(u64);
impl Hook for Plus {
    fn one(&self, x: u64) -> u64 {
        x + self.0
    }
    fn two(&self, sum: &mut u64) {
        *sum += self.0;
    }
    fn looped(&self, in_memory: [u64; 2]) -> [u64; 2] {
        in_memory
    }
}

/// All of it is emitted, so that an element can be replaced in place.
#[dispatch]
trait Straight: Send + Sync {
    #[chain(through)]
    fn one(&self, x: u64) -> u64;
    fn two(&self, sum: &mut u64);
}
impl Straight for Plus {
    fn one(&self, x: u64) -> u64 {
        x + self.0
    }
    fn two(&self, sum: &mut u64) {
        *sum += self.0;
    }
}

type F = unsafe extern "C-unwind" fn(u64) -> u64;
unsafe extern "C-unwind" fn same(x: u64) -> u64 {
    x
}

fn counts(of: &Stats) -> [usize; 5] {
    [of.chain_programs, of.chain_sites, of.chain_thunks, of.arenas, of.arena_sites]
}

/// Waits for grace periods to end.
fn eventually(wanted: [usize; 5]) -> Stats {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let now = stats();
        if counts(&now) == wanted {
            return now;
        }
        assert!(Instant::now() < deadline, "{wanted:?} never came: {now:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_chains_and_arenas_hold_is_counted() {
    assert_eq!(counts(&stats()), [0; 5]);
    let before = stats();
    let chain: Chain<dyn Hook> = Chain::new((0..5).map(|n| Instance::new(Plus(n)))).unwrap();
    // Two of its methods are emitted.
    assert_eq!(counts(&stats()), [1, 10, 0, 0, 0]);
    assert!(stats().code_bytes_used > before.code_bytes_used);
    assert!(stats().code_bytes_mapped > before.code_bytes_mapped);
    chain.push(Plus(5)).unwrap();
    eventually([1, 12, 0, 0, 0]);

    let straight: Chain<dyn Straight> = Chain::new((0..5).map(|n| Instance::new(Plus(n)))).unwrap();
    eventually([2, 22, 0, 0, 0]);
    drop(straight.replace(3, Plus(9)).unwrap());
    // In place: a thunk for each method.
    eventually([2, 22, 2, 0, 0]);

    let arena = Arena::near(same as *const u8).unwrap();
    let used = stats().code_bytes_used;
    // SAFETY: the target may be called with any number.
    let sites = [0; 3].map(|_| unsafe { arena.site::<F>(same) }.unwrap());
    assert_eq!(counts(&stats()), [2, 22, 2, 1, 3]);
    assert!(stats().code_bytes_used > used);

    drop((chain, straight, sites));
    let now = eventually([0, 0, 0, 1, 0]);
    assert!(now.code_bytes_mapped > before.code_bytes_mapped, "the heaps keep what they have mapped");
    drop(arena);
    let last = eventually([0; 5]);
    assert_eq!((last.code_bytes_used, last.retired, last.freed), (0, 1, 1));
}

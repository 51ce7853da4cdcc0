//! The global allocator is behind a slot, and is replaced while its program forks: no child dies.
//!
//! `HOTCALL_FORK_SECONDS=20 cargo test -p hotcall-tests --test fork_allocator` goes on for so long.
#![allow(missing_docs, unsafe_code)]
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotcall::slot;
use hotcall_tests::forking::fork;

hotcall::foreign! {
    unsafe trait std::alloc::GlobalAlloc as Alloc {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8;
        unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout);
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8;
        unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new: usize) -> *mut u8;
    }
}

struct Plain;
// SAFETY: that of `System`.
unsafe impl GlobalAlloc for Plain {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// With state behind a pointer: what a freed one leaves there is found.
struct Counting<const N: u64>(Box<AtomicU64>);
// SAFETY: that of `System`.
unsafe impl<const N: u64> GlobalAlloc for Counting<N> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_add(N + 1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        self.0.fetch_sub(N + 1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
#[slot]
static ALLOC: dyn Alloc = Plain;

/// So many forks on each of two threads, unless it is to go on for a time.
const FORKS: u32 = 60;

#[test]
fn no_child_dies() {
    let seconds = std::env::var("HOTCALL_FORK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let goes_on = |forks: u32| until.map_or(forks < FORKS, |until| Instant::now() < until);
    let stop = AtomicBool::new(false);
    let (mut forks, mut died) = (0, Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                drop(ALLOC.replace(Counting::<0>(Box::default())));
                let retired = ALLOC.replace(Counting::<1>(Box::default()));
                swaps += 1;
                // So that not more piles up than a child can free.
                if swaps.is_multiple_of(64) {
                    drop(retired.map(hotcall::Retired::wait));
                }
            }
        });
        let forks_on = |kind: u32| {
            move || {
                let (mut forks, mut died) = (0, Vec::new());
                while goes_on(forks) {
                    let child = fork(|| match (forks + kind) % 3 {
                        0 => true,
                        1 => String::from_utf8(vec![b'a'; 1000]).is_ok_and(|text| text.len() == 1000),
                        _ => {
                            let retired = ALLOC.replace(Counting::<2>(Box::default()));
                            retired.is_ok_and(|retired| retired.wait().is_ok())
                        }
                    });
                    forks += 1;
                    if let Err(how) = child.wait() {
                        died.push(format!("fork {forks} of kind {}: {how}", (forks - 1 + kind) % 3));
                    }
                }
                (forks, died)
            }
        };
        let threads = [scope.spawn(forks_on(0)), scope.spawn(forks_on(1))];
        for thread in threads {
            let (more, dead) = thread.join().unwrap();
            forks += more;
            died.extend(dead);
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{forks} forks, {} children died", died.len());
    assert!(died.is_empty(), "{died:#?}");
}

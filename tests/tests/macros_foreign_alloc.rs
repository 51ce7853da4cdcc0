//! `std::alloc::GlobalAlloc` behind a slot: every allocation of this program goes through it, those before the first
//! retarget, and those inside a retarget, too.
#![allow(missing_docs)]

use std::alloc::{Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hotcall::slot;

hotcall::foreign! {
    unsafe trait std::alloc::GlobalAlloc as Allocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8;
        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout);
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8;
        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8;
    }
}

#[global_allocator]
#[slot]
static ALLOCATOR: dyn Allocator = System;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Counts, and has state of its own.
struct Counting {
    salt: usize,
}
// SAFETY: the system's allocator does the work.
unsafe impl std::alloc::GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() + self.salt, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; every block comes from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What a crate that was not written here does with memory.
fn json(round: usize) -> usize {
    let map: BTreeMap<String, Vec<usize>> = (0..20).map(|n| (format!("key {n}"), vec![round; n])).collect();
    let text = serde_json::to_string(&map).unwrap();
    let back: BTreeMap<String, Vec<usize>> = serde_json::from_str(&text).unwrap();
    assert_eq!(back, map);
    text.len()
}

#[test]
fn all_allocation_goes_through_the_slot() {
    // Before any retarget.
    assert!(json(1) > 0);
    let before = ALLOCATED.load(Ordering::Relaxed);
    assert_eq!(before, 0);
    // Inside a retarget: it allocates, and so does `make`.
    drop(ALLOCATOR.replace(Counting { salt: 1 }).unwrap());
    json(2);
    let counted = ALLOCATED.load(Ordering::Relaxed);
    assert!(counted > 40, "{counted}");
    let made = ALLOCATOR.replace_with(|_| {
        json(3);
        Counting { salt: 2 }
    });
    drop(made.unwrap());

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !stop.load(Ordering::Relaxed) {
                        json(rounds);
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        for salt in 0..1_000 {
            if salt % 2 == 0 {
                drop(ALLOCATOR.replace(Counting { salt }).unwrap());
            } else {
                drop(ALLOCATOR.replace(System).unwrap());
            }
        }
        stop.store(true, Ordering::Relaxed);
        let rounds: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert!(rounds > 0);
    });
    let retired = ALLOCATOR.restore().unwrap();
    drop(retired.wait().unwrap());
    json(4);
}

//! The program's allocator is behind a slot, and replaces what that holds from inside an allocation and a deallocation: also in those
//! that the runtime makes while it adds to its queue, starts its reclaimer, and empties the queue.
#![allow(missing_docs, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotcall::{Patched, dispatch, slot};

#[dispatch]
pub trait Heap: Send + Sync {
    fn allocated(&self, bytes: usize) -> u64;
}
struct Counts(u64);
impl Heap for Counts {
    fn allocated(&self, _: usize) -> u64 {
        self.0
    }
}
#[slot]
static HEAP: dyn Heap = Counts(0);

static REPLACES: AtomicBool = AtomicBool::new(false);
static REPLACED: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Replaces at every turn. Others, the reclaimer among them, do so now and then: what it frees would never come to an end.
    static OFTEN: Cell<bool> = const { Cell::new(false) };
}

/// Calls what is behind the slot, and replaces it.
fn call_and_replace(bytes: usize) {
    std::hint::black_box(HEAP.allocated(bytes));
    static TURN: AtomicU64 = AtomicU64::new(0);
    let turn = OFTEN.get() || TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(64);
    if turn && REPLACES.load(Ordering::Relaxed) && !INSIDE.replace(true) {
        // Refused where this very thread is replacing.
        if HEAP.replace(Counts(bytes as u64)).map(drop).is_ok() {
            REPLACED.fetch_add(1, Ordering::Relaxed);
        }
        INSIDE.set(false);
    }
}

struct Behind;

// SAFETY: memory comes from `System`.
unsafe impl GlobalAlloc for Behind {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        call_and_replace(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        call_and_replace(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Behind = Behind;

#[test]
fn an_allocator_that_replaces_inside_itself() {
    // A deadlock ends here rather than never.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        eprintln!("deadlock");
        std::process::exit(3);
    });
    let mut handle: Patched<dyn Heap> = Patched::new(Counts(1));
    let remote = handle.remote();
    // The first of all retirements is that of a handle: it starts the reclaimer.
    REPLACES.store(true, Ordering::Relaxed);
    OFTEN.set(true);
    for number in 0..500 {
        drop(remote.replace(Counts(number)).unwrap());
        if number % 50 == 0 {
            let retired = remote.replace(Counts(number)).unwrap();
            assert_eq!(retired.wait().unwrap().allocated(0), number);
        }
    }
    OFTEN.set(false);
    REPLACES.store(false, Ordering::Relaxed);
    assert_ne!(REPLACED.load(Ordering::Relaxed), 0);
    drop(handle.replace(Counts(0)));
    let deadline = Instant::now() + Duration::from_secs(30);
    while hotcall::stats().freed != hotcall::stats().retired {
        assert!(Instant::now() < deadline, "{:?}", hotcall::stats());
        std::thread::sleep(Duration::from_millis(1));
    }
}

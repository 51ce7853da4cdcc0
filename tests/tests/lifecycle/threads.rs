//! Threads that end while others swap, and calls from the destructors of their storage.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hotcall::slot;

use crate::{Adds, Idle, Step, eventually};

#[test]
fn threads_end_while_others_swap() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    let mut swaps = 0;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::spawn(|| (0..50).map(|x| SLOT.run(x) - x).max()).join().unwrap();
                }
            });
        }
        for number in 0..2_000 {
            let retired = SLOT.replace(Adds::new(number, &ended)).unwrap();
            swaps += 1;
            if number % 20 == 0 {
                drop(retired.wait().unwrap());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(SLOT.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == swaps);
    // Records are used again: there are only as many as threads that live.
    eventually("records are given back", || hotcall::stats().threads < 64);
}

#[slot]
static LATE: dyn Step = Idle;
static LATE_CALLS: AtomicUsize = AtomicUsize::new(0);

/// Calls in every way when its thread ends, and replaces.
struct CallsAtEnd(Arc<AtomicUsize>);

impl Drop for CallsAtEnd {
    fn drop(&mut self) {
        let plain = LATE.run(1);
        let guard = hotcall::pin();
        assert!(plain > 1 && LATE.bind(&guard).run(1) > 1 && LATE.get(&guard).run(1) > 1);
        drop(guard);
        drop(LATE.replace(Adds::new(2, &self.0)).unwrap());
        assert!(LATE.run(1) > 1);
        LATE_CALLS.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static AT_END: RefCell<Option<CallsAtEnd>> = const { RefCell::new(None) };
}

/// Destructors run in the reverse order of their registration: before, the runtime's own storage is already
/// destroyed when the slot is called; after, it is not yet.
#[test]
fn calls_from_destructors_of_thread_local_storage() {
    let ended = Arc::new(AtomicUsize::new(0));
    drop(LATE.replace(Adds::new(1, &ended)).unwrap());
    let register = |ended: &Arc<AtomicUsize>| AT_END.set(Some(CallsAtEnd(Arc::clone(ended))));
    for round in 0..60 {
        let ended = Arc::clone(&ended);
        let thread = std::thread::spawn(move || match round % 3 {
            // The thread's first call.
            0 => register(&ended),
            1 => {
                register(&ended);
                LATE.run(1);
                drop(hotcall::pin());
            }
            _ => {
                LATE.run(1);
                drop(hotcall::pin());
                register(&ended);
            }
        });
        thread.join().unwrap();
    }
    assert_eq!(LATE_CALLS.load(Ordering::SeqCst), 60);
    // The records of those threads are outside: this would hang.
    drop(LATE.restore().unwrap().wait().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 61);
}

/// The destructors of POSIX run after all of Rust's, and in no order: the thread's record may be given back.
#[test]
#[cfg(target_os = "linux")]
fn calls_from_destructors_of_posix_keys() {
    #[slot]
    static LAST: dyn Step = Idle;
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn at_end(_: *mut libc::c_void) {
        CALLS.fetch_add((LAST.run(1) == 3).into(), Ordering::SeqCst);
    }
    let ended = Arc::new(AtomicUsize::new(0));
    // Keys from before and after the runtime's own.
    let keys = [0; 2].map(|_| {
        let mut key = 0;
        // SAFETY: a valid place, and a function that lives for ever.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(at_end)) }, 0);
        drop(LAST.replace(Adds::new(2, &ended)).unwrap());
        std::thread::spawn(|| LAST.run(1)).join().unwrap();
        key
    });
    for round in 0..20 {
        let thread = std::thread::spawn(move || {
            if round % 2 == 0 {
                LAST.run(1);
            }
            for key in keys {
                // SAFETY: the keys were made above; the value is not used as a pointer.
                assert_eq!(unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(1)) }, 0);
            }
        });
        thread.join().unwrap();
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 40);
    drop(LAST.restore().unwrap().wait().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 2);
}

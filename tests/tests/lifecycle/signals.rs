//! Slots called from signal handlers, with either kind of section: no lock, no allocation, no hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hotcall::slot;

use crate::{Adds, Idle, Step, eventually};

#[slot]
static SLOT: dyn Step = Idle;
static HANDLED: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_: libc::c_int) {
    // Its numbers are from 1 to 9.
    let number = SLOT.run(100).wrapping_sub(100);
    WRONG.fetch_add((!(1..10).contains(&number)).into(), Ordering::SeqCst);
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// The number of a signal whose handler calls the slot, which holds an [`Adds`].
fn prepare(ended: &Arc<AtomicUsize>) -> libc::c_int {
    drop(SLOT.replace(Adds::new(1, ended)).unwrap());
    // SAFETY: the handler calls a slot, whose plain calls may come from anywhere here, and atomics.
    let before = unsafe { libc::signal(libc::SIGUSR2, handler as *const () as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
    libc::SIGUSR2
}

fn raise(signal: libc::c_int) {
    // SAFETY: the signal has a handler.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

#[test]
fn calls_from_signal_handlers() {
    let ended = Arc::new(AtomicUsize::new(0));
    let signal = prepare(&ended);

    // A thread whose first call of all is in a handler.
    for round in 0..50 {
        std::thread::spawn(move || {
            raise(signal);
            if round % 2 == 0 {
                assert!(SLOT.run(1) > 1);
            }
        })
        .join()
        .unwrap();
    }
    assert_eq!(HANDLED.swap(0, Ordering::SeqCst), 50);

    // In the middle of calls, of guards, and of replacing, from other threads.
    let stop = AtomicBool::new(false);
    let (send_to, targets) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (send_to, stop, ended) = (send_to.clone(), &stop, &ended);
            scope.spawn(move || {
                // SAFETY: has no conditions.
                send_to.send(unsafe { libc::pthread_self() }).unwrap();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    if caller == 0 {
                        number = number % 9 + 1;
                        drop(SLOT.replace(Adds::new(number, ended)).unwrap());
                    }
                    for x in 0..200 {
                        assert!((1..10).contains(&(SLOT.run(x) - x)));
                    }
                    let guard = hotcall::pin();
                    let bound = SLOT.bind(&guard);
                    for x in 0..50 {
                        assert!((1..10).contains(&(bound.run(x) - x)));
                    }
                }
            });
        }
        let targets: Vec<libc::pthread_t> = targets.iter().take(3).collect();
        for round in 0..600 {
            // SAFETY: the thread lives until it is told to stop.
            assert_eq!(unsafe { libc::pthread_kill(targets[round % 3], signal) }, 0);
            std::thread::yield_now();
        }
        eventually("signals are handled", || HANDLED.load(Ordering::SeqCst) > 0);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(WRONG.load(Ordering::SeqCst), 0);
    // No section of a handler is left behind.
    let old = SLOT.restore().unwrap().wait().unwrap();
    drop(old);
}

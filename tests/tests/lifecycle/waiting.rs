//! Waits: refused where they would never end, and nothing is lost by that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hotcall::{Retired, RetiredBatch, WaitError, slot};

use crate::{Adds, AtEnd, Does, Idle, LONG, Step, eventually};

#[slot]
static INSIDE: dyn Step = Idle;
#[slot]
static OTHER: dyn Step = Idle;

/// The wait must be refused; the retirement is in the refusal.
fn refused(retired: Retired<dyn Step>) -> Retired<dyn Step> {
    let again = match retired.wait() {
        Err(WaitError::WouldDeadlock(retired)) => retired,
        other => panic!("not refused: {other:?}"),
    };
    let error = again.wait_timeout(LONG).unwrap_err();
    assert!(error.to_string().contains("would never end"), "{error}");
    error.into_retired()
}

#[test]
fn inside_a_call() {
    static KEPT: Mutex<Option<Retired<dyn Step>>> = Mutex::new(None);
    let ended = Arc::new(AtomicUsize::new(0));
    drop(OTHER.replace(Adds::new(5, &ended)).unwrap());
    // Of another slot, too: whose instance this thread is inside of is not told apart.
    drop(INSIDE.replace(Does::new(|x| {
        let retired = KEPT.lock().unwrap().take().unwrap();
        let retired = refused(retired);
        assert!(!retired.is_drained());
        *KEPT.lock().unwrap() = Some(retired);
        x
    })));
    let guard = hotcall::pin();
    *KEPT.lock().unwrap() = Some(OTHER.replace(Idle).unwrap());
    assert_eq!(INSIDE.run(3), 3);
    drop(guard);
    let old = KEPT.lock().unwrap().take().unwrap().wait().unwrap();
    assert_eq!((old.run(1), ended.load(Ordering::SeqCst)), (6, 0));
    drop(old);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[slot]
static GUARDED: dyn Step = Idle;

#[test]
fn with_a_guard() {
    let ended = Arc::new(AtomicUsize::new(0));
    drop(GUARDED.replace(Adds::new(7, &ended)).unwrap());
    let guard = hotcall::pin();
    let bound = GUARDED.bind(&guard);
    let retired = refused(GUARDED.replace(Idle).unwrap());
    assert_eq!(bound.run(1), 1);
    let mut batch = hotcall::Batch::new();
    batch.replace(&GUARDED, Idle);
    let batch: RetiredBatch = batch.commit().map_err(|(error, _)| error).unwrap().wait().unwrap_err();
    assert!(!batch.is_drained());
    drop(guard);
    assert!(batch.wait().is_ok());
    assert_eq!(retired.wait().unwrap().downcast::<Adds>().unwrap().number(), 7);
}

#[test]
fn what_has_drained_is_given_back_anywhere() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let retired = SLOT.replace(Idle).unwrap();
    eventually("drained without anybody's waiting", || retired.is_drained());
    let guard = hotcall::pin();
    assert!(retired.wait().is_ok());
    drop(guard);
}

#[test]
fn a_time_limit() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(SLOT.replace(Adds::new(1, &ended)).unwrap());
    let (pinned, is_pinned) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let guard = hotcall::pin();
            pinned.send(()).unwrap();
            let _ = released.recv();
            drop(guard);
        });
        is_pinned.recv().unwrap();
        let retired = SLOT.replace(Idle).unwrap();
        let retired = match retired.wait_timeout(Duration::from_millis(20)) {
            Err(WaitError::TimedOut(retired)) => retired,
            other => panic!("a guard is held: {other:?}"),
        };
        assert!(!retired.is_drained());
        assert_eq!(ended.load(Ordering::SeqCst), 0);
        drop(release);
        assert_eq!(retired.wait_timeout(LONG).unwrap().run(1), 2);
    });
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn inside_replace_with() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static FIRST: dyn Step = Idle;
    // Held by another thread, or the retirement might have drained by the time it is waited for.
    let (pinned, is_pinned) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let guard = hotcall::pin();
            pinned.send(()).unwrap();
            let _ = released.recv();
            drop(guard);
        });
        is_pinned.recv().unwrap();
        let retired = FIRST.replace(Idle).unwrap();
        let mut kept = None;
        let replaced = SLOT.replace_with(|_| {
            kept = Some(refused(retired));
            Idle
        });
        drop(release);
        assert!(replaced.unwrap().wait().is_ok());
        assert!(kept.unwrap().wait().is_ok());
    });
}

#[test]
fn in_a_destructor_that_the_runtime_runs() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static NEXT: dyn Step = Idle;
    static KEPT: Mutex<Option<Retired<dyn Step>>> = Mutex::new(None);
    drop(SLOT.replace(AtEnd::new(|| {
        // Retired just now, on the thread that is to drain it: it has not drained.
        *KEPT.lock().unwrap() = Some(refused(NEXT.replace(Idle).unwrap()));
    })));
    drop(SLOT.replace(Idle).unwrap());
    eventually("the destructor has run", || KEPT.lock().unwrap().is_some());
    assert!(KEPT.lock().unwrap().take().unwrap().wait().is_ok());
}

#[test]
fn many_threads_at_once() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ended = &ended;
            scope.spawn(move || {
                for round in 0..50 {
                    let retired = SLOT.replace(Adds::new(thread, ended)).unwrap();
                    if round % 5 == 0 {
                        drop(retired.wait().unwrap());
                    }
                }
            });
        }
    });
    drop(SLOT.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 400);
}

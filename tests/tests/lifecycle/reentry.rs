//! Replacing and calling from inside a call, and from a destructor.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hotcall::{Retired, slot};

use crate::{Adds, AtEnd, Does, Idle, Step, eventually};

#[test]
fn a_plugin_replaces_itself() {
    #[slot]
    static SLOT: dyn Step = Idle;
    static OLD: Mutex<Option<Retired<dyn Step>>> = Mutex::new(None);
    let ended = Arc::new(AtomicUsize::new(0));
    for round in 0..100 {
        // Captured: freed with the plugin, so a use after that is a use of freed memory.
        let (own, next, counter) = (Adds::new(10, &ended), Arc::clone(&ended), round);
        drop(SLOT.replace(Does::new(move |x| {
            let retired = SLOT.replace(Adds::new(100 + counter, &next)).unwrap();
            // The next call is the new one's, this one goes on as it is.
            assert_eq!(SLOT.run(x), x + 100 + counter);
            assert!(!retired.is_drained());
            *OLD.lock().unwrap() = Some(retired);
            own.run(x)
        })));
        assert_eq!(SLOT.run(1), 11);
        assert_eq!(SLOT.run(1), 101 + round);
        let old = OLD.lock().unwrap().take().unwrap();
        if round % 2 == 0 { drop(old.wait().unwrap()) } else { drop(old) }
    }
    drop(SLOT.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 200);
}

#[test]
fn nested_through_several_slots() {
    #[slot]
    static A: dyn Step = Idle;
    #[slot]
    static B: dyn Step = Idle;
    #[slot]
    static C: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let own = Adds::new(1, &ended);
        drop(A.replace(Does::new(move |x| own.run(B.run(x)))).unwrap());
        let own = Adds::new(10, &ended);
        drop(B.replace(Does::new(move |x| own.run(C.run(x)))).unwrap());
        let (own, next) = (Adds::new(100, &ended), Arc::clone(&ended));
        // The innermost replaces all that it is inside of.
        drop(C.replace(Does::new(move |x| {
            for slot in [&A.replace(Adds::new(2, &next)), &B.replace(Idle), &C.replace(Idle)] {
                assert!(!slot.as_ref().unwrap().is_drained());
            }
            std::thread::yield_now();
            own.run(x)
        })));
        assert_eq!(A.run(0), 111);
        assert_eq!(A.run(0), 2);
    }
    drop(A.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 400);
}

#[test]
fn a_slot_calls_itself() {
    #[slot]
    static FACTORIAL: dyn Step = Idle;
    drop(FACTORIAL.replace(Does::new(|x| if x == 0 { 1 } else { x * FACTORIAL.run(x - 1) })).unwrap());
    assert_eq!(FACTORIAL.run(10), 3_628_800);
    let retired = FACTORIAL.restore().unwrap();
    assert!(retired.wait().is_ok());
}

#[test]
fn a_destructor_calls_and_replaces() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static OTHER: dyn Step = Idle;
    static DONE: AtomicBool = AtomicBool::new(false);
    let ended = Arc::new(AtomicUsize::new(0));
    let inner = Arc::clone(&ended);
    drop(OTHER.replace(Adds::new(4, &ended)).unwrap());
    drop(SLOT.replace(AtEnd::new(move || {
        assert_eq!(OTHER.run(1), 5);
        drop(OTHER.replace(Adds::new(6, &inner)).unwrap());
        assert_eq!(OTHER.run(1), 7);
        // The slot that it was in.
        drop(SLOT.replace(Adds::new(8, &inner)).unwrap());
        hotcall::batch(|batch| {
            batch.replace(&OTHER, Idle).replace(&SLOT, Adds::new(9, &inner));
        })
        .map(drop)
        .unwrap();
        DONE.store(true, Ordering::SeqCst);
    })));
    assert_eq!(SLOT.run(1), 1_001);
    drop(SLOT.replace(Idle).unwrap());
    eventually("the destructor has run", || DONE.load(Ordering::SeqCst));
    assert_eq!((SLOT.run(1), OTHER.run(1)), (10, 1));
    drop(SLOT.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 4);
}

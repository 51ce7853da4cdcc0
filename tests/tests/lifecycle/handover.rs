//! `replace_with`: state is handed over, or everything is as it was.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::{Batch, Error, slot};

use crate::{Adds, Idle, Step, eventually};

#[test]
fn nothing_comes_in_between() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(SLOT.replace(Adds::new(0, &ended)).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let made = SLOT.replace_with(|old| {
                        let number = old.downcast_ref::<Adds>().unwrap().number();
                        // Calls go on, on the old one.
                        assert_eq!((old.run(1), SLOT.run(1)), (number + 1, number + 1));
                        Adds::new(number + 1, &ended)
                    });
                    drop(made.unwrap());
                }
            });
        }
    });
    assert_eq!(SLOT.run(0), 800);
    drop(SLOT.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 801);
}

#[test]
fn a_panic_leaves_the_slot_as_it_was() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(SLOT.replace(Adds::new(3, &ended)).unwrap());
    let outcome =
        catch_unwind(AssertUnwindSafe(|| SLOT.replace_with(|_| -> Adds { panic!("no") }).map(drop).is_ok()));
    assert_eq!(*outcome.unwrap_err().downcast_ref::<&str>().unwrap(), "no");
    assert_eq!((SLOT.run(1), ended.load(Ordering::SeqCst)), (4, 0));
    // Nor is the lock left behind.
    let old = SLOT.replace(Idle).unwrap().wait().unwrap();
    assert_eq!(old.run(1), 4);
}

#[test]
fn replacing_inside_is_refused_and_gives_the_instance_back() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static OTHER: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let made = SLOT.replace_with(|_| {
        for slot in [SLOT.replace(Adds::new(5, &ended)), OTHER.replace(Adds::new(5, &ended))] {
            let refusal = slot.unwrap_err();
            assert!(matches!(refusal.error(), Error::Reentrant), "{refusal}");
            let back = refusal.into_instance().unwrap();
            assert_eq!(
                (back.run(1), ended.load(Ordering::SeqCst) % 2),
                (6, 0),
                "the instance comes back alive"
            );
            drop(back);
            ended.fetch_add(1, Ordering::SeqCst);
        }
        let refusal =
            OTHER.replace_with(|_| -> Idle { unreachable!("refused before it is called") }).unwrap_err();
        assert!(matches!(refusal.error(), Error::Reentrant));
        assert!(refusal.into_instance().is_none());
        assert!(matches!(OTHER.restore(), Err(Error::Reentrant)));
        let mut batch = Batch::new();
        batch.replace(&OTHER, Adds::new(6, &ended)).replace(&SLOT, Idle);
        let (error, batch) = batch.commit().unwrap_err();
        assert!(matches!(error, Error::Reentrant));
        assert_eq!((batch.len(), OTHER.run(1), SLOT.run(1)), (2, 1, 1));
        // Nothing of the sizes, which are behind the lock, and no hang.
        assert!(hotcall::stats().retired >= hotcall::stats().freed);
        Adds::new(2, &ended)
    });
    drop(made.unwrap());
    assert_eq!((SLOT.run(1), OTHER.run(1)), (3, 1));
    drop(SLOT.restore().unwrap());
    // Two given back, one in the batch, one in the slot; and two counted by hand.
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 6);
}

//! `replace_with`: state is handed over, or everything is as it was.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use hotcall::{Batch, Error, TryReplaceError, slot};
use hotcall_tests::negative;

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
fn replacing_the_same_slot_inside_is_refused_and_gives_the_instance_back() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static OTHER: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let made = SLOT.replace_with(|_| {
        let refusal = SLOT.replace(Adds::new(5, &ended)).unwrap_err();
        assert!(matches!(refusal.error(), Error::Reentrant), "{refusal}");
        let back = refusal.into_instance().unwrap();
        assert_eq!((back.run(1), ended.load(Ordering::SeqCst)), (6, 0), "the instance comes back alive");
        drop(back);
        let refusal =
            SLOT.replace_with(|_| -> Idle { unreachable!("refused before it is called") }).unwrap_err();
        assert!(matches!(refusal.error(), Error::Reentrant));
        assert!(refusal.into_instance().is_none());
        assert!(matches!(SLOT.restore(), Err(Error::Reentrant)));
        let mut batch = Batch::new();
        batch.replace(&OTHER, Adds::new(6, &ended)).replace(&SLOT, Idle);
        let (error, batch) = batch.commit().unwrap_err();
        assert!(matches!(error, Error::Reentrant));
        assert_eq!((batch.len(), OTHER.run(1), SLOT.run(1)), (2, 1, 1));
        Adds::new(2, &ended)
    });
    drop(made.unwrap());
    assert_eq!((SLOT.run(1), OTHER.run(1)), (3, 1));
    drop(SLOT.restore().unwrap());
    // One given back, one in the batch, one in the slot.
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 3);
}

#[test]
fn replacing_another_slot_inside_takes_effect() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static OTHER: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let made = SLOT.replace_with(|_| {
        drop(OTHER.replace(Adds::new(5, &ended)).unwrap());
        let inner = OTHER.replace_with(|old| {
            assert!(matches!(SLOT.restore(), Err(Error::Reentrant)), "two deep");
            Adds::new(old.run(0), &ended)
        });
        drop(inner.unwrap());
        assert_eq!(OTHER.run(1), 6);
        // Nothing of this waits for what this thread is about to do.
        assert!(hotcall::stats().retired >= hotcall::stats().freed);
        Adds::new(2, &ended)
    });
    drop(made.unwrap());
    assert_eq!((SLOT.run(1), OTHER.run(1)), (3, 6));
}

/// What runs in the closure may wait for a thread that replaces in another slot.
#[test]
fn other_slots_are_replaced_meanwhile() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static OTHER: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let made = SLOT.replace_with(|_| {
        let other = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || drop(OTHER.replace(Adds::new(5, &ended)).unwrap())
        });
        other.join().unwrap();
        assert_eq!(OTHER.run(1), 6);
        Adds::new(2, &ended)
    });
    drop(made.unwrap());
    assert_eq!(SLOT.run(1), 3);
}

/// Whoever replaces in this very slot waits until the closure is over, alone and in a batch: what it reads stays.
#[test]
fn the_same_slot_is_replaced_afterwards() {
    #[slot]
    static SLOT: dyn Step = Idle;
    #[slot]
    static OTHER: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let (replaced, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let made = SLOT.replace_with(|old| {
            for is_batch in [false, true] {
                let (ended, replaced) = (&ended, replaced.clone());
                scope.spawn(move || {
                    if is_batch {
                        let both = hotcall::batch(|batch| {
                            batch.replace(&OTHER, Adds::new(7, ended)).replace(&SLOT, Adds::new(7, ended));
                        });
                        drop(both.unwrap());
                    } else {
                        drop(SLOT.replace(Adds::new(7, ended)).unwrap());
                    }
                    replaced.send(()).unwrap();
                });
            }
            assert!(told.recv_timeout(negative::limit()).is_err(), "nobody came in between");
            assert_eq!((SLOT.run(1), OTHER.run(1), old.run(1)), (1, 1, 1));
            Adds::new(2, &ended)
        });
        drop(made.unwrap());
    });
    assert_eq!((SLOT.run(1), OTHER.run(1)), (8, 8));
    drop((SLOT.restore().unwrap(), OTHER.restore().unwrap()));
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 4);
}

/// What makes the new one may fail: nothing has changed then, and the next attempt is as the first.
#[test]
fn a_failure_leaves_the_slot_as_it_was() {
    #[slot(control = CONTROL)]
    static CONTROLLED: dyn Step = Idle;
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(SLOT.replace(Adds::new(3, &ended)).unwrap());
    let before = hotcall::stats().retired;
    let grown = |old: &hotcall::Held<'_, dyn Step>, text: &str| {
        text.parse::<u64>().map(|number| Adds::new(old.run(number), &ended))
    };
    let failure = SLOT.try_replace_with(|old| grown(old, "three")).unwrap_err();
    let TryReplaceError::Make(error) = &failure else { panic!("{failure}") };
    assert_eq!((error.to_string(), failure.to_string()), (error.to_string(), error.to_string()));
    assert!(std::error::Error::source(&failure).is_some());
    assert_eq!((SLOT.run(1), ended.load(Ordering::SeqCst)), (4, 0));
    assert!(hotcall::report().holding.is_empty());

    let old = SLOT.try_replace_with(|old| grown(old, "4")).unwrap().wait().unwrap();
    assert_eq!((old.run(1), SLOT.run(1)), (4, 8));
    drop(old);

    // It is refused as `replace_with` is; and an error of hotcall's own goes on with `?`.
    let nested = SLOT.try_replace_with(|_| -> Result<Adds, Error> {
        let refusal = SLOT.try_replace_with(|_| Ok::<Idle, Error>(Idle)).unwrap_err();
        assert!(
            matches!(&refusal, TryReplaceError::Replace(error) if matches!(error.error(), Error::Reentrant))
        );
        Err(Error::from(refusal))
    });
    assert!(matches!(nested.map_err(Error::from), Err(Error::Reentrant)));
    assert_eq!(SLOT.run(1), 8);
    assert_eq!(hotcall::stats().retired, before + 1);

    assert!(CONTROL.try_replace_with(|_| Err::<Idle, _>("no")).is_err());
    drop(CONTROL.try_replace_with(|_| Ok::<_, Error>(Adds::new(1, &ended))).unwrap());
    assert_eq!(CONTROLLED.run(1), 2);
    drop((CONTROL.restore().unwrap(), SLOT.restore().unwrap()));
}

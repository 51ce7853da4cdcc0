//! Instances of the type that a slot holds already: swapped in by one store where the slot has settled, and as any
//! other where it has not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hotcall::slot;
use hotcall_tests::negative;

use crate::{Adds, Does, Idle, Step, eventually, thunks};

/// Waits until what has been replaced before has settled: a grace period until its stub goes straight, one until every core
/// has seen that. The first may have begun too early, and the last have things left to do.
fn settle() {
    #[slot]
    static ANOTHER: dyn Step = Idle;
    let before = hotcall::stats().grace_periods;
    eventually("grace periods pass", || {
        drop(ANOTHER.replace(Idle).unwrap());
        hotcall::stats().grace_periods >= before + 4
    });
}

#[test]
fn every_call_after_it_sees_it_bound_or_not() {
    #[slot]
    static SEEN: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(SEEN.replace(Adds::new(0, &ended)).unwrap());
    settle();
    let guard = hotcall::pin();
    let bound = SEEN.bind(&guard);
    let held = SEEN.get(&guard);
    let before = hotcall::stats().in_place;
    for number in 1..=1_000 {
        let retired = SEEN.replace(Adds::new(number, &ended)).unwrap();
        assert_eq!((bound.run(1), SEEN.run(1)), (number + 1, number + 1));
        assert_eq!(held.run(1), 1, "what is held stays the same");
        assert!(!retired.is_drained(), "a guard is held");
        assert_eq!(thunks("SEEN"), 0, "no code was written");
    }
    if hotcall::backend() == hotcall::Backend::Patched {
        assert!(hotcall::stats().in_place >= before + 1_000);
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    drop(guard);
    eventually("all but the last are freed", || ended.load(Ordering::SeqCst) == 1_000);
}

/// Under a guard the slot cannot settle: each instance takes a thunk of its own, and the type settles all the same.
#[test]
fn before_it_has_settled() {
    #[slot]
    static UNSETTLED: dyn Step = Idle;
    // Negative control: installed in place whether or not it has settled. The second instance is never called.
    if negative::sabotaged().is_none() && hotcall::backend() == hotcall::Backend::Patched {
        let again = || {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "in_place::before_it_has_settled"]);
            command
        };
        println!("in-place-unsettled: {}", negative::is_noticed(again, "in-place-unsettled").unwrap());
    }
    let ended = Arc::new(AtomicUsize::new(0));
    let guard = hotcall::pin();
    let bound = UNSETTLED.bind(&guard);
    for number in 0..100 {
        drop(UNSETTLED.replace(Adds::new(number, &ended)).unwrap());
        assert_eq!((bound.run(1), UNSETTLED.run(1)), (number + 1, number + 1));
    }
    drop(guard);
    eventually("it settles", || thunks("UNSETTLED") == 0);
    assert_eq!(UNSETTLED.run(1), 100);
    drop(UNSETTLED.replace(Adds::new(7, &ended)).unwrap());
    assert_eq!(UNSETTLED.run(1), 8);
}

/// In one batch, a slot takes an instance of its own type and one of another, in either order.
#[test]
fn twice_in_a_batch_with_another_type() {
    #[slot]
    static TWICE: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let settle = || eventually("it settles", || thunks("TWICE") == 0);
    for round in 0..20 {
        drop(TWICE.replace(Adds::new(round, &ended)).unwrap());
        settle();
        drop(hotcall::batch(|batch| {
            batch.replace(&TWICE, Adds::new(1, &ended)).replace(&TWICE, Does::new(move |x| x * 3 + round));
        }));
        assert_eq!(TWICE.run(5), 15 + round, "the last of a batch");
        settle();
        assert_eq!(TWICE.run(5), 15 + round);

        drop(TWICE.replace(Adds::new(round, &ended)).unwrap());
        settle();
        drop(hotcall::batch(|batch| {
            batch.replace(&TWICE, Does::new(|x| x * 5)).replace(&TWICE, Adds::new(round + 2, &ended));
        }));
        assert_eq!(TWICE.run(5), round + 7, "the last of a batch");
        settle();
        assert_eq!(TWICE.run(5), round + 7);
    }
    drop(TWICE.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 80);
}

/// A batch in which one slot changes its type and another does not.
#[test]
fn beside_another_slot_that_changes_its_type() {
    #[slot]
    static SAME: dyn Step = Idle;
    #[slot]
    static OTHER: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(SAME.replace(Adds::new(0, &ended)).unwrap());
    for round in 1..50 {
        let retired = hotcall::batch(|batch| {
            batch.replace(&SAME, Adds::new(round, &ended));
            if round % 2 == 0 {
                batch.replace(&OTHER, Adds::new(round, &ended));
            } else {
                batch.replace(&OTHER, Does::new(move |x| x + round));
            }
        });
        assert_eq!((SAME.run(1), OTHER.run(1)), (round + 1, round + 1));
        retired.unwrap().wait().unwrap();
    }
}

/// A caller that has seen the replacement announced never gets an older number.
#[test]
fn no_call_goes_back() {
    #[slot]
    static ONWARDS: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(ONWARDS.replace(Adds::new(0, &ended)).unwrap());
    settle();
    let (stop, announced) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for bound in [false, true] {
            let (stop, announced) = (&stop, &announced);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let guard = hotcall::pin();
                    let slot = ONWARDS.bind(&guard);
                    for _ in 0..100 {
                        let least = announced.load(Ordering::Relaxed) as u64;
                        let found = if bound { slot.run(0) } else { ONWARDS.run(0) };
                        assert!(found >= least, "{found} after {least} was announced");
                    }
                }
            });
        }
        for number in 1..=200_000 {
            drop(ONWARDS.replace(Adds::new(number, &ended)).unwrap());
            announced.store(number as usize, Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

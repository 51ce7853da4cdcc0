//! Guards held for ever, and swaps faster than grace periods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::slot;

use crate::{Adds, Idle, Step, eventually, thunks};

#[test]
fn while_a_guard_is_held_swaps_go_on_and_nothing_is_freed() {
    #[slot]
    static HELD_FOR_EVER: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let guard = hotcall::pin();
    drop(HELD_FOR_EVER.replace(Adds::new(0, &ended)).unwrap());
    let bound = HELD_FOR_EVER.bind(&guard);
    let first = HELD_FOR_EVER.get(&guard);
    for number in 1..=5_000 {
        let retired = HELD_FOR_EVER.replace(Adds::new(number, &ended)).unwrap();
        assert_eq!((bound.run(1), HELD_FOR_EVER.run(1)), (number + 1, number + 1), "every swap is seen");
        assert_eq!(first.run(1), 1, "and what is held stays the same");
        assert!(!retired.is_drained());
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    if hotcall::backend() == hotcall::Backend::Patched {
        assert_ne!(thunks("HELD_FOR_EVER"), 0, "it has settled under a guard");
    }
    drop(guard);
    eventually("all but the last are freed", || ended.load(Ordering::SeqCst) == 5_000);
    eventually("it settles", || thunks("HELD_FOR_EVER") == 0);
    assert_eq!(HELD_FOR_EVER.run(1), 5_001);
}

#[test]
fn swaps_faster_than_grace_periods() {
    #[slot]
    static FAST: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let rounds = 20_000;
    for number in 0..rounds {
        drop(FAST.replace(Adds::new(number, &ended)).unwrap());
        assert_eq!(FAST.run(1), number + 1);
    }
    drop(FAST.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) as u64 == rounds);
    eventually("it settles", || thunks("FAST") == 0);
}

/// Guards of one thread overlap: what is replaced waits for those that were there, and for no later one.
#[test]
fn guards_that_overlap() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(SLOT.replace(Adds::new(1, &ended)).unwrap());
    let first = hotcall::pin();
    let second = hotcall::pin();
    let retired = SLOT.replace(Idle).unwrap();
    let mut last = hotcall::pin();
    drop(first);
    for _ in 0..20 {
        let next = hotcall::pin();
        drop(std::mem::replace(&mut last, next));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(!retired.is_drained(), "the second is held");
    drop(second);
    eventually("it is drained, while the last is held", || {
        let next = hotcall::pin();
        drop(std::mem::replace(&mut last, next));
        retired.is_drained()
    });
    drop(last);
    assert_eq!(retired.wait().unwrap().run(1), 2);
}

#[test]
fn a_leaked_guard_costs_memory_and_nothing_else() {
    #[slot]
    static SLOT: dyn Step = Idle;
    // In a process of its own: nothing would be freed in this one any more.
    const VARIABLE: &str = "HOTCALL_TEST_LEAKED_GUARD";
    if std::env::var_os(VARIABLE).is_none() {
        let output = crate::again("guards::a_leaked_guard_costs_memory_and_nothing_else", VARIABLE);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    std::mem::forget(hotcall::pin());
    let ended = Arc::new(AtomicUsize::new(0));
    for number in 0..10_000 {
        drop(SLOT.replace(Adds::new(number, &ended)).unwrap());
        assert_eq!(SLOT.run(1), number + 1);
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0);
}

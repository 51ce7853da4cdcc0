//! Batches: all or nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::{Batch, slot};

use crate::{Adds, Idle, Step, eventually};

#[test]
fn naming_a_slot_twice_installs_the_last() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        let retired = hotcall::batch(|batch| {
            batch.replace(&SLOT, Adds::new(1, &ended)).replace(&SLOT, Adds::new(2, &ended));
        });
        assert_eq!(SLOT.run(0), 2);
        assert_eq!(retired.unwrap().len(), 2);
    }
    drop(SLOT.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 100);
}

#[test]
fn an_empty_batch_changes_nothing() {
    let retired = Batch::new().commit().map_err(|(error, _)| error).unwrap();
    assert!(retired.is_empty() && retired.is_drained() && retired.wait().is_ok());
}

#[test]
fn a_batch_is_given_back_by_a_wait_and_drained_by_a_drop() {
    #[slot]
    static A: dyn Step = Idle;
    #[slot]
    static B: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    for round in 0..40 {
        let retired = hotcall::batch(|batch| {
            batch.replace(&A, Adds::new(round, &ended)).replace(&B, Adds::new(round + 1, &ended));
        });
        assert_eq!((A.run(0), B.run(0)), (round, round + 1));
        if round % 4 == 0 {
            retired.unwrap().wait().unwrap();
            assert_eq!(ended.load(Ordering::SeqCst) as u64, 2 * round, "what was waited for is dropped");
        }
    }
    drop(hotcall::batch(|batch| {
        batch.replace(&A, Idle).replace(&B, Idle);
    }));
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 80);
}

/// In a process of its own: where one change of a batch is refused, none takes effect, and nothing is lost.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
fn all_or_nothing() {
    const VARIABLE: &str = "HOTCALL_TEST_REFUSED";
    if std::env::var_os(VARIABLE).is_none() {
        let output = crate::again("batches::all_or_nothing", VARIABLE);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    #[slot]
    static A: dyn Step = Idle;
    #[slot]
    static B: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    let mut batch = Batch::new();
    batch.replace(&A, Adds::new(1, &ended)).replace(&B, Adds::new(2, &ended));
    // The second.
    hotcall::__private::fail_at_step(2);
    let (error, batch) = batch.commit().unwrap_err();
    assert!(matches!(error, hotcall::Error::Memory(_)), "{error}");
    assert_eq!((A.run(0), B.run(0), batch.len(), ended.load(Ordering::SeqCst)), (0, 0, 2, 0));
    hotcall::__private::fail_at_step(1);
    let refusal = A.replace(Adds::new(3, &ended)).unwrap_err();
    assert_eq!(refusal.into_instance().unwrap().run(0), 3);
    assert_eq!((hotcall::stats().retired, ended.load(Ordering::SeqCst)), (0, 1));
    // What was refused may be tried again, the very same.
    assert_eq!(batch.commit().map_err(|(error, _)| error).unwrap().len(), 2);
    assert_eq!((A.run(0), B.run(0)), (1, 2));
}

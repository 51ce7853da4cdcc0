//! Panics in plugins: in their methods, and in their destructors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::slot;

use crate::{Adds, AtEnd, Does, Idle, Step, eventually};

#[test]
fn a_panic_ends_all_calls_that_it_passes_through() {
    #[slot]
    static OUTER: dyn Step = Idle;
    #[slot]
    static INNER: dyn Step = Idle;
    drop(OUTER.replace(Does::new(|x| INNER.run(x))).unwrap());
    drop(INNER.replace(Does::new(|x| if x == 0 { panic!("zero") } else { x })).unwrap());
    for _ in 0..100 {
        assert!(catch_unwind(|| OUTER.run(0)).is_err());
        let bound = catch_unwind(|| {
            let guard = hotcall::pin();
            OUTER.bind(&guard).run(0)
        });
        assert!(bound.is_err());
        assert_eq!(OUTER.run(5), 5);
    }
    // Neither a section nor a guard is left behind: this would be refused, or hang.
    assert!(OUTER.replace(Idle).unwrap().wait().is_ok());
    assert!(INNER.replace(Idle).unwrap().wait().is_ok());
}

#[test]
fn a_destructor_that_panics_takes_nobody_with_it() {
    #[slot]
    static A: dyn Step = Idle;
    #[slot]
    static B: dyn Step = Idle;
    #[slot]
    static C: dyn Step = Idle;
    let ended = Arc::new(AtomicUsize::new(0));
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..20 {
        drop(hotcall::batch(|batch| {
            let panics = || {
                PANICS.fetch_add(1, Ordering::SeqCst);
                panic!("a destructor that panics, as it should")
            };
            batch
                .replace(&A, Adds::new(1, &ended))
                .replace(&B, AtEnd::new(panics))
                .replace(&C, Adds::new(2, &ended));
        }));
        // All three in one grace period.
        drop(hotcall::batch(|batch| {
            batch.replace(&A, Idle).replace(&B, Idle).replace(&C, Idle);
        }));
    }
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 40 && PANICS.load(Ordering::SeqCst) == 20);
    assert!(A.replace(Idle).unwrap().wait().is_ok(), "the reclaimer lives");
}

#[test]
fn a_destructor_that_panics_where_its_plugin_was_taken_back() {
    #[slot]
    static SLOT: dyn Step = Idle;
    drop(SLOT.replace(AtEnd::new(|| panic!("a destructor that panics, as it should"))).unwrap());
    let retired = SLOT.replace(Idle).unwrap();
    eventually("drained", || retired.is_drained());
    // Nobody can be inside: it is dropped right here, and so it panics here.
    assert!(catch_unwind(AssertUnwindSafe(|| drop(retired))).is_err());
    assert!(SLOT.replace(Idle).unwrap().wait().is_ok());
}

//! What safe code may do with any value of the API: move it, exchange it, leak it, drop it in another order, and call back
//! from a destructor. Handles, remotes, chains, retirements and batches.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hotcall::{Chain, Error, Patched, Remote, WaitError, chain, dispatch, slot};

#[dispatch]
pub trait Step: Send + Sync {
    #[chain(through)]
    fn run(&self, x: u64) -> u64;
}

/// Adds; tells when it is dropped, and does something then.
struct Adds {
    number: u64,
    dropped: Arc<AtomicUsize>,
    at_end: Option<Box<dyn Fn() + Send + Sync>>,
}
impl Drop for Adds {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        if let Some(at_end) = &self.at_end {
            at_end();
        }
    }
}
impl Step for Adds {
    fn run(&self, x: u64) -> u64 {
        x + self.number
    }
}

#[derive(Default)]
struct Maker(Arc<AtomicUsize>);
impl Maker {
    fn make(&self, number: u64) -> Adds {
        Adds { number, dropped: Arc::clone(&self.0), at_end: None }
    }
    fn with(&self, number: u64, at_end: impl Fn() + Send + Sync + 'static) -> Adds {
        Adds { number, dropped: Arc::clone(&self.0), at_end: Some(Box::new(at_end)) }
    }
    fn eventually(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.0.load(Ordering::SeqCst) != count {
            assert!(Instant::now() < deadline, "{} of {count} dropped", self.0.load(Ordering::SeqCst));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn handles_change_places_and_remotes_stay_with_them() {
    let maker = Maker::default();
    let mut left: Patched<dyn Step> = Patched::new(maker.make(1));
    let mut right: Patched<dyn Step> = Patched::new(maker.make(2));
    let (of_left, of_right) = (left.remote(), right.remote());
    std::mem::swap(&mut left, &mut right);
    drop(of_left.replace(maker.make(10)).unwrap());
    assert_eq!((left.run(0), right.run(0)), (2, 10));
    let old = std::mem::replace(&mut right, Patched::new(maker.make(3)));
    drop(old);
    let refused = of_left.replace(maker.make(4)).unwrap_err();
    assert!(matches!(refused.error(), Error::HandleDropped) && of_left.is_orphaned());
    drop((of_right.replace(maker.make(20)).unwrap(), refused));
    assert_eq!((left.run(0), right.run(0)), (20, 3));
    // Leaked: its remote finds it for ever.
    std::mem::forget(left);
    drop(of_right.replace(maker.make(30)).unwrap());
    drop(right);
    // All but the last of the leaked one.
    maker.eventually(6);
}

/// A destructor finds the handle that its instance was in without an instance, or with the next one.
#[test]
fn a_destructor_uses_the_remote_of_its_own_handle() {
    let maker = Arc::new(Maker::default());
    let own: Arc<Mutex<Option<Remote<dyn Step>>>> = Arc::default();
    let (inner, seen) = (Arc::clone(&own), Arc::new(AtomicUsize::new(0)));
    let told = Arc::clone(&seen);
    let ending = {
        let maker = Arc::clone(&maker);
        maker.clone().with(1, move || {
            let remote = inner.lock().unwrap().clone().unwrap();
            let answer = remote.replace(maker.make(100));
            told.fetch_add(if answer.is_ok() { 1 } else { 10 }, Ordering::SeqCst);
        })
    };
    let mut handle: Patched<dyn Step> = Patched::new(ending);
    *own.lock().unwrap() = Some(handle.remote());
    let first = handle.replace(maker.make(2));
    drop(first);
    assert_eq!((handle.run(0), seen.load(Ordering::SeqCst)), (100, 1));
    let (inner, told, more) = (Arc::clone(&own), Arc::clone(&seen), Arc::clone(&maker));
    drop(handle.replace(maker.with(3, move || {
        let remote = inner.lock().unwrap().clone().unwrap();
        let answer = remote.replace(more.make(100));
        told.fetch_add(if answer.is_ok() { 1 } else { 10 }, Ordering::SeqCst);
    })));
    drop(handle);
    assert_eq!(seen.load(Ordering::SeqCst), 11, "the handle was gone before its instance");
    // 1 and 2, the first 100, 3 and the refused one.
    maker.eventually(5);
    own.lock().unwrap().take();
}

#[test]
fn a_handle_whose_instance_panics_as_it_is_dropped_is_gone() {
    let maker = Maker::default();
    let handle: Patched<dyn Step> = Patched::new(maker.with(1, || panic!("the end")));
    let remote = handle.remote();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(handle))).is_err());
    assert!(remote.is_orphaned() && remote.replace(maker.make(2)).is_err());
    maker.eventually(2);
}

#[test]
fn chains_change_places_while_their_elements_are_on_their_way_out() {
    let maker = Maker::default();
    let mut left: Chain<dyn Step> = chain![maker.make(1), maker.make(2)].unwrap();
    let mut right: Chain<dyn Step> = Chain::EMPTY;
    let gone = left.remove(0).unwrap();
    std::mem::swap(&mut left, &mut right);
    left.push(maker.make(10)).unwrap();
    assert_eq!((left.run(0), right.run(0)), (10, 2));
    drop(std::mem::take(&mut right));
    assert_eq!(gone.wait().unwrap().run(0), 1);
    let emptied = left.clear().unwrap();
    drop(left);
    assert_eq!(emptied.wait().unwrap()[0].run(0), 10);
    maker.eventually(3);
}

/// Leaked retirements keep what they hold, and nothing else.
#[test]
fn retirements_are_leaked() {
    #[slot]
    static SLOT: dyn Step = Adds3;
    struct Adds3;
    impl Step for Adds3 {
        fn run(&self, x: u64) -> u64 {
            x + 3
        }
    }
    let (leaked, freed) = (Maker::default(), Maker::default());
    let chain: Chain<dyn Step> = chain![leaked.make(1), leaked.make(1)].unwrap();
    std::mem::forget(chain.clear().unwrap());
    drop(SLOT.replace(leaked.make(1)).unwrap());
    std::mem::forget(SLOT.replace(leaked.make(2)).unwrap());
    std::mem::forget(hotcall::batch(|batch| {
        batch.replace(&SLOT, freed.make(1));
    }));
    let mut batch = hotcall::Batch::new();
    batch.replace(&SLOT, leaked.make(5));
    std::mem::forget(batch);
    for number in 0..10 {
        drop(SLOT.replace(freed.make(number)).unwrap());
    }
    SLOT.restore().unwrap().wait().unwrap();
    freed.eventually(11);
    leaked.eventually(0);
}

/// From a destructor on the runtime's thread: whatever needs that thread is refused, everything else works.
#[test]
fn a_destructor_of_the_runtimes_calls_back() {
    #[slot]
    static SLOT: dyn Step = Zero;
    struct Zero;
    impl Step for Zero {
        fn run(&self, x: u64) -> u64 {
            x
        }
    }
    let maker = Maker::default();
    let chain: Arc<Chain<dyn Step>> = Arc::new(chain![maker.make(1)].unwrap());
    let (inner, done) = (Arc::clone(&chain), Arc::new(AtomicUsize::new(0)));
    let told = Arc::clone(&done);
    chain
        .push(maker.with(2, move || {
            let edited = inner.edit(|list| {
                list.reverse();
                list.len()
            });
            assert_eq!(edited.unwrap().0, 1);
            let Err(WaitError::WouldDeadlock(retired)) = SLOT.replace(Zero).unwrap().wait() else {
                panic!("waited")
            };
            drop(retired);
            let handle: Patched<dyn Step> = Patched::new(Zero);
            drop((handle.remote().replace(Zero).unwrap(), hotcall::pin(), hotcall::stats()));
            assert_eq!(handle.run(1), 1);
            told.fetch_add(1, Ordering::SeqCst);
        }))
        .unwrap();
    drop(chain.remove(1).unwrap());
    maker.eventually(1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while done.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the destructor has not come to its end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

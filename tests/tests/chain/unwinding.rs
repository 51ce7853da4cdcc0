//! Edits that panic half-way, and destructors that panic: no element is lost, freed in use, or dropped twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hotcall::{Chain, Instance, Retired, chain, slot};

use crate::{Effect, Gain};

/// Counts its drops, and may panic as it is dropped.
struct Bomb {
    dropped: Arc<AtomicUsize>,
    armed: bool,
}
impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        assert!(!self.armed, "a bomb");
    }
}
impl Effect for Bomb {
    fn process(&self, sample: f32) -> f32 {
        sample + 1.0
    }
    fn note(&self, log: &mut Vec<u32>) {
        log.push(self.dropped.load(Ordering::SeqCst) as u32);
    }
}

#[derive(Default)]
struct Counter(Arc<AtomicUsize>);
impl Counter {
    fn dud(&self) -> Bomb {
        Bomb { dropped: Arc::clone(&self.0), armed: false }
    }
    fn armed(&self) -> Bomb {
        Bomb { dropped: Arc::clone(&self.0), armed: true }
    }
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

fn panics(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An edit that clears a list to which it has added bombs, and catches what they do: what was there is retired, as ever.
#[test]
fn a_destructor_that_panics_inside_clear_loses_nothing() {
    let (old, new) = (Counter::default(), Counter::default());
    let rack: Chain<dyn Effect> = chain![old.dud(), old.dud(), old.dud()].unwrap();
    let guard = hotcall::pin();
    let ((), gone) = rack
        .edit(|list| {
            list.insert(0, new.armed());
            list.insert(2, new.armed());
            list.push(new.dud());
            assert!(panics(|| list.clear()));
            assert_eq!(
                (list.len(), new.take()),
                (0, 3),
                "all that was added is dropped, and out of the list"
            );
        })
        .unwrap();
    assert_eq!((rack.process(0.0), gone.len()), (0.0, 3));
    // The guard keeps them, whoever asks for them or does not.
    drop(gone);
    assert_eq!(old.take(), 0);
    drop(guard);
    eventually("the old ones are freed", || old.0.load(Ordering::SeqCst) == 3);
}

#[test]
fn a_destructor_that_panics_inside_other_operations_loses_nothing() {
    let (old, new) = (Counter::default(), Counter::default());
    let rack: Chain<dyn Effect> = chain![old.dud(), old.dud()].unwrap();
    let ((), gone) = rack
        .edit(|list| {
            list.insert(1, new.armed());
            assert!(panics(|| list.remove(1)));
            assert_eq!((list.len(), new.take()), (2, 1));
            list.replace(0, new.armed());
            assert!(panics(|| list.replace(0, new.dud())));
            assert_eq!((list.len(), new.take()), (2, 1));
        })
        .unwrap();
    assert_eq!((gone.len(), rack.len(), old.take(), new.take()), (1, 2, 0, 0));
    assert_eq!(rack.process(0.0), 2.0);
    assert_eq!(gone.wait().unwrap().len(), 1);
    assert_eq!((old.take(), new.take()), (1, 0));
    drop(rack);
    assert_eq!((old.take(), new.take()), (1, 1));
}

#[test]
fn an_index_out_of_range_changes_nothing() {
    let (old, new) = (Counter::default(), Counter::default());
    let rack: Chain<dyn Effect> = chain![old.dud(), Gain(2.0), old.dud()].unwrap();
    let before = rack.type_names();
    let ((), gone) = rack
        .edit(|list| {
            assert!(panics(|| list.insert(4, new.dud())));
            assert!(panics(|| list.replace(3, new.dud())));
            assert_eq!(new.take(), 2);
            assert!(panics(|| list.remove(3)));
            assert!(panics(|| list.swap(0, 3)) && panics(|| list.swap(3, 0)));
            // Not: taken out, and nowhere put in.
            assert!(panics(|| list.shift(0, 3)) && panics(|| list.shift(3, 0)));
            assert!(panics(|| assert!(list.type_name(3).is_empty())));
            assert_eq!(list.len(), 3);
        })
        .unwrap();
    assert_eq!((rack.type_names(), gone.len(), rack.process(0.0)), (before, 0, 3.0));
    drop(rack);
    assert_eq!(old.take(), 2);
}

/// What it added is dropped, bombs too, while the thread unwinds already; what it took out is there.
#[test]
fn an_edit_that_panics_drops_what_it_added() {
    let (old, new) = (Counter::default(), Counter::default());
    let rack: Chain<dyn Effect> = chain![old.dud(), old.dud()].unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        rack.edit(|list| {
            list.remove(0);
            list.push(new.armed());
            list.replace(0, new.armed());
            list.push(new.dud());
            list.reverse();
            panic!("the edit");
        })
    }));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the edit");
    assert_eq!((rack.len(), rack.process(0.0), old.take(), new.take()), (2, 2.0, 0, 3));
    // The turn is over, too.
    rack.push(Gain(2.0)).unwrap();
    assert_eq!(rack.process(0.0), 4.0);
}

#[test]
fn an_iterator_that_panics_leaves_nothing() {
    let counter = Counter::default();
    let elements = (0..5).map(|number| {
        assert!(number != 3, "the fourth");
        Instance::<dyn Effect>::new(counter.armed())
    });
    assert_eq!(
        *catch_unwind(AssertUnwindSafe(|| Chain::new(elements))).unwrap_err().downcast::<&str>().unwrap(),
        "the fourth"
    );
    assert_eq!(counter.take(), 3);
}

#[test]
fn a_chain_is_dropped_to_its_end() {
    let counter = Counter::default();
    let make = || -> Chain<dyn Effect> {
        chain![counter.armed(), counter.dud(), counter.armed(), counter.dud()].unwrap()
    };
    let rack = make();
    assert!(panics(|| drop(rack)));
    assert_eq!(counter.take(), 4);
    // As a local of what unwinds.
    let rack = make();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _rack = rack;
        panic!("outer");
    }));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "outer");
    assert_eq!(counter.take(), 4);
}

#[test]
fn what_is_retired_is_dropped_to_its_end() {
    let counter = Counter::default();
    let rack: Chain<dyn Effect> = chain![counter.armed(), counter.dud(), counter.armed()].unwrap();
    let gone = rack.clear().unwrap();
    eventually("they have drained", || gone.is_drained());
    assert!(panics(|| drop(gone)));
    assert_eq!(counter.take(), 3);

    // One by one.
    rack.push(counter.armed()).unwrap();
    rack.push(counter.dud()).unwrap();
    let gone = rack.clear().unwrap();
    eventually("they have drained", || gone.is_drained());
    let mut each = gone.into_vec().into_iter();
    let first: Retired<dyn Effect> = each.next().unwrap();
    assert!(panics(|| drop(first)));
    drop(each);
    assert_eq!(counter.take(), 2);

    // By the runtime, whose thread goes on.
    for _ in 0..3 {
        rack.push(counter.armed()).unwrap();
        // It drains after it was dropped.
        let _guard = hotcall::pin();
        drop(rack.remove(0).unwrap());
    }
    eventually("the runtime has dropped them", || counter.0.load(Ordering::SeqCst) == 3);
    counter.take();

    // While the thread unwinds.
    rack.push(counter.armed()).unwrap();
    let gone = rack.clear().unwrap();
    eventually("it has drained", || gone.is_drained());
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _gone = gone;
        panic!("outer");
    }));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "outer");
    assert_eq!(counter.take(), 1);
}

#[test]
fn batches_are_dropped_to_their_end() {
    #[slot]
    static LEFT: dyn Effect = Gain(1.0);
    #[slot]
    static RIGHT: dyn Effect = Gain(1.0);
    let counter = Counter::default();
    // Never committed.
    let mut batch = hotcall::Batch::new();
    batch.replace(&LEFT, counter.armed()).replace(&RIGHT, counter.dud()).replace(&LEFT, counter.armed());
    assert!(panics(|| drop(batch)));
    assert_eq!(counter.take(), 3);
    // Panicked while it was built.
    let caught = catch_unwind(|| {
        hotcall::batch(|batch| {
            batch.replace(&LEFT, counter.armed()).replace(&RIGHT, counter.armed());
            panic!("the batch");
        })
    });
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the batch");
    assert_eq!((counter.take(), LEFT.process(1.0)), (2, 1.0));
    // Replaced by the next.
    let build = |batch: &mut hotcall::Batch| {
        batch.replace(&LEFT, counter.armed()).replace(&RIGHT, counter.armed()).replace(&LEFT, counter.dud());
    };
    let guard = hotcall::pin();
    drop(hotcall::batch(build).unwrap());
    drop(guard);
    let retired = hotcall::batch(|batch| {
        batch.replace(&LEFT, Gain(1.0)).replace(&RIGHT, Gain(1.0));
    });
    let retired = retired.unwrap();
    eventually("they have drained", || retired.is_drained());
    assert!(panics(|| drop(retired)));
    // The first of the two for one slot went with the batch itself.
    eventually("all are dropped", || counter.0.load(Ordering::SeqCst) == 3);
}

/// A closure of `replace_with` that panics, and what it holds then.
#[test]
fn a_handover_that_panics_changes_nothing() {
    #[slot]
    static SLOT: dyn Effect = Gain(3.0);
    let counter = Counter::default();
    let caught = catch_unwind(|| {
        SLOT.replace_with(|old| -> Bomb {
            assert_eq!(old.process(1.0), 3.0);
            let _made = counter.dud();
            panic!("the handover");
        })
    });
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the handover");
    assert_eq!((SLOT.process(1.0), counter.take()), (3.0, 1));
    drop(SLOT.replace(Gain(4.0)).unwrap());
    assert_eq!(SLOT.process(1.0), 4.0);
}

//! One edit after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::{Chain, Error, chain};

use crate::{Add, Effect, Gain, Nothing, notes};

#[test]
fn a_value_goes_through_and_all_are_called() {
    let rack: Chain<dyn Effect> = Chain::EMPTY;
    assert_eq!((rack.process(0.5), notes(&rack)), (0.5, vec![]));
    rack.push(Gain(2.0)).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (1.0, vec![2]));
    rack.push(Add(3.0)).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (4.0, vec![2, 103]));
    rack.insert(1, Nothing).unwrap();
    rack.insert(0, Add(1.0)).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (6.0, vec![101, 2, 103]));
    rack.swap(0, 3).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (8.0, vec![103, 2, 101]));
    let old = rack.replace(1, Gain(10.0)).unwrap().wait().unwrap();
    assert_eq!(old.process(1.0), 2.0);
    assert_eq!((rack.process(0.5), rack.len()), (36.0, 4));
    assert!(rack.type_names()[1].ends_with("Gain"));
    let removed = rack.remove(3).unwrap();
    assert!(removed.type_name().ends_with("Add"));
    assert_eq!(rack.process(0.5), 35.0);
    assert_eq!(rack.name(), "a chain");
    assert_eq!(rack.clear().unwrap().wait().unwrap().len(), 3);
    assert_eq!((rack.process(0.5), rack.is_empty()), (0.5, true));
}

#[test]
fn elements_are_dropped_once() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl Effect for Counted {
        fn process(&self, sample: f32) -> f32 {
            sample
        }
        fn note(&self, _: &mut Vec<u32>) {}
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let make = || Counted(Arc::clone(&dropped));
    let rack: Chain<dyn Effect> = chain![make(), make(), make()].unwrap();
    drop(rack.remove(0).unwrap().wait().unwrap());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    let refused = rack.insert(9, make()).unwrap_err();
    assert!(matches!(refused.error(), Error::NoElement { index: 9, len: 2 }));
    drop(refused.into_instance().unwrap());
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    let ((), _retired) = rack
        .edit(|list| {
            list.push(make());
            list.remove(2);
            assert_eq!(list.len(), 2);
        })
        .unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 3, "added and removed by one edit: never published");
    for _ in 0..10 {
        drop(rack.replace(1, make()).unwrap().wait().unwrap());
    }
    assert_eq!(dropped.load(Ordering::Relaxed), 13);
    drop(rack);
    assert_eq!(dropped.load(Ordering::Relaxed), 15);
}

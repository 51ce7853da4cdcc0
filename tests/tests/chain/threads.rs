//! Edits while other threads call, and edit.

use std::sync::atomic::{AtomicBool, Ordering};

use hotcall::{Chain, Instance, dispatch};

use crate::{Add, Effect, Random};

#[test]
fn two_threads_edit_while_two_call() {
    static RACK: Chain<dyn Effect> = Chain::EMPTY;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Pairs of +1 and -1 only, whatever the list.
                    assert_eq!(RACK.process(7.0), 7.0);
                }
            });
        }
        let editors = [1_u64, 2].map(|seed| {
            scope.spawn(move || {
                let mut random = Random(seed);
                for _ in 0..300 {
                    let change = |list: &mut hotcall::Edit<dyn Effect>| {
                        if list.len() > 30 || (!list.is_empty() && random.below(3) == 0) {
                            let pair = random.below(list.len() / 2) * 2;
                            list.remove(pair);
                            list.remove(pair);
                        } else {
                            let pair = random.below(list.len() / 2 + 1) * 2;
                            list.insert(pair, Add(-1.0));
                            list.insert(pair, Add(1.0));
                        }
                    };
                    drop(RACK.edit(change).unwrap());
                    let (len, at) = (RACK.len(), random.below(32));
                    // In place, where it can be: each call sees one of two equal lists.
                    if at < len {
                        let same = |list: &mut hotcall::Edit<dyn Effect>| {
                            if at < list.len() {
                                list.replace(at, Add(if at % 2 == 0 { 1.0 } else { -1.0 }));
                            }
                        };
                        drop(RACK.edit(same).unwrap());
                    }
                }
            })
        });
        for editor in editors {
            editor.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(RACK.clear().unwrap());
}

/// Replaced in place, one element after another: a call never sees a later replacement without an earlier one.
#[test]
fn replacements_in_place_are_seen_in_order() {
    #[dispatch]
    trait Stamp: Send + Sync {
        fn stamp(&self, log: &mut Vec<u64>);
    }
    struct At(u64);
    impl Stamp for At {
        fn stamp(&self, log: &mut Vec<u64>) {
            log.push(self.0);
        }
    }
    let stamps: Chain<dyn Stamp> = Chain::new((0..8).map(|_| Instance::new(At(0)))).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                log.clear();
                stamps.stamp(&mut log);
                // Replacement n is of element n % 8: what is there is the last eight, or a list that never was.
                let last = *log.iter().max().unwrap();
                for (index, stamp) in log.iter().enumerate() {
                    let wanted = (0..=last).rev().find(|n| *n as usize % 8 == index).unwrap_or(0);
                    assert!(*stamp == wanted, "{log:?}");
                }
            }
        });
        for number in 1..3_000_u64 {
            drop(stamps.replace(number as usize % 8, At(number)).unwrap());
            if number % 7 == 0 {
                std::thread::sleep(std::time::Duration::from_micros(number % 300));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

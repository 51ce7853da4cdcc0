//! Edits inside edits, of one thread and of several: each is made, or refused, and nobody waits for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use hotcall::{Chain, Error, WaitError, chain, slot};

use crate::{Add, Effect, Gain, Nothing};

#[test]
fn edits_nest_as_long_as_they_are_of_different_chains() {
    let (a, b): (Chain<dyn Effect>, Chain<dyn Effect>) =
        (chain![Gain(2.0)].unwrap(), chain![Gain(3.0)].unwrap());
    let (inner, gone) = a
        .edit(|of_a| {
            of_a.push(Add(1.0));
            let (refused, gone) = b
                .edit(|of_b| {
                    // Each of the two is used, and stays what it is.
                    of_a.remove(0);
                    of_b.push(Add(2.0));
                    let refused = a.push(Nothing).unwrap_err();
                    matches!(refused.error(), Error::Reentrant) && refused.into_instance().is_some()
                })
                .unwrap();
            assert!(refused && gone.is_empty());
            assert_eq!(b.process(1.0), 5.0, "the inner edit has taken effect, the outer one not yet");
            a.process(1.0)
        })
        .unwrap();
    assert_eq!((inner, a.process(1.0), gone.len()), (2.0, 2.0, 1));
    assert_eq!(gone.wait().unwrap()[0].process(1.0), 2.0);
}

/// As many threads as chains. Each edits one, and inside it the next one's: one at least is refused, and all end.
#[test]
fn a_circle_of_editors_is_refused() {
    for count in 2..5 {
        let chains: Vec<Chain<dyn Effect>> = (0..count).map(|_| Chain::EMPTY).collect();
        let (inside, refused) = (Barrier::new(count), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for number in 0..count {
                let (chains, inside, refused) = (&chains, &inside, &refused);
                scope.spawn(move || {
                    let edited = chains[number].edit(|list| {
                        list.push(Gain(2.0));
                        // All are inside now, so the last to ask closes the circle.
                        inside.wait();
                        match chains[(number + 1) % count].push(Gain(3.0)) {
                            Ok(()) => {}
                            Err(error) if matches!(error.error(), Error::Reentrant) => {
                                refused.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    });
                    drop(edited.unwrap());
                });
            }
        });
        assert_eq!(refused.load(Ordering::SeqCst), 1, "the one who closes it, and nobody else");
        let total: usize = chains.iter().map(Chain::len).sum();
        assert_eq!(total, 2 * count - 1);
    }
}

/// Other editors of the chain wait for their turn; who only looks does not.
#[test]
fn others_wait_for_their_turn() {
    let rack: Chain<dyn Effect> = Chain::EMPTY;
    let (inside, order) = (Barrier::new(2), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            inside.wait();
            assert_eq!((rack.len(), rack.process(1.0)), (0, 1.0), "the list as it was");
            assert!(format!("{rack:?}").contains("elements: []"));
            inside.wait();
            rack.push(Add(1.0)).unwrap();
            order.lock().unwrap().push("second");
        });
        let edited = rack.edit(|list| {
            inside.wait();
            list.push(Gain(2.0));
            inside.wait();
            order.lock().unwrap().push("first");
        });
        drop(edited.unwrap());
    });
    assert_eq!((rack.process(1.0), order.into_inner().unwrap()), (3.0, vec!["first", "second"]));
}

#[test]
fn a_wait_inside_an_edit_is_refused() {
    #[slot]
    static SLOT: dyn Effect = Gain(1.0);
    let (rack, other): (Chain<dyn Effect>, Chain<dyn Effect>) =
        (chain![Nothing].unwrap(), chain![Nothing, Nothing].unwrap());
    // Held, so that nothing drains before it is asked for.
    let (pinned, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let guard = hotcall::pin();
            pinned.wait();
            done.wait();
            drop(guard);
        });
        pinned.wait();
        let edited = rack.edit(|_| {
            let one = SLOT.replace(Gain(2.0)).unwrap();
            let Err(WaitError::WouldDeadlock(one)) = one.wait() else { panic!("waited") };
            let Err(WaitError::WouldDeadlock(one)) = one.wait_timeout(std::time::Duration::from_secs(60))
            else {
                panic!("waited")
            };
            let batch = hotcall::batch(|batch| {
                batch.replace(&SLOT, Gain(3.0));
            })
            .unwrap();
            let batch = batch.wait().unwrap_err();
            let elements = other.clear().unwrap().wait().unwrap_err();
            assert_eq!((batch.len(), elements.len()), (1, 2));
            (one, batch, elements)
        });
        done.wait();
        let ((one, batch, elements), none) = edited.unwrap();
        drop((one.wait().unwrap(), batch.wait().unwrap(), elements.wait().unwrap(), none));
    });
    // What has drained is given anywhere.
    let one = SLOT.replace(Gain(4.0)).unwrap();
    while !one.is_drained() {
        std::thread::yield_now();
    }
    drop(rack.edit(|_| drop(one.wait().unwrap())).unwrap());
}

/// A destructor that an edit runs: it may edit other chains, and use everything else.
#[test]
fn a_destructor_inside_an_edit_calls_back() {
    struct AtEnd<F: Fn() + Send + Sync>(F);
    impl<F: Fn() + Send + Sync> Drop for AtEnd<F> {
        fn drop(&mut self) {
            self.0();
        }
    }
    impl<F: Fn() + Send + Sync> Effect for AtEnd<F> {
        fn process(&self, sample: f32) -> f32 {
            sample
        }
        fn note(&self, _: &mut Vec<u32>) {}
    }
    static RAN: AtomicUsize = AtomicUsize::new(0);
    let rack: Arc<Chain<dyn Effect>> = Arc::default();
    let other: Arc<Chain<dyn Effect>> = Arc::default();
    let make = || {
        let (rack, other) = (Arc::clone(&rack), Arc::clone(&other));
        AtEnd(move || {
            other.push(Gain(2.0)).unwrap();
            assert!(matches!(rack.push(Gain(2.0)).unwrap_err().error(), Error::Reentrant));
            assert_eq!(rack.process(1.0), 1.0);
            RAN.fetch_add(1, Ordering::SeqCst);
        })
    };
    let edited = rack.edit(|list| {
        list.push(make());
        list.push(make());
        list.remove(0);
        list.clear();
        list.push(make());
        list.replace(0, Nothing);
    });
    drop(edited.unwrap());
    assert_eq!((RAN.load(Ordering::SeqCst), rack.len(), other.len()), (3, 1, 3));
}

/// One thread edits a chain and replaces in a slot, another the other way round: who closes the circle is refused.
#[test]
fn a_handover_and_an_editor_do_not_wait_for_each_other() {
    #[slot]
    static SLOT: dyn Effect = Gain(1.0);
    let (rack, free): (Chain<dyn Effect>, Chain<dyn Effect>) = (Chain::EMPTY, Chain::EMPTY);
    let inside = Barrier::new(2);
    let is_refused = |error: &Error| matches!(error, Error::Reentrant);
    let (edit_refused, handover_refused) = std::thread::scope(|scope| {
        let editor = scope.spawn(|| {
            let edited = rack.edit(|list| {
                list.push(Gain(2.0));
                inside.wait();
                SLOT.replace(Gain(5.0)).is_err_and(|refusal| is_refused(refusal.error()))
            });
            edited.unwrap().0
        });
        let mut refused = false;
        let replaced = SLOT.replace_with(|_| {
            free.push(Gain(3.0)).unwrap();
            inside.wait();
            refused = rack.push(Nothing).is_err_and(|refusal| is_refused(refusal.error()));
            Gain(4.0)
        });
        drop(replaced.unwrap());
        (editor.join().unwrap(), refused)
    });
    assert_ne!(edit_refused, handover_refused, "one of them, and not both");
    assert_eq!(rack.len(), if handover_refused { 1 } else { 2 });
    assert_eq!((rack.process(1.0), free.process(1.0)), (2.0, 3.0));
    assert_eq!(SLOT.process(1.0), if edit_refused { 4.0 } else { 5.0 });
    drop(SLOT.restore().unwrap());
}

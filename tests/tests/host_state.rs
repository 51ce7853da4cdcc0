//! State goes from one version of a plugin to the next, by each way that there is, and with the guarantee of each.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

use std::cell::RefCell;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use hotcall::host::{Fallback, HandOver, What};
use hotcall::slot;
use hotcall_probe::living::{Nobody, Tally};
use hotcall_tests::living::{self, Living, Told, put};
use hotcall_tests::{LONG, eventually, kept_living, negative};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const QUEUED: HandOver = HandOver::Queued { patience: LONG };

fn behaving(behaviour: &str) -> Vec<u8> {
    living::behaving(TMP, behaviour)
}

/// One test at a time: whoever is inside a call is waited for, of whatever slot.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many bytes were handed over until the next version was in its slot.
fn handed_over(told: &mut Told) -> usize {
    let event = told.until("handed over", |what| matches!(what, What::HandedOver { .. }));
    let What::HandedOver { bytes } = event.what else { unreachable!("it was asked for") };
    bytes
}

fn is_swapped(what: &What) -> bool {
    matches!(what, What::Swapped)
}

fn state_is_handed_over(slot: &dyn Tally, mut it: Living) {
    slot.add(5);
    put(&it.path, &behaving("new"));
    assert_eq!(handed_over(&mut it.told), 8);
    it.told.until_swapped();
    assert_eq!((slot.who().as_str(), slot.add(1)), ("new ", 6));
}

#[test]
fn state_is_handed_over_while_calls_go_on() {
    let _alone = alone();
    let (slot, it) = kept_living!(TMP, "running", hand_over(HandOver::Running));
    state_is_handed_over(slot, it);
}

#[test]
fn state_is_handed_over_while_calls_wait() {
    let _alone = alone();
    let (slot, it) = kept_living!(TMP, "queued", hand_over(QUEUED));
    state_is_handed_over(slot, it);
}

#[test]
fn state_is_added_to_what_the_new_one_has() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(TMP, "merged", hand_over(HandOver::Merged));
    slot.add(5);
    // Somebody is inside the old one: the new one is installed nevertheless, and called.
    let new = behaving("new");
    let total = slot.inside(&|total| {
        put(&it.path, &new);
        eventually("the new one is called", || slot.who() == "new ");
        assert_eq!(slot.add(20), 20);
        total
    });
    assert_eq!(total, 5);
    assert_eq!(handed_over(&mut it.told), 8);
    assert_eq!(slot.add(0), 25);
}

/// Threads add to the slot while it is replaced: what they were told, one after the other, and together, is in the last version.
fn nothing_is_lost(slot: &'static impl Tally, it: &mut Living, merged: bool) {
    const THREADS: u64 = 3;
    let (stop, added) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    slot.add(1);
                    added.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for version in 0..10 {
            put(&it.path, &behaving(&format!("version {version}")));
            if merged {
                it.told.until_swapped();
            }
            handed_over(&mut it.told);
            if !merged {
                it.told.until_swapped();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(slot.who(), "version 9 ");
    let told = it.told.refusals();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(slot.add(0), added.load(Ordering::Relaxed));
}

#[test]
fn no_update_is_lost_while_calls_wait() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(TMP, "queued_load", hand_over(QUEUED));
    nothing_is_lost(slot, &mut it, false);
}

#[test]
fn no_update_is_lost_where_state_is_merged() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(TMP, "merged_load", hand_over(HandOver::Merged));
    nothing_is_lost(slot, &mut it, true);
}

#[test]
fn a_call_waits_for_the_hand_over_and_runs_the_new_one() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(TMP, "waits", hand_over(QUEUED));
    let (new, (queued, queues)) = (behaving("new"), mpsc::channel());
    thread::scope(|scope| {
        // This thread is inside the old one, so that the hand-over cannot be over.
        let total = slot.inside(&|total| {
            put(&it.path, &new);
            eventually("calls wait", || slot.target().type_name().contains("Instance<"));
            let queued = queued.clone();
            scope.spawn(move || queued.send((slot.add(3), slot.who())).unwrap());
            // Whoever begins now waits, and what is inside goes on.
            assert!(queues.try_recv().is_err());
            total
        });
        assert_eq!(total, 0);
        assert_eq!(queues.recv_timeout(LONG).unwrap(), (3, "new ".to_owned()));
    });
    handed_over(&mut it.told);
}

#[test]
fn a_call_that_lasts_longer_than_the_patience_keeps_the_old_one() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(
        TMP,
        "patience",
        hand_over(HandOver::Queued { patience: std::time::Duration::from_millis(20) })
    );
    slot.add(4);
    let new = behaving("new");
    let told = RefCell::new(&mut it.told);
    slot.inside(&|total| {
        put(&it.path, &new);
        let reason = told.borrow_mut().until_refused();
        assert!(reason.contains("kept the old version for more than 20ms"), "{reason}");
        // A call that waited has run the old one, as does this.
        slot.add(total)
    });
    assert_eq!((slot.who().as_str(), slot.add(1)), ("old ", 9));
    assert!(it.kept.installed().is_ok());
    // It is asked for again.
    it.kept.reload().unwrap();
    assert_eq!((slot.who().as_str(), slot.add(1)), ("new ", 10));
    drop(it.plugins);
}

/// What refuses to restore, or to be saved, leaves the old one as it is.
#[test]
fn a_restore_that_refuses_keeps_the_old_one() {
    let _alone = alone();
    let (running, mut one) = kept_living!(TMP, "refuses_running", hand_over(HandOver::Running));
    let (queued, mut two) = kept_living!(TMP, "refuses_queued", hand_over(QUEUED));
    for (slot, it) in [(running as &dyn Tally, &mut one), (queued as &dyn Tally, &mut two)] {
        slot.add(8);
        for (behaviour, reason) in [
            ("refuse to restore", "that is no state of mine"),
            ("panic while it restores", "it panicked: told to panic"),
        ] {
            put(&it.path, &behaving(behaviour));
            let said = it.told.until_refused();
            assert!(
                said.starts_with("it does not restore the old version's state") && said.contains(reason),
                "{said}"
            );
            assert_eq!((slot.who().as_str(), slot.add(0)), ("old ", 8));
            assert!(it.kept.installed().is_ok());
        }
        assert_eq!(it.told.count(is_swapped), 1);
        put(&it.path, &behaving("fail to save"));
        it.told.until_swapped();
        put(&it.path, &behaving("new"));
        assert!(it.told.until_refused().contains("does not save its state: nothing to save"));
        assert_eq!((slot.who().as_str(), slot.add(0)), ("fail to save ", 8));
    }
}

#[test]
fn a_merge_that_refuses_puts_the_old_one_back() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(TMP, "refuses_merged", hand_over(HandOver::Merged));
    slot.add(8);
    put(&it.path, &behaving("refuse to restore"));
    let event = it.told.until("rolled back", |what| matches!(what, What::RolledBack { .. }));
    let What::RolledBack { to: Fallback::Previous(_), reason } = event.what else { panic!("{event}") };
    assert!(reason.contains("that is no state of mine"), "{reason}");
    assert_eq!((slot.who().as_str(), slot.add(0)), ("old ", 8));
    put(&it.path, &behaving("new"));
    handed_over(&mut it.told);
    assert_eq!((slot.who().as_str(), slot.add(0)), ("new ", 8));
}

/// By the header, before anything of it runs: its constructor would have panicked.
#[test]
fn versions_are_compared_before_any_code_runs() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(TMP, "versions", hand_over(HandOver::Running));
    slot.add(2);
    let of = |behaviour: &str, version: &str| living::of_version(behaving(behaviour), version);
    for version in ["2.0.0", "0.9.9"] {
        put(&it.path, &of("panic in the constructor", version));
        let said = it.told.until_refused();
        assert!(said.starts_with(&format!("version {version} is not compatible with 1.0.0")), "{said}");
        assert_eq!((slot.who().as_str(), slot.add(0)), ("old ", 2));
    }
    put(&it.path, &of("newer", "1.4.2"));
    it.told.until_swapped();
    assert_eq!((slot.who().as_str(), slot.add(0)), ("newer ", 2));
    put(&it.path, &of("older", "1.4.1"));
    assert!(it.told.until_refused().starts_with("version 1.4.1 is not compatible with 1.4.2"));
    // Where no state is asked for, any version follows any other.
    #[slot]
    static ANY: dyn Tally = Nobody;
    let any = it.plugins.keep(&ANY, "living").start().unwrap();
    any.installed().unwrap();
    assert_eq!(ANY.who(), "older ");
    put(&it.path, &of("later", "3.0.0"));
    eventually("it is installed", || ANY.who() == "later ");
    assert_eq!((slot.who().as_str(), slot.add(0)), ("newer ", 2));
}

#[test]
fn a_configuration_is_another_instance_with_the_same_state() {
    let _alone = alone();
    let (slot, it) = kept_living!(TMP, "configured", hand_over(QUEUED));
    slot.add(3);
    it.kept.configure("louder").unwrap();
    assert_eq!((slot.who().as_str(), slot.add(0)), ("old louder", 3));
}

/// What waits in a gate when nobody opens it: a forked child calls the old one.
#[test]
fn a_forked_child_does_not_wait_at_the_gate() {
    let _alone = alone();
    let (slot, mut it) = kept_living!(TMP, "forked", hand_over(QUEUED));
    slot.add(3);
    let new = behaving("new");
    slot.inside(&|total| {
        put(&it.path, &new);
        eventually("calls wait", || slot.target().type_name().contains("Instance<"));
        hotcall_tests::forking::fork(|| slot.add(4) == 7).wait().unwrap();
        total
    });
    it.told.until_swapped();
    assert_eq!(slot.add(0), 3);
}

/// Whether the new version is in its place while somebody is inside the old one, who may still change what was saved.
fn replaced_under_somebody() -> bool {
    let (slot, mut it) = kept_living!(TMP, "inside", hand_over(QUEUED));
    let (new, told) = (behaving("new"), RefCell::new(&mut it.told));
    let early = RefCell::new(false);
    slot.inside(&|total| {
        put(&it.path, &new);
        // Whoever is inside is not made to wait.
        let waits = || slot.target().type_name().contains("Instance<") || slot.who() == "new ";
        eventually("calls wait", waits);
        let deadline = Instant::now() + negative::limit();
        while Instant::now() < deadline && !*early.borrow() {
            *early.borrow_mut() = told.borrow_mut().count(is_swapped) != 1;
            thread::yield_now();
        }
        total
    });
    let early = *early.borrow();
    if !early {
        it.told.until("swapped", is_swapped);
    }
    early
}

#[test]
fn nobody_is_inside_when_state_is_saved() {
    let _alone = alone();
    let sabotaged = negative::sabotaged().is_some();
    let early = replaced_under_somebody();
    if sabotaged {
        std::process::exit(if early { negative::CAUGHT } else { 0 });
    }
    assert!(!early);
    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "nobody_is_inside_when_state_is_saved", "--nocapture"]);
        command
    };
    println!("hand-over-at-once: {}", negative::is_noticed(again, "hand-over-at-once").unwrap());
}

//! What a host does when a plugin panics: the caller sees it, and finds what is put in its place.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
#![allow(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hotcall::host::{Fallback, OnPanic, Status, What};
use hotcall::{Plugins, slot};
use hotcall_probe::living::{Nobody, Tally};
use hotcall_tests::living::{self, Told, put};
use hotcall_tests::{LONG, eventually, kept_living};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

fn behaving(behaviour: &str) -> Vec<u8> {
    living::behaving(TMP, behaviour)
}

/// What a call of it says when it panics. What its caller finds next is there already.
fn panics(slot: &'static impl Tally, x: u64) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| slot.add(x))).expect_err("it panics");
    *payload.downcast::<String>().expect("the message")
}

fn is_panicked(what: &What) -> bool {
    matches!(what, What::Panicked { .. })
}

#[test]
fn by_default_it_stays() {
    let (slot, mut it) = kept_living!(TMP, "stays", on_panic(OnPanic::Stay));
    it.becomes(TMP, "panic at seven");
    assert_eq!(slot.add(1), 1);
    assert!(panics(slot, 7).starts_with("told to panic at seven, at "));
    assert_eq!((slot.who().as_str(), slot.add(1)), ("panic at seven ", 2));
    let event = it.told.until("panicked", is_panicked);
    assert!(event.to_string().contains("panicked: told to panic at seven, at "), "{event}");
    assert!(matches!(it.kept.status(), Status::Installed { .. }));
    assert_eq!(it.told.count(|what| matches!(what, What::RolledBack { .. })), 0);
}

#[test]
fn the_default_is_put_back_before_the_caller_sees_the_panic() {
    let (slot, mut it) = kept_living!(TMP, "default", on_panic(OnPanic::Default));
    it.becomes(TMP, "panic");
    panics(slot, 1);
    assert_eq!(slot.who(), "nobody");
    it.told.until("panicked", is_panicked);
    assert_eq!(it.rolled_back(), Fallback::Default);
    assert_eq!(it.kept.status(), Status::Waiting { reason: "it panicked".to_owned() });
    // The file as it is is not tried again; another is.
    it.plugins.rescan().unwrap();
    assert_eq!(slot.who(), "nobody");
    it.becomes(TMP, "new");
    assert_eq!(slot.who(), "new ");
}

#[test]
fn the_previous_one_is_put_back_as_it_was() {
    let (slot, mut it) = kept_living!(TMP, "previous", on_panic(OnPanic::Previous));
    assert_eq!(slot.add(30), 30);
    let Status::Installed { generation: old, .. } = it.kept.status() else { panic!("{:?}", it.kept) };
    it.becomes(TMP, "panic");
    panics(slot, 1);
    assert_eq!((slot.who().as_str(), slot.add(0)), ("old ", 30));
    assert_eq!(it.rolled_back(), Fallback::Previous(old));
    assert!(matches!(it.kept.status(), Status::Installed { generation, .. } if generation == old));
    // It has no previous one any more.
    it.becomes(TMP, "panic at seven");
    it.becomes(TMP, "panic");
    panics(slot, 1);
    assert_eq!(slot.who(), "panic at seven ");
    panics(slot, 7);
    assert_eq!(slot.who(), "nobody");
    it.rolled_back();
    assert_eq!(it.rolled_back(), Fallback::Default);
}

#[test]
fn another_instance_is_tried_so_often_and_then_quarantined() {
    let (slot, mut it) = kept_living!(TMP, "again", on_panic(OnPanic::Again { times: 2, within: LONG }));
    let generation = it.becomes(TMP, "panic at seven");
    for _ in 0..2 {
        slot.add(1);
        panics(slot, 7);
        assert_eq!(it.rolled_back(), Fallback::Default);
        assert_eq!(it.rolled_back(), Fallback::Again);
        assert_eq!((slot.who().as_str(), slot.add(1)), ("panic at seven ", 1));
        assert!(matches!(it.kept.status(), Status::Installed { generation: now, .. } if now == generation));
    }
    panics(slot, 7);
    assert_eq!(it.rolled_back(), Fallback::Default);
    it.told.until("quarantined", |what| *what == What::Quarantined);
    assert_eq!(slot.who(), "nobody");
    assert!(it.kept.reload().unwrap_err().to_string().contains("quarantined"));
}

/// Only those within the time count.
#[test]
fn panics_long_ago_are_forgotten() {
    let (slot, mut it) =
        kept_living!(TMP, "forgotten", on_panic(OnPanic::Again { times: 1, within: Duration::ZERO }));
    it.becomes(TMP, "panic at seven");
    for _ in 0..5 {
        panics(slot, 7);
        assert_eq!(it.rolled_back(), Fallback::Default);
        assert_eq!(it.rolled_back(), Fallback::Again);
    }
    assert_eq!(slot.who(), "panic at seven ");
}

#[test]
fn what_is_quarantined_is_loaded_for_no_slot() {
    #[slot]
    static OTHER: dyn Tally = Nobody;
    let (slot, mut it) = kept_living!(TMP, "quarantine", on_panic(OnPanic::Quarantine));
    it.becomes(TMP, "panic");
    panics(slot, 1);
    assert_eq!(slot.who(), "old ");
    it.told.until("quarantined", |what| *what == What::Quarantined);
    let other = it.plugins.keep(&OTHER, "living").start().unwrap();
    assert!(other.installed().unwrap_err().to_string().contains("quarantined"));
    assert!(it.kept.reload().unwrap_err().to_string().contains("quarantined"));
    assert_eq!((slot.who().as_str(), OTHER.who().as_str()), ("old ", "nobody"));
    it.becomes(TMP, "new");
    eventually("the other has it, too", || OTHER.who() == "new ");
}

/// Threads call all the time: each call has an answer, or its own panic; and whoever saw a panic finds the fallback.
#[test]
fn callers_on_other_threads_never_see_a_gap() {
    let (slot, mut it) = kept_living!(TMP, "gap", on_panic(OnPanic::Previous));
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    match catch_unwind(AssertUnwindSafe(|| slot.add(1))) {
                        Ok(total) => assert_ne!(total, 0, "the slot's default was called"),
                        Err(payload) => {
                            let text = payload.downcast_ref::<String>().map(String::as_str);
                            assert!(
                                text.is_some_and(|text| text.starts_with("told to panic at 1")),
                                "{text:?}"
                            );
                        }
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..5 {
            it.becomes(TMP, &format!("round {round}"));
            // Its previous one is what panics put back.
            put(&it.path, &behaving("panic"));
            it.rolled_back();
            assert_eq!(slot.who(), format!("round {round} "));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(calls.load(Ordering::Relaxed) > 0);
}

/// A call of the old version that panics when the new one is in its place changes nothing.
#[test]
fn a_panic_of_a_version_that_was_replaced_changes_nothing() {
    let (slot, mut it) = kept_living!(TMP, "late", on_panic(OnPanic::Default));
    let payload = catch_unwind(AssertUnwindSafe(|| {
        slot.inside(&|_| {
            it_becomes(&it.path, "new");
            eventually("it is replaced", || slot.who() == "new ");
            // Of this program, out of the old one: it passes.
            panic!("from inside")
        })
    }));
    assert_eq!(*payload.unwrap_err().downcast::<&str>().unwrap(), "from inside");
    assert_eq!(slot.who(), "new ");
    it.becomes(TMP, "panic");
    assert_eq!(it.told.count(is_panicked), 0);
}

fn it_becomes(path: &std::path::Path, behaviour: &str) {
    put(path, &behaving(behaviour));
}

/// What somebody else has put into the slot stays there.
#[test]
fn a_panic_takes_out_nothing_of_somebody_elses() {
    struct Mine;
    impl Tally for Mine {
        fn add(&self, x: u64) -> u64 {
            x
        }
        fn who(&self) -> String {
            "mine".to_owned()
        }
        fn inside(&self, function: &dyn Fn(u64) -> u64) -> u64 {
            function(0)
        }
    }
    let (slot, mut it) = kept_living!(TMP, "somebody_elses", on_panic(OnPanic::Default));
    it.becomes(TMP, "panic");
    let retired = slot.replace(Mine).unwrap();
    // The host owns it, too: it is lent.
    let panicking = retired.wait().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| panicking.add(1))).is_err());
    it.told.until("panicked", is_panicked);
    assert_eq!(slot.who(), "mine");
    assert!(panicking.into_box().is_err());
    it.becomes(TMP, "new");
    assert_eq!(slot.who(), "new ");
}

#[test]
fn a_destructor_that_panics_ends_nothing() {
    let (slot, mut it) = kept_living!(TMP, "destructor", on_panic(OnPanic::Previous));
    it.becomes(TMP, "panic in the destructor");
    it.becomes(TMP, "next");
    it.becomes(TMP, "last");
    let event = it.told.until("panicked", is_panicked);
    assert!(event.to_string().contains("told to panic"), "{event}");
    assert_eq!(slot.who(), "last ");
    it.becomes(TMP, "very last");
    assert_eq!(slot.who(), "very last ");
}

#[test]
fn it_is_disabled_enabled_and_released() {
    let (slot, it) = kept_living!(TMP, "disabled", on_panic(OnPanic::Stay));
    it.kept.disable().unwrap();
    assert_eq!((slot.who().as_str(), it.kept.status()), ("nobody", Status::Disabled));
    put(&it.path, &behaving("meanwhile"));
    it.plugins.rescan().unwrap();
    assert_eq!(slot.who(), "nobody");
    it.kept.enable().unwrap();
    assert_eq!(slot.who(), "meanwhile ");
    let again = it.plugins.keep(slot, "other").start().unwrap_err().to_string();
    assert!(again.contains("`living` is kept in") && again.contains("release it first"), "{again}");
    it.kept.release().unwrap();
    assert_eq!((slot.who().as_str(), it.kept.status()), ("meanwhile ", Status::Released));
    let other = it.plugins.keep(slot, "other").start().unwrap();
    assert!(other.installed().is_err());
    assert!(matches!(it.kept.reload(), Err(hotcall::host::PluginsError::Gone)));
}

/// One that listens may panic, and may not wait for itself.
#[test]
fn whoever_listens_is_on_the_hosts_thread() {
    let (slot, mut it) = kept_living!(TMP, "listens", on_panic(OnPanic::Stay));
    it.plugins.on_event(|_| panic!("a listener"));
    let (plugins, (tell, told)) = (it.plugins.clone(), std::sync::mpsc::channel());
    it.plugins.on_event(move |_| {
        let _ = tell.send(plugins.rescan().unwrap_err().to_string());
    });
    it.becomes(TMP, "new");
    assert!(told.recv_timeout(LONG).unwrap().contains("the host's own thread"));
    assert_eq!(slot.who(), "new ");
}

/// Nothing is left of a version that nobody is inside of, and whoever listens hears so: in this order.
#[test]
fn events_come_in_their_order() {
    #[slot]
    static SLOT: dyn Tally = Nobody;
    let folder = living::folder(TMP, "order");
    let path = folder.join("libliving.so");
    put(&path, &behaving("old"));
    // SAFETY: as above.
    let plugins = unsafe { Plugins::watch(&folder) }.unwrap();
    let mut told = Told::of(&plugins, "living");
    // SAFETY: its methods pass what they own, and it starts nothing.
    let kept = unsafe { plugins.keep(&SLOT, "living").unload_when_drained() }.start().unwrap();
    let old = told.until_swapped();
    put(&path, &behaving("new"));
    let new = told.until_swapped();
    let drained = told.until("drained", |what| *what == What::Drained);
    let gone = told.until("unloaded", |what| matches!(what, What::Unloaded | What::Stays { .. }));
    assert_eq!((drained.generation, gone.generation), (old, old));
    assert_eq!(gone.what, What::Unloaded, "{gone}");
    assert!(new > old);
    assert!(kept.installed().is_ok());
}

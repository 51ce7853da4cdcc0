//! The grace periods of several reclaimers, and of records that come meanwhile: the argument of `grace.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::grace::{GracePeriods, Records};
use crate::machine::{Freeable, Reader, Section, heavy_barrier, wait};
use crate::record::Record;

/// Two targets, each replaced and freed by a reclaimer of its own, under one machine.
struct Two {
    reader: Reader,
    replaced: [AtomicUsize; 2],
    old: [Freeable; 2],
}

impl Two {
    fn new() -> Self {
        Self {
            reader: Reader::new(),
            replaced: [AtomicUsize::new(0), AtomicUsize::new(0)],
            old: [Freeable::new(), Freeable::new()],
        }
    }

    fn call(&self, which: usize) {
        let section = self.reader.enter();
        if self.replaced[which].load(Ordering::Acquire) == 0 {
            self.old[which].run();
        }
        section.leave();
    }

    /// W1 to W5; `early` takes the cookie before the barrier.
    fn retire(&self, which: usize, early: bool) {
        let before = early.then(|| self.reader.grace.cookie());
        self.replaced[which].store(1, Ordering::Release);
        heavy_barrier(&[]);
        match before {
            None => self.reader.wait(),
            Some(cookie) => {
                while !self.reader.grace.poll(cookie, &self.reader) {
                    thread::yield_now();
                }
            }
        }
        self.old[which].free();
    }
}

fn two_reclaimers(early: bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let two = Arc::new(Two::new());
        let calling = thread::spawn({
            let two = Arc::clone(&two);
            move || two.call(0)
        });
        let other = thread::spawn({
            let two = Arc::clone(&two);
            move || two.retire(1, false)
        });
        two.retire(0, early);
        calling.join().unwrap();
        other.join().unwrap();
    });
}

/// The machine is shared: what one has waited for, the other is told.
#[test]
fn two_reclaimers_share_the_machine() {
    two_reclaimers(false);
}

/// A grace period that began before the barrier has looked at some counters too early.
#[test]
#[should_panic = "Causality violation"]
fn broken_cookie_before_the_barrier() {
    two_reclaimers(true);
}

/// Sections of both counters: one before each turn.
#[test]
fn sections_on_both_counters() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let two = Arc::new(Two::new());
        let calling = thread::spawn({
            let two = Arc::clone(&two);
            move || {
                two.call(0);
                two.call(1);
            }
        });
        two.retire(0, false);
        two.retire(1, false);
        calling.join().unwrap();
    });
}

/// A list to which a record is added while it is walked over.
struct Growing {
    records: [Record; 2],
    /// How many there are. `registry::grow` and `registry::claim`.
    len: AtomicUsize,
    grace: GracePeriods,
    replaced: AtomicUsize,
    old: Freeable,
}

impl Records for Growing {
    fn from(&self, position: usize) -> impl Iterator<Item = &Record> {
        self.records[..self.len.load(Ordering::Acquire)].iter().skip(position)
    }
}

/// When a new thread's record is put into the list.
fn growing(linked_first: bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let growing = Arc::new(Growing {
            records: [Record::new(), Record::new()],
            len: AtomicUsize::new(1),
            grace: GracePeriods::new(),
            replaced: AtomicUsize::new(0),
            old: Freeable::new(),
        });
        let new = thread::spawn({
            let growing = Arc::clone(&growing);
            move || {
                let record = &growing.records[1];
                if linked_first {
                    growing.len.store(2, Ordering::Release);
                }
                record.turn(growing.grace.index());
                let section = Section::enter(record);
                if growing.replaced.load(Ordering::Acquire) == 0 {
                    growing.old.run();
                }
                section.leave();
                growing.len.store(2, Ordering::Release);
            }
        });
        growing.replaced.store(1, Ordering::Release);
        heavy_barrier(&[]);
        wait(&growing.grace, &*growing);
        growing.old.free();
        new.join().unwrap();
    });
}

#[test]
fn a_record_claimed_while_the_list_is_walked() {
    growing(true);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_record_that_is_not_in_the_list() {
    growing(false);
}

/// A thread whose sections overlap without end: is a grace period over while it goes on? `turns` is how often `now` is turned.
fn overlapping(turns: bool) {
    struct Stubborn<'r>(&'r Reader, bool);
    impl Records for Stubborn<'_> {
        fn from(&self, position: usize) -> impl Iterator<Item = &Record> {
            self.0.from(position)
        }
        fn turn(&self, record: &Record, index: usize) {
            if self.1 {
                record.turn(index);
            }
        }
    }
    loom::model(move || {
        let reader = Reader::new();
        let records = Stubborn(&reader, turns);
        let mut held = reader.enter();
        let cookie = reader.grace.cookie();
        let passed = (0..4).any(|_| {
            let passed = reader.grace.poll(cookie, &records);
            let next = reader.enter();
            core::mem::replace(&mut held, next).leave();
            passed
        });
        assert!(passed, "starved: sections that began later are waited for");
        held.leave();
        assert!(reader.record.is_outside());
    });
}

#[test]
fn sections_that_overlap_do_not_starve_a_reclaimer() {
    overlapping(true);
}

#[test]
#[should_panic = "starved"]
fn broken_one_counter_for_all() {
    overlapping(false);
}

/// A record that was claimed with the counter of before a turn, which nobody turns again.
#[test]
fn a_record_with_a_stale_counter_is_turned_again() {
    loom::model(|| {
        let reader = Reader::new();
        let mut held = reader.enter();
        let cookie = reader.grace.cookie();
        assert!(!reader.grace.poll(cookie, &reader));
        // `registry::register` had read the index before.
        reader.record.turn(reader.grace.index() ^ 1);
        let passed = (0..4).any(|_| {
            let next = reader.enter();
            core::mem::replace(&mut held, next).leave();
            reader.grace.poll(cookie, &reader)
        });
        assert!(passed, "starved");
        held.leave();
    });
}

//! Calls through what other crates offer to replace an object while it is used.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::OnceLock;

use arc_swap::{ArcSwap, Cache};
use crossbeam_epoch::{Atomic, Owned};
use hotcall_bench_step::{Stateless, Step};
use left_right::{Absorb, ReadHandleFactory};
use parking_lot::{Mutex, RwLock};

use crate::compare::chain::{Row, chain};
use crate::row;

type Object = Box<dyn Step + Send + Sync>;

fn object() -> Object {
    Box::new(Stateless)
}

/// A replaceable object behind `arc-swap`.
#[must_use]
pub fn arc_swap() -> &'static ArcSwap<Object> {
    static CELL: OnceLock<ArcSwap<Object>> = OnceLock::new();
    CELL.get_or_init(|| ArcSwap::from_pointee(object()))
}

/// A replaceable object behind a reader-writer lock.
#[must_use]
pub fn rwlock() -> &'static RwLock<Object> {
    static CELL: OnceLock<RwLock<Object>> = OnceLock::new();
    CELL.get_or_init(|| RwLock::new(object()))
}

fn mutex() -> &'static Mutex<Object> {
    static CELL: OnceLock<Mutex<Object>> = OnceLock::new();
    CELL.get_or_init(|| Mutex::new(object()))
}

fn epoch() -> &'static Atomic<Object> {
    static CELL: OnceLock<Atomic<Object>> = OnceLock::new();
    CELL.get_or_init(|| Atomic::from(Owned::new(object())))
}

fn seized() -> &'static (seize::Collector, AtomicPtr<Object>) {
    static CELL: OnceLock<(seize::Collector, AtomicPtr<Object>)> = OnceLock::new();
    CELL.get_or_init(|| (seize::Collector::new(), AtomicPtr::new(Box::into_raw(Box::new(object())))))
}

/// What `left-right` keeps two copies of.
#[derive(Clone, Copy)]
struct Twin(&'static (dyn Step + Send + Sync));

impl Absorb<Twin> for Twin {
    fn absorb_first(&mut self, operation: &mut Twin, _other: &Self) {
        *self = *operation;
    }

    fn sync_with(&mut self, first: &Self) {
        *self = *first;
    }
}

fn twins() -> &'static ReadHandleFactory<Twin> {
    static CELL: OnceLock<ReadHandleFactory<Twin>> = OnceLock::new();
    CELL.get_or_init(|| {
        let (mut write, read) = left_right::new_from_empty::<Twin, Twin>(Twin(&Stateless));
        write.append(Twin(&Stateless)).publish();
        // Dropping the writer would take the object from its readers.
        core::mem::forget(write);
        read.factory()
    })
}

/// The rows.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        row!("arc_swap", false, "ArcSwap<Box<dyn _>>, load at each call", |P, seed| {
            let cell = arc_swap();
            chain::<P>(seed, |x| cell.load().step(x))
        }),
        row!("arc_swap_cache", false, "arc_swap::Cache: one a thread, to be carried along", |P, seed| {
            let mut cache = Cache::new(arc_swap());
            chain::<P>(seed, |x| cache.load().step(x))
        }),
        row!("rwlock", false, "parking_lot::RwLock<Box<dyn _>>, read at each call", |P, seed| {
            let cell = rwlock();
            chain::<P>(seed, |x| cell.read().step(x))
        }),
        row!("mutex", false, "parking_lot::Mutex<Box<dyn _>>", |P, seed| {
            let cell = mutex();
            chain::<P>(seed, |x| cell.lock().step(x))
        }),
        row!("epoch_pin_dyn", false, "crossbeam_epoch::pin and a dyn call", |P, seed| {
            let cell = epoch();
            chain::<P>(seed, |x| {
                let guard = crossbeam_epoch::pin();
                // SAFETY: the object is never replaced, and would be freed through the collector.
                let object = unsafe { cell.load(Ordering::Acquire, &guard).deref() };
                object.step(x)
            })
        }),
        row!("seize", false, "seize::Collector::enter and a dyn call", |P, seed| {
            use seize::Guard as _;
            let (collector, cell) = seized();
            chain::<P>(seed, |x| {
                let guard = collector.enter();
                // SAFETY: as for `epoch_pin_dyn`.
                let object = unsafe { &*guard.protect(cell, Ordering::Acquire) };
                object.step(x)
            })
        }),
        row!("left_right", false, "left_right::ReadHandle::enter: one handle a thread", |P, seed| {
            let handle = twins().handle();
            chain::<P>(seed, |x| handle.enter().map_or(0, |twin| twin.0.step(x)))
        }),
        row!(
            "subsecond",
            false,
            "as in a debug build, before the first patch; release builds compile it away",
            |P, seed| {
                let mut function = subsecond::HotFn::current(super::plain::direct::<P> as fn(u64) -> u64);
                chain::<P>(seed, |x| function.call((x,)))
            }
        ),
    ]
}

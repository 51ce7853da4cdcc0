//! Calls that the compiler makes by itself: direct, inlined, through a vtable, a pointer, a match.
#![allow(unsafe_code)]

use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, Ordering};

use hotcall_bench_step::{KEY, Stateful, Stateless, Step, turn};

use crate::compare::chain::{Row, chain};
use crate::row;

/// The limit: a call that is not inlined.
#[inline(never)]
pub fn direct(x: u64) -> u64 {
    Stateless.step(x)
}

/// The limit for an implementor that reads its state.
#[inline(never)]
pub fn direct_stateful(this: &Stateful, x: u64) -> u64 {
    this.step(x)
}

/// A function whose address escapes keeps its arguments as they are written.
#[used]
static KEEP: fn(u64) -> u64 = direct;
#[used]
static KEEP_STATEFUL: fn(&Stateful, u64) -> u64 = direct_stateful;

/// The state that all stateful rows read.
static STATE: Stateful = Stateful::new(KEY);

/// The stateful implementor, as the compiler must see it: somewhere.
fn state() -> &'static Stateful {
    black_box(&STATE)
}

/// What a replaceable `Box<dyn Step>` in a static comes down to for its reader: a fat pointer in memory.
static OBJECT: &(dyn Step + Sync) = &Stateless;
static OBJECT_STATEFUL: &(dyn Step + Sync) = &STATE;

/// Loads the fat pointer, as if it could have changed since the last call.
#[inline(always)]
fn reloaded(cell: &&'static (dyn Step + Sync)) -> &'static dyn Step {
    // SAFETY: `cell` is a reference: aligned, live, initialised.
    unsafe { core::ptr::from_ref(cell).read_volatile() }
}

/// A pointer to a function, to be changed at any time.
static POINTER: AtomicPtr<()> = AtomicPtr::new(direct as fn(u64) -> u64 as *mut ());

#[inline(always)]
fn pointed() -> fn(u64) -> u64 {
    // SAFETY: only functions of this type are ever stored there.
    unsafe { core::mem::transmute(POINTER.load(Ordering::Acquire)) }
}

/// A closed set of implementors.
#[derive(Debug)]
#[allow(dead_code, reason = "the other variants are what makes it a choice")]
enum Closed {
    Nothing,
    Stateless(Stateless),
    Stateful(Stateful),
    Twice(Stateful, Stateful),
}

impl Step for Closed {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        match self {
            Self::Nothing => x,
            Self::Stateless(step) => step.step(x),
            Self::Stateful(step) => step.step(x),
            Self::Twice(first, second) => second.step(first.step(x)),
        }
    }
}

static CLOSED: Closed = Closed::Stateless(Stateless);
static CHOICE: AtomicPtr<Closed> = AtomicPtr::new((&raw const CLOSED).cast_mut());

#[inline(always)]
fn chosen() -> &'static Closed {
    // SAFETY: only addresses of statics are ever stored there.
    unsafe { &*CHOICE.load(Ordering::Acquire) }
}

/// The rows.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        row!("direct", false, "a call that is not inlined", |P, seed| { chain::<P>(seed, direct) }),
        row!("direct_stateful", true, "", |P, seed| {
            let state = state();
            chain::<P>(seed, |x| direct_stateful(state, x))
        }),
        row!("inlined", false, "no call at all", |P, seed| { chain::<P>(seed, |x| turn(x, KEY)) }),
        row!("dyn", false, "fat pointer loaded from a static at each call", |P, seed| {
            chain::<P>(seed, |x| reloaded(&OBJECT).step(x))
        }),
        row!("dyn_stateful", true, "", |P, seed| {
            chain::<P>(seed, |x| reloaded(&OBJECT_STATEFUL).step(x))
        }),
        row!(
            "dyn_hoisted",
            false,
            "fat pointer in registers, vtable entry loaded when LLVM likes",
            |P, seed| {
                let object: &dyn Step = black_box(&Stateless);
                chain::<P>(seed, |x| object.step(x))
            }
        ),
        row!("dyn_hoisted_stateful", true, "", |P, seed| {
            let object: &dyn Step = state();
            let object = black_box(object);
            chain::<P>(seed, |x| object.step(x))
        }),
        row!("fn_pointer", false, "loaded from an AtomicPtr at each call", |P, seed| {
            chain::<P>(seed, |x| pointed()(x))
        }),
        row!("enum_match", false, "a closed set of four, chosen by an AtomicPtr", |P, seed| {
            chain::<P>(seed, |x| chosen().step(x))
        }),
    ]
}

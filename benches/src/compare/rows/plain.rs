//! Calls that the compiler makes by itself: direct, inlined, through a vtable, a pointer, a match.
#![allow(unsafe_code)]

use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, Ordering};

use hotcall_bench_step::{KEY, Step, turn};

use crate::compare::chain::{PLACEMENTS, Row, chain};
use crate::compare::placed::{Stateful, Stateless, reloaded};
use crate::row;

/// The limit: a call that is not inlined.
#[inline(never)]
pub fn direct<const P: usize>(x: u64) -> u64 {
    Stateless::<P>.step(x)
}

/// The limit for an implementor that reads its state.
#[inline(never)]
pub fn direct_stateful<const P: usize>(this: &Stateful<P>, x: u64) -> u64 {
    this.step(x)
}

/// Functions whose addresses escape keep their arguments as they are written.
static DIRECT: [fn(u64) -> u64; PLACEMENTS] = [direct::<0>, direct::<1>, direct::<2>, direct::<3>];

/// Makes the compiler believe that `direct_stateful` is called from elsewhere too.
fn escape<const P: usize>() {
    black_box(direct_stateful::<P> as fn(&Stateful<P>, u64) -> u64);
}

/// The objects of placement `P`.
struct Objects<const P: usize>;

impl<const P: usize> Objects<P> {
    const STATE: &'static Stateful<P> = &Stateful::new();
    const PLAIN: &'static &'static (dyn Step + Sync) = &(&Stateless::<P> as &(dyn Step + Sync));
    const STATEFUL: &'static &'static (dyn Step + Sync) = &(Self::STATE as &(dyn Step + Sync));
}

/// A pointer to a function, to be changed at any time.
static POINTERS: [AtomicPtr<()>; PLACEMENTS] = [
    AtomicPtr::new(direct::<0> as fn(u64) -> u64 as *mut ()),
    AtomicPtr::new(direct::<1> as fn(u64) -> u64 as *mut ()),
    AtomicPtr::new(direct::<2> as fn(u64) -> u64 as *mut ()),
    AtomicPtr::new(direct::<3> as fn(u64) -> u64 as *mut ()),
];

#[inline(always)]
fn pointed<const P: usize>() -> fn(u64) -> u64 {
    // SAFETY: only functions of this type are ever stored there.
    unsafe { core::mem::transmute(POINTERS[P].load(Ordering::Acquire)) }
}

/// A closed set of implementors.
#[derive(Debug)]
#[allow(dead_code, reason = "the other variants are what makes it a choice")]
enum Closed {
    Nothing,
    Stateless(Stateless<0>),
    Stateful(Stateful<0>),
    Twice(Stateful<0>, Stateful<0>),
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
    black_box(&DIRECT);
    vec![
        row!("direct", false, "a call that is not inlined", |P, seed| { chain::<P>(seed, direct::<P>) }),
        row!("direct_stateful", true, "", |P, seed| {
            escape::<P>();
            let state = black_box(Objects::<P>::STATE);
            chain::<P>(seed, |x| direct_stateful(state, x))
        }),
        row!("inlined", false, "no call at all", |P, seed| { chain::<P>(seed, |x| turn(x, KEY)) }),
        row!("dyn", false, "fat pointer loaded from memory at each call", |P, seed| {
            let cell = black_box(Objects::<P>::PLAIN);
            chain::<P>(seed, |x| reloaded(cell).step(x))
        }),
        row!("dyn_stateful", true, "", |P, seed| {
            let cell = black_box(Objects::<P>::STATEFUL);
            chain::<P>(seed, |x| reloaded(cell).step(x))
        }),
        row!(
            "dyn_hoisted",
            false,
            "fat pointer in registers, vtable entry loaded when LLVM likes",
            |P, seed| {
                let object: &dyn Step = *black_box(Objects::<P>::PLAIN);
                chain::<P>(seed, |x| object.step(x))
            }
        ),
        row!("dyn_hoisted_stateful", true, "", |P, seed| {
            let object: &dyn Step = *black_box(Objects::<P>::STATEFUL);
            chain::<P>(seed, |x| object.step(x))
        }),
        row!("fn_pointer", false, "loaded from an AtomicPtr at each call", |P, seed| {
            chain::<P>(seed, |x| pointed::<P>()(x))
        }),
        row!("enum_match", false, "a closed set of four, chosen by an AtomicPtr", |P, seed| {
            chain::<P>(seed, |x| chosen().step(x))
        }),
    ]
}

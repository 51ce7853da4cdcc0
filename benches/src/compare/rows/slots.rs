//! Calls through hotcall's slots, and through what else it has for an implementor that is swapped.
#![allow(unsafe_code)]

use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use hotcall::{Instance, Library, Patched, dispatch, slot};
use hotcall_bench_step::{KEY, Step, turn};
use hotcall_examples::plugins;

use crate::compare::chain::{Loop, Row, chain};
use crate::compare::placed::{Stateful, Stateless, distinct};
use crate::row;

/// What the callers of group `threads` call.
#[slot]
pub(crate) static SHARED: dyn Step = hotcall_bench_step::Stateful::new(KEY);
#[slot]
static SLOT_PLUGIN: dyn Step = hotcall_bench_step::Stateless;
#[slot]
static SLOT_PLUGIN_FAR: dyn Step = hotcall_bench_step::Stateless;

/// The plugin outside of any slot, behind a pointer that is loaded at each call.
static INSTANCE: AtomicPtr<Instance<dyn Step>> = AtomicPtr::new(core::ptr::null_mut());

/// It, once [`prepare`] has run.
#[inline(always)]
fn instance() -> Option<&'static Instance<dyn Step>> {
    // SAFETY: null, or the address of an instance that `install` has leaked.
    unsafe { INSTANCE.load(Ordering::Acquire).as_ref() }
}

/// Function slots: one that holds a function in each placement, and empty ones.
macro_rules! functions {
    ($($placement:literal $full:ident $empty:ident)*) => {
        $(
            #[slot]
            static $full: fn(u64) -> u64 = step::<$placement>;
            #[slot]
            static $empty: Option<fn(u64) -> u64> = None;
        )*

        #[inline(always)]
        fn call_function<const P: usize>(x: u64) -> u64 {
            match P { $($placement => $full(x),)* _ => 0 }
        }

        #[inline(always)]
        fn call_empty<const P: usize>(x: u64) -> u64 {
            match P { $($placement => $empty(x),)* _ => 1 }
        }

        fn install_functions() -> Result<(), Box<dyn std::error::Error>> {
            $(
                drop($full.replace(|x: u64| step::<$placement>(x))?);
                drop($empty.clear()?);
            )*
            Ok(())
        }
    };
}

functions! {
    0 FUNCTION_0 EMPTY_0
    1 FUNCTION_1 EMPTY_1
    2 FUNCTION_2 EMPTY_2
    3 FUNCTION_3 EMPTY_3
}

#[inline]
fn step<const P: usize>(x: u64) -> u64 {
    distinct::<P>();
    turn(x, KEY)
}

/// What an empty slot is compared with: a function that is called and does nothing.
#[inline(never)]
fn nothing<const P: usize>(_: u64) -> u64 {
    distinct::<P>();
    0
}

/// A slot for each placement, so that stub and method have several places too.
macro_rules! placed {
    ($($placement:literal $stateless:ident $stateful:ident)*) => {
        $(
            #[slot]
            static $stateless: dyn Step = Stateless::<$placement> as Stateless<$placement>;
            #[slot]
            static $stateful: dyn Step = Stateful::<$placement>::new() as Stateful<$placement>;
        )*

        /// A plain call through the stateless slot of placement `P`.
        #[inline(always)]
        pub(crate) fn call<const P: usize>(x: u64) -> u64 {
            match P { $($placement => $stateless.step(x),)* _ => 0 }
        }

        /// A plain call through the stateful slot of placement `P`.
        #[inline(always)]
        fn call_stateful<const P: usize>(x: u64) -> u64 {
            match P { $($placement => $stateful.step(x),)* _ => 0 }
        }

        /// A chain of calls through the stateless slot of placement `P`, bound to a guard.
        #[inline(always)]
        fn bound_chain<const P: usize>(seed: u64) -> u64 {
            let guard = hotcall::pin();
            match P {
                $($placement => { let bound = $stateless.bind(&guard); chain::<P>(seed, |x| bound.step(x)) })*
                _ => 0,
            }
        }

        /// The same, stateful.
        #[inline(always)]
        fn bound_chain_stateful<const P: usize>(seed: u64) -> u64 {
            let guard = hotcall::pin();
            match P {
                $($placement => { let bound = $stateful.bind(&guard); chain::<P>(seed, |x| bound.step(x)) })*
                _ => 0,
            }
        }

        fn install_placed() -> Result<(), Box<dyn std::error::Error>> {
            $(
                drop($stateless.replace(Stateless::<$placement>)?);
                drop($stateful.replace(Stateful::<$placement>::new())?);
            )*
            Ok(())
        }
    };
}

placed! {
    0 SLOT_0 STATEFUL_0
    1 SLOT_1 STATEFUL_1
    2 SLOT_2 STATEFUL_2
    3 SLOT_3 STATEFUL_3
}

/// Runs a loop from inside a slot's call.
#[dispatch]
pub trait Inside: Send + Sync {
    /// Runs it.
    fn run(&self, work: Loop, seed: u64) -> u64;
}

/// Runs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run;

impl Inside for Run {
    fn run(&self, work: Loop, seed: u64) -> u64 {
        work(seed)
    }
}

#[slot]
static OUTER: dyn Inside = Run;

/// Installs an implementor in every slot and waits until the slots have settled: a slot that has never been
/// replaced, or was just now, is not what is measured.
///
/// # Errors
///
/// The plugin could not be built, or something was refused.
pub fn prepare() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| install().map_err(|error| error.to_string())).clone()
}

fn install() -> Result<(), Box<dyn std::error::Error>> {
    let paths = plugins::build(&["hotcall-bench-plugin"])?;
    let path = paths.first().ok_or("cargo built no plugin")?;
    let plugin = |library: &Library| library.instantiate::<dyn Step>(&KEY.to_string());
    // Libraries are loaded near the program unless that is forbidden. Each opening loads a copy of its own.
    let near = plugins::open(path)?;
    let (in_slot, outside) = (plugin(&near)?, plugin(&near)?);
    hotcall::load_libraries_near(false);
    let far = plugins::open(path).and_then(|library| plugin(&library));
    hotcall::load_libraries_near(true);
    install_placed()?;
    install_functions()?;
    drop(SHARED.replace(hotcall_bench_step::Stateful::new(KEY))?);
    drop(SLOT_PLUGIN.replace(in_slot)?);
    drop(SLOT_PLUGIN_FAR.replace(far?)?);
    INSTANCE.store(Box::into_raw(Box::new(outside)), Ordering::Release);
    drop(OUTER.replace(Run)?);
    settle();
    Ok(())
}

/// Waits, for a second at most, until no stub jumps to a thunk.
pub(crate) fn settle() {
    let begin = Instant::now();
    while hotcall::stats().thunks > 0 && begin.elapsed() < Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Pinned sections on this thread, for as long as it lives.
struct Pinned;

impl Pinned {
    fn force() -> Self {
        hotcall::force_pinned_sections(true);
        Self
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        hotcall::force_pinned_sections(false);
    }
}

/// The rows.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        row!("slot_call", false, "a plain call, with no guard", |P, seed| { chain::<P>(seed, call::<P>) }),
        row!("slot_call_stateful", true, "", |P, seed| { chain::<P>(seed, call_stateful::<P>) }),
        row!("slot_bound", false, "through a guard held around the loop", |P, seed| {
            bound_chain::<P>(seed)
        }),
        row!("slot_bound_stateful", true, "", |P, seed| { bound_chain_stateful::<P>(seed) }),
        row!(
            "slot_plugin",
            true,
            "a plain call; the implementor is a shared library's, loaded near the program",
            |P, seed| { chain::<P>(seed, |x| SLOT_PLUGIN.step(x)) }
        ),
        row!("slot_plugin_far", true, "the same library, loaded far away", |P, seed| {
            chain::<P>(seed, |x| SLOT_PLUGIN_FAR.step(x))
        }),
        row!(
            "dyn_plugin",
            true,
            "the same plugin outside of a slot: Instance's table, which is its vtable, reloaded at each call",
            |P, seed| { chain::<P>(seed, |x| instance().map_or(0, |plugin| plugin.step(x))) }
        ),
        row!("slot_plugin_bound", true, "the same, through a guard", |P, seed| {
            let guard = hotcall::pin();
            let bound = SLOT_PLUGIN.bind(&guard);
            chain::<P>(seed, |x| bound.step(x))
        }),
        row!("fn_slot", false, "a function slot, called like a function", |P, seed| {
            chain::<P>(seed, call_function::<P>)
        }),
        row!(
            "patched_handle",
            true,
            "Patched<dyn _>: an owned handle whose instance may be swapped",
            |P, seed| {
                let handle = black_box(Patched::<dyn Step>::new(Stateful::<P>::new()));
                chain::<P>(seed, |x| handle.step(x))
            }
        ),
        row!("empty_slot", false, "an empty function slot; the step is made by the caller", |P, seed| {
            chain::<P>(seed, |x| turn(x, KEY) ^ call_empty::<P>(x))
        }),
        row!("direct_empty", false, "a call of a function that does nothing, for empty_slot", |P, seed| {
            chain::<P>(seed, |x| turn(x, KEY) ^ nothing::<P>(x))
        }),
        row!("slot_call_nested", false, "plain calls made from inside a slot's call", |P, seed| {
            OUTER.run(|seed| chain::<P>(seed, call::<P>), seed)
        }),
        row!("patched_bound", true, "the same, bound to a guard held around the loop", |P, seed| {
            let mut handle = black_box(Patched::<dyn Step>::new(Stateful::<P>::new()));
            let guard = hotcall::pin();
            let bound = handle.bind(&guard);
            chain::<P>(seed, |x| bound.step(x))
        }),
        row!("pin", false, "a guard made and dropped at each step; the step is made inline", |P, seed| {
            chain::<P>(seed, |x| {
                let guard = hotcall::pin();
                let x = turn(x, KEY);
                drop(guard);
                x
            })
        }),
        row!(
            "slot_call_no_membarrier",
            false,
            "plain calls where the system has no membarrier",
            |P, seed| {
                let _pinned = Pinned::force();
                chain::<P>(seed, call::<P>)
            }
        ),
    ]
}

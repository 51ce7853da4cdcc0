//! Calls through hotcall's slots.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use hotcall::{dispatch, slot};
use hotcall_bench_step::{KEY, Step};
use hotcall_examples::plugins;

use crate::compare::chain::{Loop, Row, chain};
use crate::compare::placed::{Stateful, Stateless};
use crate::row;

/// What the callers of group `threads` call.
#[slot]
pub(crate) static SHARED: dyn Step = hotcall_bench_step::Stateful::new(KEY);
#[slot]
static SLOT_PLUGIN: dyn Step = hotcall_bench_step::Stateless;

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
    let plugin = plugins::open(path)?.instantiate::<dyn Step>(&KEY.to_string())?;
    install_placed()?;
    drop(SHARED.replace(hotcall_bench_step::Stateful::new(KEY))?);
    drop(SLOT_PLUGIN.replace(plugin)?);
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
        row!("slot_plugin", true, "a plain call; the implementor is a shared library's", |P, seed| {
            chain::<P>(seed, |x| SLOT_PLUGIN.step(x))
        }),
        row!("slot_plugin_bound", true, "the same, through a guard", |P, seed| {
            let guard = hotcall::pin();
            let bound = SLOT_PLUGIN.bind(&guard);
            chain::<P>(seed, |x| bound.step(x))
        }),
        row!("slot_call_nested", false, "plain calls made from inside a slot's call", |P, seed| {
            OUTER.run(|seed| chain::<P>(seed, call::<P>), seed)
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

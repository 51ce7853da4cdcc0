//! Many callers, with and without swaps: throughput, and the latency of single calls.

use core::sync::atomic::{AtomicBool, Ordering};
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hotcall::Instance;
use hotcall_bench_step::{KEY, Stateful, Step, Twin};
use rustix::thread::{MembarrierCommand, membarrier};

use super::chain::{SEED, expected};
use super::figure::{Figure, relate};
use super::latency::{Clock, Latencies, ticks};
use super::placed;
use super::rows::published::{arc_swap, rwlock};
use super::rows::slots::SHARED;

/// How the callers call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A function, with nothing to swap.
    Direct,
    /// Plain calls through a slot.
    SlotCall,
    /// Calls through a guard held for a block of calls.
    SlotBound,
    /// `ArcSwap::load` at each call.
    ArcSwap,
    /// `RwLock::read` at each call.
    RwLock,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Direct, Self::SlotCall, Self::SlotBound, Self::ArcSwap, Self::RwLock];

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::SlotCall => "slot_call",
            Self::SlotBound => "slot_bound",
            Self::ArcSwap => "arc_swap",
            Self::RwLock => "rwlock",
        }
    }
}

/// What another thread does meanwhile, so many times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// It swaps what is called: two types in turn.
    Swap,
    /// It swaps what is called: instances of one type.
    SwapInPlace,
    /// It calls `membarrier`, and nothing else: what a swap cannot do without.
    Barrier,
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How to call.
    pub kind: Kind,
    /// On how many threads.
    pub callers: usize,
    /// How often another thread swaps, or does what `disturbance` says.
    pub swaps_per_second: u32,
    /// What it does.
    pub disturbance: Disturbance,
    /// For how long.
    pub time: Duration,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// By all callers together.
    pub calls_per_second: f64,
    /// Swaps that were made.
    pub swaps_per_second: f64,
    /// Of single calls, one of each block.
    pub latencies: Latencies,
    /// Blocks of calls that computed something wrong.
    pub wrong: u64,
}

/// Calls between two that are timed.
const BLOCK: u64 = 1_024;

/// Runs a load.
#[must_use]
pub fn run(load: Load) -> Done {
    let clock = Clock::calibrated();
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    let (callers, swaps) = thread::scope(|scope| {
        let stop = &stop;
        let callers: Vec<_> =
            (0..load.callers).map(|_| scope.spawn(move || call(load.kind, clock, stop))).collect();
        let swapper = scope.spawn(move || swap(load, stop));
        thread::sleep(load.time);
        stop.store(true, Ordering::Relaxed);
        let callers: Vec<Caller> = callers.into_iter().filter_map(|caller| caller.join().ok()).collect();
        (callers, swapper.join().unwrap_or(0))
    });
    let seconds = begin.elapsed().as_secs_f64();
    let mut latencies = Latencies::default();
    for caller in &callers {
        latencies.add(&caller.latencies);
    }
    Done {
        calls_per_second: callers.iter().map(|caller| caller.calls as f64).sum::<f64>() / seconds,
        swaps_per_second: swaps as f64 / seconds,
        latencies,
        wrong: callers.iter().map(|caller| caller.wrong).sum::<u64>() + (load.callers - callers.len()) as u64,
    }
}

/// What one caller did.
#[derive(Default)]
struct Caller {
    calls: u64,
    wrong: u64,
    latencies: Latencies,
}

fn call(kind: Kind, clock: Clock, stop: &AtomicBool) -> Caller {
    let mut caller = Caller::default();
    let expected = expected(SEED, BLOCK + 1);
    let overhead = clock.overhead();
    let (arc_swap, rwlock) = (arc_swap(), rwlock());
    let state = placed::Stateful::<0>::new();
    let direct = core::hint::black_box(&state);
    while !stop.load(Ordering::Relaxed) {
        let (found, ns) = match kind {
            Kind::Direct => block(clock, |x| super::rows::plain::direct_stateful(direct, x)),
            Kind::SlotCall => block(clock, |x| SHARED.step(x)),
            Kind::SlotBound => {
                let guard = hotcall::pin();
                let bound = SHARED.bind(&guard);
                block(clock, |x| bound.step(x))
            }
            Kind::ArcSwap => block(clock, |x| arc_swap.load().step(x)),
            Kind::RwLock => block(clock, |x| rwlock.read().step(x)),
        };
        caller.calls += BLOCK + 1;
        caller.wrong += u64::from(found != expected);
        caller.latencies.record(ns - overhead);
    }
    caller
}

/// A block of calls, and one that is timed.
#[inline(always)]
fn block(clock: Clock, mut call: impl FnMut(u64) -> u64) -> (u64, f64) {
    let mut x = SEED;
    for _ in 0..BLOCK {
        x = call(x);
    }
    let from = ticks();
    x = call(x);
    let to = ticks();
    (x, clock.ns(from, to))
}

/// Swaps as often as told, sleeping between.
fn swap(load: Load, stop: &AtomicBool) -> u64 {
    if load.swaps_per_second == 0 {
        return 0;
    }
    // A hundred microseconds are to be a hundred, not a hundred and fifty. Where it is refused the rate says so.
    let _refused = rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(1));
    let interval = Duration::from_secs(1) / load.swaps_per_second;
    let mut next = Instant::now();
    let mut swaps = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now < next {
            // Not for longer than the end of the run may wait.
            thread::sleep((next - now).min(Duration::from_millis(10)));
            continue;
        }
        // What could not be made up for within a millisecond is not: the rate is reported as it was.
        next = (next + interval).max(now.checked_sub(Duration::from_millis(1)).unwrap_or(now));
        if load.disturbance == Disturbance::Barrier {
            // Refused where there is none; then the figure says what the refusal costs.
            let _refused = membarrier(MembarrierCommand::PrivateExpeditedSyncCore);
            swaps += 1;
            continue;
        }
        let other = load.disturbance == Disturbance::Swap && swaps.is_multiple_of(2);
        match load.kind {
            Kind::Direct => {}
            Kind::SlotCall | Kind::SlotBound => {
                let next: Instance<dyn Step> =
                    if other { Instance::new(Twin::new(KEY)) } else { Instance::new(Stateful::new(KEY)) };
                match SHARED.replace(next) {
                    Ok(retired) => drop(retired),
                    Err(error) => {
                        eprintln!("swap refused: {error}");
                        return swaps;
                    }
                }
            }
            Kind::ArcSwap => arc_swap().store(Arc::new(boxed(other))),
            Kind::RwLock => *rwlock().write() = boxed(other),
        }
        swaps += 1;
    }
    swaps
}

fn boxed(other: bool) -> Box<dyn Step> {
    if other { Box::new(Twin::new(KEY)) } else { Box::new(Stateful::new(KEY)) }
}

/// Numbers of callers worth looking at: one, one a processor, two a processor.
fn numbers_of_callers() -> Vec<usize> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut numbers = vec![1, processors, 2 * processors];
    numbers.dedup();
    numbers
}

/// Measures every kind, for about `budget`.
///
/// # Errors
///
/// The name of a row that computed something wrong.
pub fn measure(budget: Duration) -> Result<Vec<Figure>, String> {
    let numbers = numbers_of_callers();
    let loads: Vec<(Kind, usize, u32)> = numbers
        .iter()
        .flat_map(|&callers| Kind::ALL.into_iter().map(move |kind| (kind, callers)))
        .flat_map(|(kind, callers)| [0, 100, 10_000].map(|swaps| (kind, callers, swaps)))
        .filter(|&(kind, _, swaps)| kind != Kind::Direct || swaps == 0)
        .collect();
    let time = budget.div_f64(loads.len() as f64);
    let mut figures = Vec::new();
    for (kind, callers, swaps_per_second) in loads {
        let name = format!("threads/{}/{callers}_callers/{swaps_per_second}_swaps", kind.name());
        eprint!("\r{name:<60}");
        let _progress_only = std::io::stderr().flush();
        let done = run(Load { kind, callers, swaps_per_second, disturbance: Disturbance::Swap, time });
        if done.wrong > 0 {
            return Err(format!("row `{name}` computed something wrong in {} blocks", done.wrong));
        }
        let figure = Figure::new("threads", name);
        // The time that one caller spends a call.
        let figure = Figure { ns_per_call: Some(callers as f64 * 1e9 / done.calls_per_second), ..figure }
            .with("callers", callers)
            .with("swaps_wanted", swaps_per_second)
            .with("swaps_per_second", done.swaps_per_second)
            .with("calls_per_second", done.calls_per_second);
        figures.push(done.latencies.onto(figure));
    }
    eprintln!();
    relate(&mut figures, |figure| {
        let callers = figure.name.split('/').nth(2).unwrap_or_default();
        (format!("threads/direct/{callers}/0_swaps"), String::new())
    });
    Ok(figures)
}

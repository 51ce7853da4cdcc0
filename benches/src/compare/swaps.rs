//! What a swap costs who makes it, and who calls meanwhile.
#![allow(clippy::missing_panics_doc, reason = "nothing here panics by itself")]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use hotcall::{Batch, Instance};
use hotcall_bench_slots::{TREES, Tree};
use hotcall_bench_step::{KEY, Stateful, Step, Twin};
use rustix::thread::{MembarrierCommand, membarrier};

use super::figure::Figure;
use super::latency::Latencies;
use super::measure::quantile;
use super::threads::{Disturbance, Kind, Load, run};

/// Sizes of batches.
const BATCHES: [usize; 4] = [1, 10, 1_000, 10_000];

/// Samples of a row, at most.
const SAMPLES: u64 = 4_000;

/// What a batch installs.
#[derive(Clone, Copy)]
enum Swaps {
    /// Two types in turn: code changes, under a barrier.
    Types,
    /// Another instance of the same type: no code changes.
    InPlace,
}

impl Swaps {
    const fn name(self) -> &'static str {
        match self {
            Self::Types => "batch",
            Self::InPlace => "in_place",
        }
    }

    /// What batch number `number` installs.
    fn make(self, number: u64) -> Instance<dyn Step> {
        match self {
            Self::Types if number.is_multiple_of(2) => Instance::new(Twin::new(KEY)),
            _ => Instance::new(Stateful::new(KEY)),
        }
    }
}

/// Measures swaps for about `budget`.
///
/// # Errors
///
/// Something was refused.
pub fn measure(budget: Duration) -> Result<Vec<Figure>, hotcall::Error> {
    let trees: Vec<&Tree> = TREES.iter().filter(|tree| BATCHES.contains(&tree.slots)).collect();
    let slice = budget.div_f64((4 * trees.len()) as f64 * 1.5);
    let mut figures = Vec::new();
    for swaps in [Swaps::Types, Swaps::InPlace] {
        for callers in [0, 1] {
            for tree in &trees {
                eprint!("\rswaps: {}, {} slots, {callers} callers   ", swaps.name(), tree.slots);
                let _progress_only = std::io::stderr().flush();
                figures.extend(with_callers(swaps, tree, callers, slice)?);
            }
        }
    }
    eprintln!();
    figures.extend(throughput(budget.div_f64(3.0)));
    Ok(figures)
}

/// Times batches, and the bare barrier in turn with them, while `callers` threads call.
fn with_callers(
    swaps: Swaps,
    tree: &Tree,
    callers: usize,
    time: Duration,
) -> Result<Vec<Figure>, hotcall::Error> {
    let stop = AtomicBool::new(false);
    let ready = AtomicU64::new(0);
    let timed = thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                let mut x = 1;
                let mut first = true;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..1_000 {
                        x = (TREES[0].call)(x);
                    }
                    if core::mem::take(&mut first) {
                        ready.fetch_add(1, Ordering::Relaxed);
                    }
                }
                core::hint::black_box(x);
            });
        }
        while ready.load(Ordering::Relaxed) < callers as u64 {
            thread::yield_now();
        }
        let timed = time_batches(swaps, tree, time);
        stop.store(true, Ordering::Relaxed);
        timed
    });
    let (batches, barriers) = timed?;
    let (swap, barrier) = (batches.quantile(0.5), barriers.quantile(0.5));
    let name = format!("swaps/{}/{}_slots/{callers}_callers", swaps.name(), tree.slots);
    let figure = Figure::new("swaps", name)
        .with("slots", tree.slots)
        .with("callers", callers)
        .with("membarrier_ns", barrier)
        .with("vs_membarrier", swap / barrier);
    let beyond = match swaps {
        Swaps::Types => (swap - barrier).max(0.0),
        Swaps::InPlace => swap,
    };
    let mut figures = vec![batches.onto(figure.with("ns_per_slot", beyond / tree.slots as f64))];
    if matches!(swaps, Swaps::Types) {
        let name = format!("swaps/membarrier/{}_slots/{callers}_callers", tree.slots);
        let figure = Figure::new("swaps", name).with("slots", tree.slots).with("callers", callers);
        figures.push(barriers.onto(figure));
    }
    Ok(figures)
}

/// Latencies of batches, and of bare barriers.
fn time_batches(swaps: Swaps, tree: &Tree, time: Duration) -> Result<(Latencies, Latencies), hotcall::Error> {
    let (mut batches, mut barriers) = (Latencies::default(), Latencies::default());
    // The first replacement of a slot moves its stub's page, and the first of a type settles: before the clock starts.
    for number in 0..2 {
        drop(hotcall::batch(|batch| (tree.replace)(batch, &|| swaps.make(number)))?.wait());
    }
    let begin = Instant::now();
    while begin.elapsed() < time && batches.count() < SAMPLES {
        let mut batch = Batch::new();
        let number = batches.count();
        (tree.replace)(&mut batch, &|| swaps.make(number));
        let from = Instant::now();
        let retired = batch.commit().map_err(|(error, _)| error)?;
        batches.record(from.elapsed().as_secs_f64() * 1e9);
        // Outside the clock: the next batch begins with a settled slot, as a swap now and then does.
        drop(retired.wait());

        let from = Instant::now();
        // Refused where there is no membarrier; then the figure says what the refusal costs.
        let _registered_by_hotcall = membarrier(MembarrierCommand::PrivateExpeditedSyncCore);
        barriers.record(from.elapsed().as_secs_f64() * 1e9);
    }
    Ok((batches, barriers))
}

/// What a caller gets done while another thread swaps 10,000 times a second, of two types in turn and of one, while it
/// only calls `membarrier` as often, and while nobody does anything: in turn, in short slices, for the machine's own speed
/// changes within seconds. Ratios are taken within a turn.
fn throughput(time: Duration) -> Vec<Figure> {
    const SLICE: Duration = Duration::from_millis(250);
    const RATE: u32 = 10_000;
    const NAMES: [&str; 4] =
        ["0_a_second", "10000_barriers_a_second", "10000_a_second", "10000_in_place_a_second"];
    let loads = [
        (0, Disturbance::Swap),
        (RATE, Disturbance::Barrier),
        (RATE, Disturbance::Swap),
        (RATE, Disturbance::SwapInPlace),
    ];
    let turns = ((time.as_secs_f64() / SLICE.as_secs_f64()) as usize / loads.len()).max(3);
    let mut rates = [const { Vec::new() }; NAMES.len()];
    let mut ratios = [const { Vec::new() }; NAMES.len()];
    let mut made = [const { Vec::new() }; NAMES.len()];
    for turn in 0..turns {
        eprint!("\rswaps: throughput, round {}/{turns}   ", turn + 1);
        let _progress_only = std::io::stderr().flush();
        let mut of_turn = [0.0; NAMES.len()];
        for step in 0..loads.len() {
            let index = (turn + step) % loads.len();
            let (swaps_per_second, disturbance) = loads[index];
            let load = Load { kind: Kind::SlotCall, callers: 1, swaps_per_second, disturbance, time: SLICE };
            let done = run(load);
            of_turn[index] = done.calls_per_second;
            made[index].push(done.swaps_per_second);
        }
        for index in 0..loads.len() {
            rates[index].push(of_turn[index]);
            ratios[index].push(of_turn[index] / of_turn[0]);
        }
    }
    eprintln!();
    let median = |values: &[f64]| quantile(values, 0.5).unwrap_or_default();
    (0..loads.len())
        .map(|index| {
            let rate = median(&rates[index]);
            let figure = Figure::new("swaps", format!("swaps/throughput/{}", NAMES[index]));
            Figure { ns_per_call: Some(1e9 / rate), ..figure }
                .with("calls_per_second", rate)
                .with("of_undisturbed", median(&ratios[index]))
                .with("of_undisturbed_p25", quantile(&ratios[index], 0.25).unwrap_or_default())
                .with("of_undisturbed_p75", quantile(&ratios[index], 0.75).unwrap_or_default())
                .with("swaps_per_second", median(&made[index]))
        })
        .collect()
}

//! What a swap costs who makes it, and who calls meanwhile.
#![allow(clippy::missing_panics_doc, reason = "nothing here panics by itself")]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use hotcall::Batch;
use hotcall_bench_slots::{TREES, Tree};
use hotcall_bench_step::KEY;
use rustix::thread::{MembarrierCommand, membarrier};

use super::figure::Figure;
use super::latency::Latencies;
use super::measure::quantile;
use super::threads::{Disturbance, Kind, Load, run};

/// Sizes of batches.
const BATCHES: [usize; 4] = [1, 10, 1_000, 10_000];

/// Samples of a row, at most.
const SAMPLES: u64 = 4_000;

/// Measures swaps for about `budget`.
///
/// # Errors
///
/// Something was refused.
pub fn measure(budget: Duration) -> Result<Vec<Figure>, hotcall::Error> {
    let trees: Vec<&Tree> = TREES.iter().filter(|tree| BATCHES.contains(&tree.slots)).collect();
    let slice = budget.div_f64((2 * trees.len()) as f64 * 1.5);
    let mut figures = Vec::new();
    for callers in [0, 1] {
        for tree in &trees {
            eprint!("\rswaps: {} slots, {callers} callers   ", tree.slots);
            let _progress_only = std::io::stderr().flush();
            figures.extend(with_callers(tree, callers, slice)?);
        }
    }
    eprintln!();
    figures.extend(throughput(budget.div_f64(3.0)));
    Ok(figures)
}

/// Times batches, and the bare barrier in turn with them, while `callers` threads call.
fn with_callers(tree: &Tree, callers: usize, time: Duration) -> Result<Vec<Figure>, hotcall::Error> {
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
        let timed = time_batches(tree, time);
        stop.store(true, Ordering::Relaxed);
        timed
    });
    let (swaps, barriers) = timed?;
    let (swap, barrier) = (swaps.quantile(0.5), barriers.quantile(0.5));
    let of = |what: &str| format!("swaps/{what}/{}_slots/{callers}_callers", tree.slots);
    let swap_figure = Figure::new("swaps", of("batch"))
        .with("slots", tree.slots)
        .with("callers", callers)
        .with("vs_membarrier", swap / barrier)
        .with("ns_per_slot", ((swap - barrier) / tree.slots as f64).max(0.0));
    let barrier_figure =
        Figure::new("swaps", of("membarrier")).with("slots", tree.slots).with("callers", callers);
    Ok(vec![swaps.onto(swap_figure), barriers.onto(barrier_figure)])
}

/// Latencies of batches, and of bare barriers.
fn time_batches(tree: &Tree, time: Duration) -> Result<(Latencies, Latencies), hotcall::Error> {
    let (mut swaps, mut barriers) = (Latencies::default(), Latencies::default());
    // The first replacement of a slot moves its stub's page: done before the clock starts.
    for _ in 0..2 {
        drop(hotcall::batch(|batch| (tree.replace)(batch, KEY))?.wait());
    }
    let begin = Instant::now();
    while begin.elapsed() < time && swaps.count() < SAMPLES {
        let mut batch = Batch::new();
        (tree.replace)(&mut batch, KEY);
        let from = Instant::now();
        let retired = batch.commit().map_err(|(error, _)| error)?;
        swaps.record(from.elapsed().as_secs_f64() * 1e9);
        // Outside the clock: the next batch begins with a settled slot, as a swap now and then does.
        drop(retired.wait());

        let from = Instant::now();
        // Refused where there is no membarrier; then the figure says what the refusal costs.
        let _registered_by_hotcall = membarrier(MembarrierCommand::PrivateExpeditedSyncCore);
        barriers.record(from.elapsed().as_secs_f64() * 1e9);
    }
    Ok((swaps, barriers))
}

/// What a caller gets done while another thread swaps 10,000 times a second, while it only calls `membarrier` as often, and
/// while nobody does anything: in turn, in short slices, for the machine's own speed changes within seconds. Ratios are
/// taken within a turn.
fn throughput(time: Duration) -> Vec<Figure> {
    const SLICE: Duration = Duration::from_millis(250);
    const RATE: u32 = 10_000;
    let loads = [(0, Disturbance::Swap), (RATE, Disturbance::Barrier), (RATE, Disturbance::Swap)];
    let turns = ((time.as_secs_f64() / SLICE.as_secs_f64()) as usize / loads.len()).max(3);
    let mut rates = [const { Vec::new() }; 3];
    let mut ratios = [const { Vec::new() }; 3];
    let mut made = [const { Vec::new() }; 3];
    for turn in 0..turns {
        eprint!("\rswaps: throughput, round {}/{turns}   ", turn + 1);
        let _progress_only = std::io::stderr().flush();
        let mut of_turn = [0.0; 3];
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
    let names = ["0_a_second", "10000_barriers_a_second", "10000_a_second"];
    (0..loads.len())
        .map(|index| {
            let rate = median(&rates[index]);
            let figure = Figure::new("swaps", format!("swaps/throughput/{}", names[index]));
            Figure { ns_per_call: Some(1e9 / rate), ..figure }
                .with("calls_per_second", rate)
                .with("of_undisturbed", median(&ratios[index]))
                .with("of_undisturbed_p25", quantile(&ratios[index], 0.25).unwrap_or_default())
                .with("of_undisturbed_p75", quantile(&ratios[index], 0.75).unwrap_or_default())
                .with("swaps_per_second", median(&made[index]))
        })
        .collect()
}

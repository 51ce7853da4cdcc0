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
use super::threads::{Kind, Load, run};

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

/// What a caller gets done while another thread swaps 10,000 times a second, and while none does, in turn.
fn throughput(time: Duration) -> Vec<Figure> {
    const TURNS: usize = 7;
    let slice = time.div_f64((2 * TURNS) as f64);
    let mut rates = [Vec::new(), Vec::new()];
    let mut swapped = Vec::new();
    for turn in 0..TURNS {
        eprint!("\rswaps: throughput, round {}/{TURNS}   ", turn + 1);
        let _progress_only = std::io::stderr().flush();
        for (index, swaps) in [0, 10_000].into_iter().enumerate() {
            let done = run(Load { kind: Kind::SlotCall, callers: 1, swaps_per_second: swaps, time: slice });
            rates[index].push(done.calls_per_second);
            if swaps > 0 {
                swapped.push(done.swaps_per_second);
            }
        }
    }
    eprintln!();
    let median = |values: &[f64]| quantile(values, 0.5).unwrap_or_default();
    let without = median(&rates[0]);
    [(0, median(&rates[0])), (10_000, median(&rates[1]))]
        .into_iter()
        .map(|(swaps, rate)| {
            let figure = Figure::new("swaps", format!("swaps/throughput/{swaps}_a_second"));
            Figure { ns_per_call: Some(1e9 / rate), ..figure }
                .with("calls_per_second", rate)
                .with("of_undisturbed", rate / without)
                .with("swaps_per_second", if swaps == 0 { 0.0 } else { median(&swapped) })
        })
        .collect()
}

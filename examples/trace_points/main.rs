//! A loop with a thousand trace points, which cost next to nothing until they are turned on, while it runs.
//!
//! ```sh
//! cargo run --release --example trace_points
//! ```
//!
//! Each of the thousand steps over a record is followed by a point: `if POINT.is_on() { .. }`. First the loop is timed bare, with its
//! points off, and with an `AtomicBool` in the place of each. Then one thread runs it while another turns points on and
//! off, some at a time: those that are on must be seen, no other may be, and none after it was turned off.

mod points;

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use points::{COUNT, Record, SEEN};

/// A loop with a thousand trace points.
#[derive(Parser)]
struct Arguments {
    /// How long the loops are timed, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many points are on at a time.
    #[arg(long, default_value_t = 7)]
    on: usize,
    /// How often points are turned on, and off again.
    #[arg(long, default_value_t = 200)]
    turns: usize,
}

/// A way to run the loop.
type Loop = fn(&Record) -> u64;

const LOOPS: [(&str, Loop); 3] = [
    ("without points", points::bare),
    ("1,000 keys, off", points::with_keys),
    ("1,000 atomics, off", points::with_atomics),
];
const ROUNDS: usize = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { seconds, on, turns } = Arguments::parse();
    let is_time = seconds > 0.0 && seconds < 1e6;
    if !(1..=COUNT).contains(&on) || !is_time {
        return Err(format!("between 1 and {COUNT} points can be on at a time, and time is above 0").into());
    }
    let record: Record = core::array::from_fn(|number| (number * 7 + number / 13) as u8);
    // From here on a point that is off is a no-op.
    hotcall::prepare()?;

    println!("{:<24} {:>12} {:>12}", "", "ns/step", "× bare");
    let times = timed(&record, Duration::from_secs_f64(seconds))?;
    for ((name, _), time) in LOOPS.iter().zip(times) {
        println!("{name:<24} {time:>12.3} {:>12.3}", time / times[0]);
    }

    let (turned, wrong) = live(&record, on, turns)?;
    println!(
        "\n{turned} times a point was turned on, seen, and turned off, {on} at a time, while the loop ran"
    );
    println!("{wrong} seen while they were off");
    let report = hotcall::report();
    println!("{} branches of {} keys are patched", report.stats.branches, report.stats.keys);
    if wrong != 0 {
        return Err("a point that was off was seen".into());
    }
    Ok(())
}

/// Nanoseconds a step of each loop: the median of rounds in which they run in turn.
fn timed(record: &Record, time: Duration) -> Result<[f64; LOOPS.len()], String> {
    let expected = points::bare(record);
    let slice = time.div_f64((ROUNDS * LOOPS.len()) as f64);
    let mut samples = [const { Vec::new() }; LOOPS.len()];
    for round in 0..ROUNDS {
        for turn in 0..LOOPS.len() {
            let index = (round + turn) % LOOPS.len();
            let (name, run) = LOOPS[index];
            let (begin, mut runs) = (Instant::now(), 0_u32);
            while runs == 0 || begin.elapsed() < slice {
                if run(std::hint::black_box(record)) != expected {
                    return Err(format!("the loop {name} computes something else"));
                }
                runs += 1;
            }
            samples[index].push(begin.elapsed().as_secs_f64() * 1e9 / (f64::from(runs) * COUNT as f64));
        }
    }
    Ok(samples.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    }))
}

/// Turns points while the loop runs. How many, and how often one was seen that was off.
fn live(record: &Record, on: usize, turns: usize) -> Result<(u64, u64), hotcall::Error> {
    let (passes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    // Whoever was past a branch when it was turned is done with the record that comes after the next.
    let two_more_passes = || {
        let until = passes.load(Ordering::SeqCst) + 2;
        while passes.load(Ordering::SeqCst) < until {
            std::thread::yield_now();
        }
    };
    let count = |point: &usize| SEEN[*point].load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box(points::with_keys(record));
                passes.fetch_add(1, Ordering::SeqCst);
            }
        });
        let turned = (|| {
            let (mut turned, mut wrong) = (0, 0);
            for turn in 0..turns {
                let chosen = |point: usize| (0..on).any(|number| (turn * 37 + number * 131) % COUNT == point);
                let before: Vec<u64> = (0..COUNT).map(|point| count(&point)).collect();
                points::set(&chosen, true)?;
                two_more_passes();
                points::set(&chosen, false)?;
                two_more_passes();
                let after: Vec<u64> = (0..COUNT).map(|point| count(&point)).collect();
                two_more_passes();
                for point in 0..COUNT {
                    let seen = after[point] != before[point];
                    turned += u64::from(chosen(point) && seen);
                    wrong += u64::from(seen != chosen(point) || count(&point) != after[point]);
                }
            }
            Ok((turned, wrong))
        })();
        stop.store(true, Ordering::Relaxed);
        turned
    })
}

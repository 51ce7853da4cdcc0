//! A pipeline of 16 filters over the records of a log, edited while it runs.
//!
//! ```sh
//! cargo run --release --example pipeline -- /var/log/syslog     # or nothing: a log is made up
//! ```
//!
//! Each line of the file is a record; each filter may refuse it. The filters stand in a `Vec<Box<dyn Filter>>`, which
//! nobody may touch while it is used, and in a [`Chain`], which an editor changes hundreds of times a second: it swaps
//! filters, replaces one by another of its kind, puts one in and takes it out. None of that changes what is refused, so
//! both must agree on every record; where they do not, the program fails.

mod filters;

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use filters::{COUNT, Filter, Pass, Record, boxed, instance};
use hotcall::Chain;

/// A pipeline of filters over a log, edited while it runs.
#[derive(Parser)]
struct Arguments {
    /// The log, one record a line. One is made up where none is given.
    file: Option<PathBuf>,
    /// How long each way of running is timed, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How many records are made up.
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    /// Edits a second.
    #[arg(long, default_value_t = 500)]
    edits: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let bytes = match &arguments.file {
        Some(file) => std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?,
        None => made_up(arguments.records),
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let records: Vec<_> = (0..).zip(lines).map(|(number, line)| Record { line, number }).collect();
    if records.is_empty() {
        return Err("the file has no records".into());
    }
    let time = Duration::from_secs_f64(arguments.seconds);

    let list: Vec<Box<dyn Filter>> = (0..COUNT).map(boxed).collect();
    let through_list = run(&records, time, |record| list.iter().any(|filter| filter.refuses(record)));
    let chain: Chain<dyn Filter> = Chain::new((0..COUNT).map(instance))?;
    let through_chain = run(&records, time, |record| chain.refuses(record));
    let (edited, edits) =
        while_edited(&chain, arguments.edits, || run(&records, time, |record| chain.refuses(record)))?;

    let refused = through_list.refused.iter().filter(|refused| **refused).count();
    println!("{} records, {refused} refused by {COUNT} filters\n", records.len());
    println!("{:<28} {:>10} {:>14} {:>10} {:>10}", "", "ns/record", "records/s", "edits", "differing");
    let mut differing = 0;
    for (name, run, edits) in [
        ("Vec<Box<dyn Filter>>", &through_list, 0),
        ("Chain<dyn Filter>", &through_chain, 0),
        ("Chain<dyn Filter>, edited", &edited, edits.len()),
    ] {
        let wrong = run.refused.iter().zip(&through_list.refused).filter(|(one, other)| one != other).count()
            + run.changed as usize;
        differing += wrong;
        println!(
            "{name:<28} {:>10.2} {:>14.0} {edits:>10} {wrong:>10}",
            run.nanoseconds,
            1e9 / run.nanoseconds
        );
    }
    let ratio = through_list.nanoseconds / through_chain.nanoseconds;
    println!("\nthe chain takes 1/{ratio:.2} of the vector's time");
    if let Some(median) = edits.get(edits.len() / 2) {
        println!("an edit takes {median:.1?} (median) while the pipeline runs");
    }
    if differing != 0 {
        return Err(format!("{differing} records were judged differently").into());
    }
    Ok(())
}

/// What a way of running did.
struct Run {
    /// For each record, whether it was refused, the first time round.
    refused: Vec<bool>,
    /// How many times a later round judged a record differently.
    changed: u64,
    /// For each record.
    nanoseconds: f64,
}

/// Judges all records, over and over, for about so long.
fn run(records: &[Record<'_>], time: Duration, refuses: impl Fn(&Record<'_>) -> bool) -> Run {
    let refused: Vec<bool> = records.iter().map(&refuses).collect();
    let begin = Instant::now();
    let (mut rounds, mut changed) = (0_u32, 0);
    while begin.elapsed() < time {
        for (record, before) in records.iter().zip(&refused) {
            changed += u64::from(refuses(record) != *before);
        }
        rounds += 1;
    }
    let judged = f64::from(rounds) * records.len() as f64;
    Run { refused, changed, nanoseconds: begin.elapsed().as_secs_f64() * 1e9 / judged }
}

/// Runs `work` while another thread edits the chain. Gives the edits' times, sorted.
fn while_edited<R>(
    chain: &Chain<dyn Filter>,
    rate: u32,
    work: impl FnOnce() -> R,
) -> Result<(R, Vec<Duration>), Box<dyn Error>> {
    let stop = AtomicBool::new(false);
    let pause = Duration::from_secs(1) / rate.max(1);
    std::thread::scope(|scope| {
        let editor = scope.spawn(|| -> Result<Vec<Duration>, hotcall::Error> {
            let mut order: Vec<usize> = (0..COUNT).collect();
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let number = times.len();
                let (at, other) = (number * 7 % COUNT, number * 3 % COUNT);
                let begin = Instant::now();
                match number % 4 {
                    0 => {
                        chain.swap(at, other)?;
                        order.swap(at, other);
                    }
                    // The old filter is freed when the pipeline has left it.
                    1 => drop(chain.replace(at, instance(order[at]))?),
                    2 => chain.insert(at, Pass)?,
                    _ => drop(chain.remove((number - 1) * 7 % COUNT)?),
                }
                times.push(begin.elapsed());
                std::thread::sleep(pause);
            }
            times.sort_unstable();
            Ok(times)
        });
        let answer = work();
        stop.store(true, Ordering::Relaxed);
        match editor.join() {
            Ok(times) => Ok((answer, times?)),
            Err(_) => Err("the editor panicked".into()),
        }
    })
}

/// A log that nobody has written, the same at each run.
fn made_up(records: usize) -> Vec<u8> {
    const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "INFO", "WARN", "ERROR"];
    const PATHS: [&str; 5] = ["/", "/index.html", "/api/v1/orders", "/healthz", "/static/app.js"];
    let mut state = 42_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut log = String::new();
    for number in 0..records {
        let level = LEVELS[next(6) as usize];
        let client = format!("10.{}.{}.{}", next(256), next(256), next(256));
        let path = PATHS[next(5) as usize];
        log.push_str(&format!(
            "{level} {number:08} {client} {} {}us GET {path}\n",
            200 + next(4) * 100,
            next(90_000)
        ));
    }
    log.into_bytes()
}

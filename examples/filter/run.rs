//! Runs an expression in every way, compares the verdicts, and prints a table.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Arguments;
use crate::expr::Expr;
use crate::filter::Filter;
use crate::live::{Plan, while_edited};
use crate::publish::Publisher;
use crate::record::{Record, made_up};

/// Whether all verdicts were right.
pub fn run(arguments: &Arguments, expr: &Expr) -> Result<bool, Box<dyn Error>> {
    let log = match &arguments.file {
        Some(file) => {
            let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        None => made_up(arguments.records),
    };
    let records: Vec<_> = log.lines().filter(|line| !line.is_empty()).map(Record::new).collect();
    if records.is_empty() {
        return Err("the file has no records".into());
    }
    let leaves = expr.leaves();
    let Some(leaf) = leaves.get(arguments.leaf) else {
        return Err(
            format!("there is no leaf {}: the expression has {}", arguments.leaf, leaves.len()).into()
        );
    };
    let other = leaf.other();
    let changed = expr.with_leaf(arguments.leaf, &other);

    let publisher = Publisher::new()?;
    let begin = Instant::now();
    let filter = Filter::new(expr, &publisher)?;
    let compiling = begin.elapsed();

    let time = Duration::from_secs_f64(arguments.seconds);
    // The right verdicts: with the leaf, and with the other in its place.
    let right: Vec<_> =
        records.iter().map(|record| [expr.accepts(record), changed.accepts(record)]).collect();
    let is_right = |verdict: bool, right: &[bool; 2]| verdict == right[0];
    let judge = |accepts: &dyn Fn(&Record<'_>) -> bool| time_of(time, &records, &right, accepts, is_right);
    let interpreted = judge(&|record| expr.accepts(record));
    let compiled = judge(&|record| filter.accepts(record));
    let bound = {
        let guard = hotcall::pin();
        let bound = filter.bind(&guard);
        judge(&|record| bound(record))
    };
    let plan = Plan {
        filter: &filter,
        expr,
        index: arguments.leaf,
        other: &other,
        records: &records,
        rate: arguments.edits,
    };
    let (live, edits) = while_edited(&plan, || {
        let either = |verdict: bool, right: &[bool; 2]| right.contains(&verdict);
        time_of(time, &records, &right, &|record| filter.accepts(record), either)
    })?;
    let after = judge(&|record| filter.accepts(record));

    let passed = right.iter().filter(|right| right[0]).count();
    let with_other = right.iter().filter(|right| right[1]).count();
    println!("{expr}\n");
    println!(
        "{} records, {} of them in the Common Log Format; {passed} pass, {with_other} with `{other}` for `{leaf}`\n",
        records.len(),
        records.iter().filter(|record| record.is_parsed()).count(),
    );
    println!("{:<28} {:>10} {:>14} {:>10} {:>10}", "", "ns/record", "records/s", "edits", "wrong");
    let retargeted = edits.leaves + edits.searches;
    for (name, way, edits) in [
        ("interpreted", &interpreted, 0),
        ("compiled", &compiled, 0),
        ("compiled, under a guard", &bound, 0),
        ("compiled, being retargeted", &live, retargeted),
        ("compiled, afterwards", &after, 0),
    ] {
        let (nanoseconds, wrong) = (way.nanoseconds, way.wrong);
        println!("{name:<28} {nanoseconds:>10.2} {:>14.0} {edits:>10} {wrong:>10}", 1e9 / nanoseconds);
    }
    println!(
        "\n{} leaves and {} searches retargeted; {} records judged by a leaf after it was replaced",
        edits.leaves, edits.searches, edits.stale
    );
    statistics(&publisher, &filter, compiling);
    let wrong: u64 = [interpreted, compiled, bound, live, after].iter().map(|way| way.wrong).sum();
    Ok(wrong + edits.stale == 0)
}

fn statistics(publisher: &Publisher, filter: &Filter<'_>, compiling: Duration) {
    let stats = publisher.arena().stats();
    println!("\nthe arena");
    println!("  compiled in                {compiling:.1?}, {} bytes and the leaves", filter.code_len());
    println!(
        "  transactions               {} committed, {} aborted for want of room",
        publisher.committed.load(Ordering::Relaxed),
        publisher.aborted.load(Ordering::Relaxed)
    );
    println!("  sites, trampolines         {}, {}", stats.sites, stats.trampolines);
    println!("  bytes used, in blocks      {}, {}", stats.bytes_used, stats.blocks);
    println!("  bytes waiting to be freed  {}", stats.bytes_waiting);
    println!("  bytes mapped, in chunks    {}, {}", stats.bytes_mapped, stats.chunks);
    println!("  fragmentation              {:.2}", stats.fragmentation());
}

/// One way of running.
struct Way {
    /// For each record.
    nanoseconds: f64,
    /// How many verdicts were wrong.
    wrong: u64,
}

/// Judges all records, over and over, at least once and for about so long.
fn time_of(
    time: Duration,
    records: &[Record<'_>],
    right: &[[bool; 2]],
    accepts: &dyn Fn(&Record<'_>) -> bool,
    is_right: fn(bool, &[bool; 2]) -> bool,
) -> Way {
    let begin = Instant::now();
    let (mut judged, mut wrong) = (0_usize, 0);
    while judged == 0 || begin.elapsed() < time {
        for (record, right) in records.iter().zip(right) {
            wrong += u64::from(!is_right(accepts(record), right));
        }
        judged += records.len();
    }
    Way { nanoseconds: begin.elapsed().as_secs_f64() * 1e9 / judged as f64, wrong }
}

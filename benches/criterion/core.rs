//! The core rows under Criterion, for who tracks regressions: `cargo bench -p hotcall-benches`.
//!
//! `compare` is the tool to compare rows by: it runs them in turn, in several placements. Criterion runs one row
//! after the other, and remembers.

use core::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hotcall_benches::compare::chain::{CALLS, SEED};
use hotcall_benches::compare::measure::check;
use hotcall_benches::compare::rows;

fn core(criterion: &mut Criterion) {
    if let Err(error) = rows::slots::prepare() {
        eprintln!("the slots could not be prepared: {error}");
        std::process::exit(1);
    }
    let rows = rows::core();
    if let Err(error) = check(&rows) {
        eprintln!("{error}");
        std::process::exit(1);
    }
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(CALLS));
    for row in &rows {
        let run = row.loops[0];
        group.bench_function(row.name.as_str(), |bencher| bencher.iter(|| run(black_box(SEED))));
    }
    group.finish();
}

criterion_group!(benches, core);
criterion_main!(benches);

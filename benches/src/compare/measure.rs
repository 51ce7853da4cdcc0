//! Measures the rows of a group: in turn, round after round, in every placement.

use std::io::Write;
use std::time::Duration;

use super::chain::{CALLS, PLACEMENTS, Row, SEED};
use super::counters::{Counters, Counts};
use super::cpu_time::CpuTime;
use super::figure::Figure;

/// Rounds of every measurement: odd, so that the median is a sample.
const ROUNDS: usize = 9;

/// A row did not compute what it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongResult {
    /// The row.
    pub row: String,
    /// What it computed.
    pub found: u64,
    /// What it should have computed.
    pub expected: u64,
}

impl core::fmt::Display for WrongResult {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { row, found, expected } = self;
        write!(
            f,
            "row `{row}` computed {found:#x} instead of {expected:#x}: it does not do the work it is timed for"
        )
    }
}

impl std::error::Error for WrongResult {}

/// Runs every loop of every row once and compares the results.
///
/// # Errors
///
/// The first row that computes something else.
pub fn check(rows: &[Row]) -> Result<(), WrongResult> {
    for row in rows {
        let expected = row.expected;
        for run in row.loops {
            let found = run(SEED);
            if found != expected {
                return Err(WrongResult { row: row.name.clone(), found, expected });
            }
        }
    }
    Ok(())
}

/// Measures `rows` for about `budget` in all. Rows take equal times, not equal numbers of calls.
///
/// # Errors
///
/// A row that computes something else than it should, in any of its runs.
pub fn measure(group: &str, rows: &[Row], budget: Duration) -> Result<Vec<Figure>, WrongResult> {
    check(rows)?;
    let mut counters = Counters::open();
    let slice = budget.div_f64((rows.len() * PLACEMENTS * ROUNDS) as f64);
    let mut samples = vec![[const { Vec::new() }; PLACEMENTS]; rows.len()];
    let mut counts = vec![Counts::default(); rows.len()];
    for round in 0..ROUNDS {
        for turn in 0..rows.len() {
            let index = (turn + round * rows.len() / ROUNDS) % rows.len();
            let row = &rows[index];
            eprint!("\r{group}: round {}/{ROUNDS}, {:<28}", round + 1, row.name);
            let _progress_only = std::io::stderr().flush();
            for (run, samples) in row.loops.into_iter().zip(&mut samples[index]) {
                let sample = sample(run, slice, row.expected).map_err(|found| WrongResult {
                    row: row.name.clone(),
                    found,
                    expected: row.expected,
                })?;
                samples.push(sample);
            }
            if round == 0
                && let Some(counters) = &mut counters
            {
                counts[index] = counters.count(CALLS as f64, || {
                    core::hint::black_box(row.loops[0](SEED));
                });
            }
        }
    }
    eprintln!();
    Ok(rows
        .iter()
        .zip(samples.iter().zip(counts))
        .map(|(row, (samples, counts))| {
            let figure = summarise(Figure::new(group, row.name.clone()), samples);
            Figure { counts, note: row.note.to_owned(), ..figure }.with("stateful", row.stateful)
        })
        .collect())
}

/// Nanoseconds a call over one slice of time; the wrong result, if there is one.
fn sample(run: fn(u64) -> u64, slice: Duration, expected: u64) -> Result<f64, u64> {
    // Once without the clock: the caches and the predictors belong to the row before.
    let mut found = run(SEED);
    let begin = CpuTime::now();
    let mut runs = 0_u32;
    while found == expected {
        found = core::hint::black_box(run)(SEED);
        runs += 1;
        let elapsed = begin.elapsed();
        if elapsed >= slice && found == expected {
            return Ok(elapsed.as_secs_f64() * 1e9 / (f64::from(runs) * CALLS as f64));
        }
    }
    Err(found)
}

/// Fills in the median, the quartiles and the placements.
#[must_use]
pub fn summarise(figure: Figure, placements: &[Vec<f64>]) -> Figure {
    let medians: Vec<f64> = placements.iter().filter_map(|samples| quantile(samples, 0.5)).collect();
    let all: Vec<f64> = placements.iter().flatten().copied().collect();
    let several = placements.len() > 1;
    Figure {
        ns_per_call: quantile(&medians, 0.5),
        p25: quantile(&all, 0.25),
        p75: quantile(&all, 0.75),
        placement_min: quantile(&medians, 0.0).filter(|_| several),
        placement_max: quantile(&medians, 1.0).filter(|_| several),
        samples: Some(all.len()),
        ..figure
    }
}

/// The value below which this share of the values lies, between two of them by interpolation.
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a slice, not negative"
)]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len().checked_sub(1)?) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use hotcall_bench_step::{Stateless, Step};

    use super::super::chain::{Row, chain};
    use super::{check, quantile};
    use crate::row;

    #[test]
    fn a_row_that_does_no_work_is_refused() {
        let idle: Row = row!("idle", false, "", |P, seed| { chain::<P>(seed, |x| x) });
        let half: Row = row!("half", false, "", |P, seed| {
            let mut every_other = false;
            chain::<P>(seed, |x| {
                every_other = !every_other;
                if every_other { Stateless.step(x) } else { x }
            })
        });
        for row in [idle, half] {
            let error =
                check(core::slice::from_ref(&row)).map_or_else(|error| error.to_string(), |()| String::new());
            assert!(error.contains(&format!("row `{}` computed", row.name)), "{error}");
        }
    }

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), Some(4.0));
    }
}

//! Retargeting while another thread runs the filter.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::expr::{Expr, Leaf};
use crate::filter::Filter;
use crate::record::Record;
use crate::search::{Search, contains, contains_plainly};

/// What an editor does.
pub struct Plan<'a> {
    pub filter: &'a Filter<'a>,
    pub expr: &'a Expr,
    /// The leaf at this place...
    pub index: usize,
    /// ... and this one take turns.
    pub other: &'a Leaf,
    pub records: &'a [Record<'a>],
    /// Retargetings a second.
    pub rate: u32,
}

/// What an editor did.
#[derive(Default)]
pub struct Edits {
    /// One leaf for another.
    pub leaves: u64,
    /// One search for another.
    pub searches: u64,
    /// Records that were judged by the leaf before, after it was replaced.
    pub stale: u64,
}

/// Runs `work` while another thread retargets the filter's sites; the leaf is as it was in the end.
///
/// Two leaves take turns, with which the expression means different things: after each turn some records must be judged
/// by the new one. Each leaf that searches does so by the one function and by the other, which mean the same.
pub fn while_edited<R>(plan: &Plan<'_>, work: impl FnOnce() -> R) -> Result<(R, Edits), Box<dyn Error>> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let editor = scope.spawn(|| edit(plan, &stop));
        let answer = work();
        stop.store(true, Ordering::Relaxed);
        match editor.join() {
            Ok(edits) => Ok((answer, edits?)),
            Err(_) => Err("the editor panicked".into()),
        }
    })
}

fn edit(plan: &Plan<'_>, stop: &AtomicBool) -> Result<Edits, hotcall::Error> {
    let Plan { filter, expr, index, other, records, rate } = *plan;
    let leaf = expr.leaves()[index];
    let changed = expr.with_leaf(index, other);
    let count = expr.leaves().len();
    let pause = Duration::from_secs(1) / rate.max(1);
    let mut edits = Edits::default();
    for number in 0.. {
        let done = stop.load(Ordering::Relaxed);
        let (new, meaning) = if number % 2 == 0 && !done { (other, &changed) } else { (leaf, expr) };
        filter.replace_leaf(index, new)?;
        edits.leaves += 1;
        let sample = records.iter().cycle().skip(number * 7 % records.len()).take(16);
        edits.stale +=
            sample.filter(|record| filter.accepts(record) != meaning.accepts(record)).count() as u64;
        if done {
            break;
        }
        let search: Search = if number / count % 2 == 0 { contains_plainly } else { contains };
        edits.searches += u64::from(filter.search_by(number % count, search)?);
        std::thread::sleep(pause);
    }
    Ok(edits)
}

//! What the cells say together: the classes of boundaries, and the verdict on our rule.

use serde::Serialize;

use super::cell::{Cell, Crossing, Store};
use super::child::Outcome;
use super::plan::Group;

/// One cell's result, as it goes into the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The sweep it belongs to.
    pub group: Group,
    /// The cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// The offset of the instruction's first byte in its cacheline.
    pub start: u8,
    /// The boundary that the displacement crosses.
    pub crosses: Crossing,
    /// Whether hotcall would write here.
    pub ours: bool,
    /// Time given, in seconds.
    pub seconds: f64,
    /// Stores made.
    pub writes: u64,
    /// Times the executing thread saw the target change.
    pub seen: u64,
    /// Calls that reached the old target, the new one, and a mixture.
    pub old: u64,
    /// See `old`.
    pub new: u64,
    /// See `old`.
    pub torn: u64,
    /// Calls by mixture: key `b3b2b1b0`, a 1 where the byte is the new one.
    pub mixtures: Vec<(String, u64)>,
    /// The signal or the refusal, if it did not run to its end.
    pub failure: Option<String>,
}

impl Record {
    /// Puts a cell and its outcome together.
    #[must_use]
    pub fn new(group: Group, cell: Cell, seconds: f64, outcome: &Outcome) -> Self {
        let mut record = Self {
            group,
            cell,
            start: cell.start(),
            crosses: cell.crosses(),
            ours: cell.ours(),
            seconds,
            writes: 0,
            seen: 0,
            old: 0,
            new: 0,
            torn: 0,
            mixtures: Vec::new(),
            failure: None,
        };
        match outcome {
            Outcome::Counted(counts) => {
                (record.writes, record.seen) = (counts.writes, counts.seen);
                (record.old, record.new, record.torn) =
                    (counts.calls_old(), counts.calls_new(), counts.torn());
                record.mixtures = counts
                    .targets
                    .iter()
                    .enumerate()
                    .filter(|&(mixture, &calls)| calls > 0 && mixture != 0 && mixture != 15)
                    .map(|(mixture, &calls)| (format!("{mixture:04b}"), calls))
                    .collect();
            }
            Outcome::Crashed(signal) if *signal > 0 => record.failure = Some(format!("signal {signal}")),
            Outcome::Crashed(code) => record.failure = Some(format!("exit code {}", -code)),
            Outcome::Refused(why) => record.failure = Some(why.clone()),
        }
        record
    }
}

/// All whole-store cells of one class, added up.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    /// The boundary crossed.
    pub crosses: Crossing,
    /// Cells.
    pub cells: usize,
    /// Cells that tore.
    pub cells_torn: usize,
    /// Cells that crashed or were refused.
    pub failures: usize,
    /// Stores made.
    pub writes: u64,
    /// Changes seen by the executing thread.
    pub seen: u64,
    /// Calls that reached a mixture.
    pub torn: u64,
    /// Torn fetches a store; with none seen, 0.
    pub rate: f64,
    /// With none seen, 95 % sure that the rate is below this (rule of three: 3 / writes).
    pub rate_below: Option<f64>,
}

/// Adds up the whole-store records by class, leaving out classes without cells.
#[must_use]
pub fn classes(records: &[Record]) -> Vec<Class> {
    Crossing::ALL
        .into_iter()
        .filter_map(|crosses| class(crosses, records.iter().filter(|record| record.crosses == crosses)))
        .collect()
}

/// Adds up the whole-store ones of `records`.
pub fn class<'r>(crosses: Crossing, records: impl Iterator<Item = &'r Record>) -> Option<Class> {
    let records: Vec<&Record> = records.filter(|record| record.cell.store == Store::Whole).collect();
    if records.is_empty() {
        return None;
    }
    let sum = |field: fn(&Record) -> u64| records.iter().map(|record| field(record)).sum::<u64>();
    let (writes, torn) = (sum(|record| record.writes), sum(|record| record.torn));
    Some(Class {
        crosses,
        cells: records.len(),
        cells_torn: records.iter().filter(|record| record.torn > 0).count(),
        failures: records.iter().filter(|record| record.failure.is_some()).count(),
        writes,
        seen: sum(|record| record.seen),
        torn,
        rate: if writes == 0 { 0.0 } else { torn as f64 / writes as f64 },
        rate_below: (torn == 0 && writes > 0).then(|| 3.0 / writes as f64),
    })
}

/// What the run says about the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every cell that the rule allows ran, and none tore.
    Holds,
    /// A cell that the rule allows tore or crashed.
    Broken,
    /// A cell that the rule allows did not see both targets: nothing was shown.
    NotShown,
    /// No cell that the rule allows was run.
    NotAsked,
}

/// Judges the cells that the rule allows, whatever the instruction before them.
#[must_use]
pub fn verdict(records: &[Record]) -> Verdict {
    let ours = || records.iter().filter(|record| record.ours && record.cell.store == Store::Whole);
    if ours().any(|record| record.torn > 0 || record.failure.is_some()) {
        Verdict::Broken
    } else if ours().next().is_none() {
        Verdict::NotAsked
    } else if ours().any(|record| record.old == 0 || record.new == 0) {
        Verdict::NotShown
    } else {
        Verdict::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell::Cell;
    use super::super::child::Outcome;
    use super::super::plan::Group;
    use super::super::race::Counts;
    use super::{Record, Verdict, classes, verdict};

    fn record(offset: u8, torn: u64) -> Record {
        let mut targets = [0; 16];
        (targets[0], targets[15], targets[8]) = (10, 20, torn);
        let counts = Counts { writes: 300, seen: 100, targets };
        Record::new(Group::Offsets, Cell::plain(offset), 1.0, &Outcome::Counted(counts))
    }

    #[test]
    fn verdicts() {
        assert_eq!(verdict(&[record(4, 0), record(63, 9)]), Verdict::Holds);
        assert_eq!(verdict(&[record(4, 1)]), Verdict::Broken);
        assert_eq!(verdict(&[record(63, 1)]), Verdict::NotAsked);
        let crashed = Record::new(Group::Offsets, Cell::plain(4), 1.0, &Outcome::Crashed(4));
        assert_eq!(verdict(&[crashed]), Verdict::Broken);
    }

    #[test]
    fn the_rule_of_three() {
        let classes = classes(&[record(31, 0), record(29, 0), record(63, 3)]);
        assert_eq!(classes.len(), 2);
        assert_eq!(classes[0].rate_below, Some(3.0 / 600.0));
        assert_eq!((classes[1].torn, classes[1].rate), (3, 0.01));
    }
}

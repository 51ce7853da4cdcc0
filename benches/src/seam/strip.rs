//! The result as text: strips of 64 cells, the classes, and the boundary in the middle of a line.

use core::fmt::Write;

use super::cell::{Cell, Crossing, Fill, Form, LINE, Store};
use super::plan::Group;
use super::summary::{Class, Record, Verdict, class};

/// One character for a cell: `.` none torn, a digit for the power of ten, `!` crashed or refused, space
/// not run.
fn mark(record: Option<&Record>) -> char {
    match record {
        None => ' ',
        Some(record) if record.failure.is_some() => '!',
        Some(record) if record.torn == 0 => '.',
        Some(record) => char::from_digit(record.torn.ilog10().min(9), 10).unwrap_or('9'),
    }
}

/// The strips of every sweep over the 64 offsets.
#[must_use]
pub fn strips(records: &[Record]) -> String {
    let mut text = String::new();
    let find = |group, form, store, offset| {
        records.iter().find(|record| {
            (record.group, record.cell) == (group, Cell { offset, form, store, fill: Fill::Nops(0) })
        })
    };
    let ruler: String = (0..LINE / 8).map(|eight| format!("{:<8}", eight * 8)).collect();
    let rule: String = (0..LINE).map(|offset| if Cell::plain(offset).ours() { '^' } else { ' ' }).collect();
    let rows = [
        (Group::Offsets, Form::Call, Store::Whole),
        (Group::Starts, Form::Addr32Call, Store::Whole),
        (Group::Starts, Form::JmpStub, Store::Whole),
        (Group::Starts, Form::JzStub, Store::Whole),
        (Group::Stores, Form::Call, Store::Halves),
        (Group::Stores, Form::Call, Store::OneThree),
    ];
    _ = writeln!(text, "torn fetches by the offset of the displacement's first byte in its cacheline");
    _ = writeln!(text, "(. none; a digit is the power of ten; ! crashed)\n");
    _ = writeln!(text, "{:<14} {:>5}  {ruler}", "instruction", "store");
    for (group, form, store) in rows {
        let marks: String = (0..LINE).map(|offset| mark(find(group, form, store, offset))).collect();
        if !marks.trim().is_empty() {
            _ = writeln!(text, "{:<14} {:>5}  {marks}", form.label(), store.label());
        }
    }
    _ = writeln!(text, "{:<14} {:>5}  {rule}", "our rule", "");
    text
}

/// The classes, as a table.
#[must_use]
pub fn table(classes: &[Class]) -> String {
    let mut text = String::new();
    _ = writeln!(
        text,
        "{:<30} {:>6} {:>15} {:>14} {:>10} {:>12}",
        "one 32-bit store", "cells", "writes", "changes seen", "torn", "torn/write"
    );
    for class in classes {
        _ = writeln!(
            text,
            "{:<30} {:>6} {:>15} {:>14} {:>10} {:>12}",
            class.crosses.label(),
            class.cells,
            class.writes,
            class.seen,
            class.torn,
            rate(class),
        );
    }
    text
}

fn rate(class: &Class) -> String {
    match class.rate_below {
        Some(bound) => format!("< {bound:.1e}"),
        None => format!("{:.1e}", class.rate),
    }
}

/// What was found at the 32-byte boundary inside a cacheline: by split, and by surroundings where some
/// tore.
#[must_use]
pub fn half_line(records: &[Record]) -> String {
    let mut text = String::new();
    let here = || records.iter().filter(|record| record.crosses == Crossing::HalfLine);
    if here().next().is_none() {
        return text;
    }
    _ = writeln!(text, "the 32-byte boundary inside a cacheline, by the bytes before it");
    for split in [1, 2, 3] {
        let cells = here().filter(|record| record.cell.split() == Some(split));
        if let Some(class) = class(Crossing::HalfLine, cells) {
            _ = writeln!(
                text,
                "  {split}+{}: {} torn in {} writes ({} a write), in {} of {} cells",
                4 - split,
                class.torn,
                class.writes,
                rate(&class),
                class.cells_torn,
                class.cells
            );
        }
    }
    let swept: Vec<&Record> = here().filter(|record| record.group == Group::Surroundings).collect();
    if !swept.is_empty() {
        _ = writeln!(text, "\ntorn fetches a million writes, by what stands before the call");
        _ = writeln!(text, "  {:<12} {:>10} {:>10} {:>10}", "", "offset 29", "offset 30", "offset 31");
    }
    for row in swept.chunks(3) {
        let rates = row.iter().map(|record| {
            if record.writes == 0 {
                "-".to_owned()
            } else {
                format!("{:.1}", record.torn as f64 * 1e6 / record.writes as f64)
            }
        });
        let rates: String = rates.map(|rate| format!(" {rate:>10}")).collect();
        _ = writeln!(text, "  {:<12}{rates}", row[0].cell.fill.label());
    }
    text
}

/// The verdict, as a sentence.
#[must_use]
pub fn sentence(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "our rule holds: no torn fetch with the opcode at 3 mod 8 (displacement 4-aligned)",
        Verdict::Broken => {
            "OUR RULE IS BROKEN: a displacement with its opcode at 3 mod 8 tore or crashed on this processor"
        }
        Verdict::NotShown => {
            "NOTHING SHOWN about our rule: a cell that it allows never saw both targets (are there two processors?)"
        }
        Verdict::NotAsked => "nothing asked about our rule: no sweep with its cells was run",
    }
}

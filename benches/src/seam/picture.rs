//! The strips as a picture.

use super::cell::{Cell, Fill, Form, LINE, Store};
use super::plan::Group;
use super::summary::Record;
use crate::machine::Machine;
use crate::svg::{Anchor, Svg};

const LEFT: f64 = 150.0;
const TOP: f64 = 92.0;
const CELL: f64 = 13.0;
const ROW: f64 = 34.0;

/// Draws one row of 64 cells for every sweep over the offsets.
#[must_use]
pub fn draw(records: &[Record], machine: &Machine) -> String {
    let rows: Vec<(String, Vec<Option<&Record>>)> = [
        (Group::Offsets, Form::Call, Store::Whole),
        (Group::Starts, Form::Addr32Call, Store::Whole),
        (Group::Starts, Form::JmpStub, Store::Whole),
        (Group::Starts, Form::JzStub, Store::Whole),
        (Group::Stores, Form::Call, Store::Halves),
        (Group::Stores, Form::Call, Store::OneThree),
    ]
    .into_iter()
    .map(|(group, form, store)| {
        let cells = (0..LINE)
            .map(|offset| {
                let cell = Cell { offset, form, store, fill: Fill::Nops(0) };
                records.iter().find(|record| record.group == group && record.cell == cell)
            })
            .collect::<Vec<_>>();
        (format!("{}, store {}", form.label(), store.label()), cells)
    })
    .filter(|(_, cells)| cells.iter().any(Option::is_some))
    .collect();

    let width = LEFT + f64::from(LINE) * CELL + 30.0;
    let bottom = TOP + rows.len() as f64 * ROW;
    let mut svg = Svg::new(width, bottom + 92.0);
    svg.text(LEFT, 24.0, Anchor::Start, 16.0, "Torn instruction fetches, by place in the cacheline");
    svg.text(LEFT, 42.0, Anchor::Start, 11.0, &machine.line());
    svg.text(LEFT, 62.0, Anchor::Start, 11.0, "offset of the displacement's first byte (bytes)");
    for offset in (0..=LINE).step_by(8) {
        let x = LEFT + f64::from(offset) * CELL;
        svg.text(x, 78.0, Anchor::Middle, 11.0, &offset.to_string());
        let thick = if offset % 64 == 0 {
            2.5
        } else if offset % 32 == 0 {
            1.8
        } else {
            0.6
        };
        svg.line((x, 82.0), (x, bottom), "#444444", thick);
    }
    for (row, (label, cells)) in rows.iter().enumerate() {
        let y = TOP + row as f64 * ROW;
        svg.text(LEFT - 8.0, y + CELL, Anchor::End, 11.0, label);
        for (offset, record) in cells.iter().enumerate() {
            let x = LEFT + offset as f64 * CELL;
            svg.rect((x + 0.5, y), (CELL - 1.0, CELL + 4.0), record.map_or("#ffffff", colour));
        }
    }
    for offset in (0..LINE).filter(|&offset| Cell::plain(offset).ours()) {
        let x = LEFT + (f64::from(offset) + 0.5) * CELL;
        svg.text(x, bottom + 6.0, Anchor::Middle, 12.0, "\u{25b2}");
    }
    svg.text(LEFT - 8.0, bottom + 6.0, Anchor::End, 11.0, "hotcall writes here");
    legend(&mut svg, bottom + 34.0);
    svg.finish("Torn instruction fetches by place in the cacheline")
}

fn legend(svg: &mut Svg, y: f64) {
    let entries = [
        ("none torn", NONE),
        ("below 1 in 10^7 writes", STEPS[0].1),
        ("below 10^-5", STEPS[1].1),
        ("below 10^-3", STEPS[2].1),
        ("more", MOST),
        ("crashed", CRASHED),
    ];
    let mut x = LEFT;
    for (label, colour) in entries {
        svg.rect((x, y), (CELL, CELL), colour);
        svg.text(x + CELL + 5.0, y + 11.0, Anchor::Start, 11.0, label);
        x += 40.0 + 7.0 * label.len() as f64;
    }
}

const NONE: &str = "#cfe8cf";
const STEPS: [(f64, &str); 3] = [(1e-7, "#fbd38d"), (1e-5, "#f6ad55"), (1e-3, "#e5533d")];
const MOST: &str = "#9b1c1c";
const CRASHED: &str = "#000000";

fn colour(record: &Record) -> &'static str {
    if record.failure.is_some() {
        return CRASHED;
    }
    if record.torn == 0 {
        return NONE;
    }
    let rate = record.torn as f64 / record.writes.max(1) as f64;
    STEPS.iter().find(|(below, _)| rate < *below).map_or(MOST, |(_, colour)| colour)
}

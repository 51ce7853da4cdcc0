//! The subprocess that runs the cells of a sweep, so that a crash costs one cell and not the run.
//!
//! The parent starts this program again with `--child` and writes one JSON array to its standard input:
//! the cells and the time for each. The child answers one line for each cell. If it dies, the cell it was
//! at is recorded with the signal, and another child goes on with the next.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::plan::Sweep;
use super::race::{self, Counts};

/// What became of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran.
    Counted(Counts),
    /// The process died at it: by this signal, or with this exit code if negative.
    Crashed(i32),
    /// The system refused what it needs.
    Refused(String),
}

/// What the parent asks of a child.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    cells: Vec<Cell>,
    seconds: f64,
}

/// The child's main: reads the order, runs the cells, answers.
///
/// # Errors
///
/// When the order cannot be read or an answer not be written.
pub fn serve() -> io::Result<()> {
    let order: Order = serde_json::from_reader(io::stdin().lock())?;
    for cell in order.cells {
        let outcome = match race::run(cell, Duration::from_secs_f64(order.seconds)) {
            Ok(counts) => Outcome::Counted(counts),
            Err(refused) => Outcome::Refused(refused.to_string()),
        };
        let mut line = serde_json::to_vec(&outcome)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()?;
    }
    Ok(())
}

/// Runs a sweep in as many children as it takes. Tells `progress` of every cell as it is done.
///
/// # Errors
///
/// When no child can be started.
pub fn run(sweep: &Sweep, mut progress: impl FnMut(Cell, &Outcome)) -> io::Result<Vec<(Cell, Outcome)>> {
    let mut done = Vec::with_capacity(sweep.cells.len());
    while done.len() < sweep.cells.len() {
        let rest = &sweep.cells[done.len()..];
        let mut child = start(rest, sweep.time)?;
        let mut record = |cell, outcome: Outcome| {
            progress(cell, &outcome);
            done.push((cell, outcome));
        };
        let answers = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
        let mut answered = 0;
        for (&cell, line) in rest.iter().zip(answers) {
            let Ok(outcome) = serde_json::from_str(&line?) else { break };
            record(cell, outcome);
            answered += 1;
        }
        let status = child.wait()?;
        if let Some(&cell) = rest.get(answered) {
            let code = status.signal().unwrap_or_else(|| -status.code().unwrap_or(0));
            record(cell, Outcome::Crashed(code));
        }
    }
    Ok(done)
}

fn start(cells: &[Cell], time: Duration) -> io::Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let order = Order { cells: cells.to_vec(), seconds: time.as_secs_f64() };
    if let Some(mut stdin) = child.stdin.take() {
        serde_json::to_writer(&mut stdin, &order)?;
    }
    Ok(child)
}

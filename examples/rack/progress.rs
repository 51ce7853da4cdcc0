//! Says on standard error how far the work is: one line that is written over on a terminal, plain lines elsewhere.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The progress line.
pub struct Progress {
    terminal: bool,
    last: Option<Instant>,
}

impl Progress {
    /// Between two lines at least.
    const INTERVAL: Duration = Duration::from_millis(250);
    /// Goes to the start of the line, and clears it.
    const CLEAR: &'static str = "\r\x1b[K";

    /// A line on standard error.
    pub fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), last: None }
    }

    /// Says `what`, unless something was said a moment ago.
    pub fn say(&mut self, what: fmt::Arguments<'_>) {
        if self.last.is_none_or(|last| last.elapsed() >= Self::INTERVAL) {
            self.insist(what);
        }
    }

    /// Says `what` in any case.
    pub fn insist(&mut self, what: fmt::Arguments<'_>) {
        self.last = Some(Instant::now());
        // Nobody reads it: no reason to stop working.
        let _ = if self.terminal {
            write!(io::stderr(), "{}{what}", Self::CLEAR)
        } else {
            writeln!(io::stderr(), "{what}")
        };
    }
}

/// Clears the line, for something else to be written there.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(io::stderr(), "{}", Self::CLEAR);
        }
    }
}

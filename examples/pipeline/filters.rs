//! The filters: what a record of a log is refused for.

use hotcall::{Instance, dispatch};

/// One line of the file.
pub struct Record<'a> {
    /// The line, without its end.
    pub line: &'a [u8],
    /// Its number.
    pub number: u64,
}

/// A filter. A record goes on to the next one until one of them refuses it.
#[dispatch]
pub trait Filter: Send + Sync {
    /// Whether the record is refused.
    #[chain(first)]
    fn refuses(&self, record: &Record<'_>) -> bool;
}

#[derive(Clone, Copy)]
pub struct ShorterThan(pub usize);
impl Filter for ShorterThan {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.line.len() < self.0
    }
}

#[derive(Clone, Copy)]
pub struct LongerThan(pub usize);
impl Filter for LongerThan {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.line.len() > self.0
    }
}

#[derive(Clone, Copy)]
pub struct StartsWith(pub &'static str);
impl Filter for StartsWith {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.line.starts_with(self.0.as_bytes())
    }
}

#[derive(Clone, Copy)]
pub struct EndsWith(pub &'static str);
impl Filter for EndsWith {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.line.ends_with(self.0.as_bytes())
    }
}

/// One byte at one place.
#[derive(Clone, Copy)]
pub struct HasAt(pub usize, pub u8);
impl Filter for HasAt {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.line.get(self.0) == Some(&self.1)
    }
}

/// One in so many, by number.
#[derive(Clone, Copy)]
pub struct EveryNth(pub u64, pub u64);
impl Filter for EveryNth {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.number % self.0 == self.1
    }
}

/// Control characters at the start.
#[derive(Clone, Copy)]
pub struct BeginsBinary;
impl Filter for BeginsBinary {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.line.first().is_some_and(|byte| byte.is_ascii_control() && *byte != b'\t')
    }
}

/// Not a letter, a digit or a bracket at the end.
#[derive(Clone, Copy)]
pub struct EndsOddly;
impl Filter for EndsOddly {
    fn refuses(&self, record: &Record<'_>) -> bool {
        record.line.last().is_some_and(|byte| byte.is_ascii_control())
    }
}

/// Lets everything pass: what an edit may put in anywhere.
#[derive(Clone, Copy)]
pub struct Pass;
impl Filter for Pass {
    fn refuses(&self, _: &Record<'_>) -> bool {
        false
    }
}

/// Filter `number` of the sixteen, as whatever `make` makes of it.
macro_rules! sixteen {
    ($number:expr, $make:expr) => {
        match $number {
            0 => $make(ShorterThan(4)),
            1 => $make(LongerThan(4_000)),
            2 => $make(StartsWith("#")),
            3 => $make(StartsWith("DEBUG")),
            4 => $make(EndsWith("--")),
            5 => $make(HasAt(0, b' ')),
            6 => $make(HasAt(10, b'~')),
            7 => $make(EveryNth(97, 13)),
            8 => $make(BeginsBinary),
            9 => $make(EndsOddly),
            10 => $make(StartsWith("TRACE")),
            11 => $make(EndsWith("healthz")),
            12 => $make(HasAt(4, 0)),
            13 => $make(EveryNth(1_009, 7)),
            14 => $make(LongerThan(2_000)),
            _ => $make(ShorterThan(8)),
        }
    };
}

/// How many filters there are.
pub const COUNT: usize = 16;

/// A filter as an element of a chain.
pub fn instance(number: usize) -> Instance<dyn Filter> {
    sixteen!(number, Instance::new)
}

fn boxed_any<T: Filter + 'static>(filter: T) -> Box<dyn Filter> {
    Box::new(filter)
}

/// A filter as an element of a vector.
pub fn boxed(number: usize) -> Box<dyn Filter> {
    sixteen!(number, boxed_any)
}

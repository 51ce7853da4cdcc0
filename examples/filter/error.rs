//! What is wrong with an expression, and where.

use std::fmt;
use std::ops::Range;

use crate::expr::{FlagField, NumberField, Order, TextField};

/// An expression that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The bytes of the source that are to blame.
    pub at: Range<usize>,
    pub kind: Kind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A character that begins no word of the language.
    Character(char),
    /// A text without its closing quote.
    Unclosed,
    /// A number above 2^64 - 1.
    TooLarge,
    /// A name that no field has.
    Field(String),
    /// A field that cannot be compared so.
    Operator { field: String, wanted: String },
    /// A value of another kind than the field's.
    Value { field: String, wanted: &'static str },
    /// Something else belongs here.
    Expected { wanted: &'static str, found: String },
    /// Parentheses and `not` in one another, deeper than this.
    TooDeep(usize),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(character) => {
                write!(
                    f,
                    "{character:?} begins nothing: texts stand in double quotes, comparisons are {}",
                    orders()
                )
            }
            Self::Unclosed => write!(f, "this text has no closing quote"),
            Self::TooLarge => write!(f, "this number is too large: the largest is {}", u64::MAX),
            Self::Field(name) => write!(f, "no field is called `{name}`: {}", fields()),
            Self::Operator { field, wanted } => write!(f, "`{field}` takes {wanted}"),
            Self::Value { field, wanted } => write!(f, "`{field}` is compared with {wanted}"),
            Self::Expected { wanted, found } => write!(f, "{wanted} belongs here, not {found}"),
            Self::TooDeep(most) => write!(f, "more than {most} parentheses and `not` in one another"),
        }
    }
}

fn orders() -> String {
    let words: Vec<_> = Order::ALL.iter().map(|(word, _)| *word).collect();
    format!("{} and ~", words.join(" "))
}

fn fields() -> String {
    let numbers = NumberField::ALL.iter().map(|(name, _)| *name);
    let texts = TextField::ALL.iter().map(|(name, _)| *name);
    let flags = FlagField::ALL.iter().map(|(name, _)| *name);
    let join = |names: Vec<&str>| names.join(", ");
    format!(
        "numbers are {}; texts are {}; {} stand alone",
        join(numbers.collect()),
        join(texts.collect()),
        join(flags.collect())
    )
}

impl SyntaxError {
    /// The message, the line of the source, and carets under what is to blame.
    pub fn show(&self, source: &str) -> String {
        let begin = source[..self.at.start].rfind('\n').map_or(0, |end| end + 1);
        let line = source[begin..].lines().next().unwrap_or_default();
        let blank: String =
            source[begin..self.at.start].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let end = self.at.end.min(begin + line.len()).max(self.at.start);
        let carets = "^".repeat(source[self.at.start..end].chars().count().max(1));
        format!("{}\n  {line}\n  {blank}{carets}", self.kind)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at.start, self.kind)
    }
}

impl std::error::Error for SyntaxError {}

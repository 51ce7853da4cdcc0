//! What an expression is, and what it means: the interpreter that compiled code is compared with.

use std::fmt;

use crate::record::Record;

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    Leaf(Leaf),
    Not(Box<Expr>),
    /// Of at least two: all of them, asked until one does not hold.
    And(Vec<Expr>),
    /// Of at least two: one of them, asked until one holds.
    Or(Vec<Expr>),
}

/// A predicate of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    Number(NumberField, Order, u64),
    Text(TextField, Match, String),
    Flag(FlagField),
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &[(&str, Self)] = &[$(($word, Self::$variant)),*];

            pub fn named(word: &str) -> Option<Self> {
                Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),* })
            }
        }
    };
}

words!(NumberField { Bytes = "bytes", Length = "length", Status = "status" });
words!(TextField { Host = "host", Line = "line", Method = "method", Path = "path" });
words!(FlagField { Cached = "cached", Failed = "failed" });
words!(
    /// How a number is compared.
    Order { Less = "<", AtMost = "<=", Equal = "==", Not = "!=", AtLeast = ">=", Greater = ">" }
);
/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Equal,
    Contains,
}

impl NumberField {
    fn of(self, record: &Record<'_>) -> u64 {
        match self {
            Self::Bytes => record.bytes,
            Self::Length => record.length,
            Self::Status => record.status,
        }
    }
}

impl TextField {
    fn of<'a>(self, record: &Record<'a>) -> &'a str {
        match self {
            Self::Host => record.host,
            Self::Line => record.line,
            Self::Method => record.method,
            Self::Path => record.path,
        }
    }
}

impl Order {
    fn holds(self, one: u64, other: u64) -> bool {
        match self {
            Self::Less => one < other,
            Self::AtMost => one <= other,
            Self::Equal => one == other,
            Self::Not => one != other,
            Self::AtLeast => one >= other,
            Self::Greater => one > other,
        }
    }
}

impl Leaf {
    pub fn holds(&self, record: &Record<'_>) -> bool {
        match self {
            Self::Number(field, order, number) => order.holds(field.of(record), *number),
            Self::Text(field, Match::Equal, text) => field.of(record) == text,
            Self::Text(field, Match::Contains, text) => field.of(record).contains(text.as_str()),
            Self::Flag(FlagField::Cached) => record.cached,
            Self::Flag(FlagField::Failed) => record.failed,
        }
    }

    /// A predicate that could stand in its place, of the same kind and with another meaning.
    pub fn other(&self) -> Self {
        match self {
            Self::Number(field, order, number) => Self::Number(*field, *order, number / 2 + 1),
            Self::Text(field, how, text) => {
                let shorter = text.chars().take(text.chars().count().saturating_sub(1)).collect();
                Self::Text(*field, *how, shorter)
            }
            Self::Flag(FlagField::Cached) => Self::Flag(FlagField::Failed),
            Self::Flag(FlagField::Failed) => Self::Flag(FlagField::Cached),
        }
    }
}

impl Expr {
    pub fn accepts(&self, record: &Record<'_>) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.holds(record),
            Self::Not(inner) => !inner.accepts(record),
            Self::And(all) => all.iter().all(|one| one.accepts(record)),
            Self::Or(any) => any.iter().any(|one| one.accepts(record)),
        }
    }

    /// The leaves, from left to right.
    pub fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Self::Leaf(leaf) => vec![leaf],
            Self::Not(inner) => inner.leaves(),
            Self::And(list) | Self::Or(list) => list.iter().flat_map(Self::leaves).collect(),
        }
    }

    /// The same expression with another leaf at one place.
    pub fn with_leaf(&self, index: usize, leaf: &Leaf) -> Self {
        let list = |list: &[Self]| {
            let mut first = 0;
            let each = |one: &Self| {
                let own = index.wrapping_sub(first);
                let count = one.leaves().len();
                first += count;
                if own < count { one.with_leaf(own, leaf) } else { one.clone() }
            };
            list.iter().map(each).collect()
        };
        match self {
            Self::Leaf(_) => Self::Leaf(leaf.clone()),
            Self::Not(inner) => Self::Not(Box::new(inner.with_leaf(index, leaf))),
            Self::And(all) => Self::And(list(all)),
            Self::Or(any) => Self::Or(list(any)),
        }
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(field, order, number) => write!(f, "{field} {order} {number}"),
            Self::Text(field, Match::Equal, text) => write!(f, "{field} == \"{text}\""),
            Self::Text(field, Match::Contains, text) => write!(f, "{field} ~ \"{text}\""),
            Self::Flag(field) => write!(f, "{field}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, list: &[Self], word: &str| {
            let words: Vec<_> = list.iter().map(ToString::to_string).collect();
            write!(f, "({})", words.join(word))
        };
        match self {
            Self::Leaf(leaf) => write!(f, "{leaf}"),
            Self::Not(inner) => write!(f, "not {inner}"),
            Self::And(all) => list(f, all, " and "),
            Self::Or(any) => list(f, any, " or "),
        }
    }
}

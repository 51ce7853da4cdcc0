//! From characters to tokens.

use std::fmt;
use std::ops::Range;

use crate::error::{Kind, SyntaxError};
use crate::expr::Order;

/// A word of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    And,
    Or,
    Not,
    Open,
    Close,
    /// `<`, `==` and the like.
    Order(Order),
    /// `~`.
    Tilde,
    Number(u64),
    Text(String),
    Name(String),
    /// After the last word.
    End,
}

/// A token, and which bytes of the source it is.
pub type Placed = (Token, Range<usize>);

/// All tokens; the last is [`Token::End`].
pub fn tokens(source: &str) -> Result<Vec<Placed>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += source[at..].len() - source[at..].trim_start().len();
        let rest = &source[at..];
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, at..at));
            return Ok(tokens);
        };
        let (token, len) =
            token(rest, first).map_err(|(kind, len)| SyntaxError { at: at..at + len, kind })?;
        tokens.push((token, at..at + len));
        at += len;
    }
}

/// The token that `rest` begins with, and its length; or what is wrong, and how long that is.
fn token(rest: &str, first: char) -> Result<(Token, usize), (Kind, usize)> {
    let run = |of: fn(char) -> bool| rest.find(|c| !of(c)).unwrap_or(rest.len());
    let symbol = match first {
        '(' => Some(Token::Open),
        ')' => Some(Token::Close),
        '~' => Some(Token::Tilde),
        _ => None,
    };
    if let Some(symbol) = symbol {
        return Ok((symbol, 1));
    }
    // The longer ones first: `<=` is not `<`.
    for len in [2, 1] {
        if let Some(order) = rest.get(..len).and_then(Order::named) {
            return Ok((Token::Order(order), len));
        }
    }
    match first {
        '"' => match rest[1..].find('"') {
            Some(len) => Ok((Token::Text(rest[1..=len].to_owned()), len + 2)),
            None => Err((Kind::Unclosed, rest.len())),
        },
        '0'..='9' => {
            let len = run(|c| c.is_ascii_digit());
            rest[..len].parse().map(|number| (Token::Number(number), len)).map_err(|_| (Kind::TooLarge, len))
        }
        'a'..='z' | 'A'..='Z' | '_' => {
            let len = run(|c| c.is_ascii_alphanumeric() || c == '_');
            let token = match &rest[..len] {
                "and" => Token::And,
                "or" => Token::Or,
                "not" => Token::Not,
                name => Token::Name(name.to_owned()),
            };
            Ok((token, len))
        }
        other => Err((Kind::Character(other), other.len_utf8())),
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And => write!(f, "`and`"),
            Self::Or => write!(f, "`or`"),
            Self::Not => write!(f, "`not`"),
            Self::Open => write!(f, "`(`"),
            Self::Close => write!(f, "`)`"),
            Self::Order(order) => write!(f, "`{order}`"),
            Self::Tilde => write!(f, "`~`"),
            Self::Number(number) => write!(f, "the number {number}"),
            Self::Text(text) => write!(f, "the text {text:?}"),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::End => write!(f, "the end"),
        }
    }
}

//! From tokens to an expression.
//!
//! ```text
//! or   = and { "or" and }
//! and  = not { "and" not }
//! not  = "not" not | "(" or ")" | leaf
//! leaf = flag | number-field order NUMBER | text-field ("==" | "!=" | "~") TEXT
//! ```

use std::iter::Peekable;
use std::ops::Range;
use std::vec::IntoIter;

use crate::error::{Kind, SyntaxError};
use crate::expr::{Expr, FlagField, Leaf, Match, NumberField, Order, TextField};
use crate::lex::{Placed, Token, tokens};

/// How deep parentheses and `not` may go: parser, interpreter and compiler call themselves as deep.
const DEPTH: usize = 100;

/// The expression that `source` is.
pub fn parse(source: &str) -> Result<Expr, SyntaxError> {
    let mut parser = Parser { tokens: tokens(source)?.into_iter().peekable(), depth: 0 };
    let expr = parser.or()?;
    match parser.next() {
        (Token::End, _) => Ok(expr),
        (found, at) => Err(expected("`and`, `or` or the end", &found, at)),
    }
}

fn expected(wanted: &'static str, found: &Token, at: Range<usize>) -> SyntaxError {
    SyntaxError { at, kind: Kind::Expected { wanted, found: found.to_string() } }
}

struct Parser {
    /// Ends with [`Token::End`], which is never passed.
    tokens: Peekable<IntoIter<Placed>>,
    depth: usize,
}

impl Parser {
    fn next(&mut self) -> Placed {
        self.tokens.next().unwrap_or((Token::End, 0..0))
    }

    fn take(&mut self, wanted: &Token) -> bool {
        self.tokens.next_if(|(token, _)| token == wanted).is_some()
    }

    fn or(&mut self) -> Result<Expr, SyntaxError> {
        self.list(&Token::Or, Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Expr, SyntaxError> {
        self.list(&Token::And, Self::not, Expr::And)
    }

    /// One of `part`, or several with `word` between them.
    fn list(
        &mut self,
        word: &Token,
        part: fn(&mut Self) -> Result<Expr, SyntaxError>,
        whole: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, SyntaxError> {
        let first = part(self)?;
        if !self.take(word) {
            return Ok(first);
        }
        let mut list = vec![first, part(self)?];
        while self.take(word) {
            list.push(part(self)?);
        }
        Ok(whole(list))
    }

    fn not(&mut self) -> Result<Expr, SyntaxError> {
        let (token, at) = self.next();
        if self.depth == DEPTH {
            return Err(SyntaxError { at, kind: Kind::TooDeep(DEPTH) });
        }
        self.depth += 1;
        let expr = match token {
            Token::Not => Expr::Not(Box::new(self.not()?)),
            Token::Open => {
                let inner = self.or()?;
                match self.next() {
                    (Token::Close, _) => inner,
                    (found, at) => return Err(expected("`and`, `or` or `)`", &found, at)),
                }
            }
            Token::Name(name) => self.leaf(name, at)?,
            found => return Err(expected("a field, `not` or `(`", &found, at)),
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn leaf(&mut self, name: String, at: Range<usize>) -> Result<Expr, SyntaxError> {
        if let Some(flag) = FlagField::named(&name) {
            return Ok(Expr::Leaf(Leaf::Flag(flag)));
        }
        let (number, text) = (NumberField::named(&name), TextField::named(&name));
        if number.is_none() && text.is_none() {
            return Err(SyntaxError { at, kind: Kind::Field(name) });
        }
        let ((operator, operator_at), (value, value_at)) = (self.next(), self.next());
        let bad_operator = |wanted: &str| {
            let kind = Kind::Operator { field: name.clone(), wanted: wanted.to_owned() };
            Err(SyntaxError { at: operator_at.clone(), kind })
        };
        let bad_value = |wanted| {
            let kind = Kind::Value { field: name.clone(), wanted };
            Err(SyntaxError { at: value_at.clone(), kind })
        };
        if let Some(field) = number {
            return match (operator, value) {
                (Token::Order(order), Token::Number(number)) => {
                    Ok(Expr::Leaf(Leaf::Number(field, order, number)))
                }
                (Token::Order(_), _) => bad_value("a number"),
                _ => bad_operator("< <= == != >= >"),
            };
        }
        let Some(field) = text else { unreachable!("a number or a text: asked above") };
        let (how, negated) = match operator {
            Token::Tilde => (Match::Contains, false),
            Token::Order(Order::Equal) => (Match::Equal, false),
            Token::Order(Order::Not) => (Match::Equal, true),
            _ => return bad_operator("== != ~"),
        };
        let Token::Text(text) = value else { return bad_value("a text in double quotes") };
        let leaf = Expr::Leaf(Leaf::Text(field, how, text));
        Ok(if negated { Expr::Not(Box::new(leaf)) } else { leaf })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence() {
        for (source, read) in [
            ("cached", "cached"),
            ("cached or failed and cached", "(cached or (failed and cached))"),
            ("not cached and failed or cached", "((not cached and failed) or cached)"),
            ("not (cached or failed)", "not (cached or failed)"),
            ("(((bytes>1)))", "bytes > 1"),
            (r#"path != "/a b""#, r#"not path == "/a b""#),
            (
                r#"bytes > 1000 and (path ~ "api" or status >= 500) and not cached"#,
                r#"(bytes > 1000 and (path ~ "api" or status >= 500) and not cached)"#,
            ),
        ] {
            assert_eq!(parse(source).unwrap().to_string(), read);
        }
    }

    #[test]
    fn what_is_printed_means_the_same() {
        let source = r#"not (host ~ "10." and not failed) or length <= 20 and method == "GET" or bytes != 7"#;
        let expr = parse(source).unwrap();
        assert_eq!(parse(&expr.to_string()).unwrap(), expr);
    }

    #[test]
    fn each_error_says_what_and_where() {
        for (source, at, says) in [
            ("", 0..0, "a field, `not` or `(` belongs here, not the end"),
            ("bytes > ", 8..8, "`bytes` is compared with a number"),
            ("bytes ~ 5", 6..7, "`bytes` takes < <= == != >= >"),
            ("bytes > \"5\"", 8..11, "`bytes` is compared with a number"),
            ("path > \"a\"", 5..6, "`path` takes == != ~"),
            ("path ~ api", 7..10, "`path` is compared with a text in double quotes"),
            ("cached and sise > 5", 11..15, "no field is called `sise`"),
            ("cached cached", 7..13, "`and`, `or` or the end belongs here, not `cached`"),
            ("(cached or failed", 17..17, "`and`, `or` or `)` belongs here, not the end"),
            ("cached or", 9..9, "a field, `not` or `(` belongs here, not the end"),
            ("bytes > 18446744073709551616", 8..28, "too large"),
            ("path ~ \"api", 7..11, "no closing quote"),
            ("bytes & 5", 6..7, "'&' begins nothing"),
            ("bytes = 5", 6..7, "'=' begins nothing"),
        ] {
            let error = parse(source).unwrap_err();
            assert_eq!(error.at, at, "{source}: {error}");
            assert!(error.to_string().contains(says), "{source}: {error}");
        }
        let deep = format!("{}cached", "not ".repeat(5_000));
        assert_eq!(parse(&deep).unwrap_err().kind, Kind::TooDeep(DEPTH));
    }

    #[test]
    fn carets_stand_under_the_token() {
        let source = "path ~ \"ü\" and\n  sise > 5";
        let shown = parse(source).unwrap_err().show(source);
        assert_eq!(shown.lines().skip(1).collect::<Vec<_>>(), ["    sise > 5", "    ^^^^"]);
        let source = "host ~ \"ü\" ?";
        assert!(parse(source).unwrap_err().show(source).ends_with("\n             ^"));
    }
}

//! A small filter language, compiled to machine code whose predicates can be replaced while it runs.
//!
//! ```sh
//! cargo run --release --example filter -- 'bytes > 1000 and (path ~ "api" or status >= 500) and not cached' access.log
//! ```
//!
//! Without a file a log is made up; without an expression it is the one above. The expression is run in two ways: as a tree
//! that is interpreted, and to code in an [`Arena`](hotcall::Arena), whose leaves are called through
//! [`Site`](hotcall::Site)s. An editor then gives one leaf another constant and back, and makes leaves search by other means,
//! hundreds of times a second, while the filter runs. Every verdict must be the interpreter's, of the one constant or of
//! the other; where one is not, the program fails.
//!
//! | file | concept |
//! |---|---|
//! | `record` | lines of a web server's log |
//! | `lex`, `parse`, `error` | from text to an expression, or to what is wrong with it and where |
//! | `expr` | what an expression is, and means |
//! | `publish` | code as a transaction: reserve, commit or abort |
//! | `leaf`, `search` | a predicate of one field as code |
//! | `filter` | the whole expression as code, and how its leaves are replaced |
//! | `live` | replacing them while another thread runs it |
#![deny(unsafe_code)]
#![cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable))),
    allow(dead_code, reason = "where there are no arenas, expressions are only parsed")
)]

mod error;
mod expr;
mod lex;
mod parse;
mod record;

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
mod filter;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
mod leaf;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
mod live;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
mod publish;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
mod run;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
mod search;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable))))]
mod run {
    //! Where there are no arenas: says so.
    pub fn run(_: &crate::Arguments, _: &crate::expr::Expr) -> Result<bool, Box<dyn std::error::Error>> {
        Err(hotcall::MemoryError::Unsupported.into())
    }
}

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// A filter over a log, compiled, and changed while it runs.
#[derive(Parser)]
struct Arguments {
    /// What passes, such as `status >= 500 and not path ~ "api"`.
    #[arg(default_value = "bytes > 1000 and (path ~ \"api\" or status >= 500) and not cached")]
    expression: String,
    /// The log, one record a line. One is made up where none is given.
    file: Option<PathBuf>,
    /// How long each way of running is timed, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How many records are made up.
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    /// Retargetings a second.
    #[arg(long, default_value_t = 500)]
    edits: u32,
    /// Which leaf is replaced, counted from 0.
    #[arg(long, default_value_t = 0)]
    leaf: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let expr = match parse::parse(&arguments.expression) {
        Ok(expr) => expr,
        Err(error) => {
            eprintln!("filter: {}", error.show(&arguments.expression));
            return ExitCode::from(2);
        }
    };
    match run::run(&arguments, &expr) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("filter: {error}");
            ExitCode::from(2)
        }
    }
}

//! `hotcall`: looks into libraries and programs, without running any of their code.

#[cfg(target_os = "linux")]
mod inspect;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod sites;
#[cfg(target_os = "linux")]
mod table;

use std::process::ExitCode;

/// All is well.
#[cfg(target_os = "linux")]
const WELL: u8 = 0;
/// A file is no plugin, or the host would refuse it.
#[cfg(target_os = "linux")]
const REFUSED: u8 = 1;
/// The command line cannot be followed, or a program cannot be read.
const WRONG: u8 = 2;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use options::Command;

    let (text, code) = match options::read(std::env::args_os().skip(1)) {
        Ok(Command::Help) => (options::HELP.to_owned(), WELL),
        Ok(Command::Version) => (format!("hotcall {}\n", env!("CARGO_PKG_VERSION")), WELL),
        Ok(Command::Inspect { files, host, json }) => match inspect::run(&files, host.as_deref(), json) {
            Ok(answer) => answer,
            Err(error) => return wrong(&error.to_string()),
        },
        Ok(Command::Sites { program, json }) => match sites::run(&program, json) {
            Ok(text) => (text, WELL),
            Err(error) => return wrong(&error.to_string()),
        },
        Err(error) => return wrong(&error),
    };
    // Whoever reads it may have read enough.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    ExitCode::from(code)
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    wrong("plugins are shared libraries of Linux: there is nothing to look into on this system")
}

fn wrong(what: &str) -> ExitCode {
    eprintln!("hotcall: {what}");
    ExitCode::from(WRONG)
}

//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
hotcall looks into libraries and programs, without running any of their code.

  hotcall inspect FILE... [--host PROGRAM] [--json]
      What each library exports, for whom it was built, and why PROGRAM would refuse it.
      Ends with 1 if one of them is no plugin, or would be refused.

  hotcall sites PROGRAM [--json]
      The slots of a program or library, its calls of them, and how many lie so that they are patched.

  hotcall --help | --version

It ends with 2 if the command line cannot be followed, or a program cannot be read.
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    Inspect { files: Vec<PathBuf>, host: Option<PathBuf>, json: bool },
    Sites { program: PathBuf, json: bool },
}

/// What the arguments ask for, or what is wrong with them.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let first = arguments.next().ok_or_else(|| format!("what is to be done?\n\n{HELP}"))?;
    let is_inspect = match first.to_str() {
        Some("--help" | "-h" | "help") => return Ok(Command::Help),
        Some("--version" | "-V") => return Ok(Command::Version),
        Some("inspect") => true,
        Some("sites") => false,
        _ => return Err(format!("`{}` is no command: see `hotcall --help`", first.display())),
    };
    let (mut files, mut host, mut json, mut only_files) = (Vec::<PathBuf>::new(), None, false, false);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") if !only_files => only_files = true,
            Some("--help" | "-h") if !only_files => return Ok(Command::Help),
            Some("--json") if !only_files => json = true,
            Some("--host") if !only_files && is_inspect => {
                let program = arguments.next().ok_or("which program? write `--host PROGRAM`")?;
                host = Some(PathBuf::from(program));
            }
            Some(option) if !only_files && option.starts_with('-') => {
                return Err(format!("`{option}` is no option here: see `hotcall --help`"));
            }
            _ => files.push(argument.into()),
        }
    }
    if is_inspect {
        if files.is_empty() {
            return Err("which library? write `hotcall inspect FILE...`".to_owned());
        }
        return Ok(Command::Inspect { files, host, json });
    }
    let mut files = files.into_iter();
    match (files.next(), files.next()) {
        (Some(program), None) => Ok(Command::Sites { program, json }),
        _ => Err("which program? write `hotcall sites PROGRAM`, with one of them".to_owned()),
    }
}

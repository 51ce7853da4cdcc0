//! Builds this workspace's plugins with cargo while the program runs, and opens them.
//!
//! Problem: `cargo run` and `cargo test` build no shared library that the program only loads when it runs, and
//! its place depends on the profile, on `--target-dir` and on `--target`.
//!
//! Idea: ask cargo itself. The program's own path tells with which profile and into which directory it was
//! built; cargo, called with the same, answers with the path of every file that it made. Cargo holds no lock
//! while it runs a program or a test, so the inner cargo need not wait for the outer one.
#![deny(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hotcall::Library;
use serde_json::Value;

/// Why a package of this workspace could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// Cargo could not be started.
    Start {
        /// The program that was to be cargo.
        cargo: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Cargo failed.
    Failed {
        /// The command, as given to cargo.
        command: String,
        /// What cargo said.
        output: String,
    },
    /// Cargo succeeded, but made no such file.
    Missing {
        /// The command, as given to cargo.
        command: String,
        /// What was looked for.
        wanted: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { cargo, source } => write!(
                f,
                "{} could not be started: {source}; the plugins are built by cargo, which must be on the PATH",
                cargo.display()
            ),
            Self::Failed { command, output } => write!(f, "`cargo {command}` failed:\n{}", output.trim_end()),
            Self::Missing { command, wanted } => write!(f, "`cargo {command}` made no {wanted}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Builds each of `packages`, cdylibs of this workspace, like the running program was built. Answers with the
/// path of each library.
///
/// # Errors
///
/// Cargo is missing or fails, or a package is no cdylib.
pub fn build(packages: &[&str]) -> Result<Vec<PathBuf>, BuildError> {
    let mut arguments = Vec::new();
    for package in packages {
        arguments.extend(["--package", package]);
    }
    let (command, messages) = cargo_build(&arguments)?;
    packages
        .iter()
        .map(|package| {
            shared_library(&messages, package).ok_or_else(|| BuildError::Missing {
                command: command.clone(),
                wanted: format!("shared library of {package}"),
            })
        })
        .collect()
}

/// Builds the package in `folder`, a workspace of its own, like the running program was built. Answers with the path of its cdylib
/// `library`.
///
/// # Errors
///
/// Cargo is missing or fails, or the package has no such cdylib.
pub fn build_package(folder: &Path, library: &str) -> Result<PathBuf, BuildError> {
    let (command, messages) = cargo_build_in(folder, &["--offline"])?;
    shared_library(&messages, library)
        .ok_or_else(|| BuildError::Missing { command, wanted: format!("shared library {library}") })
}

/// Builds the example `name` of this package like the running program was built. Answers with its path.
///
/// # Errors
///
/// Cargo is missing or fails, or there is no such example.
pub fn build_example(name: &str) -> Result<PathBuf, BuildError> {
    let (command, messages) = cargo_build(&["--package", env!("CARGO_PKG_NAME"), "--example", name])?;
    executable(&messages, name)
        .ok_or_else(|| BuildError::Missing { command, wanted: format!("example {name}") })
}

/// Opens a library that holds hotcall plugins.
///
/// # Errors
///
/// The file cannot be read, is no plugin, or was built with another compiler or another version of hotcall.
#[allow(unsafe_code)]
pub fn open(path: &Path) -> Result<Library, hotcall::Error> {
    // SAFETY: `Library::open` asks that the library's initialisers be sound to run in this process, and that its
    // plugins keep Rust's rules. Those of this workspace are safe code from end to end. For any other file, the
    // person who names it on the command line says so.
    unsafe { Library::open(path) }
}

/// Runs `cargo build` with `arguments`. Answers with the command, and with what cargo said, a message a line.
fn cargo_build(arguments: &[&str]) -> Result<(String, String), BuildError> {
    cargo_build_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments)
}

/// The same, in another folder.
fn cargo_build_in(folder: &Path, arguments: &[&str]) -> Result<(String, String), BuildError> {
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut words: Vec<OsString> = vec!["build".into(), "--message-format=json-render-diagnostics".into()];
    words.extend(arguments.iter().map(OsString::from));
    words.extend(Place::of_this_program().arguments());
    let command = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let answer = Command::new(&cargo)
        .args(&words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BuildError::Start { cargo, source })?;
    if !answer.status.success() {
        return Err(BuildError::Failed {
            command,
            output: String::from_utf8_lossy(&answer.stderr).into_owned(),
        });
    }
    Ok((command, String::from_utf8_lossy(&answer.stdout).into_owned()))
}

/// Where, and so how, a program was built. What cannot be told is left to cargo's defaults.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    /// The directory that cargo builds into.
    target_dir: Option<PathBuf>,
    /// The platform, where it was given with `--target`.
    triple: Option<String>,
    /// The profile.
    profile: Option<String>,
}

impl Place {
    /// Reads the place off the path of a program: `TARGET-DIR/[TRIPLE/]PROFILE/[examples/|deps/]PROGRAM`.
    ///
    /// Cargo puts a file `CACHEDIR.TAG` into every target directory; `tagged` tells whether a directory has one.
    fn of(program: &Path, tagged: impl Fn(&Path) -> bool) -> Option<Self> {
        let target_dir = program.ancestors().skip(1).find(|directory| tagged(directory))?;
        let mut below = program.strip_prefix(target_dir).ok()?.iter().filter_map(|part| part.to_str());
        let (first, second) = (below.next()?, below.next()?);
        let second_is_profile = match below.next() {
            None => false,
            Some(_) => !matches!(second, "examples" | "deps" | "build"),
        };
        let (triple, profile) =
            if second_is_profile { (Some(first.to_owned()), second) } else { (None, first) };
        // The one profile whose directory has another name.
        let profile = if profile == "debug" { "dev" } else { profile };
        Some(Self { target_dir: Some(target_dir.to_owned()), triple, profile: Some(profile.to_owned()) })
    }

    /// The place of the running program.
    fn of_this_program() -> Self {
        let program = env::current_exe().ok();
        let place =
            program.and_then(|program| Self::of(&program, |path| path.join("CACHEDIR.TAG").is_file()));
        place.unwrap_or_else(|| Self {
            profile: Some(if cfg!(debug_assertions) { "dev" } else { "release" }.to_owned()),
            ..Self::default()
        })
    }

    /// What tells cargo to build for this place.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(target_dir) = &self.target_dir {
            arguments.extend(["--target-dir".into(), target_dir.into()]);
        }
        if let Some(triple) = &self.triple {
            arguments.extend(["--target".into(), triple.into()]);
        }
        if let Some(profile) = &self.profile {
            arguments.extend(["--profile".into(), profile.into()]);
        }
        arguments
    }
}

/// The files that cargo made of the target `name` of the given kind: its messages, one JSON object a line.
fn artifacts<'a>(messages: &'a str, name: &'a str, kind: &'a str) -> impl Iterator<Item = Value> + 'a {
    // A package's library bears its name, with underscores.
    let plain = |name: &str| name.replace('-', "_");
    messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(move |message| {
        let target = &message["target"];
        message["reason"] == "compiler-artifact"
            && target["name"].as_str().map(plain) == Some(plain(name))
            && target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|each| each == kind))
    })
}

/// The shared library that cargo made of `package`.
fn shared_library(messages: &str, package: &str) -> Option<PathBuf> {
    artifacts(messages, package, "cdylib").find_map(|message| {
        let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
        files
            .map(PathBuf::from)
            .find(|file| file.extension().is_some_and(|it| it == env::consts::DLL_EXTENSION))
    })
}

/// The program that cargo made of the example `name`.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    artifacts(messages, name, "example").find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Place, executable, shared_library};

    fn place(program: &str) -> Option<(String, Option<String>, String)> {
        let place = Place::of(Path::new(program), |path| path == Path::new("/w/target"))?;
        Some((place.target_dir?.to_str()?.to_owned(), place.triple, place.profile?))
    }

    #[test]
    fn reads_the_place_off_a_path() {
        let target = "/w/target".to_owned();
        for program in ["/w/target/debug/rack", "/w/target/debug/examples/rack", "/w/target/debug/deps/t-0a"]
        {
            assert_eq!(place(program), Some((target.clone(), None, "dev".into())), "{program}");
        }
        let triple = Some("x86_64-unknown-linux-gnu".to_owned());
        for program in
            ["x86_64-unknown-linux-gnu/release/examples/rack", "x86_64-unknown-linux-gnu/release/r"]
        {
            let program = format!("/w/target/{program}");
            assert_eq!(
                place(&program),
                Some((target.clone(), triple.clone(), "release".into())),
                "{program}"
            );
        }
        assert_eq!(place("/w/target/slim/deps/t-0a"), Some((target, None, "slim".into())));
        assert_eq!(place("/usr/bin/rack"), None);
    }

    #[test]
    fn names_the_place_to_cargo() {
        let place = Place::of(Path::new("/w/target/debug/r"), |path| path == Path::new("/w/target")).unwrap();
        assert_eq!(place.arguments(), ["--target-dir", "/w/target", "--profile", "dev"]);
        assert!(Place::default().arguments().is_empty());
    }

    #[test]
    fn finds_what_cargo_made() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"a_b","kind":["rlib"]},"filenames":["/t/liba_b.rlib"]}"#,
            "
not json
",
            r#"{"reason":"compiler-artifact","target":{"name":"a_b","kind":["cdylib"]},"filenames":["/t/liba_b.so"]}"#,
            "
",
            r#"{"reason":"compiler-artifact","target":{"name":"r","kind":["example"]},"executable":"/t/r"}"#,
            "
",
        );
        if cfg!(target_os = "linux") {
            assert_eq!(shared_library(messages, "a-b"), Some(PathBuf::from("/t/liba_b.so")));
        }
        assert_eq!(executable(messages, "r"), Some(PathBuf::from("/t/r")));
        assert_eq!(shared_library(messages, "r"), None);
    }
}

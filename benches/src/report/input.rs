//! What the report is made of: the JSON files in the tree.

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::compare::figure::Figure;
use crate::compare::groups::Group;
use crate::machine::Machine;

/// Where figures lie: a folder a processor, in it a file a group of `compare`, and `seam`'s counts.
pub const FIGURES: &str = "docs/figures";

/// Why a file of figures cannot be used.
#[derive(Debug)]
pub enum InputError {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// It is not what the tool writes.
    Parse(PathBuf, serde_json::Error),
    /// It holds no row, or rows of another group, machine or run.
    Mixed(PathBuf, String),
    /// It was measured on another processor than its folder is named for.
    Misplaced(PathBuf, String),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(file, error) => write!(f, "{} cannot be read: {error}", file.display()),
            Self::Parse(file, error) => {
                write!(f, "{} is not what the tool writes: {error}; measure it again", file.display())
            }
            Self::Misplaced(file, folder) => {
                write!(
                    f,
                    "{} was measured on another processor: it belongs into {FIGURES}/{folder}",
                    file.display()
                )
            }
            Self::Mixed(file, what) => {
                write!(f, "{} {what}; a file holds one run of one group: measure it again", file.display())
            }
        }
    }
}

impl core::error::Error for InputError {}

/// One run of one group of `compare`.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it was measured on.
    pub machine: Machine,
    /// The command that wrote the file, where the file says it.
    pub command: Option<String>,
    /// The rows.
    pub figures: Vec<Figure>,
}

/// A row as it stands in the file.
#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    machine: Machine,
    command: Option<String>,
    #[serde(flatten)]
    figure: Figure,
}

/// What `seam` writes, but for its cells.
#[derive(Clone, Debug, Deserialize)]
pub struct Seam {
    /// What it was measured on.
    pub machine: Machine,
    /// Time for a cell.
    pub seconds: f64,
    /// Time for everything, where it was given.
    pub budget: Option<f64>,
    /// The displacements by what they cross.
    pub classes: Vec<Class>,
}

/// The cells whose displacements cross the same boundary.
#[derive(Clone, Debug, Deserialize)]
pub struct Class {
    /// The boundary.
    pub crosses: String,
    /// Writes of the displacement.
    pub writes: u64,
    /// Changes of target that the executing thread saw.
    pub seen: u64,
    /// Calls that ran a mixture of two displacements.
    pub torn: u64,
}

/// All of one processor.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The folder's name: see [`Machine::folder`].
    pub processor: String,
    /// Each group, and its run if its file is there.
    pub groups: Vec<(Group, Option<Run>)>,
    /// `seam`'s, if its file is there.
    pub seam: Option<Seam>,
}

impl Inputs {
    /// Reads what there is below `root`, the directory of the repository: each processor, by name.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be used.
    pub fn all(root: &Path) -> Result<Vec<Self>, InputError> {
        let failed = |error| InputError::Read(FIGURES.into(), error);
        let mut names = Vec::new();
        for entry in fs::read_dir(root.join(FIGURES)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.path().is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        names.iter().map(|name| Self::read(root, name)).collect()
    }

    /// Reads what there is of one processor.
    fn read(root: &Path, processor: &str) -> Result<Self, InputError> {
        let all = core::iter::once(Group::Core).chain(Group::ALL);
        let groups = all.map(|group| Ok((group, run(root, processor, group)?))).collect::<Result<_, _>>()?;
        let mut inputs = Self { processor: processor.to_owned(), groups, seam: None };
        let file = inputs.seam_file("json");
        if let Some(text) = text(root, &file)? {
            let seam: Seam =
                serde_json::from_str(&text).map_err(|error| InputError::Parse((&file).into(), error))?;
            in_place(&file, processor, &seam.machine)?;
            inputs.seam = Some(seam);
        }
        Ok(inputs)
    }

    /// Where a group's figures lie.
    #[must_use]
    pub fn file(&self, group: Group) -> String {
        file(&self.processor, group)
    }

    /// Where what `seam` says lies.
    #[must_use]
    pub fn seam_file(&self, kind: &str) -> String {
        format!("{FIGURES}/{}/seam.{kind}", self.processor)
    }

    /// A machine with the processor: that of the group that was measured first.
    #[must_use]
    pub fn machine(&self) -> Option<&Machine> {
        let of_runs = self.groups.iter().find_map(|(_, run)| Some(&run.as_ref()?.machine));
        of_runs.or_else(|| Some(&self.seam.as_ref()?.machine))
    }

    /// The processor's name for a reader.
    #[must_use]
    pub fn name(&self) -> String {
        self.machine().map_or_else(|| self.processor.clone(), Machine::short)
    }

    /// The run of this group.
    #[must_use]
    pub fn run(&self, group: Group) -> Option<&Run> {
        self.groups.iter().find(|(other, _)| *other == group).and_then(|(_, run)| run.as_ref())
    }

    /// A row of this group. Rows of `peers` are taken from `core` where they are there: more time was spent on them.
    #[must_use]
    pub fn row(&self, group: Group, name: &str) -> Option<&Figure> {
        let find = |group| self.run(group)?.figures.iter().find(|figure| figure.name == name);
        if group == Group::Peers { find(Group::Core).or_else(|| find(group)) } else { find(group) }
    }

    /// Nanoseconds a call of two rows, both of one run: figures of two runs are not compared.
    #[must_use]
    pub fn pair(&self, group: Group, first: &str, second: &str) -> Option<(f64, f64)> {
        let groups: &[Group] = if group == Group::Peers { &[Group::Core, Group::Peers] } else { &[group] };
        groups.iter().find_map(|group| {
            let figures = &self.run(*group)?.figures;
            let ns = |name| figures.iter().find(|figure| figure.name == name)?.ns_per_call;
            Some((ns(first)?, ns(second)?))
        })
    }
}

/// A file's text; none where there is no such file.
fn text(root: &Path, file: &str) -> Result<Option<String>, InputError> {
    match fs::read_to_string(root.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(InputError::Read(file.into(), error)),
    }
}

fn file(processor: &str, group: Group) -> String {
    format!("{FIGURES}/{processor}/{}.json", group.name())
}

fn run(root: &Path, processor: &str, group: Group) -> Result<Option<Run>, InputError> {
    let file = file(processor, group);
    let Some(text) = text(root, &file)? else { return Ok(None) };
    let run = parse(&file, group, &text)?;
    in_place(&file, processor, &run.machine)?;
    Ok(Some(run))
}

/// Figures of different processors are not mixed.
fn in_place(file: &str, processor: &str, machine: &Machine) -> Result<(), InputError> {
    let folder = machine.folder();
    if folder == processor { Ok(()) } else { Err(InputError::Misplaced(file.into(), folder)) }
}

/// Reads the text of a group's file.
fn parse(file: &str, group: Group, text: &str) -> Result<Run, InputError> {
    let mixed = |what: &str| InputError::Mixed(file.into(), what.to_owned());
    let lines: Vec<Line> =
        serde_json::from_str(text).map_err(|error| InputError::Parse(file.into(), error))?;
    let first = lines.first().ok_or_else(|| mixed("holds no row"))?;
    let (machine, command) = (first.machine.clone(), first.command.clone());
    if let Some(other) = lines.iter().find(|line| line.figure.group != group.name()) {
        return Err(mixed(&format!("holds a row of group `{}`", other.figure.group)));
    }
    if lines.iter().any(|line| line.machine != machine || line.command != command) {
        return Err(mixed("holds rows of several runs"));
    }
    Ok(Run { machine, command, figures: lines.into_iter().map(|line| line.figure).collect() })
}

#[cfg(test)]
mod tests {
    use super::{Group, parse};

    fn line(group: &str, date: &str) -> String {
        format!(
            r#"{{"name":"direct","ns_per_call":1.5,"vs_direct":1.0,"vs_dyn":null,"group":"{group}","cycles":null,
            "instructions":null,"branches":null,"branch_misses":null,"stateful":true,"processor":"p","processors":2,
            "kernel":"k","rustc":"r","date":"{date}","command":"c"}}"#
        )
    }

    #[test]
    fn a_file_is_one_run_of_one_group() {
        let read = |lines: &[String]| parse("f.json", Group::Core, &format!("[{}]", lines.join(",")));
        let run = read(&[line("core", "1"), line("core", "1")]).unwrap();
        assert_eq!((run.machine.date.as_str(), run.command.as_deref()), ("1", Some("c")));
        assert_eq!(run.figures[1].ns_per_call, Some(1.5));
        assert_eq!(run.figures[1].more.get("stateful"), Some(&serde_json::Value::Bool(true)));
        let refused: [(&[String], &str); 4] = [
            (&[], "holds no row"),
            (&[line("mix", "1")], "group `mix`"),
            (&[line("core", "1"), line("core", "2")], "several runs"),
            (&["{}".to_owned()], "not what the tool writes"),
        ];
        for (lines, why) in refused {
            let error = read(lines).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(error.contains(why), "{error}");
        }
    }
}

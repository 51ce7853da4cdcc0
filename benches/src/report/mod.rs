//! `report`: the pages that are made of figures, from the JSON in the tree.
//!
//! `docs/BENCHMARKS.md`, its charts in `docs/plots`, a folder a processor, and the part of README between two marks. Nothing else in the
//! documentation states a figure, and a test compares all of them with the JSON.

pub mod answers;
pub mod goals;
pub mod input;
pub mod page;
pub mod readme;

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::compare::plots;
use input::{InputError, Inputs};

const PAGE: &str = "docs/BENCHMARKS.md";
const PLOTS: &str = "docs/plots";
const README: &str = "README.md";

/// Why there is no report.
#[derive(Debug)]
pub enum ReportError {
    /// A file of figures cannot be used.
    Input(InputError),
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// README has no place for its part.
    NoMarks,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::File(file, error) => write!(f, "{}: {error}", file.display()),
            Self::NoMarks => {
                write!(f, "{README} has no `{}` followed by `{}`: put them back", readme::BEGIN, readme::END)
            }
        }
    }
}

impl core::error::Error for ReportError {}

/// What the files should be.
#[derive(Debug)]
pub struct Report {
    /// Each file below the root, and its text.
    pub files: Vec<(PathBuf, String)>,
    /// What is not in it, a line each.
    pub skipped: Vec<String>,
    /// Charts of figures that are gone.
    stale: Vec<PathBuf>,
}

impl Report {
    /// Makes the report of the repository at `root`. Writes nothing.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is not what it should be.
    pub fn of(root: &Path) -> Result<Self, ReportError> {
        let inputs = Inputs::all(root).map_err(ReportError::Input)?;
        let mut charts: Vec<(PathBuf, String)> = Vec::new();
        let mut measured = Vec::new();
        for one in &inputs {
            let runs = one.groups.iter().filter_map(|(_, run)| run.as_ref());
            let of_one: Vec<_> = runs.flat_map(|run| plots::charts(&run.figures, &run.machine)).collect();
            measured.push((one, of_one.iter().map(|(name, _)| *name).collect()));
            let file = |name: &str| Path::new(PLOTS).join(&one.processor).join(format!("{name}.svg"));
            charts.extend(of_one.into_iter().map(|(name, chart)| (file(name), chart)));
        }
        let all: Vec<&Inputs> = inputs.iter().collect();
        let readme =
            fs::read_to_string(root.join(README)).map_err(|error| ReportError::File(README.into(), error))?;
        let readme = readme::splice(&readme, &readme::part(&all)).ok_or(ReportError::NoMarks)?;
        let mut files = vec![(PathBuf::from(PAGE), page::page(&measured)), (PathBuf::from(README), readme)];
        files.extend(charts);
        let mut skipped = Vec::new();
        for one in &inputs {
            let missing = one.groups.iter().filter(|(_, run)| run.is_none());
            skipped.extend(
                missing.map(|(group, _)| format!("{}: {}", group.name(), page::missing(one, *group))),
            );
            if one.seam.is_none() {
                skipped.push(format!("seam: there is no {}", one.seam_file("json")));
            }
        }
        let stale =
            charts_in(root)?.into_iter().filter(|file| !files.iter().any(|(kept, _)| kept == file)).collect();
        Ok(Self { files, skipped, stale })
    }

    /// Writes the files, and removes charts of figures that are gone.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write(&self, root: &Path) -> Result<(), ReportError> {
        let failed = |file: &Path| {
            let file = file.to_owned();
            |error| ReportError::File(file, error)
        };
        for (file, text) in &self.files {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(root.join(folder)).map_err(failed(folder))?;
            }
            fs::write(root.join(file), text).map_err(failed(file))?;
        }
        for file in &self.stale {
            fs::remove_file(root.join(file)).map_err(failed(file))?;
        }
        Ok(())
    }

    /// The files that are not what the JSON gives.
    ///
    /// # Errors
    ///
    /// A file cannot be read, for another reason than that it is not there.
    pub fn differing(&self, root: &Path) -> Result<Vec<&Path>, ReportError> {
        let mut differing = Vec::new();
        for (file, wanted) in &self.files {
            match fs::read_to_string(root.join(file)) {
                Ok(text) if text == *wanted => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ReportError::File(file.clone(), error));
                }
                _ => differing.push(file.as_path()),
            }
        }
        differing.extend(self.stale.iter().map(PathBuf::as_path));
        Ok(differing)
    }
}

/// The charts that are there, in folders or not.
fn charts_in(root: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(PLOTS)];
    while let Some(folder) = folders.pop() {
        let failed = |error| ReportError::File(folder.clone(), error);
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(name);
            } else if name.extension().is_some_and(|end| end == "svg") {
                found.push(name);
            }
        }
    }
    Ok(found)
}

/// The repository that this program was built from.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Report, root};

    #[test]
    fn the_pages_are_what_the_json_gives() {
        let report = Report::of(root()).unwrap();
        let differing = report.differing(root()).unwrap();
        assert!(differing.is_empty(), "run `{}` after changing figures: {differing:?}", super::page::COMMAND);
    }

    #[test]
    fn an_edited_page_is_found_and_written_anew() {
        let copy = std::env::temp_dir().join(format!("hotcall-report-{}", std::process::id()));
        for directory in ["docs/figures/amd-25-17", "docs/plots/amd-25-17"] {
            fs::create_dir_all(copy.join(directory)).unwrap();
        }
        let (seam, figures) = ("docs/figures/amd-25-17/seam.json", "docs/figures/amd-25-17/core.json");
        for file in [seam, figures, super::README] {
            fs::copy(root().join(file), copy.join(file)).unwrap();
        }
        let report = Report::of(&copy).unwrap();
        assert!(report.skipped.iter().any(|line| line.starts_with("width: Not measured")));
        report.write(&copy).unwrap();
        assert!(report.differing(&copy).unwrap().is_empty());

        let readme = copy.join(super::README);
        let text = fs::read_to_string(&readme).unwrap();
        let (before, after) = text.split_once("| direct call, not inlined |").unwrap();
        fs::write(&readme, format!("{before}| direct call, not inlined | 0.1{after}")).unwrap();
        fs::remove_file(copy.join("docs/BENCHMARKS.md")).unwrap();
        fs::write(copy.join("docs/plots/amd-25-17/old.svg"), "").unwrap();
        let report = Report::of(&copy).unwrap();
        let wanted = ["docs/BENCHMARKS.md", "README.md", "docs/plots/amd-25-17/old.svg"].map(Path::new);
        assert_eq!(report.differing(&copy).unwrap(), wanted);
        report.write(&copy).unwrap();
        assert!(Report::of(&copy).unwrap().differing(&copy).unwrap().is_empty());
        // Figures in another processor's folder.
        fs::create_dir_all(copy.join("docs/figures/other-1-2")).unwrap();
        fs::rename(copy.join(figures), copy.join("docs/figures/other-1-2/core.json")).unwrap();
        let refused = Report::of(&copy).map_or_else(|error| error.to_string(), |_| String::new());
        assert!(refused.contains("it belongs into docs/figures/amd-25-17"), "{refused}");
        fs::remove_dir_all(&copy).unwrap();
    }
}

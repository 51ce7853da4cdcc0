//! `hotcall inspect`.

use core::fmt::Write as _;
use std::path::{Path, PathBuf};

use hotcall::inspect::{self, Build, Export, Library, Program, Unreadable, Verdict};
use serde_json::{Value, json};

use crate::table::table;
use crate::{REFUSED, WELL};

/// One file, with what there is to say of each of its exports: of those that are sound nothing, where there is no host.
type Answer = Result<(Library, Vec<Option<Verdict>>), Unreadable>;

/// What is to be written, and how the tool ends.
pub(crate) fn run(files: &[PathBuf], host: Option<&Path>, json: bool) -> Result<(String, u8), Unreadable> {
    let host = host.map(inspect::program).transpose()?;
    let answers: Vec<_> = files.iter().map(|file| look(file, host.as_ref())).collect();
    let well = answers.iter().all(is_well);
    let text = if json { as_json(host.as_ref(), &answers) } else { as_text(host.as_ref(), &answers) };
    Ok((text, if well { WELL } else { REFUSED }))
}

fn look(file: &Path, host: Option<&Program>) -> Answer {
    let library = inspect::library(file)?;
    let verdict = |export: &Export| {
        host.map_or_else(
            || export.unusable.clone().map(Verdict::Refused),
            |host| Some(host.judge(&library, export)),
        )
    };
    let verdicts = library.exports.iter().map(verdict).collect();
    Ok((library, verdicts))
}

fn is_well(answer: &Answer) -> bool {
    answer.as_ref().is_ok_and(|(_, verdicts)| {
        verdicts.iter().all(|verdict| !matches!(verdict, Some(Verdict::Refused(_))))
    })
}

fn build(build: &Build) -> String {
    let Build { hotcall, compiler, panic, format, .. } = build;
    let mut text = format!("hotcall {hotcall} (header format {format}) and {compiler}");
    if !panic.is_empty() {
        let _ = write!(text, ", with panic = \"{panic}\"");
    }
    text
}

fn as_text(host: Option<&Program>, answers: &[Answer]) -> String {
    let mut text = String::new();
    if let Some(host) = host {
        let _ = writeln!(text, "host {}", host.path.display());
        let _ = writeln!(text, "  for {}, by {}", host.architecture, build(&host.build));
        let _ = writeln!(text, "  knows {}\n", host.interfaces.join(", "));
    }
    for answer in answers {
        match answer {
            Ok((library, verdicts)) => text.push_str(&one(library, verdicts)),
            Err(Unreadable { path, reason, .. }) => {
                let _ = writeln!(text, "{}\n  no plugin: {reason}", path.display());
            }
        }
    }
    text
}

fn one(library: &Library, verdicts: &[Option<Verdict>]) -> String {
    let Library { path, architecture, exports, needs, .. } = library;
    let mut text = format!("{}\n", path.display());
    let mut builds: Vec<_> = exports.iter().map(|export| build(&export.build)).collect();
    builds.dedup();
    for build in builds {
        let _ = writeln!(text, "  for {architecture}, by {build}");
    }
    if !needs.is_empty() {
        let _ = writeln!(text, "  needs {}", needs.join(", "));
    }
    let judged = verdicts.iter().any(Option::is_some);
    let mut rows = vec![["EXPORT", "INTERFACE", "OF"].map(str::to_owned).to_vec()];
    if judged {
        rows[0].push("VERDICT".to_owned());
    }
    for (export, verdict) in exports.iter().zip(verdicts) {
        let Export { name, interface, crate_name, crate_version, since, .. } = export;
        let shown =
            |text: &str| if text.is_empty() { "(another format)".to_owned() } else { text.to_owned() };
        let mut of = format!("{crate_name} {crate_version}");
        if !since.is_empty() {
            let _ = write!(of, ", compatible since {since}");
        }
        let mut row = vec![shown(name), shown(interface), of];
        match verdict {
            _ if !judged => {}
            None => row.push("sound".to_owned()),
            Some(verdict) => row.push(in_words(verdict)),
        }
        rows.push(row);
    }
    text.push_str(&table(&rows));
    text
}

fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Refused(reason) => format!("refused: {reason}"),
        Verdict::Unknown(reason) => format!("unknown: {reason}"),
    }
}

fn as_json(host: Option<&Program>, answers: &[Answer]) -> String {
    let files: Vec<_> = answers.iter().map(file_as_json).collect();
    let host = host.map(|host| {
        json!({
            "program": host.path.to_string_lossy(),
            "architecture": host.architecture,
            "build": build_as_json(&host.build),
            "interfaces": host.interfaces,
        })
    });
    format!("{:#}\n", json!({ "host": host, "files": files }))
}

fn file_as_json(answer: &Answer) -> Value {
    match answer {
        Ok((library, verdicts)) => {
            let exports = library.exports.iter().zip(verdicts);
            json!({
                "file": library.path.to_string_lossy(),
                "plugin": true,
                "architecture": library.architecture,
                "needs": library.needs,
                "exports": exports.map(|(export, verdict)| export_as_json(export, verdict.as_ref())).collect::<Vec<_>>(),
            })
        }
        Err(Unreadable { path, reason, .. }) => {
            json!({ "file": path.to_string_lossy(), "plugin": false, "reason": reason })
        }
    }
}

fn build_as_json(build: &Build) -> Value {
    let Build { hotcall, compiler, panic, format, .. } = build;
    json!({ "hotcall": hotcall, "compiler": compiler, "panic": panic, "format": format })
}

fn export_as_json(export: &Export, verdict: Option<&Verdict>) -> Value {
    json!({
        "name": export.name,
        "interface": export.interface,
        "crate": export.crate_name,
        "version": export.crate_version,
        "since": export.since,
        "fingerprint": format!("{:016x}", export.fingerprint),
        "methods": export.methods,
        "build": build_as_json(&export.build),
        "verdict": verdict.map(|verdict| match verdict {
            Verdict::Accepted => "accepted",
            Verdict::Refused(_) => "refused",
            Verdict::Unknown(_) => "unknown",
        }),
        "reason": verdict.and_then(|verdict| match verdict {
            Verdict::Accepted => None,
            Verdict::Refused(reason) | Verdict::Unknown(reason) => Some(reason),
        }),
    })
}

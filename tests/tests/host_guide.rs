//! Every command of `docs/PLUGIN-HOST.md` is run, and every file that it shows is written, in their order.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
#![allow(missing_docs)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use hotcall_tests::package;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// The guide as a script: its commands, and its files written where it shows them. How many of each.
fn script(guide: &str) -> (String, usize, usize) {
    let (mut script, mut commands, mut files) = (String::new(), 0, 0);
    let (mut named, mut block): (Option<&str>, Option<(&str, String)>) = (None, None);
    for line in guide.lines() {
        match &mut block {
            None if line.starts_with("```") => block = Some((&line[3..], String::new())),
            None => {
                let name = line.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:"));
                if !line.is_empty() {
                    named = name;
                }
            }
            Some((kind, text)) if line == "```" => {
                match (*kind, named.take()) {
                    ("sh", None) => {
                        commands += text.lines().count();
                        script.push_str(text);
                    }
                    (_, Some(file)) => {
                        files += 1;
                        write!(
                            script,
                            "mkdir -p $(dirname {file})\ncat > {file} <<'END OF FILE'\n{text}END OF FILE\n"
                        )
                        .unwrap();
                    }
                    ("text", None) => {}
                    (kind, None) => panic!("what is to be done with this `{kind}`?\n{text}"),
                }
                block = None;
            }
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    (script, commands, files)
}

#[test]
fn every_command_of_the_guide_works() {
    let guide = package::of_workspace("docs/PLUGIN-HOST.md");
    let (script, commands, files) = script(&guide);
    assert!(commands > 30 && files == 4, "{commands} commands, {files} files");
    let folder = package::folder(TMP, "guide");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    // What others have built before is not built again; and the versions are those of the workspace.
    let shared = Path::new(TMP).join("plugins");
    fs::create_dir_all(&shared).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let prepared = script.replacen(
        "cd studio\n",
        &format!(
            "cd studio\nln -s {} target\ncp {} .\n",
            shared.display(),
            root.join("Cargo.lock").display()
        ),
        1,
    );
    assert_ne!(prepared, script);
    // No command may wait for ever, and nothing goes on when the script has ended.
    let text = format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{prepared}");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "400", "bash", "-c", &text])
        .current_dir(&folder)
        .env("HOTCALL", &root)
        .env_remove("CARGO_TARGET_DIR")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let log = fs::read_to_string(folder.join("studio/host.log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{log}", package::shown(&output));
    // What the guide shows of the host's output is what it said.
    let shown = guide.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for line in shown.lines() {
        assert!(log.lines().any(|said| said == line), "{line}\n{log}");
    }
}

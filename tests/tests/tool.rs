//! `hotcall inspect` and `hotcall sites`: one clear answer for every file, and the same that the runtime gives.
//!
//! A host and its plugins are written here, against several versions of their interface, and built by cargo.
#![cfg(all(target_os = "linux", not(miri)))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use hotcall_tests::package::{cargo, folder, head, of_workspace, shown, write};
use hotcall_tests::random::Random;
use serde_json::Value;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const HOTCALL: &str = concat!("hotcall = { path = \"", env!("CARGO_MANIFEST_DIR"), "/../runtime\" }\n");

/// What the versions of the interface are, and since when each says to be compatible.
const VERSIONS: [(&str, &str); 4] = [
    // The host's is the second.
    ("1.2.0", "#[hotcall::dispatch]"),
    ("1.2.3", "#[hotcall::dispatch(since = \"1.2.0\")]"),
    ("1.3.0", "#[hotcall::dispatch(since = \"1.2.3\")]"),
    ("2.0.0", "#[hotcall::dispatch(since = \"2.0.0\")]"),
];
const HOST: usize = 1;

const INTERFACE: &str = "
pub trait Tone: Send + Sync {
    fn play(&self, note: u32) -> u32;
}
";

const PLUGIN: &str = "
struct Bell(u32);
impl tone::Tone for Bell {
    fn play(&self, note: u32) -> u32 { note + self.0 }
}
hotcall::export!(dyn tone::Tone, \"bell\", |config: &str| config.parse().map(Bell));
";

/// Prints `accepted`, or why not, for each library that it is given.
const PROGRAM: &str = "
use tone::Tone;

struct Silence;
impl Tone for Silence {
    fn play(&self, _: u32) -> u32 { 0 }
}
#[hotcall::slot]
pub static TONE: dyn Tone = Silence;

fn answer(path: &str) -> Result<(), hotcall::Error> {
    let library = unsafe { hotcall::Library::open(path) }?;
    TONE.replace(library.instantiate::<dyn Tone>(\"1\")?)?;
    assert_eq!(TONE.play(std::hint::black_box(1)), 2);
    Ok(())
}

fn main() {
    for path in std::env::args().skip(1) {
        match answer(&path) {
            Ok(()) => println!(\"accepted\"),
            Err(error) => println!(\"{error}\"),
        }
    }
}
";

/// The host, and a plugin for each version.
struct Built {
    host: PathBuf,
    plugins: Vec<PathBuf>,
}

/// The file that cargo says it made of the target `name`.
fn made(said: &str, name: &str, ends: &str) -> PathBuf {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut files = messages
        .filter(|message| message["target"]["name"] == name)
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten();
    let file = files.find_map(|file| file.as_str().filter(|file| file.ends_with(ends)).map(PathBuf::from));
    file.unwrap_or_else(|| panic!("cargo made no {name}"))
}

fn build(folder: &Path, name: &str, ends: &str) -> PathBuf {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let said = cargo(TMP, folder, &["build", "--quiet", "--profile", profile, "--message-format=json"]);
    made(&said, name, ends)
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let all = folder(TMP, "tool");
        let package = |kind: &str, number: usize, rest: &str, file: &str, text: &str| {
            let folder = all.join(format!("{kind}-{number}"));
            let manifest =
                format!("{}{rest}\n[dependencies]\ntone = {{ path = \"tone\" }}\n{HOTCALL}", head(kind, "2024"));
            write(&folder.join("Cargo.toml"), &manifest);
            write(&folder.join("Cargo.lock"), &of_workspace("Cargo.lock"));
            write(&folder.join("src").join(file), text);
            let (version, dispatch) = VERSIONS[number];
            write(
                &folder.join("tone/Cargo.toml"),
                &format!("[package]\nname = \"tone\"\nversion = \"{version}\"\nedition = \"2024\"\n[dependencies]\n{HOTCALL}"),
            );
            write(&folder.join("tone/src/lib.rs"), &format!("{dispatch}{INTERFACE}"));
            folder
        };
        let keep = |path: PathBuf, name: &str| {
            let kept = all.join(name);
            fs::copy(path, &kept).expect("what was built is copied");
            kept
        };
        let host = package("tool-host", HOST, "", "main.rs", PROGRAM);
        let host = keep(build(&host, "tool-host", ""), "host");
        let plugins = (0..VERSIONS.len()).map(|number| {
            let cdylib = "[lib]\ncrate-type = [\"cdylib\"]";
            let folder = package("tool-plugin", number, cdylib, "lib.rs", PLUGIN);
            keep(build(&folder, "tool_plugin", ".so"), &format!("plugin-{}.so", VERSIONS[number].0))
        });
        Built { host, plugins: plugins.collect() }
    })
}

/// The tool, built like this test.
fn tool() -> Command {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    let tool = TOOL.get_or_init(|| {
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let said = cargo(
            TMP,
            Path::new(ROOT),
            &[
                "build",
                "--quiet",
                "--profile",
                profile,
                "--message-format=json",
                "--package",
                "hotcall",
                "--features",
                "cli",
                "--bin",
                "hotcall",
            ],
        );
        let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
        programs.next().expect("cargo made the tool")
    });
    Command::new(tool)
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("what the tool says is text")
}

/// What the tool says of the files as JSON, and how it ended.
fn inspect(host: Option<&Path>, files: &[PathBuf]) -> (Value, Option<i32>) {
    let mut command = tool();
    command.arg("inspect").arg("--json").args(files);
    if let Some(host) = host {
        command.arg("--host").arg(host);
    }
    let output = command.output().expect("the tool runs");
    let said = serde_json::from_str(&text(&output));
    (said.unwrap_or_else(|error| panic!("{error}: {}", shown(&output))), output.status.code())
}

/// The reason why the one export of a file is refused; `None` where it is not.
fn refusal(file: &Value) -> Option<String> {
    let export = &file["exports"][0];
    match export["verdict"].as_str() {
        Some("accepted") => None,
        Some("refused") => Some(export["reason"].as_str().expect("a reason").to_owned()),
        other => panic!("{other:?}: {file:#}"),
    }
}

/// A copy of a file, changed.
fn changed(name: &str, of: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(of).expect("the file can be read");
    change(&mut bytes);
    let path = folder(TMP, "tool").join(name);
    fs::write(&path, bytes).expect("the file is written");
    path
}

/// Overwrites every occurrence in the records, with what is as long, and makes their fingerprints right.
fn rewrite(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let magic = b"\x7fhotcall";
    let starts: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(magic)).collect();
    for start in starts {
        let Some(length) = bytes.get(start + 12..start + 16) else { continue };
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let Some(record) = bytes.get_mut(start..start.saturating_add(length)) else { continue };
        let found = (0..record.len()).find(|at| record[*at..].starts_with(old));
        let Some(at) = found.filter(|_| record.len() > 24) else { continue };
        record[at..at + new.len()].copy_from_slice(new);
        let fingerprint = hotcall::__private::plugin::fnv1a(&record[24..]);
        record[16..24].copy_from_slice(&fingerprint.to_le_bytes());
    }
}

#[test]
fn the_verdict_is_the_runtimes() {
    let Built { host, plugins } = built();
    let (said, code) = inspect(Some(host), plugins);
    assert_eq!(code, Some(1), "{said:#}");
    let told = Command::new(host).args(plugins).output().expect("the host runs");
    assert!(told.status.success(), "{}", shown(&told));
    let told = text(&told);
    let verdicts: Vec<_> = said["files"].as_array().expect("files").iter().map(refusal).collect();
    for (verdict, told) in verdicts.iter().zip(told.lines()) {
        assert_eq!(verdict.as_deref().unwrap_or("accepted"), told);
    }
    // The newer version says what it is compatible with: the host's what is older, the plugin's the host.
    let refused: Vec<_> = verdicts.iter().map(Option::is_some).collect();
    assert_eq!(refused, [false, false, false, true], "{verdicts:#?}");
    let reason = verdicts[3].as_deref().expect("refused");
    assert!(reason.contains("that of tone 2.0.0, compatible since 2.0.0"), "{reason}");
    assert!(reason.contains("that of tone 1.2.3, compatible since 1.2.0"), "{reason}");

    assert_eq!(said["host"]["interfaces"], serde_json::json!(["dyn Tone"]));
    let export = &said["files"][0]["exports"][0];
    assert_eq!((&export["name"], &export["interface"]), (&"bell".into(), &"dyn Tone".into()));
}

#[test]
fn every_file_has_one_answer() {
    let Built { host, plugins } = built();
    let plugin = &plugins[HOST];
    let stripped = changed("stripped.so", plugin, |_| {});
    let strip = Command::new("strip").arg(&stripped).status().expect("strip runs");
    assert!(strip.success());
    let other_compiler = changed("compiler.so", plugin, |bytes| rewrite(bytes, b"rustc 1.", b"rustc 9."));
    let hidden = changed("hidden.so", plugin, |bytes| {
        // In the tables of symbols, and not in the record, where its length stands before it.
        let symbols = (1..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\0hotcall_export_"));
        let symbols: Vec<_> = symbols.filter(|at| bytes[at - 1] != 0).collect();
        symbols.into_iter().for_each(|at| bytes[at + 1] = b'H');
    });
    let machine =
        changed("machine.so", plugin, |bytes| bytes[18..20].copy_from_slice(&183_u16.to_le_bytes()));
    let half = changed("half.so", plugin, |bytes| bytes.truncate(bytes.len() / 2));
    let short = changed("short.so", plugin, |bytes| bytes.truncate(40));
    let empty = changed("empty.so", plugin, Vec::clear);
    let words = changed("text.so", plugin, |bytes| *bytes = b"no library".to_vec());
    let maps = fs::read_to_string("/proc/self/maps").expect("maps can be read");
    let libc = maps.split_whitespace().find(|word| word.contains("/libc.so") || word.contains("/libc-"));

    let cases = [
        (Some(plugin.clone()), Ok("")),
        (Some(stripped), Ok("")),
        (Some(other_compiler), Ok("rustc 9.")),
        (Some(hidden), Ok("was stripped or hidden")),
        (Some(machine), Ok("it is for aarch64, the program for x86_64")),
        (Some(half), Err("cut short or damaged")),
        (Some(short), Err("cut short or damaged")),
        (Some(empty), Err("the file is empty")),
        (Some(words), Err("it is not an ELF file")),
        (libc.map(PathBuf::from), Err("has no section `hotcall_plugin`")),
        (Some(PathBuf::from(TMP)), Err("it is a directory")),
        (Some(PathBuf::from("/nonexistent.so")), Err("it cannot be read: No such file")),
    ];
    let cases: Vec<_> = cases.into_iter().filter_map(|(file, expected)| Some((file?, expected))).collect();
    let files: Vec<_> = cases.iter().map(|case| case.0.clone()).collect();
    let (said, code) = inspect(Some(host), &files);
    assert_eq!(code, Some(1), "{said:#}");
    for ((file, expected), said) in cases.iter().zip(said["files"].as_array().expect("files")) {
        assert_eq!(said["file"], *file.to_string_lossy());
        let reason = match expected {
            Ok(_) => refusal(said).unwrap_or_default(),
            Err(_) => said["reason"].as_str().expect("a reason").to_owned(),
        };
        assert_eq!(said["plugin"], expected.is_ok(), "{said:#}");
        let (Ok(expected) | Err(expected)) = expected;
        assert!(reason.contains(expected) && !reason.contains('\n'), "{}: {reason}", file.display());
        assert_eq!(reason.is_empty(), expected.is_empty(), "{}: {reason}", file.display());
    }
    // Without a host, only what no host could load is refused.
    assert_eq!(inspect(None, &files[..3]).1, Some(0));
    assert_eq!(inspect(None, &files[3..4]).1, Some(1));
}

/// The same answers for a person: a line for each file and for each export.
#[test]
fn a_person_reads_a_table() {
    let Built { host, plugins } = built();
    let mut command = tool();
    command.arg("inspect").args([&plugins[0], &plugins[3]]).arg("/nonexistent.so").arg("--host").arg(host);
    let output = command.output().expect("the tool runs");
    let said = text(&output);
    let lines: Vec<_> = said.lines().map(str::trim_start).collect();
    assert!(
        lines.contains(&"no plugin: it cannot be read: No such file or directory (os error 2)"),
        "{said}"
    );
    assert!(lines.contains(&"bell    dyn Tone   tone 1.2.0  accepted"), "{said}");
    let refused = lines.iter().find(|line| line.contains("refused: ")).expect("one is refused");
    assert!(refused.starts_with("bell ") && refused.ends_with("; rebuild the library"), "{said}");
    assert!(said.contains("knows dyn Tone\n"), "{said}");
}

#[test]
fn sites_are_what_the_program_has() {
    let Built { host, plugins } = built();
    let run = |arguments: &[&str], file: &Path| {
        let output = tool().arg("sites").args(arguments).arg(file).output().expect("the tool runs");
        (text(&output), output)
    };
    if hotcall::backend() != hotcall::Backend::Patched {
        let (_, output) = run(&[], host);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        return;
    }
    let (said, output) = run(&["--json"], host);
    let said: Value =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)));
    let slots = said["slots"].as_array().expect("slots");
    assert_eq!(slots.len(), 1, "{said:#}");
    assert_eq!(slots[0]["name"], "tool_host::TONE");
    let number = |value: &Value| value.as_u64().expect("a number");
    let left = &said["left_alone"];
    assert!(number(&said["calls"]) >= 1, "{said:#}");
    assert_eq!(number(&said["calls"]), number(&slots[0]["calls"]));
    assert_eq!(
        number(&said["calls"]),
        number(&said["patched"]) + number(&left["no_call"]) + number(&left["crosses"]),
        "{said:#}"
    );

    // Stripped, it has no names; and a plugin without slots has nothing to show.
    let stripped = changed("stripped-host", host, |_| {});
    let strip = Command::new("strip").arg(&stripped).status().expect("strip runs");
    assert!(strip.success());
    let (said, _) = run(&[], &stripped);
    assert!(said.contains("(the slot of 0x"), "{said}");
    for file in [plugins[0].as_path(), Path::new("/nonexistent"), Path::new("/proc/self/maps")] {
        let (_, output) = run(&[], file);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    }
}

#[test]
fn a_command_line_that_cannot_be_followed_is_explained() {
    for (arguments, expected) in [
        (&[][..], "what is to be done?"),
        (&["frob"], "`frob` is no command"),
        (&["inspect"], "which library?"),
        (&["inspect", "--host"], "which program?"),
        (&["inspect", "--fast", "x"], "`--fast` is no option"),
        (&["sites"], "which program?"),
        (&["sites", "a", "b"], "which program?"),
        (&["sites", "--host", "b"], "`--host` is no option"),
        (&["inspect", "x.so", "--host", "/nonexistent"], "/nonexistent: it cannot be read"),
    ] {
        let output = tool().args(arguments).output().expect("the tool runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    for argument in ["--help", "--version"] {
        assert!(tool().arg(argument).output().expect("the tool runs").status.success());
    }
    let output = tool().args(["inspect", "--", "--host"]).output().expect("the tool runs");
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
}

/// Bytes of a plugin and of its host, changed at random: always an answer, never a signal or a panic's code.
#[test]
fn no_mutation_ends_it() {
    let Built { host, plugins } = built();
    // The same mutations on every run.
    let mut random = Random::new(1);
    let mut random = |below: usize| random.below(below as u64) as usize;
    let whole = fs::read(&plugins[HOST]).expect("the plugin can be read");
    let records: Vec<_> = (0..whole.len()).filter(|at| whole[*at..].starts_with(b"\x7fhotcall")).collect();
    let mut files = Vec::new();
    for number in 0..100 {
        files.push(changed(&format!("mutated-{number}.so"), &plugins[HOST], |bytes| {
            for _ in 0..=random(4) {
                let at = match random(3) {
                    0 => random(64 + 56 * 12),
                    1 => records[random(records.len())] + random(200),
                    _ => bytes.len() - 1 - random(64 * 40),
                };
                bytes[at] = random(256) as u8;
            }
            // As if the header had been written so.
            rewrite(bytes, b"", b"");
        }));
    }
    let (said, code) = inspect(Some(host), &files);
    assert!(matches!(code, Some(0 | 1)), "{said:#}");
    assert_eq!(said["files"].as_array().expect("files").len(), files.len());
    for file in files {
        let output = tool().arg("sites").arg(&file).output().expect("the tool runs");
        assert!(matches!(output.status.code(), Some(0 | 2)), "{}: {}", file.display(), shown(&output));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{}", shown(&output));
        fs::remove_file(file).expect("the file is removed");
    }
}

//! The effects rack as a person runs it: what it prints, what it writes, and how it refuses.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use hotcall_examples::plugins;

/// The program, built like this test.
fn rack() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| plugins::build_example("rack").expect("cargo builds the rack")))
}

/// A folder of its own for the test `name`.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rack_cli").join(name);
    fs::create_dir_all(&folder).expect("a folder to write to");
    folder
}

/// Runs the rack in `folder` for a moment.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    rack().current_dir(folder).args(arguments).output().expect("the rack runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("what the rack says is text")
}

/// The counts in the last line of `stdout`.
fn summary(stdout: &str) -> HashMap<&str, u64> {
    let line = stdout.lines().last().expect("a last line");
    let counts = line.strip_prefix("summary: ").unwrap_or_else(|| panic!("no summary: {line}"));
    counts
        .split(' ')
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("not NAME=N: {pair}"));
            (name, value.parse().unwrap_or_else(|_| panic!("not NAME=N: {pair}")))
        })
        .collect()
}

/// A WAV file with the given format.
fn wav(channels: u16, bits: u16, data: &[u8]) -> Vec<u8> {
    let rate = 8_000_u32;
    let frame = channels * bits / 8;
    let length = |bytes: usize| u32::try_from(bytes).expect("a short file").to_le_bytes();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend(length(36 + data.len()));
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // Integer samples.
    file.extend(1_u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(frame)).to_le_bytes());
    file.extend(frame.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend(length(data.len()));
    file.extend(data);
    file
}

#[test]
fn a_run_checks_every_sample_and_sums_up() {
    let folder = folder("run");
    let output = run(&folder, &["--seconds", "1", "--threads", "2", "--swaps-per-second", "500"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");

    let line = stdout.lines().last().unwrap_or_default();
    let names: Vec<_> = line.split(' ').filter_map(|pair| pair.split('=').next()).collect();
    assert_eq!(names, ["summary:", "calls", "swaps", "torn", "lost", "retired", "freed"], "{line}");
    let counts = summary(stdout);
    assert!(counts["calls"] > 100_000, "{line}");
    assert!((50..=600).contains(&counts["swaps"]), "{line}");
    assert_eq!((counts["torn"], counts["lost"]), (0, 0), "{line}");
    assert_eq!(counts["retired"], counts["swaps"], "{line}");
    assert!(counts["freed"] + 2 >= counts["retired"], "{line}");

    for row in
        ["swap latency", "with swaps", "Box<dyn>", "ArcSwap<Box<dyn>>", "slot, plain calls", "slot, bound"]
    {
        assert!(stdout.contains(row), "no row `{row}` in:\n{stdout}");
    }
    assert!(stderr.contains("live"), "no progress in: {stderr}");
    assert!(fs::read(folder.join("out/rack.wav")).expect("a WAV file").starts_with(b"RIFF"));
    let picture = fs::read_to_string(folder.join("out/rack.svg")).expect("a picture");
    assert!(picture.contains("<svg") && picture.contains("crusher"));
    assert!(picture.len() < 1_000_000, "{} bytes", picture.len());
}

#[test]
fn a_file_comes_out_as_long_as_it_went_in() {
    let folder = folder("input");
    let ramp: Vec<u8> = (0..2 * 4_001_i16).flat_map(|sample| (sample * 4).to_le_bytes()).collect();
    fs::write(folder.join("ramp.wav"), wav(2, 16, &ramp)).expect("written");
    let output = run(
        &folder,
        &["--input=ramp.wav", "--output=heard.wav", "--picture=heard.svg", "--seconds=0.2", "--threads=1"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let heard = fs::read(folder.join("heard.wav")).expect("a WAV file");
    // 32 bit a sample now, after a header of at most 100 bytes.
    let samples = 2 * 4_001 * 4;
    assert!((samples..samples + 100).contains(&heard.len()), "{} bytes", heard.len());
    assert!(folder.join("heard.svg").is_file());
}

/// Runs the rack with something that it cannot use, and checks how it says so.
fn refused(folder: &Path, arguments: &[&str], reason: &str) {
    let output = run(folder, arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(reason), "{arguments:?}: {stderr}");
    assert!(!folder.join("out").exists(), "{arguments:?}: work had begun");
}

#[test]
fn a_sound_that_cannot_be_read_is_refused() {
    let folder = folder("sounds");
    fs::write(folder.join("eight.wav"), wav(1, 8, &[128; 100])).expect("written");
    fs::write(folder.join("four.wav"), wav(4, 16, &[0; 80])).expect("written");
    fs::write(folder.join("song.ogg"), b"OggS and so on, but no WAV file").expect("written");
    refused(&folder, &["--input", "missing.wav"], "missing.wav: cannot be read");
    refused(&folder, &["--input", "eight.wav"], "eight.wav: has 8 bit integer samples");
    refused(&folder, &["--input", "four.wav"], "four.wav: has 4 channels");
    refused(&folder, &["--input", "song.ogg"], "song.ogg: is not a WAV file");
    refused(&folder, &["--input", "."], ".: is a directory");
}

#[test]
fn a_library_that_is_no_plugin_of_the_rack_is_refused() {
    let folder = folder("plugins");
    fs::write(folder.join("libtext.so"), b"not a library").expect("written");
    refused(&folder, &["--plugin", "libmissing.so"], "libmissing.so");
    refused(&folder, &["--plugin", "libtext.so"], "libtext.so");
    let this_program = env::current_exe().expect("a path");
    refused(&folder, &["--plugin", this_program.to_str().expect("a plain path")], "is not a hotcall plugin");

    let other = plugins::build(&["hotcall-other-effect"]).expect("cargo builds the plugin");
    let other = other[0].to_str().expect("a plain path");
    refused(&folder, &["--plugin", other], "f64");
}

#[test]
fn a_plugin_of_ones_own_joins_the_rotation() {
    let folder = folder("own");
    let crusher = plugins::build(&["hotcall-crusher"]).expect("cargo builds the plugin");
    let crusher = crusher[0].to_str().expect("a plain path");
    let output = run(&folder, &["--plugin", crusher, "--seconds=0.3"]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", text(&output.stderr));
    let effects = stdout.lines().find(|line| line.starts_with("effects")).unwrap_or_default();
    assert_eq!(effects.matches("crusher").count(), 3, "{effects}");
}

#[test]
fn a_misspelt_option_is_refused() {
    let output = run(&folder("option"), &["--swaps", "5"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--swaps"));
}

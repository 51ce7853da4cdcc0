//! An effects rack: plays a sound through one slot on several threads while the effect in it is swapped again
//! and again, and checks of every sample which effect made it.
//!
//! ```text
//!   sound --> every effect, offline ------------------------------> renderings --.
//!     |                                                                           v
//!     '----> threads, block by block --> EFFECT.process(sample) --> samples --> compared, bit by bit
//!                                            ^
//!   Bypass, Gain, plugins from cdylibs --> EFFECT.replace(..), N times a second
//! ```
//!
//! `cargo run --release --example rack -- --help` tells what it can be given.
#![forbid(unsafe_code)]

mod args;
mod compare;
mod failure;
mod histogram;
mod live;
mod output;
mod picture;
mod progress;
mod recorder;
mod report;
mod rotation;
mod swap;
mod timeline;
mod tune;
mod verify;
mod wav;
mod worker;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hotcall::slot;
use hotcall_effects::{Bypass, Effect};
use hotcall_examples::plugins;

use args::Args;
use failure::Failure;
use live::Setting;
use output::Outputs;
use progress::Progress;
use report::Report;
use rotation::{PACKAGES, Rotation, Source};

/// The effect that every sample passes through.
#[slot]
pub static EFFECT: dyn Effect = Bypass;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure}");
            failure.exit_code()
        }
    }
}

/// Answers whether every sample came from exactly the effect that was in force.
fn run(args: &Args) -> Result<bool, Failure> {
    // What may be refused comes first, before anything takes long.
    let sound = args.input.as_deref().map_or_else(|| Ok(tune::synthesise()), wav::read)?;
    let mut own = Vec::new();
    for path in &args.plugin {
        own.extend(Source::plugins(path, &[""]).map_err(Failure::refused)?);
    }
    let outputs = Outputs::create(&args.output, &args.picture)?;

    let mut progress = Progress::new();
    let packages = PACKAGES.map(|(package, _)| package);
    progress.insist(format_args!("building {}", packages.join(", ")));
    let libraries = plugins::build(&packages).map_err(Failure::broken)?;
    let mut sources = Source::built_in();
    for (library, (_, configs)) in libraries.iter().zip(PACKAGES) {
        sources.extend(Source::plugins(library, &configs).map_err(Failure::refused)?);
    }
    sources.extend(own);
    progress.insist(format_args!("rendering {} with each of {} effects", sound.title, sources.len()));
    let rotation = Rotation::render(sound, sources)?;

    let samples = rotation.sound.samples.len();
    let block = args.block * usize::from(rotation.sound.channels);
    let setting = Setting { threads: args.threads(), block: block.min(samples) };
    // A part of the run's length for each measurement beside it, and no more than figures that hold need.
    let aside = args.seconds.mul_f64(0.2).min(Duration::from_secs(2));
    let undisturbed = live::undisturbed(&rotation, setting, aside, &mut progress)?;
    let compared =
        compare::compare(&rotation.sound, setting, args.swaps_per_second, aside * 2, &mut progress)?;
    let live = live::live(&rotation, setting, args.seconds, args.swaps_per_second, &mut progress)?;

    progress.insist(format_args!("writing what was heard"));
    outputs.write(&rotation, &live)?;
    drop(progress);
    let report = Report {
        rotation: &rotation,
        setting,
        swaps_per_second: args.swaps_per_second,
        undisturbed: &undisturbed,
        live: &live,
        compared: &compared,
    };
    // Who closed the pipe has read enough: the exit code still tells.
    let _ = writeln!(io::stdout(), "{report}\n{outputs}\n{}", report.summary());
    Ok(report.is_clean())
}

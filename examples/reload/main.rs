//! A plugin that is edited, rebuilt and reloaded while threads call it: `cargo run --release --example reload`.
//!
//! The example writes the plugin's source, builds it with cargo, and keeps it in a slot, whatever the file becomes. Threads count through
//! that slot all the time. Some edits do not compile, one build arrives by halves, one has another interface, one panics at its first call:
//! the version before goes on each time. At the end the count must be what the threads have added, to the last one.
#![deny(unsafe_code)]

mod load;
mod meter;
mod workshop;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hotcall::host::{Event, HandOver, OnPanic, What};
use hotcall::{Plugins, slot};
use hotcall_tally::{Empty, Tally};

use load::Load;
use meter::Meter;
use workshop::{Edit, Workshop};

/// What the threads call.
#[slot]
pub static TALLY: dyn Tally = Empty;

/// A plugin that is edited, rebuilt and reloaded while threads call it.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many times the source is edited and built.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(6..))]
    reloads: u64,
    /// How long it takes at least, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many threads call.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Where the plugin is written. By default a folder of this process's own.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// How long something may take that comes in a moment.
const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("reload: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let own = || std::env::temp_dir().join(format!("hotcall-reload-{}", std::process::id()));
    let folder = arguments.folder.clone().unwrap_or_else(own);
    let workshop = Workshop::new(folder.clone())?;
    println!("building the plugin in {}", folder.display());
    workshop.build(1, Edit::Good)?;
    // SAFETY: only this program writes into the folder, and what it builds is safe code.
    #[allow(unsafe_code)]
    let plugins = unsafe { Plugins::watch(workshop.plugins()) }?;
    let events = plugins.events();
    let keep = plugins
        .keep(&TALLY, "counter")
        .hand_over(HandOver::Queued { patience: Duration::from_secs(5) })
        .on_panic(OnPanic::Previous);
    // SAFETY: its methods pass numbers only, and it starts nothing.
    #[allow(unsafe_code)]
    let kept = unsafe { keep.unload_when_drained() }.start()?;
    kept.installed()?;

    let load = Load::default();
    let outcome = thread::scope(|scope| {
        for seed in 0..arguments.threads {
            let load = &load;
            scope.spawn(move || load.run(seed));
        }
        let outcome = reload(arguments, &workshop, &events, &load);
        load.stop();
        outcome
    });
    let mut tally = outcome?;
    tally.count(events.try_iter());
    let lost = load.sent().abs_diff(TALLY.total());
    let end = Meter::read()?;
    let flat =
        end.descriptors <= tally.warm.descriptors && end.libraries <= tally.warm.libraries + tally.stay;
    println!(
        "reloads={} refused={} rolled_back={} calls={} panics_seen={} unloaded={} libraries={} descriptors={} resident_kib={} \
         lost={lost} torn={}",
        tally.swapped,
        tally.refused,
        tally.rolled_back,
        load.calls(),
        load.panics(),
        tally.unloaded,
        end.libraries,
        end.descriptors,
        end.resident,
        load.torn(),
    );
    if arguments.folder.is_none() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(lost == 0 && load.torn() == 0 && flat && tally.as_planned)
}

/// What the host has told.
#[derive(Debug)]
struct Tallied {
    swapped: usize,
    refused: usize,
    rolled_back: usize,
    unloaded: usize,
    /// Libraries that stay in memory, because they may have left something behind.
    stay: usize,
    /// Once two versions have been there: the one that is installed, and the one that a panic would put back.
    warm: Meter,
    as_planned: bool,
}

impl Tallied {
    fn count(&mut self, events: impl Iterator<Item = Event>) {
        for event in events {
            self.one(&event);
        }
    }

    fn one(&mut self, event: &Event) {
        match &event.what {
            What::Swapped => self.swapped += 1,
            What::Refused { .. } => self.refused += 1,
            What::RolledBack { .. } => self.rolled_back += 1,
            What::Unloaded => self.unloaded += 1,
            What::Stays { reason } => {
                println!("  generation {} stays in memory: {reason}", event.generation);
                self.stay += 1;
            }
            _ => {}
        }
    }

    /// Waits for what an edit is to lead to. What it led to.
    fn until(&mut self, events: &Receiver<Event>, edit: Edit) -> Result<String, Box<dyn Error>> {
        loop {
            let event = events.recv_timeout(LONG).map_err(|_| "the host tells nothing more")?;
            self.one(&event);
            let is_over = match (&event.what, edit) {
                (What::Swapped, Edit::Good) | (What::RolledBack { .. }, Edit::Panics) => true,
                (What::Refused { .. }, Edit::Half | Edit::OtherInterface) => true,
                (What::Refused { .. } | What::RolledBack { .. }, _) => {
                    self.as_planned = false;
                    true
                }
                _ => false,
            };
            if is_over {
                return Ok(event.what.to_string());
            }
        }
    }
}

/// The edits in their order: most are good, and one of each other kind is among them, at equal distances; two do not compile or arrive.
fn plan(reloads: u64) -> Vec<Edit> {
    let others = [Edit::Broken, Edit::OtherInterface, Edit::Half, Edit::Panics];
    let mut plan = vec![Edit::Good; usize::try_from(reloads).unwrap_or(usize::MAX)];
    let distance = plan.len() / (others.len() + 1);
    for (index, other) in others.into_iter().enumerate() {
        plan[(index + 1) * distance] = other;
    }
    plan
}

fn reload(
    arguments: &Arguments,
    workshop: &Workshop,
    events: &Receiver<Event>,
    load: &Load,
) -> Result<Tallied, Box<dyn Error>> {
    let mut tally = Tallied {
        swapped: 0,
        refused: 0,
        rolled_back: 0,
        unloaded: 0,
        stay: 0,
        warm: Meter::default(),
        as_planned: true,
    };
    // The first was installed before anything was counted.
    tally.count(events.try_iter());
    tally.swapped = 0;
    println!("{:>4}  {:<14} {:>7} {:>12} {:>8} {:>5}  then", "edit", "", "built", "calls", "KiB", "fds");
    let pause = Duration::from_secs(arguments.seconds) / u32::try_from(arguments.reloads)?;
    for (version, edit) in (2..).zip(plan(arguments.reloads)) {
        let begin = Instant::now();
        let compiled = workshop.build(version, edit)?;
        let built = begin.elapsed();
        let then = if compiled { tally.until(events, edit)? } else { "the compiler refused it".to_owned() };
        thread::sleep(pause.saturating_sub(begin.elapsed()));
        let meter = Meter::read()?;
        if version == 3 {
            tally.warm = meter;
        }
        let first_line = then.lines().next().unwrap_or_default();
        println!(
            "{:>4}  {:<14} {:>6.1}s {:>12} {:>8} {:>5}  {first_line}",
            version - 1,
            format!("{edit:?}"),
            built.as_secs_f64(),
            load.calls(),
            meter.resident,
            meter.descriptors,
        );
    }
    Ok(tally)
}

//! The same loop through what programs use today: a trait object, and an `ArcSwap` of one.
//!
//! Only this program's own effects take part, so that every path runs the very same code. The paths take turns
//! in short slices, round after round, so that a slow moment of the machine hits them all.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hotcall_effects::{Bypass, Effect, Gain};

use crate::EFFECT;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::live::Setting;
use crate::progress::Progress;
use crate::recorder::Loop;
use crate::swap::Pace;
use crate::wav::Sound;
use crate::worker::{pass, pass_bound, pass_calls};

/// How often each path has its turn.
const ROUNDS: u32 = 3;

/// How a call finds its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A `Box<dyn Effect>`: it cannot be swapped.
    Dyn,
    /// `ArcSwap<Box<dyn Effect>>`, loaded for each call.
    ArcSwapCall,
    /// `ArcSwap<Box<dyn Effect>>`, loaded once a block.
    ArcSwapBlock,
    /// The slot, called.
    SlotCall,
    /// The slot, bound once a block.
    SlotBound,
}

impl Path {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] =
        [Self::Dyn, Self::ArcSwapCall, Self::SlotCall, Self::ArcSwapBlock, Self::SlotBound];

    /// The path, for a person to read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dyn => "Box<dyn>",
            Self::ArcSwapCall => "ArcSwap<Box<dyn>>, a load each call",
            Self::ArcSwapBlock => "ArcSwap<Box<dyn>>, a load each block",
            Self::SlotCall => "slot, plain calls",
            Self::SlotBound => "slot, bound each block",
        }
    }
}

/// How long blocks took on one path.
pub struct Compared {
    pub path: Path,
    pub undisturbed: Histogram,
    /// Empty where the path cannot be swapped.
    pub swapped: Histogram,
}

/// An effect of this program: one of two, in turns.
fn built_in(turn: u64) -> Box<dyn Effect> {
    if turn.is_multiple_of(2) { Box::new(Bypass) } else { Box::new(Gain::new(0.6)) }
}

/// Puts one of the two into the slot.
fn replace(turn: u64) -> Result<(), hotcall::Error> {
    let retired =
        if turn.is_multiple_of(2) { EFFECT.replace(Bypass)? } else { EFFECT.replace(Gain::new(0.6))? };
    drop(retired);
    Ok(())
}

/// Measures every path, without and with swaps, for `budget` in all.
pub fn compare(
    sound: &Sound,
    setting: Setting,
    swaps_per_second: u32,
    budget: Duration,
    progress: &mut Progress,
) -> Result<Vec<Compared>, Failure> {
    let slice = budget / (ROUNDS * Path::ALL.len() as u32 * 4);
    let bench = Bench { sound, setting, arc_swap: ArcSwap::from_pointee(built_in(0)) };
    let mut compared: Vec<Compared> = Path::ALL
        .map(|path| Compared { path, undisturbed: Histogram::default(), swapped: Histogram::default() })
        .into();
    for _ in 0..ROUNDS {
        for result in &mut compared {
            progress.say(format_args!("comparing: {}", result.path.label()));
            for turn in 0..2 {
                let latency = bench.undisturbed(result.path, turn, slice).map_err(Failure::broken)?;
                result.undisturbed.add(&latency);
            }
            if result.path != Path::Dyn {
                let latency = bench.swapped(result.path, swaps_per_second, slice * 2);
                result.swapped.add(&latency.map_err(Failure::broken)?);
            }
        }
    }
    Ok(compared)
}

struct Bench<'a> {
    sound: &'a Sound,
    setting: Setting,
    arc_swap: ArcSwap<Box<dyn Effect>>,
}

impl Bench<'_> {
    /// Block latencies while one effect stays.
    fn undisturbed(&self, path: Path, turn: u64, slice: Duration) -> Result<Histogram, hotcall::Error> {
        self.set(path, turn)?;
        Ok(self.measure(path, turn, || thread::sleep(slice)).0)
    }

    /// Block latencies while the two effects are swapped.
    fn swapped(
        &self,
        path: Path,
        swaps_per_second: u32,
        slice: Duration,
    ) -> Result<Histogram, hotcall::Error> {
        let end = Instant::now() + slice;
        let (latency, outcome) = self.measure(path, 0, || {
            let Some(mut pace) = Pace::per_second(swaps_per_second) else {
                thread::sleep(slice);
                return Ok(());
            };
            (1..)
                .take_while(|_| pace.wait(|| Instant::now() >= end))
                .try_for_each(|turn| self.set(path, turn))
        });
        outcome.map(|()| latency)
    }

    /// Puts an effect in force where `path` looks for it.
    fn set(&self, path: Path, turn: u64) -> Result<(), hotcall::Error> {
        match path {
            Path::Dyn => {}
            Path::ArcSwapCall | Path::ArcSwapBlock => self.arc_swap.store(Arc::new(built_in(turn))),
            Path::SlotCall | Path::SlotBound => replace(turn)?,
        }
        Ok(())
    }

    /// Lets the threads take blocks along `path` while `meanwhile` runs.
    fn measure<R>(&self, path: Path, turn: u64, meanwhile: impl FnOnce() -> R) -> (Histogram, R) {
        let fixed = black_box(built_in(turn));
        match path {
            Path::Dyn => self.threads(|input, output| pass(&*fixed, input, output), meanwhile),
            Path::ArcSwapCall => {
                self.threads(|input, output| pass(&Loading(&self.arc_swap), input, output), meanwhile)
            }
            Path::ArcSwapBlock => {
                self.threads(|input, output| pass(&***self.arc_swap.load(), input, output), meanwhile)
            }
            Path::SlotCall => self.threads(pass_calls, meanwhile),
            Path::SlotBound => self.threads(pass_bound, meanwhile),
        }
    }

    fn threads<R>(
        &self,
        pass_block: impl Fn(&[f32], &mut [f32]) + Sync,
        meanwhile: impl FnOnce() -> R,
    ) -> (Histogram, R) {
        let stop = AtomicBool::new(false);
        let (stop, pass_block) = (&stop, &pass_block);
        let Setting { threads, block } = self.setting;
        let samples = &self.sound.samples;
        thread::scope(|scope| {
            let work = move |thread: usize| {
                let mut blocks = Loop::starting_at(samples.len() / threads * thread, samples.len(), block);
                let mut output = vec![0.0; block];
                let mut latency = Histogram::default();
                while !stop.load(Ordering::Relaxed) {
                    let input = &samples[blocks.next()];
                    let output = &mut output[..input.len()];
                    let started = Instant::now();
                    pass_block(input, output);
                    let took = started.elapsed();
                    black_box(output);
                    if input.len() == block {
                        latency.record(took);
                    }
                }
                latency
            };
            let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            let result = meanwhile();
            stop.store(true, Ordering::Relaxed);
            let mut latency = Histogram::default();
            for worker in workers {
                latency.add(&worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            (latency, result)
        })
    }
}

/// An `ArcSwap` in the place of an effect: loaded for each call.
struct Loading<'a>(&'a ArcSwap<Box<dyn Effect>>);

impl Effect for Loading<'_> {
    fn process(&self, sample: f32) -> f32 {
        self.0.load().process(sample)
    }

    fn name(&self) -> String {
        self.0.load().name()
    }
}

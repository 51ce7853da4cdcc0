//! The runs: threads that call the slot, one that swaps, and this one, which watches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hotcall::Stats;

use crate::EFFECT;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::recorder::{Recorder, Recording};
use crate::report::grouped;
use crate::rotation::Rotation;
use crate::swap::{self, Pace, SwapMeter, Swapped};
use crate::timeline::Timeline;
use crate::worker::{Heard, Meter, Run, work};

/// How long to wait, at the end, until all that was replaced is freed.
const DRAIN: Duration = Duration::from_secs(5);
/// Between two looks at what the others are doing.
const LOOK: Duration = Duration::from_millis(20);

/// How the threads work.
#[derive(Clone, Copy)]
pub struct Setting {
    pub threads: usize,
    /// Samples in a block, of all channels.
    pub block: usize,
}

/// What came of the run with swaps.
pub struct Live {
    pub heard: Heard,
    /// None where no swaps were asked for.
    pub swapped: Option<Swapped>,
    pub recording: Recording,
    pub elapsed: Duration,
    /// Instances that the swaps replaced, and how many of them were freed by the end.
    pub retired: u64,
    pub freed: u64,
}

/// Runs without a swap: each effect in turn has its share of `duration`.
pub fn undisturbed(
    rotation: &Rotation,
    setting: Setting,
    duration: Duration,
    progress: &mut Progress,
) -> Result<Heard, Failure> {
    let mut heard = Heard::default();
    let share = duration.div_f64(rotation.entries.len() as f64);
    for (turn, entry) in (0..).zip(&rotation.entries) {
        progress.say(format_args!("without swaps: {}", entry.name));
        put_in_force(rotation, turn)?;
        let run = new_run(rotation, setting, turn);
        let (heard_now, ()) = with_workers(&run, setting, None, |_| thread::sleep(share));
        heard.add(&heard_now);
    }
    Ok(heard)
}

/// Runs for `duration`, and swaps all the while.
pub fn live(
    rotation: &Rotation,
    setting: Setting,
    duration: Duration,
    swaps_per_second: u32,
    progress: &mut Progress,
) -> Result<Live, Failure> {
    put_in_force(rotation, 0)?;
    drain(Stats::default());
    let before = hotcall::stats();

    let run = new_run(rotation, setting, 0);
    let mut recorder = Recorder::start(rotation.sound.samples.len(), setting.block, duration);
    let (heard, (swapped, elapsed)) = with_workers(&run, setting, Some(&mut recorder), |meters| {
        let swap_meter = SwapMeter::default();
        thread::scope(|scope| {
            let swapper = Pace::per_second(swaps_per_second).map(|pace| {
                let (run, swap_meter) = (&run, &swap_meter);
                scope.spawn(move || {
                    let swapped = swap::swap(run, swap_meter, pace, duration);
                    // Where swapping failed, the others need not go on.
                    run.stop.store(true, Ordering::Relaxed);
                    swapped
                })
            });
            let elapsed = watch(&run, duration, meters, &swap_meter, progress);
            (swapper.map(join).transpose(), elapsed)
        })
    });
    let swapped = swapped?;

    progress.insist(format_args!("waiting for the last replaced effects to be freed"));
    drain(before);
    let now = hotcall::stats();
    Ok(Live {
        heard,
        swapped,
        recording: recorder.finish(),
        elapsed,
        retired: now.retired - before.retired,
        freed: now.freed - before.freed,
    })
}

/// Puts the effect of `turn` into the slot.
fn put_in_force(rotation: &Rotation, turn: u64) -> Result<(), Failure> {
    let entry = rotation.turn(turn);
    let instance = entry.instance().map_err(Failure::broken)?;
    drop(EFFECT.replace(instance).map_err(Failure::broken)?);
    if swap::in_force(entry, rotation.probe) {
        Ok(())
    } else {
        Err(Failure::broken(format!("`{}` was put into the slot, but is not in force", entry.name)))
    }
}

fn new_run(rotation: &Rotation, setting: Setting, turn: u64) -> Run<'_> {
    let timeline = Timeline::starting_at(turn);
    Run { rotation, timeline, stop: AtomicBool::new(false), block: setting.block }
}

/// Lets the threads work while `meanwhile` runs on this one. The first thread records.
fn with_workers<R>(
    run: &Run<'_>,
    setting: Setting,
    mut recorder: Option<&mut Recorder>,
    meanwhile: impl FnOnce(&[Meter]) -> R,
) -> (Heard, R) {
    /// Stops the others even if this thread panics: the scope waits for them.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let samples = run.rotation.sound.samples.len();
    let channels = usize::from(run.rotation.sound.channels);
    let meters: Vec<Meter> = (0..setting.threads).map(|_| Meter::default()).collect();
    thread::scope(|scope| {
        let workers = (0..).zip(&meters).map(|(voice, meter)| {
            // Each voice begins elsewhere in the sound: at the start of a frame.
            let offset = samples / setting.threads * voice / channels * channels;
            let recorder = recorder.take();
            scope.spawn(move || work(run, meter, offset, recorder))
        });
        let workers: Vec<_> = workers.collect();
        let stop = Stop(&run.stop);
        let result = meanwhile(&meters);
        drop(stop);
        let mut heard = Heard::default();
        workers.into_iter().for_each(|worker| heard.add(&join(worker)));
        (heard, result)
    })
}

/// Watches the run until its time is over, then stops it. Answers how long it ran.
fn watch(
    run: &Run<'_>,
    duration: Duration,
    meters: &[Meter],
    swap_meter: &SwapMeter,
    progress: &mut Progress,
) -> Duration {
    let started = Instant::now();
    while let Some(left) = duration.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
        if run.stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(left.min(LOOK));
        let sum = |count: fn(&Meter) -> u64| meters.iter().map(count).sum::<u64>();
        progress.say(format_args!(
            "live {:.1} of {:.1} s: {} million calls, {} swaps, {} torn, {} lost",
            started.elapsed().as_secs_f64(),
            duration.as_secs_f64(),
            grouped(sum(|meter| meter.calls.load(Ordering::Relaxed)) / 1_000_000),
            grouped(swap_meter.swaps.load(Ordering::Relaxed)),
            sum(|meter| meter.torn.load(Ordering::Relaxed)),
            sum(|meter| meter.stale.load(Ordering::Relaxed)) + swap_meter.lost.load(Ordering::Relaxed),
        ));
    }
    run.stop.store(true, Ordering::Relaxed);
    started.elapsed()
}

/// Waits until the runtime has freed all that was retired since `before`, or for `DRAIN`.
fn drain(before: Stats) {
    let started = Instant::now();
    while started.elapsed() < DRAIN {
        let now = hotcall::stats();
        if now.freed - before.freed >= now.retired - before.retired {
            return;
        }
        thread::sleep(LOOK);
    }
}

/// The result of a thread. Its panic goes on in this one.
fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

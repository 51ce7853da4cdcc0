//! Threads that replace, in every way there is.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hotcall::{Batch, Retired, WaitError};
use hotcall_work::{DEFAULT, FAR, KINDS, LARGE, SMALL, Work};

use super::chains;
use super::slots::{Maker, SLOTS, STATES, next, with_slot};
use super::tally::{TALLY, count, judge};
use hotcall_tests::random::Random;

static WRITERS: OnceLock<Writers> = OnceLock::new();

/// How everything is replaced. One for all threads: plugins replace, too.
#[derive(Debug)]
pub struct Writers {
    maker: Maker,
    begin: Instant,
}

/// How long types change, and then stay.
const PHASE: Duration = Duration::from_millis(100);

impl Writers {
    pub fn set(maker: Maker) {
        WRITERS.set(Self { maker, begin: Instant::now() }).expect("there is one run a process");
    }

    pub fn get() -> &'static Self {
        WRITERS.get().expect("set before any thread starts")
    }

    /// A type for the next instance. Half of the time another than the last one's; half of the time the same, so that slots
    /// settle and take instances in place.
    fn kind(&self, last: u64, random: &mut Random) -> u64 {
        let kinds = self.maker.kinds();
        if self.begin.elapsed().as_millis() / PHASE.as_millis() % 2 == 1 {
            // Instances of the others cannot be told apart, or come from two libraries in turn.
            return if matches!(last % KINDS, SMALL | LARGE) { last % KINDS } else { SMALL };
        }
        (last % KINDS + 1 + random.below(kinds - 1)) % kinds
    }

    /// Replaces in one slot, and lets go of what was there, or waits to have it back.
    pub fn replace(&self, slot: usize, random: &mut Random) {
        let retired = self.install(slot, random);
        if random.one_in(32) {
            self.take_back(slot, retired);
        }
    }

    /// As [`Self::replace`], from inside a call of the slot.
    pub fn replace_self(&self, slot: usize) {
        let retired = self.install(slot, &mut Random::new(STATES[slot].floor()));
        count(&TALLY.of_itself);
        if retired.is_drained() {
            // The caller of this function is inside it.
            count(&TALLY.failed);
        }
    }

    /// Waits from inside a call of the slot: it must be refused, and lose nothing.
    pub fn wait_inside(&self, slot: usize) {
        let retired = self.install(slot, &mut Random::new(STATES[slot].floor()));
        match retired.wait_timeout(Duration::from_secs(100)) {
            Err(WaitError::WouldDeadlock(retired)) => {
                count(&TALLY.refused_waits);
                drop(retired);
            }
            _ => count(&TALLY.failed),
        }
    }

    fn install(&self, slot: usize, random: &mut Random) -> Retired<dyn Work> {
        let mut last = STATES[slot].lock();
        let kind = self.kind(*last, random);
        let generation = next(&mut last, kind);
        let made = self.maker.make(slot, generation);
        let retired = with_slot!(slot, slot => match made {
            Some(instance) => slot.replace(instance).expect("nothing stands in the way of a replacement"),
            None => slot.restore().expect("nothing stands in the way of a restoration"),
        });
        STATES[slot].publish(generation);
        drop(last);
        count(&TALLY.swaps);
        match kind {
            DEFAULT => count(&TALLY.restored),
            FAR => count(&TALLY.far),
            _ => {}
        }
        retired
    }

    fn take_back(&self, slot: usize, retired: Retired<dyn Work>) {
        match retired.wait() {
            Ok(instance) => {
                judge(slot, 5, instance.answer(5), 0);
                count(&TALLY.taken_back);
            }
            // From inside a plugin, which calls this, too.
            Err(WaitError::WouldDeadlock(_)) => count(&TALLY.refused_waits),
            Err(_) => count(&TALLY.failed),
        }
    }

    /// The new one is made from the old.
    fn hand_over(&self, slot: usize, random: &mut Random) {
        let mut last = STATES[slot].lock();
        let before = *last;
        let kind = loop {
            let kind = self.kind(before, random);
            if kind != DEFAULT {
                break kind;
            }
        };
        let generation = next(&mut last, kind);
        let retired = with_slot!(slot, of => of.replace_with(|old| {
            // Nobody replaces in between.
            if judge(slot, 3, old.answer(3), before) != Some(before) {
                count(&TALLY.torn);
            }
            self.maker.make(slot, generation).expect("it is not the default")
        }));
        drop(retired.expect("nothing stands in the way of a replacement"));
        STATES[slot].publish(generation);
        drop(last);
        count(&TALLY.swaps);
        count(&TALLY.handed_over);
    }

    /// Several slots under one barrier.
    fn batch(&self, random: &mut Random) {
        let first = random.below(SLOTS as u64 - 1) as usize;
        let slots = first..SLOTS;
        let mut locks: Vec<_> = slots.clone().map(|slot| STATES[slot].lock()).collect();
        let mut batch = Batch::new();
        let mut generations = Vec::new();
        for (slot, last) in slots.clone().zip(&mut locks) {
            let kind = loop {
                let kind = self.kind(**last, random);
                if kind != DEFAULT {
                    break kind;
                }
            };
            let generation = next(last, kind);
            generations.push(generation);
            let instance = self.maker.make(slot, generation).expect("it is not the default");
            with_slot!(slot, slot => {
                batch.replace(slot, instance);
            });
        }
        let retired =
            batch.commit().map_err(|(error, _)| error).expect("nothing stands in the way of a batch");
        for (slot, generation) in slots.zip(generations) {
            STATES[slot].publish(generation);
        }
        TALLY.swaps.fetch_add(locks.len() as u64, Ordering::Relaxed);
        drop(locks);
        count(&TALLY.batches);
        if random.one_in(16) && retired.wait().is_err() {
            count(&TALLY.failed);
        }
    }
}

/// Replaces at changing speed, until told to stop.
pub fn run(random: &mut Random, stop: impl Fn() -> bool) {
    let writers = Writers::get();
    while !stop() {
        for _ in 0..random.below(64) {
            let slot = random.below(SLOTS as u64) as usize;
            match random.below(12) {
                8.. => chains::editors::edit(random),
                0 => writers.batch(random),
                1 => writers.hand_over(slot, random),
                _ => writers.replace(slot, random),
            }
        }
        // Long enough for slots to settle, or not.
        std::thread::sleep(Duration::from_micros(random.below(3_000)));
    }
}

//! Threads that call, in every way there is, and judge each answer.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use hotcall_work::Work;

use super::chains;
use super::slots::{SLOTS, STATES, with_slot};
use super::tally::{TALLY, count, judge};
use super::writers::Writers;
use hotcall_tests::random::Random;

thread_local! {
    /// Draws for calls that have no generator at hand.
    static STEP: Cell<u64> = const { Cell::new(1) };
    /// Calls once more when the thread ends.
    static LAST_CALL: LastCall = const { LastCall };
}

struct LastCall;

impl Drop for LastCall {
    fn drop(&mut self) {
        for slot in 0..SLOTS {
            plain(slot, slot as u64);
            count(&TALLY.in_destructors);
        }
        let guard = hotcall::pin();
        bound(0, 7, 2, &guard);
    }
}

fn draw() -> u64 {
    STEP.with(|step| {
        let next = step.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        step.set(next);
        next >> 33
    })
}

/// A plain call.
pub fn plain(slot: usize, question: u64) {
    let floor = STATES[slot].floor();
    let answer = with_slot!(slot, slot => slot.answer(question));
    judge(slot, question, answer, floor);
    count(&TALLY.calls);
    count(&TALLY.plain);
}

/// As [`plain`], for a signal handler.
pub fn from_signal(slot: usize, question: u64) {
    let floor = STATES[slot].floor();
    let answer = with_slot!(slot, slot => slot.answer(question));
    judge(slot, question, answer, floor);
    count(&TALLY.calls);
    count(&TALLY.in_signals);
}

fn slow(slot: usize, question: u64, rounds: u32) {
    let floor = STATES[slot].floor();
    let answers = with_slot!(slot, slot => slot.slow(question, rounds));
    // An instance with memory gives the same answer three times. One without may come to another generation.
    answers.into_iter().for_each(|answer| {
        judge(slot, question, answer, floor);
    });
    count(&TALLY.calls);
    count(&TALLY.plain);
}

/// Calls through what is bound to a guard: every swap is seen.
pub fn bound(slot: usize, question: u64, times: u64, guard: &hotcall::Guard) {
    with_slot!(slot, of => {
        let bound = of.bind(guard);
        for time in 0..times {
            let question = question.wrapping_add(time);
            let floor = STATES[slot].floor();
            judge(slot, question, bound.answer(question), floor);
        }
    });
    TALLY.calls.fetch_add(times, Ordering::Relaxed);
    TALLY.bound.fetch_add(times, Ordering::Relaxed);
}

/// Calls one instance several times: the same one each time.
fn held(slot: usize, question: u64, times: u64, guard: &hotcall::Guard) {
    with_slot!(slot, of => {
        let floor = STATES[slot].floor();
        let held = of.get(guard);
        let mut first = None;
        for _ in 0..times {
            let generation = judge(slot, question, held.answer(question), floor);
            let has_memory = held.type_name().contains("Canary");
            if has_memory && first.is_some() && generation != first {
                count(&TALLY.torn);
            }
            first = generation;
        }
    });
    TALLY.calls.fetch_add(times, Ordering::Relaxed);
    TALLY.held.fetch_add(times, Ordering::Relaxed);
}

/// A call through several slots: [`nested`] makes the inner ones.
fn through(slot: usize, question: u64, depth: u32) {
    let floor = STATES[slot].floor();
    let answer = with_slot!(slot, slot => slot.through(question, depth));
    judge(slot, question, answer, floor);
    count(&TALLY.calls);
}

/// What an instance of `slot` does inside its method `through`.
pub fn nested(slot: u64, question: u64, depth: u32) {
    let slot = slot as usize;
    match draw() % 64 {
        0 => Writers::get().replace_self(slot),
        1 => Writers::get().replace((slot + 1) % SLOTS, &mut Random::new(draw())),
        2 => panics((slot + 2) % SLOTS, question),
        3 => Writers::get().wait_inside(slot),
        4 => {
            let guard = hotcall::pin();
            held((slot + 1) % SLOTS, question, 3, &guard);
        }
        _ => {}
    }
    if depth > 0 {
        // Its own slot, too: re-entrant.
        let next = (slot + draw() as usize % 3) % SLOTS;
        through(next, question ^ u64::from(depth), depth - 1);
        count(&TALLY.nested);
    }
}

/// What panics with an answer is as good as an answer.
fn panics(slot: usize, question: u64) {
    let floor = STATES[slot].floor();
    let outcome = catch_unwind(|| with_slot!(slot, slot => slot.fail(question)));
    let answer = outcome.unwrap_or_else(|payload| {
        count(&TALLY.panicked);
        payload.downcast_ref().copied().unwrap_or(hotcall_work::MIXED)
    });
    judge(slot, question, answer, floor);
    count(&TALLY.calls);
}

/// Calls of every kind, until told to stop.
pub fn run(random: &mut Random, pinned: bool, mut stop: impl FnMut() -> bool) {
    LAST_CALL.with(|_| {});
    STEP.set(random.next());
    hotcall::force_pinned_sections(pinned);
    let stopped = AssertUnwindSafe(|| {
        while !stop() {
            let slot = random.below(SLOTS as u64) as usize;
            let question = random.next();
            match random.below(22) {
                16.. => chains::callers::call(random),
                0..8 => (0..32).for_each(|step| plain(slot, question ^ step)),
                8 | 9 => slow(slot, question, random.below(64) as u32),
                10 => bound(slot, question, 1 + random.below(256), &hotcall::pin()),
                11 => held(slot, question, 1 + random.below(16), &hotcall::pin()),
                12 | 13 => through(slot, question, random.below(6) as u32),
                14 if random.one_in(8) => panics(slot, question),
                _ => {
                    // Two guards that overlap, and plain calls under them.
                    let first = hotcall::pin();
                    bound(slot, question, 8, &first);
                    let second = hotcall::pin();
                    drop(first);
                    plain(slot, question);
                    held(slot, question, 4, &second);
                }
            }
            if pinned {
                count(&TALLY.pinned);
            }
        }
    });
    // A panic that `panics` does not expect is a failure, and not the end of the run.
    if catch_unwind(stopped).is_err() {
        count(&TALLY.failed);
    }
}

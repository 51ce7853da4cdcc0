//! Calls through chains, in every way there is.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hotcall::Chain;
use hotcall_work::stage::{MIXED, Stage, Wide};

use super::history::{Extent, History};
use super::{CONTESTED, HISTORIES, LINE, LOOP, Owned, editors};
use crate::torture::tally::{TALLY, count};
use hotcall_tests::random::Random;

thread_local! {
    /// How deep the calling thread is in elements that call chains.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Calls of one kind, through one chain.
pub fn call(random: &mut Random) {
    let question = random.next() >> 1;
    match random.below(8) {
        0..3 => line(&LINE, &HISTORIES[0], question, random),
        3 | 4 => line(&CONTESTED, &HISTORIES[2], question, random),
        5 => {
            let owned = Owned::get();
            line(&owned.chain, &owned.history, question, random);
        }
        _ => looped(question, random),
    }
}

fn line(chain: &Chain<dyn Stage>, history: &History, question: u64, random: &mut Random) {
    match random.below(8) {
        0..3 => (0..16).for_each(|step| {
            let floor = history.floor();
            history.judge(question ^ step, chain.stamp(question ^ step), floor, Extent::Whole);
        }),
        3 => {
            let guard = hotcall::pin();
            let bound = chain.bind(&guard);
            for step in 0..16 {
                let floor = history.floor();
                history.judge(question ^ step, bound.stamp(question ^ step), floor, Extent::Whole);
            }
        }
        4 | 5 => {
            let (floor, mut x) = (history.floor(), question);
            let stopped = chain.until(&mut x);
            let extent = if stopped { Extent::ToStop } else { Extent::Whole };
            history.judge(question, x, floor, extent);
        }
        6 => fails(chain, history, question),
        _ => visit(chain, history, question),
    }
}

/// An element that panics: what it has got so far is as good as an answer.
fn fails(chain: &Chain<dyn Stage>, history: &History, question: u64) {
    let (floor, mut x) = (history.floor(), question);
    let outcome = catch_unwind(AssertUnwindSafe(|| chain.fail(&mut x)));
    match outcome {
        Ok(()) => history.judge(question, x, floor, Extent::Whole),
        Err(payload) => {
            count(&TALLY.chain_panics);
            let answer = payload.downcast_ref().copied().unwrap_or(MIXED);
            history.judge(question, answer, floor, Extent::ToStop)
        }
    };
}

/// A call whose elements may call and edit chains, this one among them.
fn visit(chain: &Chain<dyn Stage>, history: &History, question: u64) {
    let (floor, mut x) = (history.floor(), question);
    chain.visit(&mut x);
    // Whatever was edited meanwhile, the call went on over the list with which it began.
    history.judge(question, x, floor, Extent::Whole);
}

fn looped(question: u64, random: &mut Random) {
    let history = &HISTORIES[1];
    let guard = random.one_in(4).then(hotcall::pin);
    for step in 0..8 {
        let (floor, mut x) = (history.floor(), question ^ step);
        match &guard {
            Some(guard) => LOOP.bind(guard).wide((step, 0), &mut x),
            None => LOOP.wide((step, 0), &mut x),
        }
        history.judge(question ^ step, x, floor, Extent::Whole);
        let floor = history.floor();
        history.judge(question, LOOP.stamp(question), floor, Extent::Whole);
    }
}

/// As [`call`], for a signal handler: takes no lock.
pub fn from_signal(question: u64) {
    for (chain, history) in [(&LINE, &HISTORIES[0]), (&CONTESTED, &HISTORIES[2])] {
        let floor = history.floor();
        history.judge(question, chain.stamp(question), floor, Extent::Whole);
    }
    let (history, floor, mut x) = (&HISTORIES[1], HISTORIES[1].floor(), question);
    LOOP.wide((1, 0), &mut x);
    history.judge(question, x, floor, Extent::Whole);
}

/// What an element does in its method `visit`, now and then.
pub fn meanwhile(number: u64) {
    let depth = DEPTH.get();
    let mut random = Random::new(number ^ HISTORIES[0].floor() << 20);
    if depth >= 3 || !random.one_in(8) {
        return;
    }
    DEPTH.set(depth + 1);
    match random.below(4) {
        0 => editors::from_inside(&mut random),
        1 => fails(&LINE, &HISTORIES[0], number),
        2 => visit(&LINE, &HISTORIES[0], number),
        _ => looped(number, &mut random),
    }
    count(&TALLY.chain_nested);
    DEPTH.set(depth);
}

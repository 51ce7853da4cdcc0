//! Turned by one thread while others ask.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use hotcall::key;
use hotcall_tests::eventually;

use crate::alone;

#[key]
static TURNED: bool = false;

#[inline(never)]
fn asked(x: u64) -> u64 {
    if TURNED.is_on() { x + 1 } else { x }
}

/// Rounds in which a key is turned; the thread that asks is told of each by an atomic, and never finds an older answer.
#[test]
fn nobody_finds_an_old_answer_after_set_has_returned() {
    let _alone = alone();
    const ROUNDS: u64 = 2_000;
    let (round, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let asked_often = AtomicU64::new(0);
    thread::scope(|scope| {
        let asker = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                // Odd: on, until the next is announced. Announced before the key is turned for it.
                let before = round.load(Ordering::Acquire);
                let answer = asked(0);
                let after = round.load(Ordering::Acquire);
                asked_often.fetch_add(1, Ordering::Relaxed);
                if before == after && before % 2 == 0 {
                    assert_eq!(answer, before / 2 % 2, "in round {before}");
                }
            }
        });
        eventually("somebody asks", || asked_often.load(Ordering::Relaxed) > 0);
        for number in 0..ROUNDS {
            let on = number % 2 == 0;
            // While it is odd, either answer is right.
            round.store(2 * number + 1, Ordering::SeqCst);
            TURNED.set(on).unwrap();
            round.store(2 * number + 2, Ordering::SeqCst);
            if asker.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Release);
    });
    assert_eq!(asked(7), 7);
}

#[key]
static CONTENDED: bool = false;

/// Many hold it and let it go: it is on whenever somebody holds it, and off at the end.
#[test]
fn held_by_many() {
    let _alone = alone();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let guard = CONTENDED.hold().unwrap();
                    assert!(CONTENDED.is_on());
                    drop(guard);
                }
            });
        }
    });
    assert!(!CONTENDED.is_on());
}

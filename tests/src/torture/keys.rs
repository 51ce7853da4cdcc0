//! Keys under torture: asked by some threads, turned by others in every way there is, while slots and chains are replaced.
//!
//! Each key has a word that says what it is, or that it is being turned. A question between two looks at the word, which found
//! the same and no turning, has one right answer. *Stale* is the other one. *Torn* is what neither arm gives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hotcall::key;

use super::tally::{TALLY, count};
use hotcall_tests::random::Random;

/// How many there are.
const KEYS: usize = 4;

#[key]
static FIRST: bool = false;
#[key]
static SECOND: bool = true;
#[key]
static THIRD: bool = false;
#[key]
static FOURTH: bool = true;

/// What it is, when it is not being turned.
struct State {
    /// Turns so far, what the key is, and whether it is being turned.
    word: AtomicU64,
    /// Who turns it.
    turn: Mutex<()>,
}

const TURNING: u64 = 1;
const ON: u64 = 2;
const ONE_TURN: u64 = 4;

impl State {
    const fn new(on: bool) -> Self {
        Self { word: AtomicU64::new(if on { ON } else { 0 }), turn: Mutex::new(()) }
    }
}

static STATES: [State; KEYS] = [State::new(false), State::new(true), State::new(false), State::new(true)];

/// Asks a key in places of all alignments: how often the answer was yes. Nothing where an arm has computed something else.
macro_rules! ask {
    ($name:ident, $key:ident) => {
        #[inline(never)]
        fn $name(x: u64) -> Option<u64> {
            ask!($key, x, 3 300 70_000 5 500 90_000 7 700 11 1_100)
        }
    };
    ($key:ident, $x:ident, $($n:literal)*) => {{
        let mut yes = 0;
        $(
            let x = std::hint::black_box($x.wrapping_add($n));
            let given = if $key.is_on() { x.wrapping_mul(2).wrapping_add(1) } else { x.wrapping_mul(2) };
            match given.wrapping_sub(x.wrapping_mul(2)) {
                answer @ 0..=1 => yes += answer,
                _ => return None,
            }
            yes += u64::from(if $key.is_likely_on() { true } else { std::hint::black_box(false) });
        )*
        Some(yes)
    }};
}
ask!(ask_first, FIRST);
ask!(ask_second, SECOND);
ask!(ask_third, THIRD);
ask!(ask_fourth, FOURTH);

const ASKS: [fn(u64) -> Option<u64>; KEYS] = [ask_first, ask_second, ask_third, ask_fourth];
/// In so many places each.
const PLACES: u64 = 20;

/// Asks until it is told to stop.
pub fn ask(random: &mut Random, stopped: impl Fn() -> bool) {
    while !stopped() {
        let key = random.below(KEYS as u64) as usize;
        for _ in 0..64 {
            let before = STATES[key].word.load(Ordering::SeqCst);
            let answer = ASKS[key](random.next());
            let after = STATES[key].word.load(Ordering::SeqCst);
            count(&TALLY.key_questions);
            let right = if before & ON == 0 { 0 } else { PLACES };
            match answer {
                None => count(&TALLY.key_torn),
                Some(yes) if yes > PLACES => count(&TALLY.key_torn),
                Some(yes) if before == after && before & TURNING == 0 && yes != right => {
                    count(&TALLY.key_stale);
                }
                Some(_) => {}
            }
        }
    }
}

/// Does something with the key of a number.
macro_rules! with_key {
    ($number:expr, $key:ident => $what:expr) => {
        match $number {
            0 => {
                let $key = &FIRST;
                $what
            }
            1 => {
                let $key = &SECOND;
                $what
            }
            2 => {
                let $key = &THIRD;
                $what
            }
            _ => {
                let $key = &FOURTH;
                $what
            }
        }
    };
}

/// The key is being turned while `turn` runs, and is `on` afterwards.
fn turning(key: usize, on: bool, turn: impl FnOnce() -> Result<(), hotcall::Error>) {
    let word = &STATES[key].word;
    let turns = word.load(Ordering::SeqCst) / ONE_TURN + 1;
    word.fetch_or(TURNING, Ordering::SeqCst);
    if let Err(error) = turn() {
        eprintln!("a key was not turned: {error}");
        count(&TALLY.failed);
        // What it is now nobody knows: it stays as if it were being turned.
        return;
    }
    word.store(turns * ONE_TURN + if on { ON } else { 0 }, Ordering::SeqCst);
    count(&TALLY.key_turns);
}

/// Turns keys until it is told to stop.
pub fn turn(random: &mut Random, stopped: impl Fn() -> bool) {
    while !stopped() {
        let number = random.below(KEYS as u64) as usize;
        let alone = STATES[number].turn.lock().unwrap_or_else(PoisonError::into_inner);
        let on = random.one_in(2);
        match random.below(4) {
            0 => turning(number, on, || with_key!(number, key => key.set(on))),
            1 => turning(number, on, || {
                hotcall::batch(|batch| with_key!(number, key => { batch.set(key, !on).set(key, on); }))
                    .map(drop)
            }),
            // Held, by one and by two, whatever it is set to.
            2 => {
                let mut guards = (None, None, None, None);
                turning(number, true, || {
                    match number {
                        0 => guards.0 = Some(FIRST.hold()?),
                        1 => guards.1 = Some(SECOND.hold()?),
                        2 => guards.2 = Some(THIRD.hold()?),
                        _ => guards.3 = Some(FOURTH.hold()?),
                    }
                    with_key!(number, key => key.set(on))
                });
                std::thread::yield_now();
                turning(number, on, || {
                    drop(guards);
                    Ok(())
                });
            }
            _ => {
                turning(number, true, || with_key!(number, key => key.set(true)));
                turning(number, false, || with_key!(number, key => key.set(false)));
            }
        }
        drop(alone);
        if random.one_in(16) {
            std::thread::sleep(std::time::Duration::from_micros(random.below(200)));
        }
    }
}

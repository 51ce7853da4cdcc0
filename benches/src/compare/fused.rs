//! The group `chains`: a list of plugins, called in order.
//!
//! A value goes through K elements of 64 types: up to 64, one of each; past that, in random order. Three ways:
//!
//! * `chain_K`: a [`Chain`], with the section of a plain call;
//! * `bound_K`: the same, under one guard for the whole loop;
//! * `vec_dyn_K`: a loop over a `Vec<Box<dyn Stage>>`, the elements in the same order, boxed in the order in which they
//!   were made;
//! * `hand_K`, up to 64: the calls written out by hand, each direct, to functions that may not be inlined.
//!
//! Figures are nanoseconds an element. All ways end with the same value, or the tool stops.

use core::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotcall::{Chain, Instance, dispatch};

use super::cpu_time::CpuTime;
use super::figure::Figure;

/// How many elements.
pub const LENGTHS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096];
/// How many types.
const TYPES: usize = 64;
/// Rounds of every measurement: odd, so that the median is a sample.
const ROUNDS: usize = 9;

/// What a value goes through.
#[dispatch]
pub trait Stage: Send + Sync {
    /// The next value.
    #[chain(through)]
    fn turn(&self, x: u64) -> u64;
}

/// One of 64 types with bodies of their own.
struct Mixer<const N: u32> {
    key: u64,
}

impl<const N: u32> Stage for Mixer<N> {
    fn turn(&self, x: u64) -> u64 {
        (x ^ self.key).rotate_left(N).wrapping_add(u64::from(N))
    }
}

#[inline(never)]
fn direct<const N: u32>(stage: &Mixer<N>, x: u64) -> u64 {
    stage.turn(x)
}

/// For each type, in order: as an instance of it, as a box of it, as a call.
macro_rules! for_each_type {
    ($($n:literal)*) => {
        fn instance(number: usize, key: u64) -> Instance<dyn Stage> {
            match number { $($n => Instance::new(Mixer::<$n> { key }),)* _ => unreachable!("64 types") }
        }
        fn boxed(number: usize, key: u64) -> Box<dyn Stage> {
            match number { $($n => Box::new(Mixer::<$n> { key }),)* _ => unreachable!("64 types") }
        }
        /// One element of each type, for the calls written out by hand.
        struct Hand($(Mixer<$n>),*);
        impl Hand {
            fn new() -> Self {
                Self($(Mixer { key: key($n) }),*)
            }
        }
    };
}
for_each_type!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38
    39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);

macro_rules! by_hand {
    ($name:ident: $($n:tt)*) => {
        fn $name(hand: &Hand, mut x: u64) -> u64 {
            $(x = direct(&hand.$n, x);)*
            x
        }
    };
}
by_hand!(hand_1: 0);
by_hand!(hand_2: 0 1);
by_hand!(hand_4: 0 1 2 3);
by_hand!(hand_8: 0 1 2 3 4 5 6 7);
by_hand!(hand_16: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
by_hand!(hand_32: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
by_hand!(hand_64: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38
    39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
const BY_HAND: [fn(&Hand, u64) -> u64; 7] = [hand_1, hand_2, hand_4, hand_8, hand_16, hand_32, hand_64];

/// The key of element `index`.
fn key(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The type of each element: past 64, in an order that cannot be guessed.
fn order(length: usize) -> Vec<usize> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % TYPES
    };
    (0..length).map(|index| if length <= TYPES { index } else { next() }).collect()
}

/// Something that is called with a value, measured by name.
struct Row {
    name: String,
    elements: usize,
    run: Box<dyn Fn(u64, u32) -> u64>,
    samples: Vec<f64>,
}

impl Row {
    fn new(name: String, elements: usize, run: impl Fn(u64, u32) -> u64 + 'static) -> Self {
        Self { name, elements, run: Box::new(run), samples: Vec::new() }
    }
}

/// What was measured of a row.
#[derive(Clone, Debug)]
pub struct Measured {
    /// `chain_16`.
    pub name: String,
    /// How many elements.
    pub elements: usize,
    /// Nanoseconds an element: the median.
    pub ns: f64,
    /// The first and the third quartile.
    pub quartiles: (f64, f64),
}

fn rows(length: usize) -> Result<Vec<Row>, hotcall::Error> {
    let types = order(length);
    let elements = types.iter().enumerate().map(|(index, ty)| instance(*ty, key(index)));
    let chain = Rc::new(Chain::<dyn Stage>::new(elements)?);
    let bound = Rc::clone(&chain);
    let list: Vec<Box<dyn Stage>> =
        types.iter().enumerate().map(|(index, ty)| boxed(*ty, key(index))).collect();
    let mut rows = vec![
        Row::new(format!("chain_{length}"), length, move |x, times| {
            let chain = black_box(&chain);
            (0..times).fold(x, |x, _| chain.turn(x))
        }),
        Row::new(format!("bound_{length}"), length, move |x, times| {
            let guard = hotcall::pin();
            let chain = black_box(&bound).bind(&guard);
            (0..times).fold(x, |x, _| chain.turn(x))
        }),
        Row::new(format!("vec_dyn_{length}"), length, move |x, times| {
            let list = black_box(&list);
            (0..times).fold(x, |x, _| list.iter().fold(x, |x, stage| stage.turn(x)))
        }),
    ];
    if let Some(by_hand) = LENGTHS.iter().position(|other| *other == length).and_then(|at| BY_HAND.get(at)) {
        let hand = Hand::new();
        rows.push(Row::new(format!("hand_{length}"), length, move |x, times| {
            let (hand, by_hand) = (black_box(&hand), black_box(*by_hand));
            (0..times).fold(x, |x, _| by_hand(hand, x))
        }));
    }
    Ok(rows)
}

/// Measures all rows for about `budget` in all; those of one length in turn, round after round.
///
/// # Errors
///
/// Where code memory cannot be had.
///
/// # Panics
///
/// Where two ways end with different values.
pub fn measure(budget: Duration) -> Result<Vec<Measured>, hotcall::Error> {
    let slice = budget.div_f64((LENGTHS.len() * 4 * ROUNDS) as f64);
    let mut measured = Vec::new();
    for length in LENGTHS {
        let mut rows = rows(length)?;
        let times = (16_384 / length).max(2) as u32;
        let expected = (rows[0].run)(1, times);
        for round in 0..ROUNDS {
            let count = rows.len();
            for turn in 0..count {
                let row = &mut rows[(turn + round) % count];
                assert_eq!(
                    (row.run)(1, times),
                    expected,
                    "row `{}` does not do the work it is timed for",
                    row.name
                );
                let begin = CpuTime::now();
                let mut runs = 0_u32;
                while begin.elapsed() < slice {
                    black_box((row.run)(1, times));
                    runs += 1;
                }
                let calls = f64::from(runs) * f64::from(times) * row.elements as f64;
                row.samples.push(begin.elapsed().as_secs_f64() * 1e9 / calls);
            }
        }
        measured.extend(rows.into_iter().map(|mut row| {
            row.samples.sort_by(f64::total_cmp);
            let at = |part: usize| row.samples[row.samples.len() * part / 4];
            Measured { name: row.name, elements: row.elements, ns: at(2), quartiles: (at(1), at(3)) }
        }));
    }
    Ok(measured)
}

/// How long an edit takes, in nanoseconds, sorted.
#[derive(Clone, Debug)]
pub struct Edits {
    /// `edit_16`: an insertion or a removal; `replace_16`: another element of the same type.
    pub name: String,
    /// Sorted.
    pub nanoseconds: Vec<u64>,
}

/// Measures edits of a chain of `length` elements while a thread calls it.
///
/// # Errors
///
/// Where code memory cannot be had.
pub fn measure_edits(length: usize, edits: usize, pause: Duration) -> Result<[Edits; 2], hotcall::Error> {
    let types = order(length);
    let chain =
        Chain::<dyn Stage>::new(types.iter().enumerate().map(|(index, ty)| instance(*ty, key(index))))?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut x = 1;
            while !stop.load(Ordering::Relaxed) {
                x = chain.turn(x);
            }
            black_box(x);
        });
        let timed = |name: String,
                     edit: &dyn Fn(usize) -> Result<(), hotcall::Error>|
         -> Result<Edits, hotcall::Error> {
            let mut nanoseconds = Vec::with_capacity(edits);
            for number in 0..edits {
                let begin = Instant::now();
                edit(number)?;
                nanoseconds.push(begin.elapsed().as_nanos() as u64);
                std::thread::sleep(pause);
            }
            nanoseconds.sort_unstable();
            Ok(Edits { name, nanoseconds })
        };
        let inserted = timed(format!("edit_{length}"), &|number| {
            let at = number * 7 % length;
            if number % 2 == 0 {
                Ok(chain.insert(at, instance(number % TYPES, 1))?)
            } else {
                chain.remove(at).map(drop)
            }
        });
        let replaced = timed(format!("replace_{length}"), &|number| {
            let at = number * 7 % length;
            let ty = types[at];
            chain.replace(at, instance(ty, number as u64)).map(drop).map_err(Into::into)
        });
        stop.store(true, Ordering::Relaxed);
        Ok([inserted?, replaced?])
    })
}

/// All figures of the group.
///
/// # Errors
///
/// Where code memory cannot be had.
pub fn figures(budget: Duration) -> Result<Vec<Figure>, hotcall::Error> {
    let measured = measure(budget.mul_f64(0.8))?;
    let time = |name: String| measured.iter().find(|row| row.name == name).map(|row| row.ns);
    let mut figures = Vec::new();
    for row in &measured {
        let mut figure = Figure::new("chains", row.name.clone()).with("elements", row.elements);
        figure.ns_per_call = Some(row.ns);
        (figure.p25, figure.p75) = (Some(row.quartiles.0), Some(row.quartiles.1));
        if let Some(list) = time(format!("vec_dyn_{}", row.elements)) {
            figure.vs_dyn = Some(row.ns / list);
            figure = figure.with("vec_over_this", list / row.ns);
        }
        if let Some(hand) = time(format!("hand_{}", row.elements)) {
            figure.vs_direct = Some(row.ns / hand);
            figure = figure.with("over_hand", row.ns / hand);
        }
        figures.push(figure);
    }
    for (length, edits, pause) in [(16, 2_000, 300), (10_000, 200, 3_000)] {
        for edits in measure_edits(length, edits, Duration::from_micros(pause))? {
            let at = |part: f64| edits.nanoseconds[((edits.nanoseconds.len() - 1) as f64 * part) as usize];
            figures.push(
                Figure::new("chains", edits.name.clone())
                    .with("p50_ns", at(0.5))
                    .with("p99_ns", at(0.99))
                    .with("max_ns", at(1.0)),
            );
        }
    }
    Ok(figures)
}

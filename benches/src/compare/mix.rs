//! What a call costs beside its work, when its target changes, and when nothing of it is cached.
//!
//! * *Bodies*: implementors of about 1, 10, 100 and 1,000 cycles.
//! * *Orders*: sixteen implementors, called in turn, in a random order, or in one that only the
//!   last result completes. A slot holds one
//!   implementor, so the choice among sixteen slots is a `match`: the branch that a vtable hides.
//! * *Dependent* and *independent*: calls that take the last one's result, and calls that do not.
//! * *Cold*: the first call after 64 MiB of other code.

use core::hint::black_box;
use std::io;
use std::sync::OnceLock;

use hotcall::slot;
use hotcall_bench_step::{KEY, Step, turn};

use super::chain::{CALLS, Row, SEED, chain};
use super::emitted::OtherCode;
use super::figure::Figure;
use super::latency::{Clock, ticks};
use super::measure::summarise;
use super::placed::{Stateless, distinct, reloaded};
use super::rows::slots;
use crate::row;

/// An implementor that does the work `N` times.
#[derive(Clone, Copy, Debug)]
struct Body<const N: u64>;

impl<const N: u64> Step for Body<N> {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        (0..N).fold(x, |x, _| turn(x, KEY))
    }
}

/// Rows of one length of body: direct, vtable, slot.
macro_rules! body {
    ($cycles:literal, $turns:literal) => {{
        #[slot]
        static SLOT: dyn Step = Body::<$turns> as Body<$turns>;
        static OBJECT: &(dyn Step + Sync) = &Body::<$turns>;
        #[inline(never)]
        fn direct<const P: usize>(x: u64) -> u64 {
            distinct::<P>();
            Body::<$turns>.step(x)
        }
        // A refusal leaves the default, which does the same.
        drop(SLOT.replace(Body::<$turns>));
        let name = |kind: &str| format!("mix/body_{}/{kind}", $cycles);
        [
            row!("direct", false, "", |P, seed| { chain::<P>(seed, direct::<P>) })
                .named(name("direct"), $turns),
            row!("dyn", false, "", |P, seed| { chain::<P>(seed, |x| reloaded(&OBJECT).step(x)) })
                .named(name("dyn"), $turns),
            row!("slot", false, "", |P, seed| { chain::<P>(seed, |x| SLOT.step(x)) })
                .named(name("slot_call"), $turns),
        ]
    }};
}

/// One of sixteen implementors that do the same in code of their own.
#[derive(Clone, Copy, Debug)]
struct Kind<const N: usize>;

impl<const N: usize> Step for Kind<N> {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        distinct::<N>();
        turn(x, KEY)
    }
}

/// Everything there is sixteen of: slots, trait objects, functions, and the `match` among them.
macro_rules! sixteen {
    ($($number:literal $slot:ident $direct:ident)*) => {
        $(
            #[slot]
            static $slot: dyn Step = Kind::<$number> as Kind<$number>;

            #[inline(never)]
            fn $direct(x: u64) -> u64 {
                Kind::<$number>.step(x)
            }
        )*

        static OBJECTS: [&(dyn Step + Sync); 16] = [$(&Kind::<$number>),*];

        #[inline(always)]
        fn match_direct(choice: usize, x: u64) -> u64 {
            match choice { $($number => $direct(x),)* _ => 0 }
        }

        #[inline(always)]
        fn match_slot(choice: usize, x: u64) -> u64 {
            match choice { $($number => $slot.step(x),)* _ => 0 }
        }

        fn replace_all() {
            // A refusal leaves the default, which does the same.
            $(drop($slot.replace(Kind::<$number>));)*
        }
    };
}

sixteen! {
    0 SLOT_0 direct_0 1 SLOT_1 direct_1 2 SLOT_2 direct_2 3 SLOT_3 direct_3
    4 SLOT_4 direct_4 5 SLOT_5 direct_5 6 SLOT_6 direct_6 7 SLOT_7 direct_7
    8 SLOT_8 direct_8 9 SLOT_9 direct_9 10 SLOT_10 direct_10 11 SLOT_11 direct_11
    12 SLOT_12 direct_12 13 SLOT_13 direct_13 14 SLOT_14 direct_14 15 SLOT_15 direct_15
}

/// The order of a random row: one choice a call, drawn once.
fn drawn() -> &'static [u8] {
    static ORDER: OnceLock<Vec<u8>> = OnceLock::new();
    ORDER.get_or_init(|| {
        let mut state = SEED;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 59) as u8 & 15
        };
        (0..CALLS).map(|_| draw()).collect()
    })
}

/// Rows of one order: how the next of the sixteen is chosen, from the number of the call and the value.
macro_rules! order {
    ($order:literal, $note:literal, |$setup:ident| $chooser:expr) => {{
        let name = |kind: &str| format!("mix/{}/{kind}", $order);
        [
            row!("match_direct", false, $note, |P, seed| {
                let ($setup, mut call) = (black_box(drawn()), 0_usize);
                let choose = $chooser;
                chain::<P>(seed, |x| {
                    call += 1;
                    match_direct(choose(call, x), x)
                })
            })
            .named(name("match_direct"), 1),
            row!("dyn", false, $note, |P, seed| {
                let ($setup, mut call) = (black_box(drawn()), 0_usize);
                let choose = $chooser;
                let objects = black_box(&OBJECTS);
                chain::<P>(seed, |x| {
                    call += 1;
                    objects[choose(call, x)].step(x)
                })
            })
            .named(name("dyn"), 1),
            row!("match_slot", false, $note, |P, seed| {
                let ($setup, mut call) = (black_box(drawn()), 0_usize);
                let choose = $chooser;
                chain::<P>(seed, |x| {
                    call += 1;
                    match_slot(choose(call, x), x)
                })
            })
            .named(name("match_slot"), 1),
        ]
    }};
}

/// The same three ways, each call given the last one's result: what `independent` is to be compared with.
fn dependent() -> Vec<Row> {
    use super::rows::plain::direct;
    static OBJECT: &(dyn Step + Sync) = &Stateless::<0>;
    let rows = [
        ("direct", row!("", false, "", |P, seed| { chain::<P>(seed, direct::<P>) })),
        ("dyn", row!("", false, "", |P, seed| { chain::<P>(seed, |x| reloaded(&OBJECT).step(x)) })),
        ("slot_call", row!("", false, "", |P, seed| { chain::<P>(seed, slots::call::<P>) })),
    ];
    rows.map(|(kind, row)| row.named(format!("mix/dependent/{kind}"), 1)).into()
}

/// Rows whose calls do not wait for each other: each is given its own number.
fn independent() -> Vec<Row> {
    use super::rows::plain::direct;
    static OBJECT: &(dyn Step + Sync) = &Stateless::<0>;
    let expected = (1..=CALLS).fold(SEED, |sum, number| sum ^ turn(number, KEY));
    let rows = [
        (
            "direct",
            row!("", false, "", |P, seed| {
                let mut number = 0;
                chain::<P>(seed, |sum| {
                    number += 1;
                    sum ^ direct::<P>(number)
                })
            }),
        ),
        (
            "dyn",
            row!("", false, "", |P, seed| {
                let mut number = 0;
                chain::<P>(seed, |sum| {
                    number += 1;
                    sum ^ reloaded(&OBJECT).step(number)
                })
            }),
        ),
        (
            "slot_call",
            row!("", false, "", |P, seed| {
                let mut number = 0;
                chain::<P>(seed, |sum| {
                    number += 1;
                    sum ^ slots::call::<P>(number)
                })
            }),
        ),
    ];
    rows.map(|(kind, row)| row.named(format!("mix/independent/{kind}"), 1).expecting(expected)).into()
}

/// The rows that are chains.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "the four highest bits, and a constant")]
pub fn rows() -> Vec<Row> {
    replace_all();
    let rows = [body!(1, 1), body!(10, 5), body!(100, 50), body!(1000, 500)].into_iter().flatten();
    let orders = [
        order!("predictable", "sixteen targets in turn", |_order| |call: usize, _x: u64| call % 16),
        order!("random", "sixteen targets in an order of 65,536 draws", |order| |call: usize, _x: u64| {
            usize::from(order[call % CALLS as usize] & 15)
        }),
        order!(
            "adversarial",
            "the last result and a draw choose: known only when the call is made",
            |order| {
                |call: usize, x: u64| (usize::from(order[call % CALLS as usize]) ^ (x >> 60) as usize) & 15
            }
        ),
    ];
    let rows = rows.chain(orders.into_iter().flatten()).chain(dependent()).chain(independent()).collect();
    slots::settle();
    rows
}

/// Makes one call and answers the clock before it and after it.
type Timed = fn() -> (u64, u64);

/// The first call after so much other code.
const OTHER_CODE: usize = 64 << 20;
const COLD_SAMPLES: usize = 41;

/// Measures cold calls.
///
/// # Errors
///
/// Code memory is refused.
pub fn cold() -> io::Result<Vec<Figure>> {
    static OBJECT: &(dyn Step + Sync) = &Kind::<0>;

    #[inline(never)]
    fn nothing() -> (u64, u64) {
        let from = ticks();
        (from, ticks())
    }
    #[inline(never)]
    fn direct() -> (u64, u64) {
        let from = ticks();
        black_box(direct_0(black_box(1)));
        (from, ticks())
    }
    #[inline(never)]
    fn dynamic() -> (u64, u64) {
        let from = ticks();
        black_box(reloaded(&OBJECT).step(black_box(1)));
        (from, ticks())
    }
    #[inline(never)]
    fn plain() -> (u64, u64) {
        let from = ticks();
        black_box(SLOT_0.step(black_box(1)));
        (from, ticks())
    }

    let (clock, other) = (Clock::calibrated(), OtherCode::new(OTHER_CODE)?);
    let kinds: [(&str, Timed); 4] =
        [("nothing", nothing), ("direct", direct), ("dyn", dynamic), ("slot_call", plain)];
    let mut samples = vec![Vec::with_capacity(COLD_SAMPLES); kinds.len()];
    for round in 0..COLD_SAMPLES {
        eprint!("\rmix: cold, round {}/{COLD_SAMPLES}   ", round + 1);
        for (samples, (_, kind)) in samples.iter_mut().zip(kinds) {
            other.run();
            let (from, to) = black_box(kind)();
            samples.push(clock.ns(from, to));
        }
    }
    eprintln!();
    Ok(kinds
        .into_iter()
        .zip(samples)
        .map(|((name, _), samples)| {
            let mut figure = Figure::new("mix", format!("mix/cold/{name}"));
            figure.note = "first call after 64 MiB of other code; reading the clock included".to_owned();
            summarise(figure, &[samples])
        })
        .collect())
}

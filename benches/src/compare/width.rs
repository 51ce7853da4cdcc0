//! How many call sites a program can have before its branches no longer fit the predictors.
//!
//! The sites are called in rotation. `stub_8` to `stub_64` are the shapes that hotcall's stub could have, without
//! the section around a plain call: what differs between them is the spacing alone. `slot_call` and `slot_bound` are the real
//! thing, compiled; `dyn_compiled` is a trait object in a static, loaded at each call, in functions of the same shape. Each slot and
//! each trait object has an instance of its own.
#![allow(unsafe_code)]

use std::io::{self, Write};
use std::time::Duration;

use hotcall::Instance;
use hotcall_bench_slots::TREES;
use hotcall_bench_step::{KEY, Stateful};

use super::chain::{SEED, expected};
use super::cpu_time::CpuTime;
use super::emitted::{Calls, Program};
use super::figure::{Figure, relate};
use super::measure::summarise;

/// Numbers of sites: powers of two, and those of the trees of slots, so that `slot_call` has a `dyn` beside it.
pub const SITES: [usize; 13] = [1, 4, 10, 16, 64, 100, 256, 1_000, 2_048, 4_096, 8_192, 10_000, 16_384];

/// Ways to call, by name.
pub const KINDS: [(&str, Calls); 6] = [
    ("direct", Calls::Direct),
    ("dyn", Calls::Vtable),
    ("stub_8", Calls::Stubs(8)),
    ("stub_16", Calls::Stubs(16)),
    ("stub_32", Calls::Stubs(32)),
    ("stub_64", Calls::Stubs(64)),
];

const ROUNDS: usize = 9;

/// A way to pass a value through so many sites, so many times.
type Pass<'p> = Box<dyn Fn(u64, u64) -> u64 + 'p>;

/// Measures all of them, for about `budget`.
///
/// # Errors
///
/// Code memory is refused, or a program computes something wrong.
pub fn measure(budget: Duration) -> io::Result<Vec<Figure>> {
    let cells = SITES.len() * KINDS.len() + 3 * TREES.len();
    let slice = budget.div_f64((cells * ROUNDS) as f64);
    let mut figures = Vec::new();
    for sites in SITES {
        let programs = KINDS
            .map(|(name, calls)| Program::new(calls, sites).map(|program| (name, program)))
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?;
        let passes: Vec<(&str, Pass)> = programs
            .iter()
            .map(|(name, program)| (*name, Box::new(|x, rounds| program.run(x, rounds)) as Pass))
            .collect();
        figures.extend(in_turn(sites, &passes, slice)?);
    }
    // A tree of one slot is a call through a pointer: not a call site.
    for tree in TREES.iter().filter(|tree| tree.slots > 1) {
        let retired = hotcall::batch(|batch| (tree.replace)(batch, &|| Instance::new(Stateful::new(KEY))))
            .map_err(io::Error::other)?;
        // When they are gone, the slots have settled.
        drop(retired);
        hotcall::drain(Duration::from_secs(60)).map_err(io::Error::other)?;
        // SAFETY: this program measures with one thread here.
        unsafe { (tree.set)(&|| Box::leak(Box::new(Stateful::new(KEY)))) };
        let (call, bound, dynamic) = (tree.call, tree.bound, tree.dynamic);
        let passes: [(&str, Pass); 3] = [
            ("dyn_compiled", Box::new(move |x, rounds| (0..rounds).fold(x, |x, _| dynamic(x)))),
            ("slot_call", Box::new(move |x, rounds| (0..rounds).fold(x, |x, _| call(x)))),
            (
                "slot_bound",
                Box::new(move |x, rounds| {
                    let guard = hotcall::pin();
                    (0..rounds).fold(x, |x, _| bound(&guard, x))
                }),
            ),
        ];
        figures.extend(in_turn(tree.slots, &passes, slice)?);
    }
    eprintln!();
    relate(&mut figures, |figure| {
        let sites = figure.name.rsplit('/').next().unwrap_or_default();
        let compiled = ["slot_call", "slot_bound"].iter().any(|way| figure.name.contains(way));
        let dynamic = if compiled { "dyn_compiled" } else { "dyn" };
        (format!("width/direct/{sites}"), format!("width/{dynamic}/{sites}"))
    });
    Ok(figures)
}

/// Measures ways of one width in turn.
fn in_turn(sites: usize, passes: &[(&str, Pass)], slice: Duration) -> io::Result<Vec<Figure>> {
    let rounds = (65_536 / sites).max(1) as u64;
    let calls = rounds * sites as u64;
    let expected = expected(SEED, calls);
    let mut samples = vec![Vec::with_capacity(ROUNDS); passes.len()];
    for round in 0..ROUNDS {
        eprint!("\rwidth: {sites} sites, round {}/{ROUNDS}   ", round + 1);
        let _progress_only = io::stderr().flush();
        for turn in 0..passes.len() {
            let index = (turn + round) % passes.len();
            let (name, pass) = &passes[index];
            let mut found = pass(SEED, rounds);
            let (begin, mut runs) = (CpuTime::now(), 0_u32);
            while found == expected && begin.elapsed() < slice {
                found = pass(SEED, rounds);
                runs += 1;
            }
            if found != expected {
                return Err(io::Error::other(format!("width/{name}/{sites} computed a wrong result")));
            }
            if runs > 0 {
                samples[index].push(begin.elapsed().as_secs_f64() * 1e9 / (f64::from(runs) * calls as f64));
            }
        }
    }
    Ok(passes
        .iter()
        .zip(samples)
        .map(|((name, _), samples)| {
            let figure = Figure::new("width", format!("width/{name}/{sites}"));
            summarise(figure, &[samples]).with("sites", sites)
        })
        .collect())
}

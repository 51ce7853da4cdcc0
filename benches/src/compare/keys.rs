//! What a question costs whose answer hardly ever changes: a key's, an atomic's, that of the `static-keys` crate, of `log`.
//!
//! The questions stand one behind the other, with nothing between them, in one place to 16,384, in rotation; all are off, then all
//! are on. `nothing` calls and loops as they do and asks nothing: a question's figure is the difference to it, the median over
//! rounds in which all are measured in turn. What is done where the answer is yes is a call, the same for all.
#![allow(unsafe_code)]

use std::io::{self, Write};
use std::time::Duration;

use hotcall_bench_keys::{TREES, Tree, prepare, turn_all};

use super::cpu_time::CpuTime;
use super::figure::Figure;
use super::measure::summarise;

/// How a tree is asked.
type Asks = fn(&Tree) -> fn(u64) -> u64;

/// Who is asked, by name; the last is nobody.
const KINDS: [(&str, Asks); 5] = [
    ("key", |tree| tree.ask_keys),
    ("atomic", |tree| tree.ask_atomics),
    ("static_keys", |tree| tree.ask_static_keys),
    ("log", |tree| tree.ask_log),
    ("nothing", |tree| tree.ask_nothing),
];

const ROUNDS: usize = 15;

/// Measures all of them, for about `budget`.
///
/// # Errors
///
/// Keys cannot be turned; or somebody computes something else than the others.
pub fn measure(budget: Duration) -> io::Result<Vec<Figure>> {
    prepare().map_err(io::Error::other)?;
    let slice = budget.div_f64((2 * TREES.len() * KINDS.len() * ROUNDS) as f64);
    let mut figures = Vec::new();
    for on in [false, true] {
        // SAFETY: this program measures with one thread here.
        unsafe { turn_all(on) }.map_err(io::Error::other)?;
        for tree in &TREES {
            figures.extend(in_turn(tree, on, slice)?);
        }
    }
    eprintln!();
    // SAFETY: as above.
    unsafe { turn_all(false) }.map_err(io::Error::other)?;
    relate(&mut figures);
    Ok(figures)
}

/// Measures what one tree asks, in turn.
fn in_turn(tree: &Tree, on: bool, slice: Duration) -> io::Result<Vec<Figure>> {
    let state = if on { "on" } else { "off" };
    // That of one place asks there sixteen times.
    let questions = tree.places.max(16);
    let passes = (65_536 / questions) as u64;
    let run = |ask: fn(u64) -> u64| (0..passes).fold(1, |x, _| ask(x));
    let expected = run(tree.ask_nothing);
    let mut rounds = vec![[0.0; KINDS.len()]; ROUNDS];
    for (number, round) in rounds.iter_mut().enumerate() {
        eprint!("\rkeys: {} places, {state}, round {}/{ROUNDS}   ", tree.places, number + 1);
        let _progress_only = io::stderr().flush();
        for turn in 0..KINDS.len() {
            let index = (turn + number) % KINDS.len();
            let (name, of) = KINDS[index];
            let ask = of(tree);
            let mut found = run(ask);
            let (begin, mut runs) = (CpuTime::now(), 0_u32);
            while found == expected && (runs == 0 || begin.elapsed() < slice) {
                found = run(core::hint::black_box(ask));
                runs += 1;
            }
            if found != expected {
                return Err(io::Error::other(format!("keys/{name} computed a wrong result")));
            }
            let asked = f64::from(runs) * (passes * questions as u64) as f64;
            round[index] = begin.elapsed().as_secs_f64() * 1e9 / asked;
        }
    }
    let beyond = |index: usize| rounds.iter().map(|round| round[index] - round[KINDS.len() - 1]).collect();
    Ok((0..KINDS.len() - 1)
        .map(|index| {
            let name = format!("keys/{}/{state}/{}", KINDS[index].0, tree.places);
            summarise(Figure::new("keys", name), &[beyond(index)]).with("places", tree.places).with("on", on)
        })
        .collect())
}

/// Says of each figure what it is of the atomic's beside it.
fn relate(figures: &mut [Figure]) {
    let times: Vec<_> = figures.iter().map(|figure| (figure.name.clone(), figure.ns_per_call)).collect();
    for figure in figures {
        let mut parts = figure.name.split('/');
        let (group, _, rest) = (parts.next(), parts.next(), parts.collect::<Vec<_>>().join("/"));
        let atomic = format!("{}/atomic/{rest}", group.unwrap_or_default());
        let base = times.iter().find(|(name, _)| *name == atomic).and_then(|(_, ns)| *ns);
        if let (Some(own), Some(base)) = (figure.ns_per_call, base) {
            figure.more.insert("vs_atomic".to_owned(), (own / base).into());
        }
    }
}

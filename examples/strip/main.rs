//! A channel strip: audio effects with `&mut self`, in a slot and in a chain, changed while the sound runs.
//!
//! ```sh
//! cargo run --release --example strip
//! ```
//!
//! * In the slot stands one effect. The audio thread locks the slot once a block; another thread swaps the effect as often as
//!   it can, and waits for no lock. Each effect counts its blocks: so the program knows afterwards which effect had which.
//! * The chain is a rack of several, edited between blocks. Then the rack goes into the slot, as one effect.
//!
//! The same sound then goes through a `Box<dyn Effect>` and a `Vec` of them, with the same changes after the same blocks. Where
//! one sample has another bit, the program fails.

mod effects;

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use effects::{Bypass, Effect, KINDS, boxed, instance};
use hotcall::{Chain, slot};

/// The effect that everything passes through.
#[slot]
static INSERT: dyn Effect = Bypass::NEW;

/// Samples of a block, as audio hosts have them.
const BLOCK: usize = 64;
/// After so many blocks the rack is edited.
const EDITED: usize = 16;

/// Effects in a slot and in a chain, changed while the sound runs.
#[derive(Parser)]
struct Arguments {
    /// How many blocks of 64 samples each way of running works on.
    #[arg(long, default_value_t = 100_000)]
    blocks: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { blocks } = Arguments::parse();
    if blocks == 0 {
        return Err("at least one block".into());
    }
    let sound = sound(blocks);

    let (through_slot, shares) = in_the_slot(&sound)?;
    let through_box = in_a_box(&sound, &shares);
    let (through_chain, edits) = in_a_chain(&sound)?;
    let through_list = in_a_list(&sound);
    let counted: u64 = shares.iter().map(|share| share.blocks).sum();
    let (slot_differs, chain_differs) =
        (differing(&through_slot, &through_box), differing(&through_chain, &through_list));
    println!(
        "slot:  {blocks} blocks, {} swaps, {slot_differs} samples differ from Box<dyn Effect>",
        shares.len() - 1
    );
    println!(
        "chain: {blocks} blocks, {edits} edits, {chain_differs} samples differ from Vec<Box<dyn Effect>>"
    );

    let locked = timed(&sound, |block| INSERT.lock().process(block));
    let list = Mutex::new(boxed(0));
    let in_mutex =
        timed(&sound, |block| list.lock().unwrap_or_else(|broken| broken.into_inner()).process(block));
    println!("a block takes {locked:.0} ns in the slot, {in_mutex:.0} ns in a Mutex<Box<dyn Effect>>");
    let wrong = slot_differs + chain_differs;
    if counted != blocks as u64 || wrong != 0 {
        return Err(format!("the effects counted {counted} blocks, and {wrong} samples are wrong").into());
    }
    Ok(())
}

/// What one effect did in the slot.
struct Share {
    /// `None` for what the slot begins with.
    kind: Option<usize>,
    blocks: u64,
}

/// Every block through the slot, while another thread swaps what is in it.
fn in_the_slot(sound: &[f32]) -> Result<(Vec<f32>, Vec<Share>), Box<dyn Error>> {
    let mut output = sound.to_vec();
    let done = AtomicBool::new(false);
    let shares = std::thread::scope(|scope| {
        let swaps = scope.spawn(|| -> Result<Vec<Share>, Box<dyn Error + Send + Sync>> {
            let (mut shares, mut kind) = (Vec::new(), None);
            loop {
                let next = shares.len();
                let last = next > 0 && done.load(Ordering::Acquire);
                // The audio thread may have the lock: it works on with the old one to the end of its call.
                let retired =
                    if last { INSERT.restore()? } else { INSERT.replace_instance(instance(next))? };
                shares.push(Share { kind, blocks: retired.wait()?.blocks() });
                if last {
                    return Ok(shares);
                }
                kind = Some(next);
            }
        });
        for block in output.chunks_mut(BLOCK) {
            INSERT.lock().process(block);
        }
        done.store(true, Ordering::Release);
        swaps.join().map_err(|_| "the thread that swaps panicked")?.map_err(|error| error as Box<dyn Error>)
    })?;
    Ok((output, shares))
}

/// The same effects over the same blocks.
fn in_a_box(sound: &[f32], shares: &[Share]) -> Vec<f32> {
    let mut output = sound.to_vec();
    let mut blocks = output.chunks_mut(BLOCK);
    for share in shares {
        let mut effect = share.kind.map_or_else(|| Box::new(Bypass::NEW) as Box<dyn Effect>, boxed);
        blocks.by_ref().take(share.blocks as usize).for_each(|block| effect.process(block));
    }
    output
}

/// Every block through a rack that is edited; half of them while the rack is in the slot.
fn in_a_chain(sound: &[f32]) -> Result<(Vec<f32>, usize), Box<dyn Error>> {
    let mut output = sound.to_vec();
    let mut rack: Chain<dyn Effect> = Chain::new((0..KINDS).map(instance))?;
    let mut edits = 0;
    let half = output.len() / BLOCK / 2;
    let (first, second) = output.split_at_mut(half * BLOCK);
    for (number, block) in first.chunks_mut(BLOCK).enumerate() {
        rack.process(block);
        if let Some(edit) = Edit::after(number) {
            match edit {
                Edit::Swap(one, other) => rack.swap(one, other)?,
                // What was there is dropped when nobody can be inside: here, at once.
                Edit::Replace(at, kind) => drop(rack.replace(at, instance(kind))?),
            }
            edits += 1;
        }
    }
    drop(INSERT.replace(rack)?);
    let mut strip = INSERT.lock();
    second.chunks_mut(BLOCK).for_each(|block| strip.process(block));
    println!("the slot holds a {} of {KINDS}", strip.name());
    drop(strip);
    INSERT.replace_instance(instance(0))?.wait()?;
    Ok((output, edits))
}

/// The same edits after the same blocks, of a vector.
fn in_a_list(sound: &[f32]) -> Vec<f32> {
    let mut output = sound.to_vec();
    let mut list: Vec<Box<dyn Effect>> = (0..KINDS).map(boxed).collect();
    let half = output.len() / BLOCK / 2;
    for (number, block) in output.chunks_mut(BLOCK).enumerate() {
        list.iter_mut().for_each(|effect| effect.process(block));
        match Edit::after(number).filter(|_| number < half) {
            Some(Edit::Swap(one, other)) => list.swap(one, other),
            Some(Edit::Replace(at, kind)) => list[at] = boxed(kind),
            None => {}
        }
    }
    output
}

/// What is done to a rack.
enum Edit {
    Swap(usize, usize),
    Replace(usize, usize),
}

impl Edit {
    fn after(block: usize) -> Option<Self> {
        let number = block / EDITED;
        (block % EDITED == EDITED - 1).then(|| match number % 2 {
            0 => Self::Swap(number % KINDS, number * 3 % KINDS),
            _ => Self::Replace(number * 7 % KINDS, number),
        })
    }
}

/// Notes of a string that is plucked now and then, the same at each run.
fn sound(blocks: usize) -> Vec<f32> {
    let (mut string, mut at) = (vec![0.0_f32; 109], 0);
    let mut state = 42_u32;
    (0..blocks * BLOCK)
        .map(|time| {
            if time % 12_000 == 0 {
                string.fill_with(|| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / 8_388_608.0 - 1.0
                });
            }
            let next = (at + 1) % string.len();
            string[at] = (string[at] + string[next]) * 0.498;
            at = next;
            string[at]
        })
        .collect()
}

/// How many samples are not the same, bit for bit.
fn differing(one: &[f32], other: &[f32]) -> usize {
    one.iter().zip(other).filter(|(one, other)| one.to_bits() != other.to_bits()).count()
}

/// Nanoseconds a block.
fn timed(sound: &[f32], mut process: impl FnMut(&mut [f32])) -> f64 {
    let mut output = sound.to_vec();
    let begin = Instant::now();
    output.chunks_mut(BLOCK).for_each(&mut process);
    begin.elapsed().as_secs_f64() * 1e9 / (sound.len() / BLOCK) as f64
}

//! Random programs over the safe API, and a model of what must come of them.
//!
//! Run by the fuzz target `programs`, which finds those that reach new code, and by `tests/tests/programs.rs`, which draws them
//! at random on a stable toolchain.
//!
//! # What a program is
//!
//! A list of operations of four bytes each: who does what with what. Whoever (a coroutine of the first thread, or another
//! thread) does one after another, wherever it is: inside a call of a slot, a function, a chain, a handle, a bound one; under guards; in the
//! closure of an edit, of edits of several chains, of `replace_with`, of `batch`. So calls interleave, guards overlap, edits nest, threads are born and
//! end in the middle; panics pass through one or several of these; destructors panic, call and replace; whatever there is
//! is leaked, kept, moved, had back and used again.
//!
//! One actor runs at a time, and hands on to the next by a rendezvous. So the same bytes do the same, but for the thread
//! of the runtime that frees, which is what is watched ([`ledger`]).
//!
//! # What is checked
//!
//! The rules of [`ledger`]; each answer is that of what is installed, or was when it was bound; what is refused is to be refused, and gives back what it
//! was given; a wait ends where nobody is inside; an edit that panics has dropped what it added; in the end everything was dropped once, but for what the
//! program leaked.
//!
//! Not here, for they end the freeing for the whole process: leaked guards and leaked coroutines (`tests/sections.rs`, `tests/coroutines.rs`).
#![forbid(unsafe_code)]
#![deny(unused_must_use)]

pub mod actor;
mod batches;
mod edits;
mod handles;
pub mod instance;
mod ledger;
mod ops;
mod world;

use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use self::actor::Handle;
use self::instance::{ECHO, FUNCTION, SLOTS};
use self::ledger::{Place, lock};
pub use self::world::Settings;
use self::world::{FOR_EVER, World};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Call,
    Peek,
    Replace,
    Reuse,
    Restore,
    HandOver,
    Pin,
    Guard,
    CallChain,
    Chain,
    Edit,
    InEdit,
    Exchange,
    NewChain,
    Handle,
    CallHandle,
    Remote,
    Pending,
    Batch,
    Function,
    Panic,
    Settle,
    Force,
    Leave,
    Spawn,
    End,
    Unwind,
}

/// As often as each is to be drawn.
const WHATS: [(What, usize); 27] = [
    (What::Call, 4),
    (What::Peek, 2),
    (What::Replace, 6),
    (What::Reuse, 2),
    (What::Restore, 1),
    (What::HandOver, 1),
    (What::Pin, 2),
    (What::Guard, 3),
    (What::CallChain, 4),
    (What::Chain, 6),
    (What::Edit, 3),
    (What::InEdit, 7),
    (What::Exchange, 3),
    (What::NewChain, 1),
    (What::Handle, 3),
    (What::CallHandle, 2),
    (What::Remote, 2),
    (What::Pending, 3),
    (What::Batch, 3),
    (What::Function, 4),
    (What::Panic, 2),
    (What::Settle, 4),
    (What::Force, 2),
    (What::Leave, 8),
    (What::Spawn, 3),
    (What::End, 3),
    (What::Unwind, 1),
];

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// Which actor.
    pub who: u8,
    what: u8,
    /// What with: modulo how many there are.
    pub a: u8,
    /// How.
    pub b: u8,
}

impl Op {
    /// A call instead, with the same arguments. It is the first of [`WHATS`].
    fn as_call(self) -> Self {
        Self { what: 0, ..self }
    }

    /// What it does.
    pub fn what(self) -> What {
        let total: usize = WHATS.iter().map(|(_, often)| often).sum();
        let mut at = usize::from(self.what) % total;
        for (what, often) in WHATS {
            if at < often {
                return what;
            }
            at -= often;
        }
        What::Leave
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} {} {}", self.who, self.what(), self.a, self.b)
    }
}

/// A list of operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(pub Vec<Op>);

impl Program {
    /// Four bytes an operation.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let ops = bytes.chunks_exact(4).map(|op| Op { who: op[0], what: op[1], a: op[2], b: op[3] });
        Self(ops.collect())
    }

    /// The program of this number.
    ///
    /// Each leaves about half of the kinds of operations out, another half each time, and some are short: what needs few kinds, close together, is
    /// found sooner so (swarm testing: Groce and others, 2012).
    pub fn from_seed(seed: u64, most: usize) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
        };
        let kept: Vec<bool> = WHATS.iter().map(|(what, _)| next() & 1 == 0 || *what == What::Leave).collect();
        let is_kept = |op: &Op| WHATS.iter().zip(&kept).any(|((what, _), kept)| *what == op.what() && *kept);
        let count = most / 4 + next() as usize % (most * 3 / 4 + 1);
        // How often one actor goes on.
        let (mut last, again) = (0, next() % 4);
        let drawn = std::iter::repeat_with(|| {
            let [who, what, a, b, ..] = next().to_le_bytes();
            last = if next() % 4 < again { last } else { who };
            Op { who: last, what, a, b }
        });
        Self(drawn.filter(is_kept).take(count).collect())
    }

    /// As [`Self::from_hex`] reads it.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|op| format!("{:02x}{:02x}{:02x}{:02x}", op.who, op.what, op.a, op.b)).collect()
    }

    /// What [`Self::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text
            .trim()
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        Some(Self::from_bytes(
            &digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<_>>(),
        ))
    }
}

/// What was found, and after which operation.
#[derive(Debug)]
pub struct Finding {
    /// After so many operations.
    pub after: usize,
    /// What.
    pub text: String,
}

/// So many coroutines, and so many threads at most.
const COROUTINES: usize = 3;
const THREADS: usize = 6;

/// Runs a program. After a finding the process is not to be relied on.
///
/// # Errors
///
/// The first finding.
pub fn run(program: &Program, settings: Settings) -> Result<(), Finding> {
    // Slots are statics.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = lock(&ALONE);
    ledger::begin();
    let world = World::new(settings);
    let mut threads = 0;
    let mut thread = || {
        threads += 1;
        Handle::thread(threads, &world)
    };
    let mut actors: Vec<Handle> = (0..COROUTINES)
        .map(|_| if settings.no_coroutines { thread() } else { Handle::coroutine(&world) })
        .collect();
    for (index, op) in program.0.iter().enumerate() {
        let which = usize::from(op.who) % actors.len();
        match op.what() {
            What::Spawn if actors.len() < COROUTINES + THREADS => {
                let mut born = thread();
                // Half of them are born to call.
                if op.b % 2 == 0 {
                    born.order(op.as_call());
                }
                actors.push(born);
            }
            What::End | What::Unwind if which >= COROUTINES => actors.remove(which).end(),
            What::Unwind if which < COROUTINES => {
                let new = if settings.no_coroutines { thread() } else { Handle::coroutine(&world) };
                std::mem::replace(&mut actors[which], new).unwind();
            }
            _ => actors[which].order(*op),
        }
        if let Some(text) = ledger::found() {
            actors.into_iter().for_each(Handle::abandon);
            return Err(Finding { after: index + 1, text });
        }
    }
    let after = program.0.len();
    end(actors, &world, program);
    match ledger::found() {
        Some(text) => Err(Finding { after, text }),
        None => {
            ledger::end();
            Ok(())
        }
    }
}

/// Everybody leaves, everything goes, and nothing is left.
fn end(mut actors: Vec<Handle>, world: &World, program: &Program) {
    let mut turn = program.0.len();
    while !actors.is_empty() {
        turn += 1;
        let which = turn % actors.len();
        actors.remove(which).end();
        if ledger::found().is_some() {
            return actors.into_iter().for_each(Handle::abandon);
        }
    }
    hotcall::force_pinned_sections(false);
    one_by_one(&world.pending);
    one_by_one(&world.instances);
    one_by_one(&world.batches);
    one_by_one(&world.chains);
    let handles: Vec<_> = lock(&world.handles).drain(..).flatten().collect();
    for (handle, cell) in handles {
        ledger::put(cell.id.load(std::sync::atomic::Ordering::SeqCst), Place::Owned);
        quietly(|| handle);
    }
    for slot in 0..SLOTS {
        quietly(|| ops::restore(world, slot, 0, false));
    }
    let old = *lock(&world.function);
    match FUNCTION.restore() {
        Ok(retired) => quietly(|| ops::gone(world, retired, old, 2, ledger::DEFAULT)),
        Err(error) => ledger::report(format!("a restoration was refused: {error}")),
    }
    let until = Instant::now() + FOR_EVER;
    // Destructors replace, too.
    while !ledger::left().is_empty() && ledger::found().is_none() {
        quietly(|| ECHO.restore());
        if let Err(error) = hotcall::drain(FOR_EVER) {
            return ledger::report(format!("in the end: {error}"));
        }
        if Instant::now() > until {
            return ledger::report(format!("never dropped: {:?}", ledger::left()));
        }
    }
}

/// Of two destructors that panic in one `Vec`, the second would abort.
fn one_by_one<T>(all: &Mutex<Vec<T>>) {
    let all = std::mem::take(&mut *lock(all));
    all.into_iter().for_each(|one| quietly(|| one));
}

/// A destructor may panic.
fn quietly<T>(work: impl FnOnce() -> T) {
    let work = std::panic::AssertUnwindSafe(|| drop(work()));
    if let Err(payload) = std::panic::catch_unwind(work)
        && !payload.is::<actor::Planned>()
    {
        ledger::report("a panic that nobody planned");
    }
}

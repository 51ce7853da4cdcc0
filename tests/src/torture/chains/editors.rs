//! Edits of chains, in every way there is.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use hotcall::__private::Implements;
use hotcall::{Chain, Chainable, Edit, Instance, Retired, WaitError};
use hotcall_work::stage::{FAR, KINDS, LARGE, SMALL, Stage, Step};

use super::history::History;
use super::{CONTESTED, HISTORIES, LIBRARIES, LINE, LOOP, Owned, callers};
use crate::torture::tally::{TALLY, count};
use hotcall_tests::random::Random;

type Small = Step<SMALL, 2>;
type Large = Step<LARGE, 48>;

/// An interface that the elements implement.
trait Tested: Chainable + Implements<Small> + Implements<Large> + Implements<Instance<Self>> {}
impl<I> Tested for I where
    I: ?Sized + Chainable + Implements<Small> + Implements<Large> + Implements<Instance<I>>
{
}

/// The most elements of a list.
const LONGEST: usize = 24;

/// Edits one chain.
pub fn edit(random: &mut Random) {
    match random.below(8) {
        0..3 => one(&LINE, &HISTORIES[0], random, false),
        3 | 4 => whole(random),
        5 => {
            let owned = Owned::get();
            one(&owned.chain, &owned.history, random, false);
            if random.one_in(64) {
                Owned::begin_another();
            }
        }
        _ => one(&LOOP, &HISTORIES[1], random, false),
    }
}

/// Edits the chain that may be calling this.
pub fn from_inside(random: &mut Random) {
    one(&LINE, &HISTORIES[0], random, true);
    count(&TALLY.chain_edits_inside);
}

fn kind(random: &mut Random) -> u64 {
    if LIBRARIES.get().is_some() && random.one_in(6) { FAR } else { random.below(FAR) }
}

/// An element of the type that its number says.
fn make<I: ?Sized + Tested>(number: u64) -> Instance<I> {
    match (number % KINDS, LIBRARIES.get()) {
        (SMALL, _) => Instance::new(Small::new(number, Some(callers::meanwhile))),
        (FAR, Some(libraries)) => {
            let library = libraries.of(number / KINDS);
            library.instantiate::<I>(&number.to_string()).expect("the plugin was built for this program")
        }
        _ => Instance::new(Large::new(number, Some(callers::meanwhile))),
    }
}

/// One change of a list.
#[derive(Clone, Copy, Debug)]
enum Change {
    Push(u64),
    Insert(usize, u64),
    Remove(usize),
    Replace(usize, u64),
    Swap(usize, usize),
    Reverse,
    Clear,
}

impl Change {
    fn draw(list: &[u64], history: &History, random: &mut Random) -> Self {
        let at = random.below(list.len().max(1) as u64) as usize;
        if list.is_empty() {
            return Self::Push(history.number(kind(random)));
        }
        match random.below(16) {
            0..2 if list.len() < LONGEST => Self::Push(history.number(kind(random))),
            2..5 if list.len() < LONGEST => Self::Insert(at, history.number(kind(random))),
            5..8 => Self::Remove(at),
            8 | 9 => Self::Swap(at, random.below(list.len() as u64) as usize),
            10 if random.one_in(8) => Self::Clear,
            10 => Self::Reverse,
            // Of the same type, mostly: then it may be done in place.
            11 => Self::Replace(at, history.number(kind(random))),
            _ => Self::Replace(at, history.number(list[at] % KINDS)),
        }
    }

    /// In the list of numbers.
    fn note(self, list: &mut Vec<u64>) {
        match self {
            Self::Push(number) => list.push(number),
            Self::Insert(at, number) => list.insert(at, number),
            Self::Remove(at) => drop(list.remove(at)),
            Self::Replace(at, number) => list[at] = number,
            Self::Swap(at, other) => list.swap(at, other),
            Self::Reverse => list.reverse(),
            Self::Clear => list.clear(),
        }
    }

    /// In a chain. Gives what it took out, where that is one element.
    fn make<I: ?Sized + Tested>(self, chain: &Chain<I>) -> Result<Option<Retired<I>>, String>
    where
        Instance<I>: Send + Sync,
    {
        let refused = |error: hotcall::ReplaceError<I>| error.to_string();
        let failed = |error: hotcall::Error| error.to_string();
        match self {
            Self::Push(number) => chain.push(make::<I>(number)).map_err(refused)?,
            Self::Insert(at, number) => chain.insert(at, make::<I>(number)).map_err(refused)?,
            Self::Remove(at) => return chain.remove(at).map(Some).map_err(failed),
            Self::Replace(at, number) => {
                return chain.replace(at, make::<I>(number)).map(Some).map_err(refused);
            }
            Self::Swap(at, other) => chain.swap(at, other).map_err(failed)?,
            Self::Reverse => drop(chain.edit(Edit::reverse).map_err(failed)?),
            Self::Clear => drop(chain.clear().map_err(failed)?),
        }
        Ok(None)
    }

    /// In a list that takes effect as a whole.
    fn make_in(self, edit: &mut Edit<dyn Stage>) {
        match self {
            Self::Push(number) => edit.push(make::<dyn Stage>(number)),
            Self::Insert(at, number) => edit.insert(at, make::<dyn Stage>(number)),
            Self::Remove(at) => edit.remove(at),
            Self::Replace(at, number) => edit.replace(at, make::<dyn Stage>(number)),
            Self::Swap(at, other) => edit.swap(at, other),
            Self::Reverse => edit.reverse(),
            Self::Clear => edit.clear(),
        }
    }
}

/// One change. `inside` says that the calling thread is inside a call of some chain.
fn one<I: ?Sized + Tested>(chain: &Chain<I>, history: &History, random: &mut Random, inside: bool)
where
    Instance<I>: Send + Sync,
{
    let mut list = history.list();
    let change = Change::draw(&list, history, random);
    change.note(&mut list);
    let version = history.announce(&list);
    let made = change.make(chain);
    history.publish(version);
    drop(list);
    count(&TALLY.chain_edits);
    let retired = match made {
        Ok(retired) => retired,
        Err(error) => {
            eprintln!("{change:?} was refused: {error}");
            return count(&TALLY.failed);
        }
    };
    let Some(retired) = retired else { return };
    let right = if inside {
        // The wait would never end; it is refused, and loses nothing.
        matches!(retired.wait(), Err(WaitError::WouldDeadlock(_)))
    } else {
        !random.one_in(32) || retired.wait().is_ok()
    };
    if !right {
        count(&TALLY.failed);
    }
}

/// Several changes that take effect together, made by whichever thread comes: the chain itself keeps them apart.
fn whole(random: &mut Random) {
    let history = &HISTORIES[2];
    if random.one_in(64) {
        // Nothing has changed then.
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            CONTESTED.edit(|edit| {
                edit.push(make::<dyn Stage>(history.number(SMALL)));
                edit.clear();
                panic_any(0_u64)
            })
        }));
        if panicked.is_ok() {
            count(&TALLY.failed);
        }
    }
    let edited = CONTESTED.edit(|edit| {
        let mut list = history.list();
        for _ in 0..=random.below(6) {
            let change = Change::draw(&list, history, random);
            change.note(&mut list);
            change.make_in(edit);
        }
        history.announce(&list)
    });
    match edited {
        Ok((version, gone)) => {
            history.publish(version);
            if random.one_in(32) && gone.wait().is_err() {
                count(&TALLY.failed);
            }
        }
        Err(error) => {
            eprintln!("a whole edit was refused: {error}");
            count(&TALLY.failed);
        }
    }
    count(&TALLY.chain_edits);
}

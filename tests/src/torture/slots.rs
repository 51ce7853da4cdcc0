//! The slots, what goes into them, and which generation each is known to hold.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotcall::{Instance, Library, slot};
use hotcall_examples::plugins;
use hotcall_work::{BARE, Canary, DEFAULT, FAR, KINDS, LARGE, Nested, SMALL, Work, pack};

pub const SLOTS: usize = 4;

/// What is known of one slot.
#[derive(Debug)]
pub struct State {
    /// The last generation whose `replace` has returned: a call that begins now must see it or a later one.
    published: AtomicU64,
    /// Held over the choice of a generation and the `replace` that installs it: generations are installed in order.
    writing: Mutex<u64>,
    /// The generation as which instances without memory answer.
    of_default: AtomicU64,
    of_bare: AtomicU64,
}

pub static STATES: [State; SLOTS] = [const {
    State {
        published: AtomicU64::new(0),
        writing: Mutex::new(0),
        of_default: AtomicU64::new(0),
        of_bare: AtomicU64::new(0),
    }
}; SLOTS];

impl State {
    /// What a call that begins after this must at least see.
    pub fn floor(&self) -> u64 {
        // Acquire, partner of the Release in `publish`. The slot must hold without it, too, but then "after" would
        // have no meaning.
        self.published.load(Ordering::Acquire)
    }

    /// `replace` has returned.
    pub fn publish(&self, generation: u64) {
        self.published.fetch_max(generation, Ordering::Release);
    }

    pub fn lock(&self) -> MutexGuard<'_, u64> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next generation of a type.
pub fn next(last: &mut u64, kind: u64) -> u64 {
    let mut generation = *last + 1;
    while generation % KINDS != kind {
        generation += 1;
    }
    *last = generation;
    generation
}

/// An instance without a generation of its own: the slot's state says it.
macro_rules! without_memory {
    ($(#[$doc:meta])* $name:ident, $slot:expr, $state:ident) => {
        impl Work for $name {
            fn answer(&self, question: u64) -> u64 {
                let slot = $slot(self);
                pack(slot as u64, STATES[slot].$state.load(Ordering::Acquire), question)
            }
            fn slow(&self, question: u64, _: u32) -> [u64; 3] {
                [self.answer(question); 3]
            }
            fn through(&self, question: u64, depth: u32) -> u64 {
                super::callers::nested($slot(self) as u64, question, depth);
                self.answer(question)
            }
            fn fail(&self, question: u64) -> u64 {
                std::panic::panic_any(self.answer(question))
            }
        }
    };
}

struct Default_ {
    slot: usize,
}
without_memory!(Default_, |this: &Default_| this.slot, of_default);

struct Bare0;
struct Bare1;
struct Bare2;
struct Bare3;
without_memory!(Bare0, |_| 0, of_bare);
without_memory!(Bare1, |_| 1, of_bare);
without_memory!(Bare2, |_| 2, of_bare);
without_memory!(Bare3, |_| 3, of_bare);

#[slot]
pub static FIRST: dyn Work = Default_ { slot: 0 };
#[slot]
pub static SECOND: dyn Work = Default_ { slot: 1 };
#[slot]
pub static THIRD: dyn Work = Default_ { slot: 2 };
#[slot]
pub static FOURTH: dyn Work = Default_ { slot: 3 };

/// Does the same with whichever slot the number says: each is a static of a type of its own.
macro_rules! with_slot {
    ($number:expr, $slot:ident => $body:expr) => {
        match $number {
            0 => {
                let $slot = &$crate::torture::slots::FIRST;
                $body
            }
            1 => {
                let $slot = &$crate::torture::slots::SECOND;
                $body
            }
            2 => {
                let $slot = &$crate::torture::slots::THIRD;
                $body
            }
            _ => {
                let $slot = &$crate::torture::slots::FOURTH;
                $body
            }
        }
    };
}
pub(crate) use with_slot;

/// One library, loaded twice: out of a call's reach, and within.
#[derive(Clone, Debug)]
pub struct Libraries([Library; 2]);

impl Libraries {
    /// Builds and loads it.
    pub fn load() -> Result<Self, Box<dyn std::error::Error>> {
        let built = plugins::build(&["hotcall-worker"])?;
        let load = |near| -> Result<Library, Box<dyn std::error::Error>> {
            hotcall::load_libraries_near(near);
            let library = plugins::open(&built[0])?;
            drop(library.instantiate::<dyn Work>("0 0")?);
            Ok(library)
        };
        Ok(Self([load(false)?, load(true)?]))
    }

    /// Either of them.
    pub fn of(&self, number: u64) -> &Library {
        &self.0[(number % 2) as usize]
    }
}

/// Makes instances.
#[derive(Debug)]
pub struct Maker {
    libraries: Option<Libraries>,
}

impl Maker {
    pub fn new(libraries: Option<Libraries>) -> Self {
        Self { libraries }
    }

    /// The types that an instance can be made of. The default is put back instead.
    pub fn kinds(&self) -> u64 {
        if self.libraries.is_some() { KINDS } else { FAR }
    }

    /// An instance of the type of `generation`. None for the default.
    ///
    /// What has no memory answers as the new generation at once, though it is not installed yet: no call can
    /// reach another than the one installed, whose type this is not, for the last generation was of another type.
    pub fn make(&self, slot: usize, generation: u64) -> Option<Instance<dyn Work>> {
        const NESTED: Option<Nested> = Some(super::callers::nested);
        let number = slot as u64;
        match generation % KINDS {
            DEFAULT => {
                STATES[slot].of_default.store(generation, Ordering::Release);
                None
            }
            BARE => {
                STATES[slot].of_bare.store(generation, Ordering::Release);
                Some(match slot {
                    0 => Instance::new(Bare0),
                    1 => Instance::new(Bare1),
                    2 => Instance::new(Bare2),
                    _ => Instance::new(Bare3),
                })
            }
            SMALL => Some(Instance::new(Canary::<SMALL, 2>::new(number, generation, NESTED))),
            LARGE => Some(Instance::new(Canary::<LARGE, 64>::new(number, generation, NESTED))),
            _ => self.far(number, generation),
        }
    }

    fn far(&self, slot: u64, generation: u64) -> Option<Instance<dyn Work>> {
        let library = self.libraries.as_ref()?.of(generation / KINDS);
        let made = library.instantiate::<dyn Work>(&format!("{slot} {generation}"));
        Some(made.expect("the plugin was built for this program"))
    }
}

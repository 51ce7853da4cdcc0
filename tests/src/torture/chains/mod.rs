//! Chains under torture: static and owned, straight-line code and loops, edited and called by all threads at once.
//!
//! | chain | what |
//! |---|---|
//! | `LINE` | static; its methods are straight-line code, and elements are replaced in place |
//! | `LOOP` | static; one of its methods is a loop over links |
//! | `CONTESTED` | static; many threads at once give it whole new lists |
//! | owned | made, filled, called, edited and dropped again and again |

pub mod callers;
pub mod editors;
mod history;

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};

use hotcall::{Chain, slot};
use hotcall_work::stage::{LIVING, Stage, Wide};

use self::history::History;
use super::slots::Libraries;
use super::tally::{TALLY, count};

#[slot]
static LINE: Chain<dyn Stage> = Chain::EMPTY;
#[slot]
static LOOP: Chain<dyn Wide> = Chain::EMPTY;
#[slot]
static CONTESTED: Chain<dyn Stage> = Chain::EMPTY;

/// Those of the three.
static HISTORIES: LazyLock<[History; 3]> = LazyLock::new(|| core::array::from_fn(|_| History::new()));

/// A chain with an end.
struct Owned {
    chain: Chain<dyn Stage>,
    history: History,
}

static OWNED: LazyLock<RwLock<Arc<Owned>>> = LazyLock::new(|| RwLock::new(Owned::new()));

impl Owned {
    fn new() -> Arc<Self> {
        Arc::new(Self { chain: Chain::EMPTY, history: History::new() })
    }

    /// The one of this moment: it lives as long as it is held.
    fn get() -> Arc<Self> {
        Arc::clone(&OWNED.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins another one. The one before is dropped by the last thread that holds it.
    fn begin_another() {
        *OWNED.write().unwrap_or_else(PoisonError::into_inner) = Self::new();
        count(&TALLY.chains_dropped);
    }
}

static LIBRARIES: OnceLock<Libraries> = OnceLock::new();

/// Before any thread starts. With libraries, some elements come from them.
pub fn prepare(libraries: Option<Libraries>) {
    if let Some(libraries) = libraries {
        LIBRARIES.set(libraries).expect("there is one run a process");
    }
    LazyLock::force(&HISTORIES);
    LazyLock::force(&OWNED);
}

/// After the last call: empties all chains. Their elements go like everything else that was retired.
pub fn clear() {
    let cleared = [LINE.clear().is_ok(), LOOP.clear().is_ok(), CONTESTED.clear().is_ok()];
    cleared.iter().filter(|cleared| !**cleared).for_each(|_| count(&TALLY.failed));
    Owned::begin_another();
}

/// Elements that are left.
pub fn living() -> u64 {
    LIVING.load(Ordering::Relaxed)
}

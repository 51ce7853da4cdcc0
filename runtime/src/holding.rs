//! Who holds back what was replaced: threads inside calls or with guards, and leases.

use core::fmt;
use core::panic::Location;
use std::time::Duration;

use crate::installed::Installed;
use crate::quiesce::{self, held, reclaimer};

/// Somebody for whom what was replaced cannot be freed yet: see [`Report::holding`](crate::Report::holding).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holding {
    /// Who.
    pub by: Holder,
    /// How long it has been waited for: a call or a guard is older than that.
    pub since: Duration,
}

/// Who holds back what was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A thread that has been inside a call through a slot, or has had a guard, since before it was waited for. It holds back
    /// *everything* that has been replaced since.
    ///
    /// What lasts long is better called through a [`Lease`](crate::Lease), which holds back one instance.
    Thread {
        /// Its number, as the system counts: that of `gettid`.
        number: u32,
        /// Its name; empty where it has none.
        name: String,
    },
    /// Leases of an instance that was replaced. They hold back it alone.
    Leases {
        /// The instance's type.
        type_name: String,
        /// How many there are.
        count: usize,
        /// Where in the source they were taken, and how many in each place. Of places past the third it is not noted.
        places: Vec<(&'static Location<'static>, usize)>,
    },
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, since } = self;
        match by {
            Holder::Thread { number, name } => {
                write!(f, "thread {number}")?;
                if !name.is_empty() {
                    write!(f, " ({name})")?;
                }
                write!(f, ": inside a call, or with a guard, for more than {since:.1?}")
            }
            Holder::Leases { type_name, count, places } => {
                write!(f, "{type_name}: replaced and leased for {since:.1?}, {count} times")?;
                for (number, (place, count)) in places.iter().enumerate() {
                    let before = if number == 0 { ": " } else { ", " };
                    write!(f, "{before}{count} at {place}")?;
                }
                Ok(())
            }
        }
    }
}

/// Who does at this moment.
pub(crate) fn holding() -> Vec<Holding> {
    let mut holding = Vec::new();
    if let Some(since) = reclaimer::grace_period_lasts() {
        let mut threads = Vec::new();
        quiesce::for_each_waited_for(&mut |number| threads.push(number));
        threads.sort_unstable();
        threads.dedup();
        holding.extend(threads.into_iter().map(|number| Holding {
            by: Holder::Thread { number, name: crate::sys::name_of_thread(number) },
            since,
        }));
    }
    held::for_each_held(|installed: &Installed, since| {
        let by = Holder::Leases {
            // A copy: the type's library may go.
            type_name: installed.table().type_name().to_owned(),
            count: installed.leases(),
            places: installed.places().collect(),
        };
        holding.push(Holding { by, since });
    });
    holding
}

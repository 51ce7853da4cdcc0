//! Several slots and keys at once: one barrier, and all or nothing.

use core::cell::Cell;
use std::sync::Arc;

use crate::error::Error;
use crate::installed::{Installed, drop_each};
use crate::instance::Instance;
use crate::interface::Implements;
use crate::key::{KeyChange, Switch, Want};
use crate::quiesce::{self, reclaimer};
use crate::slot::commit::Changes;
use crate::slot::{Change, Retarget, commit};

/// Replaces in several slots and turns several keys under one barrier: all of them, or none.
///
/// `build` names the changes; they take effect together when it returns. After `batch` returns, every call
/// that starts, through any of the slots, runs the new implementor, and every question to one of the keys has the new answer. A
/// thread that comes by several of them in a row while the batch is under way may find some changed and others not yet.
///
/// Naming a slot twice installs the last. The other one counts as replaced, too: it is in the result.
///
/// ```
/// # use hotcall::{dispatch, slot};
/// # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
/// # struct Gain(f32); impl Effect for Gain { fn process(&self, s: f32) -> f32 { s * self.0 } }
/// # #[slot] static LEFT: dyn Effect = Gain(1.0);
/// # #[slot] static RIGHT: dyn Effect = Gain(1.0);
/// let retired = hotcall::batch(|b| {
///     b.replace(&LEFT, Gain(0.5));
///     b.replace(&RIGHT, Gain(2.0));
/// })?;
/// assert_eq!((LEFT.process(1.0), RIGHT.process(1.0)), (0.5, 2.0));
/// assert_eq!(retired.len(), 2);
/// # Ok::<(), hotcall::Error>(())
/// ```
///
/// # Errors
///
/// Where anything is refused, nothing has changed, and the new instances are dropped. [`Batch::commit`]
/// gives them back instead.
pub fn batch(build: impl FnOnce(&mut Batch)) -> Result<RetiredBatch, Error> {
    let mut batch = Batch::new();
    build(&mut batch);
    batch.commit().map_err(|(error, _)| error)
}

/// Changes that are to take effect together. See [`batch`].
#[derive(Debug, Default)]
#[must_use = "a batch changes nothing before it is committed"]
pub struct Batch {
    changes: Changes,
}

impl Batch {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change: `slot` is to hold `value`.
    ///
    /// `slot` is a slot, or the [`Control`](crate::Control) of one.
    pub fn replace<S, T>(&mut self, slot: &'static S, value: T) -> &mut Self
    where
        S: Retarget,
        T: Send + Sync + 'static,
        S::Interface: Implements<T>,
    {
        let instance = Instance::<S::Interface>::new(value).into_raw();
        self.changes.slots.push(Change::new(slot.__core(), instance));
        self
    }

    /// Adds a change: `key` is to be on, or off. Of several changes of one key the last counts.
    ///
    /// `key` is a [`Key`](crate::Key), or the [`KeyControl`](crate::KeyControl) of one.
    ///
    /// ```
    /// # use hotcall::{dispatch, key, slot};
    /// # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
    /// # struct Gain(f32); impl Effect for Gain { fn process(&self, s: f32) -> f32 { s * self.0 } }
    /// # #[slot] static EFFECT: dyn Effect = Gain(1.0);
    /// #[key]
    /// static METERED: bool = false;
    ///
    /// hotcall::batch(|b| {
    ///     b.replace(&EFFECT, Gain(0.5));
    ///     b.set(&METERED, true);
    /// })?;
    /// assert!(METERED.is_on());
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    pub fn set<K: Switch>(&mut self, key: &'static K, on: bool) -> &mut Self {
        self.changes.keys.push(KeyChange { key: key.__key_core(), want: Want::Set(on) });
        self
    }

    /// How many changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.slots.len() + self.changes.keys.len()
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// All changes take effect, under one barrier.
    ///
    /// # Errors
    ///
    /// The reason, and the batch as it was: nothing has changed, nothing is lost.
    pub fn commit(mut self) -> Result<RetiredBatch, (Error, Batch)> {
        if self.changes.is_empty() {
            return Ok(RetiredBatch { installed: Vec::new() });
        }
        match commit::commit(core::mem::take(&mut self.changes)) {
            Ok(installed) => Ok(RetiredBatch { installed }),
            Err((error, changes)) => {
                self.changes = changes;
                Err((error, self))
            }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // Never published. One that panics keeps none of the others from being dropped.
        drop_each(self.changes.slots.iter().filter_map(|change| change.new.take_unretired()));
    }
}

/// What a batch replaced in slots, in the order of its changes. Dropping it lets the runtime free them all.
#[derive(Debug)]
pub struct RetiredBatch {
    installed: Vec<Arc<Installed>>,
}

impl RetiredBatch {
    /// How many instances were replaced.
    #[must_use]
    pub fn len(&self) -> usize {
        self.installed.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.installed.is_empty()
    }

    /// Whether no thread can be inside any of them any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.installed.iter().all(|installed| installed.is_drained())
    }

    /// Waits until all have drained, and drops them.
    ///
    /// # Errors
    ///
    /// Itself, where the wait would never end: see [`WaitError::WouldDeadlock`](crate::WaitError::WouldDeadlock).
    pub fn wait(self) -> Result<(), Self> {
        if !self.is_drained() {
            if quiesce::would_deadlock() {
                return Err(self);
            }
            // They drain in this order: what was found drained is not looked at again.
            let drained = Cell::new(0);
            let all = || {
                let more = self.installed[drained.get()..].iter().take_while(|one| one.is_drained()).count();
                drained.set(drained.get() + more);
                drained.get() == self.installed.len()
            };
            reclaimer::wait_until(all, None);
        }
        // Dropping `self` drops them here.
        Ok(())
    }
}

impl Drop for RetiredBatch {
    fn drop(&mut self) {
        drop_each(self.installed.iter().filter_map(|installed| installed.abandon()));
    }
}

//! Many changes of a chain that take effect together.

use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

use super::changes::Changes;
use super::core::Leaving;
use super::rule::Chainable;
use crate::installed::Installed;
use crate::instance::Instance;
use crate::interface::Implements;
use crate::quiesce::{self, reclaimer};
use crate::retired::Retired;

/// The list as it is to be: see [`Chain::edit`](crate::Chain::edit). Indices out of range panic, as those of a `Vec` do,
/// and nothing has changed then.
///
/// An `Edit` belongs to its chain, and stays with it: its size is not known when it is used (`Fixed`, of which nothing else
/// can be said, is a slice), so it can be lent and called, and neither moved nor exchanged for another.
///
/// ```compile_fail,E0277
/// # use hotcall::{Chain, chain, dispatch};
/// # #[dispatch] pub trait Effect: Send + Sync { #[chain(through)] fn process(&self, sample: f32) -> f32; }
/// # fn both(left: Chain<dyn Effect>, right: Chain<dyn Effect>) {
/// left.edit(|of_left| {
///     right.edit(|of_right| std::mem::swap(of_left, of_right));
/// });
/// # }
/// ```
///
/// If a destructor panics, of an element that this very edit has added and takes out again, the others are dropped all the
/// same, and the element is out of the list.
pub struct Edit<I: ?Sized + Chainable, Fixed: ?Sized = [()]> {
    changes: Changes,
    interface: PhantomData<fn(Instance<I>)>,
    /// Without a size that is known, where a user can name this: it is not moved.
    _fixed: Fixed,
}

impl<I: ?Sized + Chainable> Edit<I, [(); 0]> {
    pub(super) fn new(changes: Changes) -> Self {
        Self { changes, interface: PhantomData, _fixed: [] }
    }

    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }
}

impl<I: ?Sized + Chainable> Edit<I> {
    fn make<T>(value: T) -> Arc<Installed>
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        Arc::new(Installed::new(Instance::<I>::new(value).into_raw()))
    }

    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the element at `index`, as the compiler prints it.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn type_name(&self, index: usize) -> &'static str {
        self.changes.get(index).table().type_name()
    }

    /// Adds an element at the end.
    pub fn push<T>(&mut self, value: T)
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        self.changes.insert(self.len(), Self::make(value));
    }

    /// Adds an element before the one at `index`.
    ///
    /// # Panics
    ///
    /// Where `index` is greater than the length. `value` is dropped.
    pub fn insert<T>(&mut self, index: usize, value: T)
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        assert!(index <= self.len(), "insertion at {index} into a chain of {}", self.len());
        self.changes.insert(index, Self::make(value));
    }

    /// Takes an element out.
    ///
    /// # Panics
    ///
    /// Where there is none at `index`.
    pub fn remove(&mut self, index: usize) {
        self.changes.remove(index);
    }

    /// Puts another element in the place of the one at `index`.
    ///
    /// # Panics
    ///
    /// Where there is none. `value` is dropped.
    pub fn replace<T>(&mut self, index: usize, value: T)
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        assert!(index < self.len(), "replacement of {index} in a chain of {}", self.len());
        self.changes.replace(index, Self::make(value));
    }

    /// Exchanges two elements.
    ///
    /// # Panics
    ///
    /// Where there is none at one of the indices.
    pub fn swap(&mut self, first: usize, second: usize) {
        self.changes.swap(first, second);
    }

    /// Moves an element to another place: it is taken out, then put in before the one that is at `to` then.
    ///
    /// # Panics
    ///
    /// Where either is not less than the length.
    pub fn shift(&mut self, from: usize, to: usize) {
        self.changes.shift(from, to);
    }

    /// Turns the order round.
    pub fn reverse(&mut self) {
        self.changes.reverse();
    }

    /// Takes all elements out.
    pub fn clear(&mut self) {
        self.changes.clear();
    }

    /// For tests: what could be done if an `Edit` could be moved. Everything that chains promise is void then.
    #[cfg(feature = "negative-controls")]
    #[doc(hidden)]
    pub fn __exchange(&mut self, other: &mut Self) {
        core::mem::swap(&mut self.changes, &mut other.changes);
    }
}

impl<I: ?Sized + Chainable> fmt::Debug for Edit<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit").field("elements", &self.changes.names()).finish_non_exhaustive()
    }
}

/// The elements that an edit took out, in the order in which they left. Dropping it lets the runtime free them all.
///
/// Those that have drained are dropped with it, right there. If the destructor of one panics, the others are dropped all
/// the same.
pub struct RetiredElements<I: ?Sized + Chainable> {
    gone: Leaving,
    interface: PhantomData<fn() -> Box<I>>,
}

impl<I: ?Sized + Chainable> RetiredElements<I> {
    pub(super) fn new(gone: Leaving) -> Self {
        Self { gone, interface: PhantomData }
    }

    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.gone.list().len()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no thread can be inside any of them any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.gone.list().iter().all(|one| one.is_drained())
    }

    /// Each of them.
    pub fn into_vec(self) -> Vec<Retired<I>> {
        self.gone.into_list().into_iter().map(Retired::new).collect()
    }

    /// Waits until all have drained, and gives them back.
    ///
    /// # Errors
    ///
    /// Itself, where the wait would never end: see [`WaitError::WouldDeadlock`](crate::WaitError::WouldDeadlock).
    pub fn wait(self) -> Result<Vec<Instance<I>>, Self> {
        if !self.is_drained() {
            if quiesce::would_deadlock() {
                return Err(self);
            }
            reclaimer::wait_until(|| self.is_drained(), None);
        }
        // Drained, so nobody else takes them.
        let raw = self.gone.into_list().into_iter().filter_map(|one| one.abandon());
        Ok(raw.map(Instance::from_raw).collect())
    }
}

impl<I: ?Sized + Chainable> fmt::Debug for RetiredElements<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.gone.list().iter().map(|one| one.table().type_name());
        f.debug_list().entries(names).finish()
    }
}

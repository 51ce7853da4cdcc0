//! Many changes of a chain that take effect together.

use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

use super::core::List;
use super::rule::Chainable;
use crate::installed::Installed;
use crate::instance::Instance;
use crate::interface::Implements;
use crate::quiesce::{self, reclaimer};
use crate::retired::Retired;

/// The list as it is to be: see [`Chain::edit`](crate::Chain::edit). Indices out of range panic, as those of a `Vec` do.
pub struct Edit<I: ?Sized + Chainable> {
    list: List,
    gone: List,
    /// How many elements each of `gone` that were added by this very edit: they are dropped, not retired.
    added: Vec<*const Installed>,
    interface: PhantomData<fn(Instance<I>)>,
}

impl<I: ?Sized + Chainable> Edit<I> {
    pub(super) fn new(list: List) -> Self {
        Self { list, gone: List::new(), added: Vec::new(), interface: PhantomData }
    }

    /// The list, and what left it that calls may be running.
    pub(super) fn finish(self) -> (List, List) {
        (self.list, self.gone)
    }

    fn make<T>(&mut self, value: T) -> Arc<Installed>
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        let new = Arc::new(Installed::new(Instance::<I>::new(value).into_raw()));
        self.added.push(Arc::as_ptr(&new));
        new
    }

    fn leave(&mut self, old: Arc<Installed>) {
        // What this edit itself added was never published, and is simply dropped.
        if !self.added.contains(&Arc::as_ptr(&old)) {
            self.gone.push(old);
        }
    }

    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The type of the element at `index`, as the compiler prints it.
    #[must_use]
    pub fn type_name(&self, index: usize) -> &'static str {
        self.list[index].table().type_name()
    }

    /// Adds an element at the end.
    pub fn push<T>(&mut self, value: T)
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        let new = self.make(value);
        self.list.push(new);
    }

    /// Adds an element before the one at `index`.
    pub fn insert<T>(&mut self, index: usize, value: T)
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        assert!(index <= self.list.len(), "insertion at {index} into a chain of {}", self.list.len());
        let new = self.make(value);
        self.list.insert(index, new);
    }

    /// Takes an element out.
    pub fn remove(&mut self, index: usize) {
        let old = self.list.remove(index);
        self.leave(old);
    }

    /// Puts another element in the place of the one at `index`.
    pub fn replace<T>(&mut self, index: usize, value: T)
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        assert!(index < self.list.len(), "replacement of {index} in a chain of {}", self.list.len());
        let new = self.make(value);
        let old = core::mem::replace(&mut self.list[index], new);
        self.leave(old);
    }

    /// Exchanges two elements.
    pub fn swap(&mut self, first: usize, second: usize) {
        self.list.swap(first, second);
    }

    /// Moves an element to another place: it is taken out, then put in before the one at `to`.
    pub fn shift(&mut self, from: usize, to: usize) {
        let element = self.list.remove(from);
        self.list.insert(to, element);
    }

    /// Turns the order round.
    pub fn reverse(&mut self) {
        self.list.reverse();
    }

    /// Takes all elements out.
    pub fn clear(&mut self) {
        for old in core::mem::take(&mut self.list) {
            self.leave(old);
        }
    }
}

impl<I: ?Sized + Chainable> fmt::Debug for Edit<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.list.iter().map(|one| one.table().type_name()).collect();
        f.debug_struct("Edit").field("elements", &names).finish_non_exhaustive()
    }
}

/// The elements that an edit took out, in the order in which they left. Dropping it lets the runtime free them all.
#[must_use = "drop it to let the runtime free the old elements, or wait until they have drained"]
pub struct RetiredElements<I: ?Sized + Chainable> {
    retired: Vec<Retired<I>>,
}

impl<I: ?Sized + Chainable> RetiredElements<I> {
    pub(super) fn new(gone: List) -> Self {
        Self { retired: gone.into_iter().map(Retired::new).collect() }
    }

    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.retired.len()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.retired.is_empty()
    }

    /// Whether no thread can be inside any of them any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.retired.iter().all(Retired::is_drained)
    }

    /// Each of them.
    pub fn into_vec(self) -> Vec<Retired<I>> {
        self.retired
    }

    /// Waits until all have drained, and gives them back.
    ///
    /// # Errors
    ///
    /// Itself, where the calling thread is inside a call or holds a guard: the wait would never end.
    pub fn wait(self) -> Result<Vec<Instance<I>>, Self> {
        if !self.is_drained() {
            if quiesce::would_deadlock() {
                return Err(self);
            }
            reclaimer::wait_until(|| self.is_drained(), None);
        }
        let waited: Result<Vec<_>, _> = self.retired.into_iter().map(Retired::wait).collect();
        // It would not deadlock, and nothing else refuses.
        waited.map_err(|error| Self { retired: vec![error.into_retired()] })
    }
}

impl<I: ?Sized + Chainable> fmt::Debug for RetiredElements<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.retired).finish()
    }
}

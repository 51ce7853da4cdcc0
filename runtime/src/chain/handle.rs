//! The handle: an ordered list of plugins that implements their trait.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

use super::changes::Changes;
use super::core::{ChainCore, Interface, List};
use super::edit::{Edit, RetiredElements};
use super::inspect::EmittedChain;
use super::link::Entries;
use super::rule::Chainable;
use crate::error::{Error, ReplaceError};
use crate::installed::{Installed, drop_each};
use crate::instance::Instance;
use crate::interface::{Code, Implements};
use crate::quiesce::{Guard, Section};
use crate::retired::Retired;

/// An ordered list of plugins behind one handle that implements their trait.
///
/// A call runs every element, in order; how their results combine, each method's rule says. On Linux x86-64 the list
/// is machine code: one direct call after another, with the instances as immediates.
///
/// ```
/// use hotcall::{Chain, chain, dispatch};
///
/// #[dispatch]
/// pub trait Effect: Send + Sync {
///     #[chain(through)]
///     fn process(&self, sample: f32) -> f32;
/// }
/// struct Gain(f32);
/// impl Effect for Gain {
///     fn process(&self, sample: f32) -> f32 { sample * self.0 }
/// }
/// struct Limiter;
/// impl Effect for Limiter {
///     fn process(&self, sample: f32) -> f32 { sample.clamp(-1.0, 1.0) }
/// }
///
/// let rack: Chain<dyn Effect> = chain![Gain(4.0), Gain(0.5)]?;
/// assert_eq!(rack.process(1.0), 2.0);
/// rack.insert(1, Limiter)?;                       // live: any thread may be inside
/// assert_eq!(rack.process(1.0), 0.5);
/// let gone = rack.remove(0)?.wait()?;             // the instance, once no thread is inside it
/// assert_eq!(rack.process(1.0), 0.5);
/// # drop(gone);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Rules
///
/// | the method says | each element | the result | of an empty chain |
/// |---|---|---|---|
/// | nothing, or `#[chain(all)]`, and returns `()` | is called | | |
/// | `#[chain(through)]` | gets the result of the one before as the argument that has the result's type | the last one's | the argument |
/// | `#[chain(through = name)]` | as above, where several arguments have that type | | |
/// | `#[chain(first)]` | is called until one returns `Some`, `Err`, `Break` or `true` | that, or the last one's | `None`, `Ok`, `Continue`, `false` |
/// | `#[chain(own)]`, or nothing, and has a default body | is not called | the trait's default body, on the chain | |
///
/// A method that returns something and has neither a rule nor a default body has no chain: where another method of the
/// trait has a rule, that is an error at the method; else `Chain<dyn Trait>` is refused where it is used.
///
/// # Edits
///
/// A call sees the list before an edit or the list after it. What an edit removes is given back as [`Retired`]. An
/// element may edit the chain that is calling it: the call goes on over the list with which it began, or, where one element
/// further on was replaced by another of its type, over the list after that.
///
/// # What is emitted
///
/// Methods whose arguments all travel in registers and are written as integers, floats, references or pointers; a
/// value that goes through must be one of them, of one register. Other methods are a loop over a list, as are
/// all of them in the portable backend.
///
/// The last of up to four elements is jumped to, where the method cannot stop before it: in a backtrace its caller is
/// that of the chain. Longer chains have a frame of their own throughout.
pub struct Chain<I: ?Sized + Chainable> {
    core: ChainCore,
    entries: I::Entries,
    elements: PhantomData<Instance<I>>,
}

impl<I: ?Sized + Chainable> Chain<I> {
    /// No elements. Each use of it is a chain of its own.
    #[allow(clippy::declare_interior_mutable_const, reason = "it is what statics begin with")]
    pub const EMPTY: Self = Self { core: ChainCore::new(), entries: I::EMPTY, elements: PhantomData };

    fn interface(&self) -> Interface<'_> {
        Interface { rules: I::RULES, entries: self.entries.as_slice() }
    }
}

impl<I: ?Sized + Chainable> Chain<I>
where
    Instance<I>: Send + Sync,
{
    /// A chain of these elements. [`chain!`](crate::chain!) makes instances of values of different types.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn new(elements: impl IntoIterator<Item = Instance<I>>) -> Result<Self, Error> {
        let chain = Self::EMPTY;
        // Drops what it has, where the iterator panics.
        let mut list = Changes::of(&List::new());
        for element in elements {
            list.insert(list.len(), install(element));
        }
        if list.len() != 0 {
            let (_, _none) = chain.core.edit(chain.interface(), |_| Ok(((), list)))?;
        }
        Ok(chain)
    }

    /// How many elements.
    ///
    /// 0 if called from inside [`edit`](Self::edit) on the same thread: ask the [`Edit`] there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.look(Vec::len).unwrap_or_default()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' types, in order, as the compiler prints them.
    #[must_use]
    pub fn type_names(&self) -> Vec<&'static str> {
        let names = |list: &List| list.iter().map(|one| one.table().type_name()).collect();
        self.core.look(names).unwrap_or_default()
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    ///
    /// With `value` inside, [`Error::Reentrant`] where a wait for the chain's other editors would not end, as inside
    /// [`edit`](Self::edit) of this chain. Where code memory cannot be had, the chain is a loop: slower, and right.
    pub fn push<T>(&self, value: T) -> Result<(), ReplaceError<I>>
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        self.add(None, install::<I>(Instance::new(value)))
    }

    /// Adds an element before the one at `index`.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push), and [`Error::NoElement`] where `index` is greater than the length.
    pub fn insert<T>(&self, index: usize, value: T) -> Result<(), ReplaceError<I>>
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        self.add(Some(index), install::<I>(Instance::new(value)))
    }

    fn add(&self, index: Option<usize>, new: Arc<Installed>) -> Result<(), ReplaceError<I>> {
        let added = self.core.edit(self.interface(), |mut list| {
            let (at, len) = (index.unwrap_or(list.len()), list.len());
            if at > len {
                return Err(Error::NoElement { index: at, len });
            }
            list.insert_lent(at, Arc::clone(&new));
            Ok(((), list))
        });
        added.map(drop).map_err(|error| refused(error, &new))
    }

    /// Takes an element out.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] where there is none at `index`; else as for [`push`](Self::push).
    pub fn remove(&self, index: usize) -> Result<Retired<I>, Error> {
        let removed = self.core.edit(self.interface(), |mut list| {
            if index >= list.len() {
                return Err(Error::NoElement { index, len: list.len() });
            }
            list.remove(index);
            Ok(((), list))
        });
        removed.map(|((), gone)| Retired::new(gone.into_list().swap_remove(0)))
    }

    /// Puts another element in the place of the one at `index`, and gives that back.
    ///
    /// Where both are of one type, and nobody can still be on the way to the last such replacement of this chain, the
    /// call is retargeted in place, whatever the length of the chain.
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove), with `value` inside.
    pub fn replace<T>(&self, index: usize, value: T) -> Result<Retired<I>, ReplaceError<I>>
    where
        T: Send + Sync + 'static,
        I: Implements<T>,
    {
        let new = install::<I>(Instance::new(value));
        match self.core.replace(self.interface(), index, Arc::clone(&new)) {
            Ok(old) => Ok(Retired::new(old)),
            Err(error) => Err(refused(error, &new)),
        }
    }

    /// Exchanges two elements.
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove).
    pub fn swap(&self, first: usize, second: usize) -> Result<(), Error> {
        let swapped = self.core.edit(self.interface(), |mut list| {
            let len = list.len();
            if let Some(&index) = [first, second].iter().find(|index| **index >= len) {
                return Err(Error::NoElement { index, len });
            }
            list.swap(first, second);
            Ok(((), list))
        });
        swapped.map(drop)
    }

    /// Takes all elements out.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn clear(&self) -> Result<RetiredElements<I>, Error> {
        self.edit(Edit::clear).map(|((), retired)| retired)
    }

    /// Many changes that take effect together: no call sees some of them and not the others.
    ///
    /// Calls go on, over the list as it was, while `change` runs. If `change` panics, nothing has changed: what it added is
    /// dropped, what it took out is still there.
    ///
    /// Other threads that edit this chain wait meanwhile; no lock is held, and a fork waits for nobody. `change` may do
    /// whatever else hotcall can do, but these, which are refused:
    ///
    /// | inside `change` | |
    /// |---|---|
    /// | an edit of this very chain | [`Error::Reentrant`]; [`len`](Self::len) says 0 |
    /// | an edit of another chain, a replacement in a slot | waits for other threads' edits and [`replace_with`](crate::Slot::replace_with) of that one; [`Error::Reentrant`] where one of them waits for this one |
    /// | a wait for what was replaced | [`WaitError::WouldDeadlock`](crate::WaitError::WouldDeadlock): a destructor that has to run first may edit this chain |
    ///
    /// ```
    /// # use hotcall::{Chain, chain, dispatch};
    /// # #[dispatch] pub trait Effect: Send + Sync { #[chain(through)] fn process(&self, sample: f32) -> f32; }
    /// # struct Gain(f32); impl Effect for Gain { fn process(&self, s: f32) -> f32 { s * self.0 } }
    /// let rack: Chain<dyn Effect> = chain![Gain(2.0), Gain(3.0)]?;
    /// rack.edit(|list| {
    ///     list.remove(0);
    ///     list.push(Gain(5.0));
    /// })?;
    /// assert_eq!(rack.process(1.0), 15.0);
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push). What `change` added is dropped then, and what it took out stays.
    pub fn edit<R>(&self, change: impl FnOnce(&mut Edit<I>) -> R) -> Result<(R, RetiredElements<I>), Error> {
        let edited = self.core.edit(self.interface(), |list| {
            let mut edit = Edit::<I, [(); 0]>::new(list);
            let answer = change(&mut edit);
            Ok((answer, edit.into_changes()))
        });
        edited.map(|(answer, gone)| (answer, RetiredElements::new(gone)))
    }

    /// Hoists the protection out of a loop: calls through the result need none of their own, and still see every edit.
    ///
    /// The result implements the trait.
    pub fn bind<'g>(&'g self, _guard: &'g Guard) -> BoundChain<'g, I> {
        BoundChain { chain: self }
    }

    /// For tests: what has been emitted.
    #[doc(hidden)]
    pub fn __emitted(&self) -> Result<Vec<EmittedChain>, Error> {
        self.core.inspect(|list, program| {
            program.map(|program| program.inspect(I::RULES, list)).unwrap_or_default()
        })
    }
}

impl<I: ?Sized + Chainable> Chain<I> {
    /// For `#[dispatch]`: begins the section of a plain call. Sections end in any order.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn __enter() -> Section {
        Section::enter()
    }

    /// For `#[dispatch]`: the first argument of an entry point.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn __this(&self) -> *const () {
        ::core::ptr::from_ref(&self.core).cast()
    }

    /// For `#[dispatch]`: what a call of method `index` is to run, inside a section.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn __entry(&self, index: usize) -> Code {
        self.entries.as_slice()[index].load()
    }
}

fn install<I: ?Sized + Chainable>(instance: Instance<I>) -> Arc<Installed> {
    Arc::new(Installed::new(instance.into_raw()))
}

fn refused<I: ?Sized + Chainable>(error: Error, new: &Installed) -> ReplaceError<I> {
    match new.take_unretired() {
        Some(raw) => ReplaceError::new(error, Instance::from_raw(raw)),
        None => ReplaceError::without(error),
    }
}

impl<I: ?Sized + Chainable> Drop for Chain<I> {
    fn drop(&mut self) {
        // Nobody is inside: a call borrows the chain.
        let list = self.core.close();
        drop_each(list.iter().filter_map(|element| element.take_unretired()));
    }
}

impl<I: ?Sized + Chainable> Default for Chain<I> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<I: ?Sized + Chainable> fmt::Debug for Chain<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Option<Vec<_>> =
            self.core.look(|list| list.iter().map(|one| one.table().type_name()).collect());
        let mut debug = f.debug_struct("Chain");
        debug.field("interface", &I::DESCRIPTION.name);
        match names {
            Some(names) => debug.field("elements", &names).finish(),
            None => debug.finish_non_exhaustive(),
        }
    }
}

/// A chain bound to a guard, see [`Chain::bind`]: implements the chain's trait.
pub struct BoundChain<'g, I: ?Sized + Chainable> {
    chain: &'g Chain<I>,
}

impl<I: ?Sized + Chainable> BoundChain<'_, I> {
    /// For `#[dispatch]`.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn __this(&self) -> *const () {
        self.chain.__this()
    }

    /// For `#[dispatch]`.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn __entry(&self, index: usize) -> Code {
        self.chain.__entry(index)
    }
}

impl<I: ?Sized + Chainable> fmt::Debug for BoundChain<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundChain").field("interface", &I::DESCRIPTION.name).finish_non_exhaustive()
    }
}

/// Makes a [`Chain`](crate::Chain) of values of different types: `chain![Gain(0.5), Reverb::new()]?`.
///
/// A value may be an [`Instance`](crate::Instance), too, from a library.
#[macro_export]
macro_rules! chain {
    ($($element:expr),* $(,)?) => {
        $crate::Chain::new([$($crate::Instance::new($element)),*])
    };
}

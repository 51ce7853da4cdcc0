//! Keys: statics that are on or off, asked by a branch in the caller's own code, and turned at any time.
//!
//! This file is what a user touches. A branch is the backends' own: [`branch`] has the assembler write it, or loads the key.
#![allow(unsafe_code)]

mod control;
mod core;
mod guard;
mod wants;

#[cfg(patched)]
mod branch;
#[cfg(not(patched))]
#[path = "portable_branch.rs"]
mod branch;

use ::core::fmt;
use ::core::marker::PhantomData;

pub use self::core::KeyCore;
pub use control::{KeyControl, OpenKey, Switch};
pub use guard::KeyGuard;
#[cfg(patched)]
pub(crate) use wants::KeyPlan;
pub(crate) use wants::{KeyChange, Keys, Want};

use crate::error::Error;
use crate::slot::Identity;
use crate::slot::commit::{self, Changes};

/// Looks through the program, and has every branch of every key say what its key says: from here on a key that is off costs a
/// no-op where it is asked.
///
/// The first change of any key or slot does the same. So this is for programs that ask keys long before they change anything: they
/// call it first thing. What has been loaded since is looked through, too, each time. In the portable backend there is nothing to do.
///
/// ```
/// # use hotcall::key;
/// #[key]
/// static TRACING: bool = false;
///
/// hotcall::prepare()?;
/// assert!(!TRACING.is_on());
/// # Ok::<(), hotcall::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Reentrant`] on a thread that is replacing just then (an allocator behind a slot); [`Error::Memory`] where a slot has calls in a library that was loaded
/// since, and they could not be retargeted. Branches that cannot be patched are no error: [`report`](crate::report) counts them.
pub fn prepare() -> Result<(), Error> {
    commit::commit(Changes::default()).map(|_| ()).map_err(|(error, _)| error)
}

/// What `#[key]` says of a static.
///
/// # Safety
///
/// Only `#[key]` implements it, on a type of its own for each static: `core` gives the core of that static, which `load` loads.
pub unsafe trait KeyDefinition: Sized + 'static {
    /// The key's name, with its module's path.
    const NAME: &'static str;

    /// Whether it begins by being on.
    const DEFAULT: bool;

    /// Which declaration this is, in whichever image.
    const IDENTITY: Identity;

    /// Whether it is on, by a look at the static.
    fn load() -> bool;

    /// The static's core. Also the key's identity in the image's records.
    extern "C" fn core() -> &'static KeyCore;
}

/// A static that is on or off, and costs next to nothing to ask.
///
/// Declared by [`#[key]`](macro@crate::key). Where it is asked stands a no-op of five bytes or a jump in the program's own code. [`set`]
/// exchanges one for the other at every place where the key is asked, at any moment, under the threads that run there: after
/// it has returned, every question that is asked later, on every thread, has the new answer.
///
/// ```
/// use hotcall::key;
///
/// /// Whether packets are traced.
/// #[key]
/// pub static TRACING: bool = false;
///
/// fn handle(packet: &[u8]) -> usize {
///     if TRACING.is_on() {
///         eprintln!("a packet of {} bytes", packet.len());
///     }
///     packet.len()
/// }
///
/// handle(b"quietly");
/// TRACING.set(true)?;
/// handle(b"with a trace");
/// TRACING.set(false)?;
/// # Ok::<(), hotcall::Error>(())
/// ```
///
/// # When it costs nothing
///
/// Each place begins as a jump to a load of the key. The first change of any key or slot, or [`prepare`](crate::prepare), looks through
/// the program and makes it what the key says. From then on a key that is off costs a no-op where it is
/// asked. A place that cannot be patched goes on loading the key, and answers as all others do; [`report`](crate::report) counts
/// those, and says why.
///
/// In the portable backend, and on systems without `membarrier`, it is a relaxed load and a branch.
///
/// # What it does not do
///
/// It orders nothing but itself: a thread that finds it on need not find what was stored before it was turned on. What
/// belongs together belongs into a [`Slot`](crate::Slot).
///
/// # Likely and unlikely
///
/// | asked by | what runs straight on |
/// |---|---|
/// | [`is_on`](Self::is_on) | the arm of what the key was declared with; the other stands out of line, behind a jump |
/// | [`is_unlikely_on`](Self::is_unlikely_on) | the arm of off |
/// | [`is_likely_on`](Self::is_likely_on) | the arm of on |
///
/// [`set`]: Self::set
#[repr(transparent)]
pub struct Key<D: KeyDefinition> {
    core: KeyCore,
    definition: PhantomData<fn() -> D>,
}

impl<D: KeyDefinition> Key<D> {
    /// For `#[key]`.
    ///
    /// # Safety
    ///
    /// It is the static of `D`.
    #[doc(hidden)]
    #[must_use]
    pub const unsafe fn __new() -> Self {
        let core = KeyCore::new(D::NAME, const { &D::IDENTITY }, D::DEFAULT);
        Self { core, definition: PhantomData }
    }

    /// For `#[key]`.
    #[doc(hidden)]
    #[must_use]
    pub const fn __core(&self) -> &KeyCore {
        &self.core
    }

    /// Whether it is on.
    ///
    /// What is done in the arm that the key was not declared with stands out of line.
    #[inline(always)]
    #[must_use]
    pub fn is_on(&self) -> bool {
        if D::DEFAULT { branch::likely::<D>() } else { branch::unlikely::<D>() }
    }

    /// Whether it is on, where it is more often than not.
    ///
    /// ```
    /// # use hotcall::key;
    /// #[key]
    /// static CACHE: bool = true;
    ///
    /// fn look_up(name: &str) -> usize {
    ///     if CACHE.is_likely_on() { name.len() } else { name.chars().count() }
    /// }
    /// # assert_eq!(look_up("cache"), 5);
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn is_likely_on(&self) -> bool {
        branch::likely::<D>()
    }

    /// Whether it is on, where it hardly ever is.
    #[inline(always)]
    #[must_use]
    pub fn is_unlikely_on(&self) -> bool {
        branch::unlikely::<D>()
    }

    /// The key's name, with its module's path.
    #[must_use]
    pub fn name(&self) -> &'static str {
        D::NAME
    }
}

impl<D: KeyDefinition> fmt::Debug for Key<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &D::NAME).field("on", &self.core.is_on()).finish()
    }
}

/// Whether a [`Key`] is on: `on!(TRACING)` is `TRACING.is_on()`; `on!(likely TRACING)` and `on!(unlikely TRACING)` are
/// the forms of that name.
///
/// ```
/// use hotcall::{key, on};
///
/// #[key]
/// static TRACING: bool = false;
///
/// assert!(!on!(TRACING));
/// TRACING.set(true)?;
/// assert!(on!(TRACING) && on!(likely TRACING) && on!(unlikely TRACING));
/// # Ok::<(), hotcall::Error>(())
/// ```
#[macro_export]
macro_rules! on {
    (likely $key:expr) => {
        $key.is_likely_on()
    };
    (unlikely $key:expr) => {
        $key.is_unlikely_on()
    };
    ($key:expr) => {
        $key.is_on()
    };
}

//! Turning: by the key itself, or, where asking and turning are separate capabilities, by its control.

use core::fmt;

use super::{Key, KeyChange, KeyCore, KeyDefinition, KeyGuard, Want};
use crate::error::Error;
use crate::slot::commit::{self, Changes};

/// A key that whoever can name it may turn: one without a [`KeyControl`].
///
/// # Safety
///
/// Only `#[key]` implements it, where no control was asked for.
#[diagnostic::on_unimplemented(
    message = "this key is for asking: only its `KeyControl` may turn it",
    label = "declared with `#[key(control = ..)]`",
    note = "call the same method on the key's control, if its owner lends it"
)]
pub unsafe trait OpenKey: KeyDefinition {}

/// What a [`batch`](crate::batch()) may turn: a [`Key`], or the [`KeyControl`] of one.
///
/// # Safety
///
/// Implemented by hotcall only.
pub unsafe trait Switch {
    /// For hotcall.
    #[doc(hidden)]
    fn __key_core(&'static self) -> &'static KeyCore;
}

// SAFETY: the core is that of a static.
unsafe impl<D: OpenKey> Switch for Key<D> {
    fn __key_core(&'static self) -> &'static KeyCore {
        &self.core
    }
}

// SAFETY: as above.
unsafe impl<D: KeyDefinition> Switch for KeyControl<D> {
    fn __key_core(&'static self) -> &'static KeyCore {
        &self.key.core
    }
}

/// Commits one change.
pub(super) fn change(key: &'static KeyCore, want: Want) -> Result<(), Error> {
    let changes = Changes { slots: Vec::new(), keys: vec![KeyChange { key, want }] };
    commit::commit(changes).map(|_| ()).map_err(|(error, _)| error)
}

fn with<D: KeyDefinition, R>(core: &'static KeyCore, run: impl FnOnce() -> R) -> Result<R, Error> {
    let _guard = KeyGuard::<D>::new(core)?;
    Ok(run())
}

/// The right to turn one key, apart from the right to ask it.
///
/// `#[key(control = NAME)]` declares it beside the key, private unless written `control = pub NAME`. It may be copied and
/// handed on.
///
/// ```
/// mod library {
///     use hotcall::key;
///
///     #[key(control = TRACING_CONTROL)]
///     pub static TRACING: bool = false;
///
///     pub fn trace() -> Result<(), hotcall::Error> {
///         TRACING_CONTROL.set(true)
///     }
/// }
/// library::trace()?;
/// assert!(library::TRACING.is_on());
/// # Ok::<(), hotcall::Error>(())
/// ```
///
/// Elsewhere the key itself is not turned:
///
/// ```compile_fail
/// # use hotcall::key;
/// #[key(control = TRACING_CONTROL)]
/// pub static TRACING: bool = false;
/// TRACING.set(true);
/// ```
pub struct KeyControl<D: KeyDefinition> {
    key: &'static Key<D>,
}

impl<D: KeyDefinition> Clone for KeyControl<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: KeyDefinition> Copy for KeyControl<D> {}

impl<D: KeyDefinition> fmt::Debug for KeyControl<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyControl").field("key", &D::NAME).finish()
    }
}

impl<D: KeyDefinition> KeyControl<D> {
    /// For `#[key]`. `_owner` cannot be made outside the module that declares the key.
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(key: &'static Key<D>, _owner: &'static D) -> Self {
        Self { key }
    }

    /// The key, to ask it.
    #[must_use]
    pub fn key(&self) -> &'static Key<D> {
        self.key
    }

    /// As [`Key::set`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set(&self, on: bool) -> Result<(), Error> {
        change(&self.key.core, Want::Set(on))
    }

    /// As [`Key::hold`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn hold(&self) -> Result<KeyGuard<D>, Error> {
        KeyGuard::new(&self.key.core)
    }

    /// As [`Key::with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with<R>(&self, run: impl FnOnce() -> R) -> Result<R, Error> {
        with::<D, R>(&self.key.core, run)
    }
}

impl<D: KeyDefinition> Key<D> {
    /// Turns it on or off: every question that is asked after this has returned, on every thread, has that answer. Off, it is
    /// on nevertheless for as long as somebody [holds](Self::hold) it.
    ///
    /// Where that changes anything, each place where the key is asked is stored to, and a `membarrier` interrupts every core that
    /// runs the program: about ten microseconds. Where it changes nothing, nothing is written.
    ///
    /// # Errors
    ///
    /// [`Error::Reentrant`] on a thread that is replacing just then (an allocator behind a slot); [`Error::Memory`] where a fork has shared the program's code, which
    /// could not be copied. The key is as it was.
    pub fn set(&'static self, on: bool) -> Result<(), Error>
    where
        D: OpenKey,
    {
        change(&self.core, Want::Set(on))
    }

    /// Turns it on, until the guard is dropped. It may be held often, by several threads: it is on while any of them holds it.
    ///
    /// ```
    /// use hotcall::key;
    ///
    /// #[key]
    /// static TRACING: bool = false;
    ///
    /// let mine = TRACING.hold()?;
    /// let yours = TRACING.hold()?;
    /// drop(mine);
    /// assert!(TRACING.is_on());
    /// drop(yours);
    /// assert!(!TRACING.is_on());
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set).
    pub fn hold(&'static self) -> Result<KeyGuard<D>, Error>
    where
        D: OpenKey,
    {
        KeyGuard::new(&self.core)
    }

    /// Runs `run` while it is on: [holds](Self::hold) it meanwhile, for all threads.
    ///
    /// ```
    /// # use hotcall::key;
    /// # #[key]
    /// # static TRACING: bool = false;
    /// assert!(TRACING.with(|| TRACING.is_on())?);
    /// assert!(!TRACING.is_on());
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set): then `run` has not run.
    pub fn with<R>(&'static self, run: impl FnOnce() -> R) -> Result<R, Error>
    where
        D: OpenKey,
    {
        with::<D, R>(&self.core, run)
    }
}

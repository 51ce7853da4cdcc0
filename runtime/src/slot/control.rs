//! Retargeting: by the slot itself, or, where calling and retargeting are separate capabilities, by its control.

use core::convert::Infallible;
use core::fmt;
use std::sync::Arc;

use super::commit::{self, Change};
use super::{Definition, Held, Slot, SlotCore};
use crate::error::{Error, ReplaceError, TryReplaceError};
use crate::installed::Installed;
use crate::instance::{Instance, RawInstance};
use crate::interface::{Crosses, Implements, Interface, Stubs};
use crate::retired::Retired;

/// A slot that whoever can name it may retarget: one without a [`Control`].
///
/// # Safety
///
/// Only `#[slot]` implements it, where no control was asked for.
#[diagnostic::on_unimplemented(
    message = "this slot is for calling: only its `Control` may retarget it",
    label = "declared with `#[slot(control = ..)]`",
    note = "call the same method on the slot's control, if its owner lends it"
)]
#[allow(unsafe_code)]
pub unsafe trait Open: Definition {}

/// What a [`batch`](crate::batch()) may change: a slot, or the control of one.
///
/// # Safety
///
/// Implemented by hotcall and its macros only. What `__core` gives holds implementors of `Interface`.
#[allow(unsafe_code)]
pub unsafe trait Retarget {
    /// The interface of what it holds.
    type Interface: ?Sized + Interface;

    /// For hotcall.
    #[doc(hidden)]
    fn __core(&'static self) -> &'static SlotCore;
}

// SAFETY: a slot's core holds what its definition says.
#[allow(unsafe_code)]
unsafe impl<D: Open> Retarget for Slot<D> {
    type Interface = D::Interface;

    fn __core(&'static self) -> &'static SlotCore {
        &self.core
    }
}

// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<D: Definition> Retarget for Control<D> {
    type Interface = D::Interface;

    fn __core(&'static self) -> &'static SlotCore {
        &self.slot.core
    }
}

/// The right to retarget one slot, apart from the right to call it.
///
/// `#[slot(control = NAME)]` declares it beside the slot, private unless written `control = pub NAME`: the slot then
/// is only called, and only the control replaces what it holds. The control may be copied and handed on.
///
/// ```
/// mod library {
///     # use hotcall::{dispatch, slot};
///     # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
///     # struct Gain(f32); impl Effect for Gain { fn process(&self, s: f32) -> f32 { s * self.0 } }
///     #[slot(control = EFFECT_CONTROL)]
///     pub static EFFECT: dyn Effect = Gain(1.0);
///
///     pub fn double() -> Result<(), hotcall::Error> {
///         EFFECT_CONTROL.replace(Gain(2.0))?;
///         Ok(())
///     }
/// }
/// # use library::Effect;
/// library::double()?;
/// assert_eq!(library::EFFECT.process(0.5), 1.0);
/// # Ok::<(), hotcall::Error>(())
/// ```
///
/// Elsewhere the slot itself is not retargeted:
///
/// ```compile_fail
/// # use hotcall::{dispatch, slot};
/// # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
/// # struct Gain(f32); impl Effect for Gain { fn process(&self, s: f32) -> f32 { s * self.0 } }
/// #[slot(control = EFFECT_CONTROL)]
/// pub static EFFECT: dyn Effect = Gain(1.0);
/// EFFECT.replace(Gain(2.0));
/// ```
pub struct Control<D: Definition> {
    slot: &'static Slot<D>,
}

impl<D: Definition> Clone for Control<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Definition> Copy for Control<D> {}

impl<D: Definition> fmt::Debug for Control<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("slot", &D::NAME).finish()
    }
}

impl<D: Definition> Control<D> {
    /// For `#[slot]`. `_owner` cannot be made outside the module that declares the slot.
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(slot: &'static Slot<D>, _owner: &'static D) -> Self {
        Self { slot }
    }

    pub(super) fn core(&self) -> &'static SlotCore {
        &self.slot.core
    }

    /// The slot, to call it.
    #[must_use]
    pub fn slot(&self) -> &'static <D::Interface as Stubs<D>>::Static {
        let slot: *const Slot<D> = self.slot;
        // SAFETY: `Stubs`: the type of the static is the slot's, or has its representation and holds nothing else.
        #[allow(unsafe_code)]
        unsafe {
            &*slot.cast()
        }
    }

    /// As [`Slot::replace`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn replace<T>(&self, value: T) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        T: Send + Sync + 'static,
        D::Interface: Implements<T>,
    {
        install(&self.slot.core, Instance::new(value))
    }

    /// As [`Slot::replace_instance`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn replace_instance(
        &self,
        instance: Instance<D::Interface>,
    ) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        Instance<D::Interface>: Crosses<<D::Interface as Interface>::Access>,
    {
        install(&self.slot.core, instance)
    }

    /// As [`Slot::replace_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn replace_with<T, F>(&self, make: F) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        T: Send + Sync + 'static,
        D::Interface: Implements<T>,
        F: FnOnce(&Held<'_, D::Interface>) -> T,
    {
        install_made(self.slot, make)
    }

    /// As [`Slot::try_replace_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_replace_with<T, E, F>(
        &self,
        make: F,
    ) -> Result<Retired<D::Interface>, TryReplaceError<D::Interface, E>>
    where
        T: Send + Sync + 'static,
        D::Interface: Implements<T>,
        F: FnOnce(&Held<'_, D::Interface>) -> Result<T, E>,
    {
        try_install_made(self.slot, make)
    }

    /// As [`Slot::restore`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn restore(&self) -> Result<Retired<D::Interface>, Error> {
        restore(self.slot)
    }
}

impl<D: Definition> Slot<D> {
    /// Installs another implementor: every call that starts after this returns, on every thread, runs it.
    ///
    /// `value` is anything that implements the slot's trait, or an [`Instance`] of it, from a library too.
    /// Calls under way finish on the old one, which is given back as [`Retired`].
    ///
    /// An implementor of another type costs a `membarrier`, which interrupts every core that runs the program: about ten
    /// microseconds. Another instance of the type that is installed costs an allocation and a store, once the slot has
    /// settled on that type: some milliseconds after the first.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`] with `value` inside, where a fork has shared code memory that cannot be copied, or this thread is already
    /// replacing; the slot is as it was.
    pub fn replace<T>(&'static self, value: T) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        D: Open,
        T: Send + Sync + 'static,
        D::Interface: Implements<T>,
    {
        install(&self.core, Instance::new(value))
    }

    /// As [`replace`](Self::replace), for an [`Instance`], of any trait: also of one that only its implementors can have, so that
    /// an instance is not one itself. Where the trait has methods with `&mut self`, an instance need not be `Sync`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn replace_instance(
        &'static self,
        instance: Instance<D::Interface>,
    ) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        D: Open,
        Instance<D::Interface>: Crosses<<D::Interface as Interface>::Access>,
    {
        install(&self.core, instance)
    }

    /// Installs what `make` makes of the implementor that is there now: state can be handed over.
    ///
    /// No other replacement comes between the reading of the old implementor and the installing of the new one.
    /// Calls go on, on the old one, while `make` runs; where the trait has `&mut self`, nobody else uses the slot meanwhile. Other
    /// threads that replace in this slot wait; no lock is held, so that `make` may replace in other slots, edit chains, open
    /// libraries and wait for threads that do. If `make` panics, the slot is as it was.
    ///
    /// # Errors
    ///
    /// As for [`replace`](Self::replace); a replacement in this very slot from inside `make` is refused with
    /// [`Error::Reentrant`], as is one of another slot or chain that whoever is changing it would not end before this ends;
    /// and so is a call by a thread that has locked the slot.
    pub fn replace_with<T, F>(
        &'static self,
        make: F,
    ) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        D: Open,
        T: Send + Sync + 'static,
        D::Interface: Implements<T>,
        F: FnOnce(&Held<'_, D::Interface>) -> T,
    {
        install_made(self, make)
    }

    /// As [`replace_with`](Self::replace_with), where `make` may fail: then the slot is as it was.
    ///
    /// ```no_run
    /// # use hotcall::{dispatch, slot, Library};
    /// # #[dispatch] pub trait Effect: Send + Sync { fn state(&self) -> String; }
    /// # struct Bypass; impl Effect for Bypass { fn state(&self) -> String { String::new() } }
    /// # #[slot] pub static EFFECT: dyn Effect = Bypass;
    /// # // SAFETY: it is our own plugin.
    /// # let library = unsafe { Library::open("libreverb.so") }?;
    /// // The new version begins with the state of the old one, or the old one stays.
    /// EFFECT.try_replace_with(|old| library.instantiate::<dyn Effect>(&old.state()))?;
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryReplaceError::Make`] with what `make` answered, and [`TryReplaceError::Replace`] as for
    /// [`replace_with`](Self::replace_with).
    pub fn try_replace_with<T, E, F>(
        &'static self,
        make: F,
    ) -> Result<Retired<D::Interface>, TryReplaceError<D::Interface, E>>
    where
        D: Open,
        T: Send + Sync + 'static,
        D::Interface: Implements<T>,
        F: FnOnce(&Held<'_, D::Interface>) -> Result<T, E>,
    {
        try_install_made(self, make)
    }

    /// Puts the implementor back that the slot was declared with; where the trait has `&mut self`, another like it.
    ///
    /// # Errors
    ///
    /// As for [`replace`](Self::replace).
    pub fn restore(&'static self) -> Result<Retired<D::Interface>, Error>
    where
        D: Open,
    {
        restore(self)
    }
}

/// What is installed here is `Send` and `Sync`: each caller above demands it of its value.
pub(super) fn install<I: ?Sized + Interface>(
    core: &'static SlotCore,
    instance: Instance<I>,
) -> Result<Retired<I>, ReplaceError<I>> {
    match commit::commit_one(Change::new(core, instance.into_raw())) {
        Ok(old) => Ok(Retired::new(old)),
        Err((error, raw)) => Err(ReplaceError::new(error, Instance::from_raw(raw))),
    }
}

fn install_made<D, T>(
    slot: &'static Slot<D>,
    make: impl FnOnce(&Held<'_, D::Interface>) -> T,
) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
where
    D: Definition<Interface: Implements<T>>,
    T: Send + Sync + 'static,
{
    try_install_made(slot, |old| Ok::<_, Infallible>(make(old))).map_err(|error| match error {
        TryReplaceError::Replace(error) => error,
        TryReplaceError::Make(never) => match never {},
    })
}

fn try_install_made<D, T, E>(
    slot: &'static Slot<D>,
    make: impl FnOnce(&Held<'_, D::Interface>) -> Result<T, E>,
) -> Result<Retired<D::Interface>, TryReplaceError<D::Interface, E>>
where
    D: Definition<Interface: Implements<T>>,
    T: Send + Sync + 'static,
{
    let refused = TryReplaceError::Replace;
    // Before the slot's turn: who has the lock may replace.
    let _alone = if D::Interface::EXCLUSIVE {
        Some(slot.lock.alone().map_err(|_| refused(ReplaceError::without(Error::Reentrant)))?)
    } else {
        None
    };
    let mut failed = None;
    let made = commit::commit_with(&slot.core, |old: &Arc<Installed>| {
        let held = Held::new(old.data(), old.table());
        match make(&held) {
            Ok(value) => Some(Instance::<D::Interface>::new(value).into_raw()),
            Err(error) => {
                failed = Some(error);
                None
            }
        }
    });
    match made {
        Ok(Some(old)) => Ok(Retired::new(old)),
        Ok(None) => Err(TryReplaceError::Make(failed.expect("nothing was made because it failed"))),
        Err((error, Some(raw))) => Err(refused(ReplaceError::new(error, Instance::from_raw(raw)))),
        Err((error, None)) => Err(refused(ReplaceError::without(error))),
    }
}

fn restore<D: Definition>(slot: &'static Slot<D>) -> Result<Retired<D::Interface>, Error> {
    let core = &slot.core;
    let instance = if D::Interface::EXCLUSIVE {
        // What was the default may be somebody's by now.
        D::fresh().into_raw()
    } else {
        RawInstance::borrowed(core.default_data(), core.default_table())
    };
    match commit::commit_one(Change::new(core, instance)) {
        Ok(old) => Ok(Retired::new(old)),
        Err((error, _)) => Err(error),
    }
}

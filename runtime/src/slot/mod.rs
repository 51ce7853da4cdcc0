//! Slots: statics that hold one implementor of an interface, called directly and replaced at any time.
//!
//! This file is what a user touches. What a slot is made of differs between the backends, which mirror each
//! other name for name: [`patched`] rewrites the displacements of the program's own calls;
//! [`portable`] calls through an atomic pointer.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::instance::Instance;
#[cfg(patched)]
use crate::interface::Code;
use crate::interface::{Interface, Lent, Shared, Stubs, Table};
use crate::quiesce::{Guard, Section};

#[cfg(patched)]
#[path = "patched/mod.rs"]
pub(crate) mod backend;
#[cfg(not(patched))]
#[path = "portable.rs"]
pub(crate) mod backend;

mod bound;
pub(crate) mod commit;
mod control;
mod function;
pub(crate) mod identity;
pub(crate) mod inspect;
mod lock;
mod methods;
#[cfg(not(patched))]
mod portable_call;
mod target;

pub use backend::SlotCore;
pub use bound::{Bound, SharedAccess, SoleAccess, Within};
pub(crate) use commit::Change;
pub use control::{Control, Open, Retarget};
pub use function::{Function, MaybeEmpty, table_of};
pub use identity::Identity;
use lock::SlotLock;
pub use lock::{LockError, Locked, ReadLocked};
pub use methods::{DefaultCell, Handle, as_static};
pub use target::Target;

/// What `#[slot]` says of a static.
///
/// # Safety
///
/// Only `#[slot]` implements it, on a type of its own for each static. `core` gives the core of that static,
/// whose default is the static that `default` gives; `TABLE` is the table of its type, which is `Sync`.
pub unsafe trait Definition: Sized + 'static {
    /// The interface that callers see.
    type Interface: ?Sized + Interface + Stubs<Self>;

    /// The slot's name, with its module's path.
    const NAME: &'static str;

    /// Which declaration this is, in whichever image.
    const IDENTITY: Identity;

    /// The code of the implementor that the slot begins with.
    const TABLE: &'static Table;

    /// The implementor that the slot begins with. Where its interface has `&mut self`, it may be written through the pointer.
    fn default() -> *mut Self::Interface;

    /// Another like it, for a slot whose default cannot come back.
    fn fresh() -> Instance<Self::Interface>;

    /// The static, or the slot that it derefs to.
    fn slot() -> &'static Slot<Self>;

    /// The static's core. Also the slot's identity in the image's records.
    extern "C" fn core() -> &'static SlotCore;
}

/// A static that holds an implementor of a trait, and implements the trait by calling it.
///
/// Declared by [`#[slot]`](crate::slot). A call costs what a direct call costs; [`replace`](Self::replace)
/// changes what is called, at any moment, on every thread.
///
/// ```
/// use hotcall::{dispatch, slot};
///
/// #[dispatch]
/// pub trait Effect: Send + Sync {
///     fn process(&self, sample: f32) -> f32;
/// }
///
/// struct Bypass;
/// impl Effect for Bypass {
///     fn process(&self, sample: f32) -> f32 { sample }
/// }
/// struct Gain(f32);
/// impl Effect for Gain {
///     fn process(&self, sample: f32) -> f32 { sample * self.0 }
/// }
///
/// #[slot]
/// pub static EFFECT: dyn Effect = Bypass;
///
/// assert_eq!(EFFECT.process(0.5), 0.5);
/// let retired = EFFECT.replace(Gain(2.0))?;
/// assert_eq!(EFFECT.process(0.5), 1.0);
/// drop(retired);
/// # Ok::<(), hotcall::Error>(())
/// ```
///
/// # What may happen during a call
///
/// | during a call, | then |
/// |---|---|
/// | the plugin is replaced, by another thread or by itself | the call goes on where it is; its instance is not freed before the call is over; every call that begins later runs the new one |
/// | it calls other slots, or its own | each call runs what its slot holds as it begins; all instances on the way are kept |
/// | it waits for a [`Retired`](crate::Retired) | refused with [`WaitError::WouldDeadlock`](crate::WaitError::WouldDeadlock) |
/// | it panics | the panic passes through; every call that it passes through is over |
/// | a signal comes whose handler calls slots | a call like any other, on Linux, also where it is its thread's first, wherever the thread is, inside `malloc` too; elsewhere it may not |
/// | it is made on a stackful coroutine, and others of its thread call meanwhile | each keeps what it is inside of until it is over itself, in whatever order they end |
/// | its thread ends | destructors of thread-local storage may call slots, pin and replace; a guard that was leaked, or a coroutine inside a call, holds for ever what it held, for that may have been lent to threads that go on |
///
/// A handler of a signal may not replace or wait: that takes locks and memory. A guard that it makes it drops before it returns.
pub struct Slot<D: Definition> {
    core: SlotCore,
    lock: SlotLock,
    cells: <D::Interface as Stubs<D>>::Cells,
    definition: PhantomData<fn() -> D>,
}

/// For `#[dispatch]`: the cell of a method, of which the slot's interface has that many.
#[doc(hidden)]
#[inline(always)]
#[must_use]
pub fn cell_of<D: Definition>(method: usize) -> &'static backend::CodeCell {
    &D::slot().cells.as_ref()[method]
}

/// For `#[dispatch]`: the code of a method in what the slot holds, and the instance to call it with. Nothing before the first
/// replacement. The caller is inside a section, or holds a guard.
#[cfg(patched)]
#[doc(hidden)]
#[inline(always)]
#[must_use]
pub fn installed_of<D: Definition>(method: usize) -> Option<(*const (), Code)> {
    D::slot().core.installed_code(method)
}

fn cells_of<D: Definition>() -> &'static [backend::CodeCell] {
    D::slot().cells.as_ref()
}

impl<D: Definition> Slot<D> {
    /// For `#[slot]`.
    ///
    /// # Safety
    ///
    /// It is the static of `D`, whose default `default` is.
    #[doc(hidden)]
    #[must_use]
    pub const unsafe fn __new<T: Sync + 'static>(default: &'static T) -> Self {
        let data = NonNull::from_ref(default).cast();
        let description = const { &<D::Interface as Interface>::DESCRIPTION };
        let identity = const { &D::IDENTITY };
        let defaults = <D::Interface as Stubs<D>>::DEFAULTS;
        let exclusive = D::Interface::EXCLUSIVE;
        let core =
            SlotCore::new(D::NAME, identity, description, data, D::TABLE, defaults, cells_of::<D>, exclusive);
        let cells = <D::Interface as Stubs<D>>::CELLS;
        Self { core, lock: SlotLock::new(), cells, definition: PhantomData }
    }

    /// For `#[slot]`, which does not know whether the static is the slot or holds it.
    #[doc(hidden)]
    #[must_use]
    pub const fn __slot(&self) -> &Self {
        self
    }

    /// For `#[slot]`.
    #[doc(hidden)]
    #[must_use]
    pub const fn __core(&self) -> &SlotCore {
        &self.core
    }

    /// For `#[dispatch]`: begins the section of a plain call.
    ///
    /// # Safety
    ///
    /// What is bound is not taken out of the section.
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    pub unsafe fn __enter(&self) -> Entered<'_, D> {
        Entered { section: Section::enter(), bound: Within::new(&self.core) }
    }

    /// Hoists the protection out of a loop: calls through the result need none of their own, and still see
    /// every swap.
    ///
    /// The result has the trait's methods, results that borrow included, and derefs to the trait object for all others. It
    /// implements the trait wherever a type that lives no longer than a guard can.
    #[inline]
    pub fn bind<'g>(&'static self, _guard: &'g Guard) -> Bound<'g, D>
    where
        D::Interface: Shared,
    {
        Bound::new(&self.core)
    }

    /// The implementor that is installed now, and stays the same one for as long as the guard is held.
    ///
    /// The result derefs to the trait object: every method of the trait and of its supertraits can be called on it, at the
    /// cost of `dyn`.
    #[inline]
    pub fn get<'g>(&'static self, _guard: &'g Guard) -> Held<'g, D::Interface>
    where
        D::Interface: Shared,
    {
        self.held()
    }

    /// The caller protects what is installed for as long as `'g`, and sees to it that nobody has it by `&mut`.
    pub(crate) fn held<'g>(&self) -> Held<'g, D::Interface> {
        let (data, table) = self.core.current();
        Held::new(data, table)
    }
}

impl<D: Definition> fmt::Debug for Slot<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _section = Section::enter();
        let (_, table) = self.core.current();
        let alone = if D::Interface::EXCLUSIVE { self.lock.try_alone().ok() } else { None };
        // It is shared by all, or nobody else uses it.
        if (!D::Interface::EXCLUSIVE || alone.is_some())
            && let Some(result) = self.held().debug(f)
        {
            return result;
        }
        f.debug_struct("Slot").field("name", &D::NAME).field("installed", &table.type_name()).finish()
    }
}

/// A plain call's section, and what to call while it lasts.
#[doc(hidden)]
pub struct Entered<'s, D: Definition> {
    #[allow(dead_code, reason = "held for its drop")]
    section: Section,
    /// A field, for a function that gives it would be compiled again for each slot.
    pub bound: Within<'s, D, SharedAccess>,
}

/// One implementor, kept alive by a guard: see [`Slot::get`]. Derefs to the trait object, and implements the interface's
/// trait wherever a type other than the implementor can.
///
/// Invariant: while `'g` lasts, `object` is a live implementor of the type of `table`, and nobody has it by `&mut`.
pub struct Held<'g, I: ?Sized + Interface> {
    object: *const I,
    table: &'static Table,
    lifetime: PhantomData<&'g Guard>,
    interface: PhantomData<fn() -> Box<I>>,
}

impl<I: ?Sized + Interface> Held<'_, I> {
    /// The caller sees to the invariant.
    pub(crate) fn new(data: *mut (), table: &'static Table) -> Self {
        // SAFETY: what holds an `I` has a table for `I`.
        let object = unsafe { table.object::<I>(data) };
        Self { object, table, lifetime: PhantomData, interface: PhantomData }
    }

    /// The implementor's type, as the compiler prints it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.table.type_name()
    }

    /// For `#[dispatch]`: what this derefs to, whatever else the trait says of `Deref`.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn __object(&self) -> &I {
        self
    }

    /// The implementor, if it is a `T` of this program. `None` for what comes from a library: it may have been compiled
    /// with another `T`.
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        if self.table.is::<T>() {
            // SAFETY: the invariant of `Held`; the type has just been compared.
            Some(unsafe { &*self.object.cast::<T>() })
        } else {
            None
        }
    }
}

impl<I: ?Sized + Interface> Deref for Held<'_, I> {
    type Target = I;

    #[inline]
    fn deref(&self) -> &I {
        // SAFETY: the invariant of `Held`.
        unsafe { &*self.object }
    }
}

// SAFETY: a reference to an implementor that may be used from several threads (`Lent`); the lifetime is that of a guard, or of a
// closure's argument.
unsafe impl<I: ?Sized + Interface + Lent<I::Access>> Send for Held<'_, I> {}
// SAFETY: as above.
unsafe impl<I: ?Sized + Interface + Lent<I::Access>> Sync for Held<'_, I> {}

impl<I: ?Sized + Interface> fmt::Debug for Held<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = (**self).debug(f) {
            return result;
        }
        f.debug_struct("Held")
            .field("interface", &I::DESCRIPTION.name)
            .field("type", &self.type_name())
            .finish()
    }
}

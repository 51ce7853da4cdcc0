//! `Patched<dyn Trait>`: an owned handle where a `Box<dyn Trait>` stood, whose instance can be swapped from elsewhere.
//!
//! # Problem
//!
//! A slot is a static. A plugin that belongs to a track, a connection, a request wants an owner; there may be a
//! million of them, so a handle has no code of its own and costs no more than memory. Yet another thread may
//! swap its instance while the owner is inside.
//!
//! # Idea
//!
//! ```text
//!  Patched ---> Cell { current } ---> Installed { data, table } ---> instance
//!  Remote  ---^
//! ```
//!
//! A call runs in a section, loads what is current, and calls through the table. A remote swaps `current` and retires
//! what was there past a grace period.
//!
//! # Invariants
//!
//! 1. `current` is null once the handle is gone, else a pointer from `Arc::into_raw` whose count the cell holds.
//! 2. Only the handle makes it null; whoever swaps it takes over the count of what was there.
//! 3. Calls are made by the handle alone. Who has it by `&mut` is alone with the instance: remotes only swap it, and
//!    what they swap out goes nowhere before the section that may be inside it is over.
//! 4. Remotes exist only where the interface is `Send`: what they swap out may be dropped on another thread.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;

use crate::error::{Error, ReplaceError};
use crate::installed::Installed;
use crate::instance::{Instance, RawInstance};
use crate::interface::{Code, Implements, Interface};
use crate::quiesce::{Guard, Section, reclaimer, stand_in};
use crate::retired::Retired;
use crate::slot::{Held, Target};

struct Cell {
    current: AtomicPtr<Installed>,
}

impl Drop for Cell {
    fn drop(&mut self) {
        // The handle has taken what it owned with it (invariant 1); a cell is dropped after its handle.
        debug_assert!(self.current.get_mut().is_null());
    }
}

/// An owned instance of the interface `I` that can be swapped while it is called: it stands where a
/// `Box<dyn Trait>` stood.
///
/// It implements the trait, methods with `&mut self` included, where no method's result borrows from `self`; for
/// those see [`get`](Self::get). It is `Send` and `Sync` where `dyn Trait` is.
///
/// ```
/// use hotcall::{Patched, dispatch};
///
/// #[dispatch]
/// pub trait Effect: Send {
///     fn process(&mut self, sample: f32) -> f32;
/// }
/// struct Gain(f32);
/// impl Effect for Gain {
///     fn process(&mut self, sample: f32) -> f32 { sample * self.0 }
/// }
///
/// struct Track { effect: Patched<dyn Effect> }
///
/// let mut track = Track { effect: Patched::new(Gain(2.0)) };
/// let remote = track.effect.remote();
/// std::thread::spawn(move || remote.replace(Gain(3.0)).map(drop)).join().unwrap()?;
/// assert_eq!(track.effect.process(1.0), 3.0);
/// # Ok::<(), hotcall::Error>(())
/// ```
pub struct Patched<I: ?Sized + Interface> {
    handle: Handle<I>,
}

/// What the methods that `#[dispatch]` writes are called on.
pub struct Handle<I: ?Sized + Interface> {
    cell: Arc<Cell>,
    /// `Send` and `Sync` as a box of the instance would be.
    interface: PhantomData<Box<I>>,
}

impl<I: ?Sized + Interface> Deref for Patched<I> {
    type Target = I::Methods<Handle<I>>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        let handle: *const Handle<I> = &raw const self.handle;
        // SAFETY: `Interface`: it is the handle, or a `repr(transparent)` type of it.
        unsafe { &*handle.cast() }
    }
}

impl<I: ?Sized + Interface> DerefMut for Patched<I> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        let handle: *mut Handle<I> = &raw mut self.handle;
        // SAFETY: as above.
        unsafe { &mut *handle.cast() }
    }
}

impl<I: ?Sized + Interface> Patched<I> {
    /// Boxes an implementor; an [`Instance`] is passed on.
    pub fn new<T: 'static>(value: T) -> Self
    where
        I: Implements<T>,
    {
        Instance::<I>::new(value).into()
    }

    /// Swaps the instance, and gives the old one back at once: nobody else can be inside.
    pub fn replace<T: 'static>(&mut self, value: T) -> Instance<I>
    where
        I: Implements<T>,
    {
        let new = Arc::into_raw(Arc::new(Installed::new(Instance::<I>::new(value).into_raw()))).cast_mut();
        self.handle.take(new)
    }

    /// A handle for other threads that swaps the instance, and does not call it.
    #[must_use]
    pub fn remote(&self) -> Remote<I>
    where
        I: Send,
    {
        Remote { cell: Arc::clone(&self.handle.cell), interface: PhantomData }
    }

    /// The instance. Remotes find the handle gone.
    #[must_use]
    pub fn into_inner(self) -> Instance<I> {
        // What dropping `self` then does, it does to nothing.
        self.handle.take(ptr::null_mut())
    }

    /// The instance as it is now, and stays for as long as the guard is held: as the trait object that it is, results that
    /// borrow included.
    pub fn get<'a>(&'a self, _guard: &'a Guard) -> Held<'a, I>
    where
        I: Sync,
    {
        let installed = self.handle.current();
        Held::new(installed.data(), installed.table())
    }

    /// As [`get`](Self::get), exclusively: every method, results that borrow included.
    pub fn get_mut<'a>(&'a mut self, _guard: &'a Guard) -> &'a mut I {
        let installed = self.handle.current();
        // SAFETY: what is installed in a `Patched<I>` has a table for `I`.
        let object = unsafe { installed.table().object::<I>(installed.data()) };
        // SAFETY: the guard keeps it; who has the handle by `&mut` is alone with the instance (invariant 3).
        unsafe { &mut *object }
    }

    /// Binds the handle to a guard, for a loop: each call costs what a call of a `&mut dyn Trait` costs.
    ///
    /// It is the instance as it is now, exclusively: every method, results that borrow included. What a remote installs meanwhile is
    /// seen by who binds next.
    ///
    /// ```
    /// # use hotcall::{Patched, dispatch};
    /// # #[dispatch] pub trait Effect: Send { fn process(&mut self, sample: f32) -> f32; }
    /// # struct Gain(f32); impl Effect for Gain { fn process(&mut self, s: f32) -> f32 { s * self.0 } }
    /// let mut handle: Patched<dyn Effect> = Patched::new(Gain(2.0));
    /// let mut samples = [1.0; 64];
    ///
    /// let guard = hotcall::pin();
    /// let mut effect = handle.bind(&guard);
    /// for sample in &mut samples {
    ///     *sample = effect.process(*sample);
    /// }
    /// assert_eq!(samples, [2.0; 64]);
    /// ```
    pub fn bind<'a>(&'a mut self, guard: &'a Guard) -> BoundHandle<'a, I> {
        BoundHandle { object: self.get_mut(guard) }
    }

    /// What is installed just now.
    #[must_use]
    pub fn target(&self) -> Target {
        let _section = Section::enter();
        Target::of(self.handle.current().table())
    }

    /// For `#[dispatch]`: as [`Handle::__call`].
    ///
    /// # Safety
    ///
    /// As there.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn __call<R>(&self, index: usize, call: impl FnOnce((*const (), Code)) -> R) -> R {
        // SAFETY: the caller's promise.
        unsafe { self.handle.__call(index, call) }
    }

    /// For `#[dispatch]`: the instance as a box, for a method that takes `self: Box<Self>`.
    #[doc(hidden)]
    #[must_use]
    pub fn __into_box(self) -> Box<I> {
        self.into_inner().__into_box()
    }

    /// What `look` says of the instance.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&I) -> R) -> R {
        let _section = Section::enter();
        let installed = self.handle.current();
        // SAFETY: what is installed in a `Patched<I>` has a table for `I`.
        let object = unsafe { installed.table().object::<I>(installed.data()) };
        // SAFETY: the section keeps it; whoever shares this handle shares the instance (invariant 3).
        look(unsafe { &*object })
    }

    /// What `change` does to the instance.
    pub(crate) fn with_mut<R>(&mut self, change: impl FnOnce(&mut I) -> R) -> R {
        let _section = Section::enter();
        let installed = self.handle.current();
        // SAFETY: as above.
        let object = unsafe { installed.table().object::<I>(installed.data()) };
        // SAFETY: the section keeps it; who has the handle by `&mut` is alone with the instance (invariant 3).
        change(unsafe { &mut *object })
    }
}

/// A [`Patched`] bound to a guard: see [`Patched::bind`]. It is the trait object.
pub struct BoundHandle<'a, I: ?Sized + Interface> {
    object: &'a mut I,
}

impl<I: ?Sized + Interface> Deref for BoundHandle<'_, I> {
    type Target = I;

    #[inline(always)]
    fn deref(&self) -> &I {
        self.object
    }
}

impl<I: ?Sized + Interface> DerefMut for BoundHandle<'_, I> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut I {
        self.object
    }
}

impl<I: ?Sized + Interface> fmt::Debug for BoundHandle<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = self.object.debug(f) {
            return result;
        }
        f.debug_struct("BoundHandle").field("interface", &I::DESCRIPTION.name).finish_non_exhaustive()
    }
}

impl<I: ?Sized + Interface> Handle<I> {
    /// The caller is in a section, or holds a guard, while it uses the answer.
    #[inline(always)]
    fn current(&self) -> &Installed {
        // Acquire, partner of the AcqRel in `Remote::replace`: the instance is there.
        let current = self.cell.current.load(Ordering::Acquire);
        // SAFETY: invariants 1 and 2: not null while the handle lives; the caller's protection keeps its count.
        unsafe { &*current }
    }

    /// Puts `new` in the place of what is there. The handle is the caller's own (invariant 3).
    fn take(&self, new: *mut Installed) -> Instance<I> {
        let old = self.cell.current.swap(new, Ordering::AcqRel);
        // SAFETY: invariants 1 and 2: the swap has taken over the count.
        let old = unsafe { Arc::from_raw(old) };
        // Nobody was told of it: only a swap by a remote makes another owner.
        Instance::from_raw(old.take_unretired().expect("what is current was never given away"))
    }

    /// For `#[dispatch]`: calls with the instance and the code of its method `index`, both kept while `call` runs.
    ///
    /// # Safety
    ///
    /// The interface has a method of that index.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn __call<R>(&self, index: usize, call: impl FnOnce((*const (), Code)) -> R) -> R {
        let _section = Section::enter();
        // SAFETY: the caller's promise.
        call(unsafe { self.load(index) })
    }

    /// The caller is in a section while it uses the answer.
    ///
    /// # Safety
    ///
    /// The interface has a method of that index.
    #[inline(always)]
    unsafe fn load(&self, index: usize) -> (*const (), Code) {
        let installed = self.current();
        // SAFETY: the caller's promise; the table is one of this interface.
        let code = unsafe { installed.method(index) };
        (installed.data().cast_const(), code)
    }
}

impl<I: ?Sized + Interface> Drop for Handle<I> {
    fn drop(&mut self) {
        let old = self.cell.current.swap(ptr::null_mut(), Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: invariants 1 and 2. The handle is gone, so nobody is inside.
            drop(unsafe { Arc::from_raw(old) });
        }
    }
}

impl<I: ?Sized + Interface> From<Instance<I>> for Patched<I> {
    fn from(instance: Instance<I>) -> Self {
        let installed = Arc::into_raw(Arc::new(Installed::new(instance.into_raw()))).cast_mut();
        let cell = Arc::new(Cell { current: AtomicPtr::new(installed) });
        Self { handle: Handle { cell, interface: PhantomData } }
    }
}

impl<I: ?Sized + Implements<T>, T: 'static> From<Box<T>> for Patched<I> {
    fn from(value: Box<T>) -> Self {
        Instance::<I>::from_raw(RawInstance::from_box::<I, T>(value)).into()
    }
}

impl<I: ?Sized + Interface> fmt::Debug for Handle<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("interface", &I::DESCRIPTION.name).finish_non_exhaustive()
    }
}

impl<I: ?Sized + Interface> fmt::Debug for Patched<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = self.with(|instance| instance.debug(f)) {
            return result;
        }
        f.debug_struct("Patched")
            .field("interface", &I::DESCRIPTION.name)
            .field("type", &self.target().type_name())
            .finish_non_exhaustive()
    }
}

/// Swaps the instance of a [`Patched`] from another thread. Made by [`Patched::remote`].
pub struct Remote<I: ?Sized + Interface> {
    cell: Arc<Cell>,
    interface: PhantomData<fn() -> Box<I>>,
}

impl<I: ?Sized + Interface + Send> Remote<I> {
    /// Installs another implementor: every call that the handle begins after this returns runs it.
    ///
    /// # Errors
    ///
    /// [`Error::HandleDropped`] where the handle is gone, with `value` inside.
    pub fn replace<T>(&self, value: T) -> Result<Retired<I>, ReplaceError<I>>
    where
        T: Send + 'static,
        I: Implements<T>,
    {
        let new = Arc::new(Installed::new(Instance::<I>::new(value).into_raw()));
        let published = Arc::into_raw(Arc::clone(&new)).cast_mut();
        let swapped = self.cell.current.fetch_update(Ordering::AcqRel, Ordering::Acquire, |current| {
            (!current.is_null()).then_some(published)
        });
        let Ok(old) = swapped else {
            // SAFETY: it has just come from `Arc::into_raw`, and was not published.
            drop(unsafe { Arc::from_raw(published) });
            let raw = new.take_unretired().expect("an instance that was never published is still there");
            return Err(ReplaceError::new(Error::HandleDropped, Instance::from_raw(raw)));
        };
        // SAFETY: invariants 1 and 2: the swap has taken over the count.
        let old = unsafe { Arc::from_raw(old) };
        crate::drain::retired(1);
        let drained = Arc::clone(&old);
        reclaimer::defer(move |past| past.push(drained));
        stand_in::help();
        Ok(Retired::new(old))
    }

    /// Whether the handle is gone.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.cell.current.load(Ordering::Acquire).is_null()
    }
}

impl<I: ?Sized + Interface> Clone for Remote<I> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell), interface: PhantomData }
    }
}

impl<I: ?Sized + Interface> fmt::Debug for Remote<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("interface", &I::DESCRIPTION.name).finish_non_exhaustive()
    }
}

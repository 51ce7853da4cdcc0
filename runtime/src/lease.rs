//! A hold on what a slot has installed, for calls that outlive any section: a count, and no guard.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::panic::Location;
use core::ptr::{self, NonNull};

use crate::installed::Installed;
use crate::interface::{Code, Interface, Shared, Table};
use crate::quiesce::Section;
use crate::slot::{Definition, Slot, SlotCore};

/// One implementor, kept for as long as somebody has this: see [`Slot::lease`].
///
/// It is owned and `Send`, it may be cloned and kept for hours, and it implements the interface's trait, so it stands where an
/// `Arc<dyn Trait>` could: in a task that awaits a method of the implementor, in a thread that serves one connection with one
/// implementor. The slot is replaced meanwhile as if there were no lease, and nothing else waits for it: only this
/// implementor is dropped later, when the last lease is, on the thread that drops it. It is not told that it was replaced:
/// [`is_current`](Self::is_current) says so.
///
/// ```
/// use std::future::Future;
/// use std::pin::Pin;
/// use hotcall::{dispatch, slot};
///
/// // What `#[async_trait]` writes: the future borrows the implementor.
/// #[dispatch]
/// pub trait Store: Send + Sync {
///     fn load<'a>(&'a self, key: &'a str) -> Pin<Box<dyn Future<Output = String> + Send + 'a>>;
/// }
/// struct Empty;
/// impl Store for Empty {
///     fn load<'a>(&'a self, key: &'a str) -> Pin<Box<dyn Future<Output = String> + Send + 'a>> {
///         Box::pin(async move { format!("no {key}") })
///     }
/// }
/// #[slot]
/// pub static STORE: dyn Store = Empty;
///
/// async fn serve() -> String {
///     let store = STORE.lease();             // this one, whatever is installed meanwhile
///     store.load("answer").await
/// }
/// # let mut serving = std::pin::pin!(serve());
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert_eq!(serving.as_mut().poll(&mut context), std::task::Poll::Ready("no answer".to_owned()));
/// ```
///
/// # What it costs
///
/// To take one, clone it and drop it, a few locked instructions on words that all who lease the implementor share, and no
/// allocation. A call through it costs what a call of `dyn Trait` costs. Dropping the last one of what was replaced takes locks,
/// and runs the implementor's destructor.
///
/// # What is held back
///
/// What was replaced and is still leased stays in memory, with its library. [`report`](crate::report()) lists it: which type, how long,
/// and where in the source it is leased. [`Retired::wait`](crate::Retired::wait) and [`drain`](crate::drain()) wait for it, and do
/// not see that the calling thread has a lease itself: they have variants with a time limit.
///
/// In a forked child, leases of other threads of the parent's are never given back.
///
/// Invariant: `object` is an implementor of the type of `table`; it is a static, or `holder` is what holds it, of which
/// this is a lease, in the place that `place` says. Nobody has it by `&mut`: the interface is [`Shared`]. (The type does not say so,
/// for then the compiler would not find futures that have one to be `Send`.)
pub struct Lease<I: ?Sized> {
    object: *const I,
    data: *const (),
    table: &'static Table,
    holder: Option<NonNull<Installed>>,
    place: usize,
    slot: &'static SlotCore,
    interface: PhantomData<fn() -> Box<I>>,
}

// SAFETY: what a slot holds whose interface is shared is `Send` and `Sync`, whatever the interface says; it is lent and, at the
// end, dropped on the thread that has this.
unsafe impl<I: ?Sized> Send for Lease<I> {}
// SAFETY: as above.
unsafe impl<I: ?Sized> Sync for Lease<I> {}

impl<D: Definition> Slot<D> {
    /// The implementor that is installed now, for as long as the caller likes, on any thread and across `.await`.
    ///
    /// See [`Lease`]. For a moment, on one thread, [`get`](Self::get) costs less, and so does a plain call.
    #[track_caller]
    #[must_use]
    pub fn lease(&'static self) -> Lease<D::Interface>
    where
        D::Interface: Shared,
    {
        let (slot, location) = (self.__core(), Location::caller());
        // What is found is not freed before the lease is taken.
        let _section = Section::enter();
        let holder = slot.holder();
        let (data, table) = holder.map_or_else(
            || (slot.default_data().as_ptr(), slot.default_table()),
            |installed| (installed.data(), installed.table()),
        );
        // SAFETY: what a slot of `I` holds has a table for `I`.
        let object = unsafe { table.object::<D::Interface>(data) };
        let place = holder.map_or(0, |installed| installed.lease(location));
        let holder = holder.map(NonNull::from);
        Lease { object, data, table, holder, place, slot, interface: PhantomData }
    }
}

impl<I: ?Sized + Shared> Lease<I> {
    /// Whether the slot still has it, at this moment. Who serves for long may ask, and lease anew.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let _section = Section::enter();
        match (self.slot.holder(), self.holder) {
            // What this leases is not freed, so no other is at its address.
            (Some(now), Some(then)) => ptr::eq(now, then.as_ptr()),
            // The default, as it was declared or put back.
            (now, None) => now.is_none_or(|now| ptr::eq(now.data(), self.data)),
            (None, Some(_)) => false,
        }
    }

    /// The implementor's type, as the compiler prints it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.table.type_name()
    }

    /// For `#[dispatch]`: the implementor, and the code of method `index`.
    #[doc(hidden)]
    #[must_use]
    pub fn __load(&self, index: usize) -> (*const (), Code) {
        (self.data, self.table.method(index))
    }

    /// The implementor, if it is a `T` of this program. `None` for what comes from a library: it may have been compiled
    /// with another `T`.
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        if self.table.is::<T>() {
            // SAFETY: the invariant; the type has just been compared.
            Some(unsafe { &*self.object.cast::<T>() })
        } else {
            None
        }
    }
}

impl<I: ?Sized> Clone for Lease<I> {
    #[track_caller]
    fn clone(&self) -> Self {
        let location = Location::caller();
        let place = self.holder.map_or(0, |holder| {
            // SAFETY: the invariant: this lease keeps it.
            let installed = unsafe { holder.as_ref() };
            installed.lease(location)
        });
        Self { place, ..*self }
    }
}

impl<I: ?Sized> Drop for Lease<I> {
    fn drop(&mut self) {
        if let Some(holder) = self.holder {
            // SAFETY: the invariant: this was a lease.
            unsafe { Installed::give_back(holder.as_ptr(), self.place) };
        }
    }
}

impl<I: ?Sized> Deref for Lease<I> {
    type Target = I;

    #[inline]
    fn deref(&self) -> &I {
        // SAFETY: the invariant: it lives as long as this does, and is lent as this is.
        unsafe { &*self.object }
    }
}

impl<I: ?Sized + Shared> fmt::Debug for Lease<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = Interface::debug(&**self, f) {
            return result;
        }
        f.debug_struct("Lease")
            .field("slot", &self.slot.name())
            .field("type", &self.type_name())
            .finish_non_exhaustive()
    }
}

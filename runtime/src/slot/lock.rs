//! Exclusive use of a slot, where its trait has methods with `&mut self`.
//!
//! # Problem
//!
//! `fn process(&mut self, block: &mut [f32])` wants to be alone with its implementor; a slot is a static that everybody sees. And a
//! swap must not wait for whoever is inside.
//!
//! # Idea
//!
//! The slot has a lock, for those who use what it holds and not for those who replace it. Who has the lock also holds a guard.
//! Calls go through the stubs, as ever, so each runs what the slot holds as it begins.
//!
//! ```text
//!  user      lock ── process(A) ────── process(B) ── unlock
//!  another                   replace(B) ......................... wait: gives A
//! ```
//!
//! # What holds
//!
//! 1. Nothing looks at the implementor of such a slot without the lock: there are no plain calls, no `bind`, no `get`; and
//!    `replace_with` takes it.
//! 2. A replacement takes no lock, so it never waits for one. What it replaces is kept by the guard of whoever has the lock: a
//!    [`Retired`](crate::Retired) gives it back when that is dropped, and not before.
//! 3. What was replaced is never installed again by the runtime: so the new implementor is reached through the lock alone.
//! 4. A thread that has the lock and asks for it again is told so: it does not wait for itself.
//! 5. A panic under the lock gives it back. There is no poison: what a method leaves behind when it panics is the
//!    implementor's business.
//! 6. A lock that is never given back (`mem::forget`) keeps others out for ever, and what is replaced from being freed;
//!    replacing goes on. [`try_lock`](Slot::try_lock) says so.
//! 7. In the child of a fork, a lock that another thread held stays locked: use `try_lock` there.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::fmt;
use core::ops::{Deref, DerefMut};

use parking_lot::RwLock;
use parking_lot::lock_api::GuardNoSend;

use super::bound::{methods, methods_mut};
use super::{Definition, SharedAccess, Slot, SoleAccess, Within};
use crate::interface::{Exclusive, Interface};
use crate::quiesce::{Guard, pin};

/// How many locks of slots a thread may hold at a time.
const MOST: usize = 32;

thread_local! {
    /// The locks that this thread holds: without a destructor, so that it is there to the thread's end.
    static HELD: [Cell<Held>; MOST] = const { [const { Cell::new(Held { lock: 0, alone: false, times: 0 }) }; MOST] };
}

/// A lock that a thread holds; `times` is 0 where there is none.
#[derive(Clone, Copy)]
struct Held {
    lock: usize,
    alone: bool,
    times: usize,
}

/// Why a slot could not be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockError {
    /// Another thread has it.
    Locked,
    /// This thread has it already, or has it to read and asked for exclusive use: waiting would never end.
    Reentrant,
    /// This thread holds as many locks of slots as it may, which is 32.
    TooMany,
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Locked => "another thread uses the slot: wait with `lock`, or try again",
            Self::Reentrant => {
                "this thread has locked the slot already, so it would wait for itself: drop the first lock before, or \
                 pass it on"
            }
            Self::TooMany => "this thread holds 32 locks of slots: drop some before it takes another",
        })
    }
}

impl core::error::Error for LockError {}

/// A slot's lock.
pub(super) struct SlotLock(RwLock<()>);

/// The lock is held by this thread until this is dropped.
pub(super) struct Holding<'a> {
    lock: &'a SlotLock,
    /// Where in `HELD`.
    place: usize,
    /// A lock is given back by the thread that took it.
    not_send: core::marker::PhantomData<*const ()>,
}

impl SlotLock {
    pub(super) const fn new() -> Self {
        Self(RwLock::new(()))
    }

    /// Takes the lock by `take`, which says whether it did. A thread that has it to read may have it again, whoever waits.
    fn hold(&self, alone: bool, take: impl FnOnce() -> bool) -> Result<Holding<'_>, LockError> {
        let lock = core::ptr::from_ref(self).addr();
        HELD.with(|held| {
            let mut free = None;
            for (place, cell) in held.iter().enumerate() {
                let one = cell.get();
                if one.times == 0 {
                    free = Some((place, cell));
                } else if one.lock == lock {
                    if alone || one.alone {
                        return Err(LockError::Reentrant);
                    }
                    cell.set(Held { times: one.times + 1, ..one });
                    return Ok(Holding { lock: self, place, not_send: core::marker::PhantomData });
                }
            }
            let (place, cell) = free.ok_or(LockError::TooMany)?;
            if !take() {
                return Err(LockError::Locked);
            }
            cell.set(Held { lock, alone, times: 1 });
            Ok(Holding { lock: self, place, not_send: core::marker::PhantomData })
        })
    }

    /// Waits for exclusive use.
    pub(super) fn alone(&self) -> Result<Holding<'_>, LockError> {
        self.hold(true, || {
            core::mem::forget(self.0.write());
            true
        })
    }

    fn try_alone(&self) -> Result<Holding<'_>, LockError> {
        self.hold(true, || self.0.try_write().map(core::mem::forget).is_some())
    }

    /// Waits for shared use.
    fn share(&self) -> Result<Holding<'_>, LockError> {
        self.hold(false, || {
            core::mem::forget(self.0.read());
            true
        })
    }

    pub(super) fn try_share(&self) -> Result<Holding<'_>, LockError> {
        self.hold(false, || self.0.try_read().map(core::mem::forget).is_some())
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let one = HELD.with(|held| {
            let one = held[self.place].get();
            held[self.place].set(Held { times: one.times - 1, ..one });
            one
        });
        if one.times != 1 {
            return;
        }
        if one.alone {
            // SAFETY: this thread took it with `write`, forgot the guard, and has now dropped the one holding of it.
            unsafe { self.lock.0.force_unlock_write(GuardNoSend::new()) }
        } else {
            // SAFETY: as above, with `read`, and the last holding.
            unsafe { self.lock.0.force_unlock_read(GuardNoSend::new()) }
        }
    }
}

/// Exclusive use of a slot: see [`Slot::lock`].
///
/// It has the methods of the trait, each a patched call; what they lend, they lend for as long as this is borrowed. It derefs to
/// the trait object for all else.
pub struct Locked<D: Definition> {
    // First: what it says is within the other two.
    within: Within<'static, D, SoleAccess>,
    _held: Holding<'static>,
    _guard: Guard,
}

/// Shared use of a slot that has a lock: see [`Slot::read`].
pub struct ReadLocked<D: Definition> {
    within: Within<'static, D, SharedAccess>,
    _held: Holding<'static>,
    _guard: Guard,
}

impl<D: Definition<Interface: Exclusive>> Slot<D> {
    /// Exclusive use of what the slot holds: waits until nobody else uses it.
    ///
    /// One lock for a block of calls; each of them costs what a call on a bound slot costs. A replacement does not wait for
    /// the lock: calls that begin after it run the new implementor, under the same lock; and the old one is kept until the
    /// lock is given back.
    ///
    /// ```
    /// use hotcall::{dispatch, slot};
    ///
    /// #[dispatch]
    /// pub trait Effect: Send {
    ///     fn process(&mut self, block: &mut [f32]);
    /// }
    /// struct Bypass;
    /// impl Effect for Bypass {
    ///     fn process(&mut self, _: &mut [f32]) {}
    /// }
    /// struct Delay(f32);
    /// impl Effect for Delay {
    ///     fn process(&mut self, block: &mut [f32]) {
    ///         for sample in block { std::mem::swap(sample, &mut self.0) }
    ///     }
    /// }
    /// #[slot]
    /// pub static EFFECT: dyn Effect = Bypass;
    ///
    /// let mut block = [1.0, 2.0];
    /// let mut effect = EFFECT.lock();
    /// effect.process(&mut block);
    /// drop(EFFECT.replace(Delay(0.5))?);           // nobody waits
    /// effect.process(&mut block);
    /// assert_eq!(block, [0.5, 1.0]);
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Where this thread has the lock already: it would wait for itself. [`try_lock`](Self::try_lock) says so.
    #[must_use = "the slot is locked only while this lives"]
    pub fn lock(&'static self) -> Locked<D> {
        let guard = pin();
        match self.lock.alone() {
            Ok(held) => self.locked(held, guard),
            Err(error) => panic!("`{}` cannot be locked: {error}", D::NAME),
        }
    }

    /// Exclusive use, if nobody uses the slot.
    ///
    /// # Errors
    ///
    /// [`LockError`]: another thread uses it, or this one does.
    pub fn try_lock(&'static self) -> Result<Locked<D>, LockError> {
        let guard = pin();
        Ok(self.locked(self.lock.try_alone()?, guard))
    }

    /// Shared use: the methods with `&self`. Waits until nobody uses the slot exclusively.
    ///
    /// # Panics
    ///
    /// Where this thread has the slot for exclusive use.
    #[must_use = "the slot is locked only while this lives"]
    pub fn read(&'static self) -> ReadLocked<D> {
        let guard = pin();
        match self.lock.share() {
            Ok(held) => self.read_locked(held, guard),
            Err(error) => panic!("`{}` cannot be locked: {error}", D::NAME),
        }
    }

    /// Shared use, if nobody uses the slot exclusively.
    ///
    /// # Errors
    ///
    /// As for [`try_lock`](Self::try_lock).
    pub fn try_read(&'static self) -> Result<ReadLocked<D>, LockError> {
        let guard = pin();
        Ok(self.read_locked(self.lock.try_share()?, guard))
    }

    fn locked(&'static self, held: Holding<'static>, guard: Guard) -> Locked<D> {
        Locked { within: Within::new_where_fetches_may_be_stale(&self.core), _held: held, _guard: guard }
    }

    fn read_locked(&'static self, held: Holding<'static>, guard: Guard) -> ReadLocked<D> {
        ReadLocked { within: Within::new_where_fetches_may_be_stale(&self.core), _held: held, _guard: guard }
    }
}

impl<D: Definition> Deref for Locked<D> {
    type Target = <D::Interface as Interface>::Methods<Within<'static, D, SoleAccess>>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        methods::<D::Interface, _>(&self.within)
    }
}

impl<D: Definition> DerefMut for Locked<D> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        methods_mut::<D::Interface, _>(&mut self.within)
    }
}

impl<D: Definition> Deref for ReadLocked<D> {
    type Target = <D::Interface as Interface>::Methods<Within<'static, D, SharedAccess>>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        methods::<D::Interface, _>(&self.within)
    }
}

impl<D: Definition> Locked<D> {
    pub(crate) fn object(&self) -> &D::Interface {
        self.within.object()
    }

    pub(crate) fn object_mut(&mut self) -> &mut D::Interface {
        self.within.object_mut()
    }
}

impl<D: Definition> ReadLocked<D> {
    pub(crate) fn object(&self) -> &D::Interface {
        self.within.object()
    }
}

impl<D: Definition> fmt::Debug for Locked<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = self.object().debug(f) {
            return result;
        }
        f.debug_struct("Locked").field("slot", &D::NAME).finish_non_exhaustive()
    }
}

impl<D: Definition> fmt::Debug for ReadLocked<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = self.object().debug(f) {
            return result;
        }
        f.debug_struct("ReadLocked").field("slot", &D::NAME).finish_non_exhaustive()
    }
}

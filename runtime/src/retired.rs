//! What `replace` gives back: the old instance, on its way out.

use core::fmt;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::installed::{Installed, drop_each};
use crate::instance::Instance;
use crate::interface::Interface;
use crate::quiesce::{self, reclaimer};

/// An instance that has been replaced. New calls do not reach it; older ones may still be inside.
///
/// [`wait`](Self::wait) for it to have it back, or drop it: then the runtime drops the instance, on a
/// thread of its own, when no thread can be inside any more. If none can be by then, it is dropped right here.
///
/// In an `async` function it is awaited: `let old = EFFECT.replace(Gain::new(2.0))?.await;`. The runtime's own thread calls the waker;
/// no executor is asked for. A task that awaits it inside a call through a slot, or while it holds a guard, waits for itself.
///
/// * It drains without anybody calling again, and without anybody waiting.
/// * It drains when the guards and the calls that were there at the replacement have ended: also those of other
///   slots, which are not told apart. While one of them lasts, replacing goes on and only freeing waits.
/// * A plugin's destructor, on the runtime's thread, may call slots and replace what is in them; it may not wait
///   ([`WaitError::WouldDeadlock`]). If it panics, the panic is reported as a `tracing` event and goes no further.
pub struct Retired<I: ?Sized> {
    installed: Arc<Installed>,
    interface: PhantomData<Box<I>>,
}

// SAFETY: it hands out an `Instance<I>` of what a slot held, and that is `Send + Sync` whatever `I` says.
#[allow(unsafe_code)]
unsafe impl<I: ?Sized> Send for Retired<I> {}
// SAFETY: through a shared reference only `is_drained` and `type_name` can be asked.
#[allow(unsafe_code)]
unsafe impl<I: ?Sized> Sync for Retired<I> {}

/// Why a wait ended without the instance. Nothing is lost: the retirement is inside.
pub enum WaitError<I: ?Sized + Interface> {
    /// The calling thread is inside a call through a slot or holds a guard, so that the instance may be what
    /// this very thread is inside of; or it is inside `replace_with` or
    /// [`Chain::edit`](crate::Chain::edit), or runs the destructor of a replaced plugin, which the end of the wait needs done. The wait would never end.
    WouldDeadlock(Retired<I>),
    /// The time is up.
    TimedOut(Retired<I>),
}

impl<I: ?Sized + Interface> Retired<I> {
    pub(crate) fn new(installed: Arc<Installed>) -> Self {
        Self { installed, interface: PhantomData }
    }

    /// Waits until no thread can be inside the old instance, and gives it back.
    ///
    /// # Errors
    ///
    /// [`WaitError::WouldDeadlock`] where the calling thread is inside a call through any slot or holds a
    /// [`Guard`](crate::Guard), and inside `replace_with`, [`Chain::edit`](crate::Chain::edit) and destructors that the runtime runs. Nothing is
    /// lost: [`WaitError::into_retired`] gives the retirement back. An instance that has drained already is
    /// given back anywhere.
    pub fn wait(self) -> Result<Instance<I>, WaitError<I>> {
        self.wait_until(None)
    }

    /// [`wait`](Self::wait), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait), and [`WaitError::TimedOut`], which gives the retirement back.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Instance<I>, WaitError<I>> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(self, deadline: Option<Instant>) -> Result<Instance<I>, WaitError<I>> {
        if !self.is_drained() {
            if quiesce::would_deadlock() {
                return Err(WaitError::WouldDeadlock(self));
            }
            if !reclaimer::wait_until(|| self.is_drained(), deadline) {
                return Err(WaitError::TimedOut(self));
            }
        }
        // Dropping `self` now finds nothing left to free.
        let raw = self.installed.abandon();
        Ok(Instance::from_raw(raw.expect("it is drained, and only a retirement takes it")))
    }

    /// Whether no thread can be inside the old instance any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.installed.is_drained()
    }

    /// The old instance's type, as the compiler prints it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.installed.table().type_name()
    }
}

/// The old instance, once no thread can be inside it: see [`Retired`], which it is awaited as.
///
/// Dropped before, it is a retirement that is dropped.
pub struct Drained<I: ?Sized> {
    /// Until it is ready.
    retired: Option<Retired<I>>,
}

impl<I: ?Sized + Interface> IntoFuture for Retired<I> {
    type Output = Instance<I>;
    type IntoFuture = Drained<I>;

    fn into_future(self) -> Drained<I> {
        Drained { retired: Some(self) }
    }
}

impl<I: ?Sized + Interface> Future for Drained<I> {
    type Output = Instance<I>;

    /// # Panics
    ///
    /// It has been ready before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Instance<I>> {
        let retired = self.retired.take().expect("a future is not polled when it has been ready");
        if !retired.is_drained() && !retired.installed.wake_when_drained(context.waker()) {
            if reclaimer::hurry_everywhere().is_err() {
                // Nobody would wake it; and a thread may be had the next time.
                context.waker().wake_by_ref();
            }
            self.retired = Some(retired);
            return Poll::Pending;
        }
        let raw = retired.installed.abandon();
        Poll::Ready(Instance::from_raw(raw.expect("it is drained, and only a retirement takes it")))
    }
}

impl<I: ?Sized> Drop for Drained<I> {
    fn drop(&mut self) {
        if let Some(retired) = &self.retired {
            retired.installed.wake_nobody();
        }
    }
}

impl<I: ?Sized + Interface> fmt::Debug for Drained<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").field("retired", &self.retired).finish()
    }
}

impl<I: ?Sized> Drop for Retired<I> {
    fn drop(&mut self) {
        drop_each(self.installed.abandon());
    }
}

impl<I: ?Sized + Interface> fmt::Debug for Retired<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retired")
            .field("interface", &I::DESCRIPTION.name)
            .field("type", &self.type_name())
            .field("drained", &self.is_drained())
            .finish()
    }
}

impl<I: ?Sized + Interface> WaitError<I> {
    /// The retirement, to wait again elsewhere or later.
    pub fn into_retired(self) -> Retired<I> {
        match self {
            Self::WouldDeadlock(retired) | Self::TimedOut(retired) => retired,
        }
    }
}

impl<I: ?Sized + Interface> fmt::Debug for WaitError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldDeadlock(retired) => f.debug_tuple("WouldDeadlock").field(retired).finish(),
            Self::TimedOut(retired) => f.debug_tuple("TimedOut").field(retired).finish(),
        }
    }
}

impl<I: ?Sized + Interface> fmt::Display for WaitError<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldDeadlock(retired) => write!(
                f,
                "waiting for `{}` would never end: this thread is inside a call through a slot, a destructor that the \
                 runtime runs, `replace_with` or an edit of a chain, or holds a guard; wait after it returned and the guard was dropped, \
                 or on another thread",
                retired.type_name()
            ),
            Self::TimedOut(retired) => {
                write!(
                    f,
                    "`{}` was not free in time: a call or a guard may still keep it, or the destructor of another plugin that was \
                     replaced takes long; wait again, or drop the retirement",
                    retired.type_name()
                )
            }
        }
    }
}

impl<I: ?Sized + Interface> std::error::Error for WaitError<I> {}

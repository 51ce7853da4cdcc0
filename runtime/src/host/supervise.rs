//! What happens when a plugin panics: on the thread that is inside, before its caller sees the panic.
//!
//! # Idea
//!
//! A panic of a library's comes back through the boundary, where it becomes one of this program. There, while the call is not over
//! yet, the slot is given another implementor, by a replacement like any other. So no caller ever finds the slot empty; and whoever has
//! seen the panic finds the fallback.
//!
//! ```text
//!   caller ---> slot ---> plugin: panic! --. boundary
//!                 ^                        |
//!                 '---- the fallback <-----'  then the panic goes on to the caller
//!                                          |
//!                                          '----> the host's thread: events, new tries, quarantine
//! ```
//!
//! # Invariants
//!
//! 1. What is installed by the host, `now` says; both change under the same lock, whoever changes them.
//! 2. A panic changes the slot only if the instance of its library is what the slot holds. So of several panics of one
//!    instance one acts; and nothing that somebody else has installed meanwhile is taken out.
//! 3. No thread waits for the lock that may be what its holder waits for: one that is replacing leaves it to the host's thread.
//! 4. In a forked child there is no host, and the lock may be another thread's for ever: there a panic changes nothing.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::event::Fallback;
use super::owner::{self, Out, Owner};
use super::worker::Message;
use crate::error::Error;
use crate::gated::this_thread;
use crate::instance::RawInstance;
use crate::interface::Table;
use crate::lock::{Mutex, MutexGuard, lock};
use crate::plugin::library::Watch;
use crate::quiesce::Section;
use crate::slot::{SlotCore, commit};

/// What a host does when a plugin panics. Its caller sees the panic in any case.
///
/// For panics of methods. One in a constructor, or while state is handed over, refuses the new version; one in a destructor is told as an
/// event, and comes too late for anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnPanic {
    /// It stays installed.
    #[default]
    Stay,
    /// The implementor that the slot was declared with is put in its place.
    Default,
    /// The instance that was installed before is put in its place, with the state that it had when it was replaced; where there is none,
    /// the default.
    Previous,
    /// A new instance of the same library is made. Until it is there, the default is in its place. After `times` panics `within` that time,
    /// the default stays, and the library is quarantined.
    Again {
        /// How many panics are answered by a new instance.
        times: u32,
        /// In which time.
        within: Duration,
    },
    /// As [`Previous`](Self::Previous); and the content of the file is not loaded again, for any slot of the host.
    Quarantine,
}

/// What the host has installed in a slot.
#[derive(Default)]
pub(super) struct Now {
    pub(super) current: Option<Installation>,
    /// What a panic puts back.
    pub(super) previous: Option<Installation>,
}

/// An instance, and the loading of its library.
#[derive(Clone)]
pub(super) struct Installation {
    pub(super) generation: u64,
    pub(super) owner: Arc<Owner>,
}

/// A slot that a host keeps, for all threads that may be inside.
pub(super) struct Supervised {
    pub(super) id: usize,
    pub(super) core: &'static SlotCore,
    pub(super) on_panic: OnPanic,
    pub(super) tell: Sender<Message>,
    now: Mutex<Now>,
    /// The thread that holds the lock; 0 for none.
    holder: AtomicU32,
    process: u32,
}

/// The lock on what is installed.
pub(super) struct Held<'a> {
    now: MutexGuard<'a, Now>,
    of: &'a Supervised,
}

impl core::ops::Deref for Held<'_> {
    type Target = Now;
    fn deref(&self) -> &Now {
        &self.now
    }
}

impl core::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Now {
        &mut self.now
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.of.holder.store(0, Ordering::Relaxed);
    }
}

impl Supervised {
    pub(super) fn new(id: usize, core: &'static SlotCore, on_panic: OnPanic, tell: Sender<Message>) -> Self {
        let (now, holder, process) = (Mutex::default(), AtomicU32::new(0), std::process::id());
        Self { id, core, on_panic, tell, now, holder, process }
    }

    pub(super) fn hold(&self) -> Held<'_> {
        let now = lock(&self.now);
        self.holder.store(this_thread(), Ordering::Relaxed);
        Held { now, of: self }
    }

    /// Invariants 3 and 4: `None` where this thread is replacing, here or elsewhere, or this is a child of the host's process.
    fn hold_inside_a_call(&self) -> Option<Held<'_>> {
        if self.process != std::process::id()
            || commit::is_writing()
            || self.holder.load(Ordering::Relaxed) == this_thread()
        {
            return None;
        }
        Some(self.hold())
    }

    /// An instance for the slot that borrows from `owner`. The host is told when it has drained.
    pub(super) fn lease(&self, installation: &Installation) -> RawInstance {
        let (tell, id, generation) = (self.tell.clone(), self.id, installation.generation);
        installation.owner.lease(move || {
            let _ = tell.send(Message::Drained { id, generation });
        })
    }

    /// Whether the slot holds this instance.
    pub(super) fn holds(&self, owner: &Owner) -> bool {
        let _section = Section::enter();
        let (data, table) = self.core.current();
        let (owned, of) = owner.parts();
        data == owned && core::ptr::eq::<Table>(table, of)
    }

    /// Installs an instance. What was installed before becomes `previous`, where a panic may ask for it.
    pub(super) fn install(&self, new: Installation) -> Result<Out, Error> {
        let mut now = self.hold();
        let out = owner::install(self.core, self.lease(&new))?;
        now.previous = now.current.take().filter(|_| self.keeps_the_previous());
        now.current = Some(new);
        Ok(out)
    }

    /// Puts something into the slot that is not what the host has installed, for a while; or takes it out again.
    pub(super) fn stand_in(&self, raw: RawInstance) -> Result<Out, Error> {
        let _now = self.hold();
        owner::install(self.core, raw)
    }

    /// Puts back what was installed before.
    pub(super) fn put_back(&self, old: &Installation) -> Result<Out, Error> {
        let mut now = self.hold();
        let out = owner::install(self.core, self.lease(old))?;
        *now = Now { current: Some(old.clone()), previous: None };
        Ok(out)
    }

    /// Puts the default in the place of all that the host has installed.
    pub(super) fn clear(&self) -> Result<Out, Error> {
        let mut now = self.hold();
        let out = owner::install_default(self.core)?;
        *now = Now::default();
        Ok(out)
    }

    /// Whether a panic may ask for what was installed before.
    pub(super) fn keeps_the_previous(&self) -> bool {
        matches!(self.on_panic, OnPanic::Previous | OnPanic::Quarantine)
    }

    /// Puts the fallback in the place of the instance of this generation, if the slot holds it.
    ///
    /// `None` where it is for the host's thread to try again.
    pub(super) fn fall_back(
        &self,
        generation: u64,
        inside_a_call: bool,
    ) -> Option<Result<Option<Fallback>, Error>> {
        if self.on_panic == OnPanic::Stay {
            return Some(Ok(None));
        }
        let mut now = if inside_a_call { self.hold_inside_a_call()? } else { self.hold() };
        let current = now.current.clone().filter(|current| current.generation == generation);
        let Some(current) = current.filter(|current| self.holds(&current.owner)) else {
            return Some(Ok(None));
        };
        let previous = now.previous.take();
        let (raw, to) = match &previous {
            Some(previous) => (self.lease(previous), Fallback::Previous(previous.generation)),
            None => {
                let default = RawInstance::borrowed(self.core.default_data(), self.core.default_table());
                (default, Fallback::Default)
            }
        };
        match owner::install(self.core, raw) {
            Ok(out) => {
                now.current = previous;
                drop(now);
                drop(out);
                drop(current);
                Some(Ok(Some(to)))
            }
            Err(error) => {
                now.previous = previous;
                Some(Err(error))
            }
        }
    }
}

/// Watches one loading of a library for its slot.
pub(super) struct Alarm {
    pub(super) of: Arc<Supervised>,
    pub(super) generation: u64,
    pub(super) path: std::path::PathBuf,
}

impl Watch for Alarm {
    fn panicked(&self, text: &str) {
        // A destructor that runs in here, of what nobody holds any more, runs inside the call that panicked; so would it anywhere.
        let fallback = self.of.fall_back(self.generation, true);
        let _ = self.of.tell.send(Message::Panicked {
            id: self.of.id,
            generation: self.generation,
            message: text.to_owned(),
            fallback,
        });
    }

    fn gone(&self, unloaded: Result<(), String>) {
        let (id, generation, path) = (self.of.id, self.generation, self.path.clone());
        let _ = self.of.tell.send(Message::Gone { id, generation, path, unloaded });
    }
}

//! How a plugin is kept in a slot: what whoever asks for it says, and the handle that is answered.

use core::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::gate::{self, StandIn};
use super::plugins::Host;
use super::supervise::OnPanic;
use super::worker::Message;
use super::{Plugins, PluginsError};
use crate::instance::Instance;
use crate::interface::{Implements, Interface};
use crate::lock::{Mutex, lock};
use crate::plugin::library::Wanted;
use crate::slot::SlotCore;

/// How the state of the old instance comes into the new one, where a plugin is replaced by a version of it.
///
/// Both versions name functions for it: `export!(dyn Trait, Type::new, save = Type::save, restore = Type::restore)`. The new version is
/// compatible with the old one, as SemVer has it, and not older; else it is refused, by its header, before anything of it runs.
///
/// | | updates made by calls | callers | a restore that refuses |
/// |---|---|---|---|
/// | `Running` | that returned before the saving began are handed over; those made during it may be, or are lost | never wait | keeps the old one |
/// | `Queued` | all are handed over | wait while the old one drains, saves, and the new one restores | keeps the old one, and loses nothing |
/// | `Merged` | all are handed over, where `restore` adds the state to what is there already | never wait; for that while they find the new one without the old one's state | puts the old one back, and loses what the new one was told meanwhile |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandOver {
    /// The state is saved while calls go on.
    Running,
    /// Calls wait until the hand-over is over. Nobody is inside the old instance when it saves.
    ///
    /// A call or a guard that lasts longer than `patience`, of whatever slot, keeps the old instance installed: the new version is
    /// refused. A thread that was inside the old one before, or holds a guard from before, calls the old one until it is out. Where a
    /// library calls slots of this program, each new version is refused: its calls cannot be told from those that wait.
    Queued {
        /// How long callers wait at most for the old instance to drain.
        patience: Duration,
    },
    /// The new instance is installed first, without the state. When nobody is inside the old one any more, its state is restored in the
    /// new one, while calls go on.
    Merged,
}

/// What is asked of a host for one slot.
pub(super) struct Wish {
    pub(super) plugin: String,
    pub(super) core: &'static SlotCore,
    pub(super) wanted: Wanted,
    pub(super) export: Option<String>,
    pub(super) config: String,
    pub(super) hand_over: Option<HandOver>,
    pub(super) stand_in: Option<StandIn>,
    pub(super) on_panic: OnPanic,
    pub(super) unload: bool,
}

/// A plugin that is about to be kept in a slot: see [`Plugins::keep`](crate::Plugins::keep). Nothing happens before
/// [`start`](Self::start).
#[must_use = "a plugin is kept from `start` on"]
pub struct Keep<'a, I: ?Sized> {
    plugins: &'a Plugins,
    wish: Wish,
    interface: PhantomData<fn() -> Box<I>>,
}

impl<'a, I: ?Sized + Interface> Keep<'a, I> {
    pub(super) fn new(plugins: &'a Plugins, core: &'static SlotCore, plugin: &str) -> Self {
        let wish = Wish {
            plugin: plugin.to_owned(),
            core,
            wanted: Wanted::of::<I>(),
            export: None,
            config: String::new(),
            hand_over: None,
            stand_in: None,
            on_panic: OnPanic::Stay,
            unload: false,
        };
        Self { plugins, wish, interface: PhantomData }
    }

    /// Which export it is, where the library exports the interface more than once.
    pub fn export(mut self, name: &str) -> Self {
        self.wish.export = Some(name.to_owned());
        self
    }

    /// What the constructor is given. Nothing by default.
    pub fn config(mut self, config: &str) -> Self {
        self.wish.config = config.to_owned();
        self
    }

    /// Has the state handed over when the plugin is replaced by a version of it. By default each version starts afresh.
    pub fn hand_over(mut self, how: HandOver) -> Self
    where
        I: Implements<Instance<I>>,
    {
        self.wish.stand_in = Some(gate::stand_in::<I>);
        self.wish.hand_over = Some(how);
        self
    }

    /// What is done when the plugin panics. By default it stays.
    pub fn on_panic(mut self, what: OnPanic) -> Self {
        self.wish.on_panic = what;
        self
    }

    /// Unloads each version when its last instance is gone, also where something of it can have been handed out: see
    /// [`Library::unload_when_drained`](crate::Library::unload_when_drained). Where nothing can have been, that is the default.
    ///
    /// # Safety
    ///
    /// As there, for every version that will ever be in the plugin's file.
    #[allow(unsafe_code)]
    pub unsafe fn unload_when_drained(mut self) -> Self {
        self.wish.unload = true;
        self
    }

    /// Keeps the plugin in the slot, from now on. It is installed when this returns, if its file is there and is not refused; if not,
    /// [`Kept::status`] says why, and the slot holds what it held.
    ///
    /// # Errors
    ///
    /// [`PluginsError::Kept`] where this host keeps another plugin in the slot; [`PluginsError::OnTheHostsThread`],
    /// [`PluginsError::Gone`].
    pub fn start(self) -> Result<Kept, PluginsError> {
        let Self { plugins, wish, .. } = self;
        let status = Arc::new(Mutex::new(Status::Waiting { reason: "nobody has looked yet".to_owned() }));
        let (plugin, shared) = (wish.plugin.clone(), Arc::clone(&status));
        let id =
            plugins.host.ask(|reply| Message::Keep { wish: Box::new(wish), status: shared, reply })??;
        Ok(Kept { host: Arc::clone(&plugins.host), id, plugin, status })
    }
}

impl<I: ?Sized> fmt::Debug for Keep<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("plugin", &self.wish.plugin).finish_non_exhaustive()
    }
}

/// What has become of a plugin that is kept. See [`Kept::status`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// An instance of it is in its slot.
    Installed {
        /// The loading of its library.
        generation: u64,
        /// The version of the package that exports it.
        version: String,
    },
    /// None is: the slot holds its default, or what somebody else has put there.
    Waiting {
        /// Why.
        reason: String,
    },
    /// It was disabled.
    Disabled,
    /// It was released, or its host is gone.
    Released,
}

/// A plugin that a host keeps in a slot. Dropping this changes nothing.
#[derive(Clone)]
pub struct Kept {
    host: Arc<Host>,
    id: usize,
    plugin: String,
    status: Arc<Mutex<Status>>,
}

impl Kept {
    /// The plugin's name.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// What has become of it.
    #[must_use]
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Says whether it is installed.
    ///
    /// # Errors
    ///
    /// [`PluginsError::NotInstalled`] where it is not, and why.
    pub fn installed(&self) -> Result<(), PluginsError> {
        let not = |reason: String| PluginsError::NotInstalled { plugin: self.plugin.clone(), reason };
        match self.status() {
            Status::Installed { .. } => Ok(()),
            Status::Waiting { reason } => Err(not(reason)),
            Status::Disabled => Err(not("it was disabled".to_owned())),
            Status::Released => Err(not("it was released".to_owned())),
        }
    }

    /// Loads the file anew, whether it has changed or not: another instance, and another copy of the library's statics. The state is
    /// handed over, where that was asked for.
    ///
    /// # Errors
    ///
    /// [`PluginsError::NotInstalled`] where it was refused: the old instance goes on. And those of [`Keep::start`].
    pub fn reload(&self) -> Result<(), PluginsError> {
        self.command(Command::Reload)
    }

    /// As [`reload`](Self::reload), with another configuration, which later versions are given, too.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn configure(&self, config: &str) -> Result<(), PluginsError> {
        self.command(Command::Configure(config.to_owned()))
    }

    /// Puts the slot's default in its place, until it is enabled again.
    ///
    /// # Errors
    ///
    /// Those of [`Slot::restore`](crate::Slot::restore), as [`PluginsError::Slot`]; and those of [`Keep::start`].
    pub fn disable(&self) -> Result<(), PluginsError> {
        self.command(Command::Disable)
    }

    /// Loads it again, from the file as it is now.
    ///
    /// # Errors
    ///
    /// As for [`reload`](Self::reload).
    pub fn enable(&self) -> Result<(), PluginsError> {
        self.command(Command::Enable)
    }

    /// Ends the keeping. The slot holds what it holds.
    ///
    /// # Errors
    ///
    /// As for [`Keep::start`].
    pub fn release(&self) -> Result<(), PluginsError> {
        self.command(Command::Release)
    }

    fn command(&self, command: Command) -> Result<(), PluginsError> {
        let id = self.id;
        self.host.ask(|reply: SyncSender<Result<(), PluginsError>>| Message::Command {
            id,
            command,
            reply,
        })?
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("plugin", &self.plugin)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What may be asked for a plugin that is kept.
pub(super) enum Command {
    Reload,
    Configure(String),
    Disable,
    Enable,
    Release,
}

//! The host, as whoever uses it sees it.

use core::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, sync_channel};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use super::folder::{Found, Source};
use super::worker::{Message, Worker};
use super::{Event, Keep, PluginsError};
use crate::interface::Shared;
use crate::lock::{Mutex, lock};
use crate::slot::Retarget;

/// A host of plugins: keeps in each slot the plugin that was asked for, as its file is now.
///
/// It looks after a folder, or after one file. A library that is rebuilt there is opened when it is whole, compared by its header,
/// instantiated, given the state of the old one, and swapped in, while all threads go on calling. Whatever fails leaves the old
/// one installed, and says why, once.
///
/// ```no_run
/// use hotcall::host::{HandOver, OnPanic};
/// use hotcall::{Plugins, dispatch, slot};
///
/// #[dispatch]
/// pub trait Effect: Send + Sync {
///     fn process(&self, sample: f32) -> f32;
/// }
/// struct Bypass;
/// impl Effect for Bypass {
///     fn process(&self, sample: f32) -> f32 { sample }
/// }
/// #[slot]
/// pub static EFFECT: dyn Effect = Bypass;
///
/// // SAFETY: only our own build writes into this folder.
/// # #[cfg(feature = "watch")]
/// let plugins = unsafe { Plugins::watch("plugins") }?;
/// # #[cfg(not(feature = "watch"))]
/// # let plugins = unsafe { Plugins::open("plugins") }?;
/// plugins.on_event(|event| println!("{event}"));
/// let reverb = plugins
///     .keep(&EFFECT, "reverb")                // plugins/libreverb.so
///     .config("room=large")
///     .hand_over(HandOver::Running)
///     .on_panic(OnPanic::Previous)
///     .start()?;
/// # Ok::<(), hotcall::host::PluginsError>(())
/// ```
///
/// # What is looked at, and when
///
/// | a file | is |
/// |---|---|
/// | written in place (`cp`, an editor, `rsync --inplace`) | looked at when its writer has closed it |
/// | renamed to its name (`mv`, `rsync`, most editors), or linked (cargo) | looked at at once |
/// | empty or half-written | waited for: its next change, and a few times without one; then refused |
/// | deleted | no reason to do anything: what is installed goes on; when it is back, it is looked at |
/// | written again with the content that it had | left alone |
///
/// A folder that is itself deleted, as `cargo clean` does, is not watched any more when it is back: make another host, or ask for
/// [`rescan`](Self::rescan).
///
/// Changes that follow each other within [`settle`](Self::settle) are one. Between changes nothing runs: the system tells (`inotify`,
/// by the crate `notify`, with the feature `watch`). Without it, and on file systems that tell nothing, there is
/// [`rescan`](Self::rescan).
///
/// # What is kept
///
/// Slots of interfaces without `&mut self`. Each slot has a loading of the library to itself: two slots that keep one plugin have two
/// copies of its statics. What somebody else puts into such a slot stays there until the next version comes; a panic does not
/// take it out.
///
/// The host owns an instance together with its slot. What is given back by a `replace` of somebody else's is borrowed:
/// [`Instance::into_box`](crate::Instance::into_box) refuses it.
///
/// # Threads
///
/// One thread of the host's opens libraries, runs constructors, hands state over, tells of events. To ask the host something there
/// is refused ([`PluginsError::OnTheHostsThread`]). Whoever asks on another thread waits for it, at most as long as constructors, listeners
/// and hand-overs take. A forked child has no host.
///
/// A clone is another handle. When the last one is dropped, and no [`Kept`](super::Kept) is left, the thread ends; slots hold what they hold.
#[derive(Clone)]
pub struct Plugins {
    pub(super) host: Arc<Host>,
}

impl Plugins {
    /// A host for a folder, or for one file, which looks at it when it is told to ([`rescan`](Self::rescan)).
    ///
    /// # Errors
    ///
    /// [`PluginsError::Folder`] where there is no such folder; [`PluginsError::Thread`].
    ///
    /// # Safety
    ///
    /// What [`Library::open`](crate::Library::open) asks for, of each file that will ever be there under the name of a plugin that is
    /// kept. What may be loaded is decided by whoever may write there.
    #[allow(unsafe_code)]
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Self, PluginsError> {
        let (host, _) = Host::start(Source::new(path.as_ref())?)?;
        Ok(Self { host: Arc::new(host) })
    }

    /// A host for a folder, or for one file, which looks at it whenever the system says that it has changed.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); and [`PluginsError::Watch`] where the system does not tell.
    ///
    /// # Safety
    ///
    /// As for [`open`](Self::open).
    #[allow(unsafe_code)]
    #[cfg(feature = "watch")]
    pub unsafe fn watch(path: impl AsRef<Path>) -> Result<Self, PluginsError> {
        let source = Source::new(path.as_ref())?;
        let folder = source.folder().to_owned();
        let (mut host, tell) = Host::start(source)?;
        host.watcher = Some(super::watcher::Watcher::new(&folder, tell)?);
        Ok(Self { host: Arc::new(host) })
    }

    /// What is in a folder, or in one file: what each library offers, what built it, and what it would be refused for. In the order of
    /// the files' names. Nothing of it runs.
    ///
    /// ```no_run
    /// for found in hotcall::Plugins::discover("plugins")? {
    ///     println!("{found}");
    /// }
    /// # Ok::<(), hotcall::host::PluginsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PluginsError::Folder`] where it cannot be read.
    pub fn discover(path: impl AsRef<Path>) -> Result<Vec<Found>, PluginsError> {
        let path = path.as_ref();
        Found::all(&Source::new(path)?)
            .map_err(|source| PluginsError::Folder { path: path.to_owned(), source })
    }

    /// Keeps the plugin `name`, the file `libNAME.so` or `NAME.so`, in a slot. See [`Keep`] for what may be said of it; from
    /// [`Keep::start`] on it is kept.
    pub fn keep<R>(&self, slot: &'static R, name: &str) -> Keep<'_, R::Interface>
    where
        R: Retarget<Interface: Shared>,
    {
        Keep::new(self, slot.__core(), name)
    }

    /// Has `listener` told what happens from now on, on the host's thread. One that panics is not told any more.
    pub fn on_event(&self, listener: impl FnMut(&Event) + Send + 'static) {
        let _ = self.host.tell(Message::Listen(Box::new(listener)));
    }

    /// What happens from now on, to be received. What is not received is kept.
    #[must_use]
    pub fn events(&self) -> Receiver<Event> {
        let (tell, told) = mpsc::channel();
        self.on_event(move |event| {
            let _ = tell.send(event.clone());
        });
        told
    }

    /// Looks at the files of all plugins that are kept, now. It returns when they have been looked at.
    ///
    /// # Errors
    ///
    /// [`PluginsError::OnTheHostsThread`], [`PluginsError::Gone`].
    pub fn rescan(&self) -> Result<(), PluginsError> {
        self.host.ask(Message::RescanNow)
    }

    /// For how long a file has to be left alone before it is looked at: 50 ms where this is not called.
    pub fn settle(&self, quiet: Duration) {
        let _ = self.host.tell(Message::Settle(quiet));
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugins").field("source", &self.host.source).finish_non_exhaustive()
    }
}

/// The host's end of its thread.
pub(super) struct Host {
    source: Source,
    tell: Mutex<Sender<Message>>,
    thread: ThreadId,
    join: Option<JoinHandle<()>>,
    process: u32,
    #[cfg(feature = "watch")]
    watcher: Option<super::watcher::Watcher>,
}

impl Host {
    fn start(source: Source) -> Result<(Self, Sender<Message>), PluginsError> {
        let (tell, told) = mpsc::channel();
        let worker = Worker::new(source.clone(), tell.clone());
        let join = thread::Builder::new()
            .name("hotcall-plugins".to_owned())
            .spawn(move || worker.run(&told))
            .map_err(|source| PluginsError::Thread { source })?;
        let host = Self {
            source,
            tell: Mutex::new(tell.clone()),
            thread: join.thread().id(),
            join: Some(join),
            process: std::process::id(),
            #[cfg(feature = "watch")]
            watcher: None,
        };
        Ok((host, tell))
    }

    fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }

    fn tell(&self, message: Message) -> Result<(), PluginsError> {
        if self.is_elsewhere() {
            return Err(PluginsError::Gone);
        }
        lock(&self.tell).send(message).map_err(|_| PluginsError::Gone)
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask<T>(&self, message: impl FnOnce(SyncSender<T>) -> Message) -> Result<T, PluginsError> {
        if thread::current().id() == self.thread {
            return Err(PluginsError::OnTheHostsThread);
        }
        let (reply, answer) = sync_channel(1);
        self.tell(message(reply))?;
        answer.recv().map_err(|_| PluginsError::Gone)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.is_elsewhere() {
            return;
        }
        let _ = self.tell(Message::Stop);
        if let Some(join) = self.join.take().filter(|join| join.thread().id() != thread::current().id()) {
            let _ = join.join();
        }
    }
}

//! The host's thread: what it is told, and what it does about it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use super::event::{Event, Fallback, What};
use super::folder::{self, Look, Source};
use super::keep::{Command, Status, Wish};
use super::owner::Owner;
use super::supervise::{Alarm, Installation, Supervised};
use super::{PluginsError, version, whole};
use crate::error::Error;
use crate::lock::{Mutex, lock};
use crate::plugin::Library;

mod panics;
mod state;

/// For how long a file has to be left alone before it is looked at, where nobody says otherwise.
const QUIET: Duration = Duration::from_millis(50);
/// How often a file that is not whole is looked at again without having changed.
const TRIES: u32 = 4;

/// Loadings of libraries, counted for the whole process.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// What the system says of a file.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "watch"), allow(dead_code, reason = "only the watcher tells"))]
pub(super) enum Change {
    /// It is there, or is another.
    There,
    /// Somebody writes to it.
    Writing,
    /// Whoever wrote to it has closed it.
    Written,
    /// It is not there any more.
    Gone,
    /// It has another name now.
    Renamed(PathBuf),
}

type Listener = Box<dyn FnMut(&Event) + Send>;

type Reply<T> = SyncSender<Result<T, PluginsError>>;

/// What the host's thread is told.
pub(super) enum Message {
    #[cfg_attr(not(feature = "watch"), allow(dead_code, reason = "only the watcher tells"))]
    Changes(Vec<(PathBuf, Change)>),
    /// Anything may have changed.
    #[cfg_attr(not(feature = "watch"), allow(dead_code, reason = "only the watcher tells"))]
    Rescan,
    RescanNow(SyncSender<()>),
    Settle(Duration),
    Listen(Listener),
    Keep {
        wish: Box<Wish>,
        status: Arc<Mutex<Status>>,
        reply: Reply<usize>,
    },
    Command {
        id: usize,
        command: Command,
        reply: Reply<()>,
    },
    Drained {
        id: usize,
        generation: u64,
    },
    Gone {
        id: usize,
        generation: u64,
        path: PathBuf,
        unloaded: Result<(), String>,
    },
    Panicked {
        id: usize,
        generation: u64,
        message: String,
        /// What was put in its place by the thread that was inside. `None` where that is left to the host.
        fallback: Option<Result<Option<Fallback>, Error>>,
    },
    Stop,
}

/// What is known of a library that is installed, or was before.
struct Loaded {
    generation: u64,
    version: String,
    content: u64,
    path: PathBuf,
    library: Library,
}

/// A plugin that is kept.
struct Plugin {
    wish: Wish,
    supervised: Arc<Supervised>,
    status: Arc<Mutex<Status>>,
    enabled: bool,
    installed: Option<Loaded>,
    previous: Option<Loaded>,
    /// The content that was dealt with last.
    seen: Option<u64>,
    told_missing: bool,
    due: Option<Due>,
    /// Whose state is to be restored in what is installed, as soon as nobody is inside.
    merging: Option<(Installation, Option<Loaded>)>,
    /// Its file has changed meanwhile.
    changed_meanwhile: bool,
    panics: VecDeque<Instant>,
}

/// When a file is looked at, and how often it has been without being whole.
#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    tries: u32,
}

/// What came of a look.
enum Outcome {
    /// All is as it should be, or was refused, for this reason.
    Settled(Result<(), String>),
    /// To be looked at again, so soon; whether this was a try.
    Again(Duration, bool),
}

/// See the module.
pub(super) struct Worker {
    source: Source,
    tell: Sender<Message>,
    quiet: Duration,
    listeners: Vec<Listener>,
    plugins: BTreeMap<usize, Plugin>,
    /// Plugin and slot of every id that there ever was.
    names: Vec<(String, &'static str)>,
    /// Files that somebody writes to.
    writing: HashSet<PathBuf>,
    quarantine: HashSet<u64>,
}

impl Worker {
    pub(super) fn new(source: Source, tell: Sender<Message>) -> Self {
        Self {
            source,
            tell,
            quiet: QUIET,
            listeners: Vec::new(),
            plugins: BTreeMap::new(),
            names: Vec::new(),
            writing: HashSet::new(),
            quarantine: HashSet::new(),
        }
    }

    /// Does what it is told until it is told to stop.
    pub(super) fn run(mut self, told: &Receiver<Message>) {
        loop {
            let due = self.plugins.values().filter_map(|plugin| Some(plugin.due?.at)).min();
            let message = match due {
                None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => told.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(message) => {
                    // All that is known before anything is looked at.
                    for message in std::iter::once(message).chain(told.try_iter()) {
                        if matches!(message, Message::Stop) {
                            return self.stop();
                        }
                        self.handle(message);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.stop(),
            }
            self.look_at_what_is_due();
        }
    }

    fn stop(&mut self) {
        for plugin in self.plugins.values() {
            *lock(&plugin.status) = Status::Released;
            *plugin.supervised.hold() = super::supervise::Now::default();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Changes(changes) => {
                for (path, change) in changes {
                    self.changed(&path, change);
                }
            }
            Message::Rescan => {
                // An end of writing may be among what was lost.
                self.writing.clear();
                self.plugins.values_mut().for_each(|plugin| plugin.look_at(Instant::now() + self.quiet));
            }
            Message::RescanNow(reply) => {
                self.writing.clear();
                for id in self.plugins.keys().copied().collect::<Vec<_>>() {
                    let _ = self.look_now(id, false);
                }
                let _ = reply.send(());
            }
            Message::Settle(quiet) => self.quiet = quiet,
            Message::Listen(listener) => self.listeners.push(listener),
            Message::Keep { wish, status, reply } => {
                let _ = reply.send(self.keep(*wish, status));
            }
            Message::Command { id, command, reply } => {
                let _ = reply.send(self.command(id, command));
            }
            Message::Drained { id, generation } => self.drained(id, generation),
            Message::Gone { id, generation, path, unloaded } => {
                let what = match unloaded {
                    Ok(()) => What::Unloaded,
                    Err(reason) => What::Stays { reason },
                };
                self.emit(id, &path, generation, what);
            }
            Message::Panicked { id, generation, message, fallback } => {
                self.panicked(id, generation, message, fallback);
            }
            Message::Stop => {}
        }
    }

    fn emit(&mut self, id: usize, path: &Path, generation: u64, what: What) {
        let Some((plugin, slot)) = self.names.get(id).cloned() else { return };
        let event = Event { plugin, slot, path: path.to_owned(), generation, what };
        // A subscriber or a listener is the user's: its panic is no reason to stop.
        let _ = guarded(|| event.trace());
        self.listeners.retain_mut(|listener| guarded(|| listener(&event)).is_ok());
    }

    fn keep(&mut self, wish: Wish, status: Arc<Mutex<Status>>) -> Result<usize, PluginsError> {
        let slot = wish.core.name();
        if let Some(other) = self.plugins.values().find(|other| core::ptr::eq(other.wish.core, wish.core)) {
            return Err(PluginsError::Kept { slot, plugin: other.wish.plugin.clone() });
        }
        let id = self.names.len();
        self.names.push((wish.plugin.clone(), slot));
        let supervised = Supervised::new(id, wish.core, wish.on_panic, self.tell.clone());
        let plugin = Plugin {
            wish,
            supervised: Arc::new(supervised),
            status,
            enabled: true,
            installed: None,
            previous: None,
            seen: None,
            told_missing: false,
            due: None,
            merging: None,
            changed_meanwhile: false,
            panics: VecDeque::new(),
        };
        self.plugins.insert(id, plugin);
        let _ = self.look_now(id, false);
        Ok(id)
    }

    fn command(&mut self, id: usize, command: Command) -> Result<(), PluginsError> {
        let Some(plugin) = self.plugins.get_mut(&id) else { return Err(PluginsError::Gone) };
        match command {
            Command::Disable => {
                let out = plugin.supervised.clear()?;
                plugin.enabled = false;
                plugin.forget();
                *lock(&plugin.status) = Status::Disabled;
                drop(out);
                return Ok(());
            }
            Command::Release => {
                *lock(&plugin.status) = Status::Released;
                let _ = core::mem::take(&mut *plugin.supervised.hold());
                self.plugins.remove(&id);
                return Ok(());
            }
            Command::Configure(config) => plugin.wish.config = config,
            Command::Enable => plugin.enabled = true,
            Command::Reload => {}
        }
        let name = plugin.wish.plugin.clone();
        self.look_now(id, true).map_err(|reason| PluginsError::NotInstalled { plugin: name, reason })
    }

    fn changed(&mut self, path: &Path, change: Change) {
        let look = match change {
            Change::Writing => {
                // It is looked at when it has been written.
                if self.source.plugin(path).is_some() {
                    self.writing.insert(path.to_owned());
                }
                false
            }
            Change::There => true,
            Change::Written | Change::Gone => {
                self.writing.remove(path);
                true
            }
            Change::Renamed(to) => {
                // Whoever writes to it goes on, by whatever name.
                if self.writing.remove(path) && self.source.plugin(&to).is_some() {
                    self.writing.insert(to);
                } else {
                    self.writing.remove(&to);
                    self.changed(&to, Change::There);
                }
                true
            }
        };
        if let Some(name) = self.source.plugin(path).filter(|_| look) {
            let at = Instant::now() + self.quiet;
            let of_that_name = self.plugins.values_mut().filter(|plugin| plugin.wish.plugin == name);
            of_that_name.for_each(|plugin| plugin.look_at(at));
        }
    }

    fn look_at_what_is_due(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .plugins
            .iter_mut()
            .filter(|(_, plugin)| plugin.due.is_some_and(|due| due.at <= now))
            .filter_map(|(id, plugin)| Some((*id, plugin.due.take()?)))
            .collect();
        for (id, Due { tries, .. }) in due {
            if let Outcome::Again(pause, counts) = self.look(id, false, tries)
                && let Some(plugin) = self.plugins.get_mut(&id)
            {
                plugin.due = Some(Due { at: Instant::now() + pause, tries: tries + u32::from(counts) });
            }
        }
    }

    /// Looks until something has come of it.
    fn look_now(&mut self, id: usize, force: bool) -> Result<(), String> {
        let mut tries = 0;
        loop {
            match self.look(id, force, tries) {
                Outcome::Settled(result) => return result,
                Outcome::Again(pause, counts) => {
                    tries += u32::from(counts);
                    std::thread::sleep(pause);
                }
            }
        }
    }

    /// Looks at the file of a plugin, and does what follows.
    fn look(&mut self, id: usize, force: bool, tries: u32) -> Outcome {
        let (quiet, source) = (self.quiet, self.source.clone());
        let Some(plugin) = self.plugins.get_mut(&id).filter(|plugin| plugin.enabled) else {
            return Outcome::Settled(Ok(()));
        };
        if plugin.merging.is_some() {
            plugin.changed_meanwhile = true;
            return Outcome::Settled(
                Err("state is still being handed over to the version before".to_owned()),
            );
        }
        let Some(path) = source.file(&plugin.wish.plugin) else { return self.missing(id) };
        if self.writing.contains(&path) {
            return Outcome::Settled(Err("somebody writes to its file".to_owned()));
        }
        let bytes = match folder::look(&path, quiet) {
            Look::Read(bytes) => bytes,
            Look::Busy => return Outcome::Again(quiet.max(Duration::from_millis(1)), false),
            Look::Missing => return self.missing(id),
            Look::Failed(error) => {
                return Outcome::Settled(Err(self.refuse(id, &path, 0, error.to_string())));
            }
        };
        plugin.told_missing = false;
        let content = fingerprint(&bytes);
        if let Some(reason) = whole::missing(&bytes) {
            if tries < TRIES {
                return Outcome::Again(quiet.max(Duration::from_millis(1)) * 2_u32.pow(tries), true);
            }
            let again = plugin.seen.replace(content) == Some(content);
            let reason = if again { reason } else { self.refuse(id, &path, 0, reason) };
            return Outcome::Settled(Err(reason));
        }
        if !force && plugin.seen == Some(content) {
            return Outcome::Settled(Ok(()));
        }
        plugin.seen = Some(content);
        let brought = if self.quarantine.contains(&content) {
            Err((0, "it is quarantined: it panicked before; build it anew".to_owned()))
        } else {
            self.bring_in(id, &path, &bytes, content)
        };
        Outcome::Settled(brought.map_err(|(generation, reason)| self.refuse(id, &path, generation, reason)))
    }

    fn missing(&mut self, id: usize) -> Outcome {
        let Some(plugin) = self.plugins.get_mut(&id) else { return Outcome::Settled(Ok(())) };
        let path = self.source.expected(&plugin.wish.plugin);
        let reason = format!("there is no {}", path.display());
        if plugin.installed.is_none() {
            *lock(&plugin.status) = Status::Waiting { reason: reason.clone() };
        }
        if !core::mem::replace(&mut plugin.told_missing, true) {
            self.emit(id, &path, 0, What::Missing);
        }
        Outcome::Settled(Err(reason))
    }

    /// Says that a version was refused, and gives the reason back.
    fn refuse(&mut self, id: usize, path: &Path, generation: u64, reason: String) -> String {
        if let Some(plugin) = self.plugins.get(&id).filter(|plugin| plugin.installed.is_none()) {
            *lock(&plugin.status) = Status::Waiting { reason: reason.clone() };
        }
        self.emit(id, path, generation, What::Refused { reason: reason.clone() });
        reason
    }

    /// Opens a library, and puts an instance of it into its slot. Else says why not, and of which generation.
    fn bring_in(&mut self, id: usize, path: &Path, bytes: &[u8], content: u64) -> Result<(), (u64, String)> {
        let Some(plugin) = self.plugins.get(&id) else { return Ok(()) };
        let (wish, supervised) = (&plugin.wish, Arc::clone(&plugin.supervised));
        let by_its_header = |reason: String| (0, reason);
        // SAFETY: the promise of whoever made the host, for every file of a plugin that is kept.
        #[allow(unsafe_code)]
        let library =
            unsafe { Library::open_bytes(path, bytes) }.map_err(|error| by_its_header(error.to_string()))?;
        let header = library
            .find(wish.wanted.description, wish.export.as_deref())
            .map_err(|error| by_its_header(error.to_string()))?;
        let version = header.package.1.clone();
        let hand_over = wish.hand_over.filter(|_| plugin.installed.is_some());
        if let (Some(_), Some(installed)) = (hand_over, &plugin.installed) {
            if !header.hands_over {
                let reason = "state is to be handed over to it, and it restores none: it exports no `save = .., restore = ..`";
                return Err(by_its_header(reason.to_owned()));
            }
            if let Some(reason) = version::refusal(&installed.version, &version) {
                return Err(by_its_header(reason));
            }
        }
        // From here on its code runs.
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
        let refused = |reason: String| (generation, reason);
        let alarm = Alarm { of: Arc::clone(&supervised), generation, path: path.to_owned() };
        library.watch(Box::new(alarm));
        if wish.unload {
            // SAFETY: the promise of whoever asked for it.
            #[allow(unsafe_code)]
            unsafe {
                library.unload_when_drained();
            }
        }
        let made = guarded(|| library.make_raw(&wish.wanted, wish.export.as_deref(), &wish.config));
        let made = made.and_then(|made| made.map_err(|error| error.to_string())).map_err(refused)?;
        let new = Installation { generation, owner: Owner::new(made) };
        self.emit(id, path, generation, What::Loaded { version: version.clone() });
        let old = supervised.hold().current.clone().filter(|_| hand_over.is_some());
        let merges = match (hand_over, &old) {
            (Some(how), Some(old)) => self.hand_over(id, path, how, old, &new).map_err(refused)?,
            _ => {
                supervised.install(new).map_err(|error| refused(error.to_string()))?;
                false
            }
        };
        let Some(plugin) = self.plugins.get_mut(&id) else { return Ok(()) };
        let status = Status::Installed { generation, version: version.clone() };
        let loaded = Loaded { generation, version, content, path: path.to_owned(), library };
        let before = plugin.installed.replace(loaded);
        if merges {
            plugin.merging = old.map(|old| (old, before));
        } else {
            plugin.previous = before.filter(|_| supervised.keeps_the_previous());
        }
        *lock(&plugin.status) = status;
        self.emit(id, path, generation, What::Swapped);
        Ok(())
    }
}

impl Plugin {
    /// Has it looked at, later if that was to be sooner: changes that follow each other are one.
    fn look_at(&mut self, at: Instant) {
        self.due = Some(Due { at, tries: 0 });
    }

    /// Nothing of it is installed any more.
    fn forget(&mut self) {
        (self.installed, self.previous, self.seen, self.due, self.merging) = (None, None, None, None, None);
    }

    fn tell_status(&self, reason: &str) {
        *lock(&self.status) = match &self.installed {
            Some(Loaded { generation, version, .. }) => {
                Status::Installed { generation: *generation, version: version.clone() }
            }
            None => Status::Waiting { reason: reason.to_owned() },
        };
    }
}

/// Runs what is the user's, and what may be a panic of this program's.
fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let said = payload.downcast_ref::<String>().map(String::as_str);
        let said =
            said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a value that is no text");
        let said = format!("it panicked: {said}");
        // Its destructor is the user's, too.
        core::mem::forget(payload);
        said
    })
}

fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

//! A library that was accepted, and the instances that it makes.
#![allow(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::allocator::{Allocator, Kin};
use super::boundary::Host;
use super::compare::{Difference, difference};
use super::export::{Entry, Handing, Outcome, Request};
use super::header::{Header, InterfaceRecord};
use super::platform::{Loaded, PrivateCopy, examine};
use crate::error::{Error, PluginError};
use crate::gated::Gated;
use crate::instance::{Instance, Keeper, RawInstance};
use crate::interface::{Description, Interface};

const TARGET: &str = "hotcall::plugin";

/// A shared library with plugins in it.
///
/// Opening one reads its header and loads nothing. It is loaded when the first instance is made, and only if
/// the interface asked for is the one that the library was built against: **a library that is refused, for
/// whatever reason, has run none of its code.** (One check has to be made inside: whether `dyn Stage<u8>` and
/// `dyn Stage<u16>`, which look the same from outside when they pass `&T` only, are the same. Then the library is
/// loaded, but none of its constructors is called.)
///
/// Instances keep the library loaded. A clone is another handle to the same library; opening the same path
/// again is another library, with statics of its own, whether the file has changed or not.
///
/// ```no_run
/// use hotcall::{dispatch, slot, Library};
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
/// // SAFETY: it is our own plugin, and follows the rules of `Library::open`.
/// let library = unsafe { Library::open("libreverb.so") }?;
/// EFFECT.replace(library.instantiate::<dyn Effect>("room=large")?)?;
/// # Ok::<(), hotcall::Error>(())
/// ```
///
/// # Unloading
///
/// A library that was loaded is unloaded with its last handle and its last instance **where nothing of it can have been handed
/// out**, as the types of the interfaces say of which it made instances: their traits have no parameters and no supertraits but
/// `Send` and `Sync`, and their methods give numbers, text (`String`) and collections of them (`Vec`, `Option`, `Result`, tuples,
/// arrays), by value, and take these, or one reference to them ([`Description::leaves_nothing`](crate::Description)). A library of
/// which no instance could be made goes as well.
///
/// Any other stays by default. Nothing can show that it is no longer needed: a `&'static str` that a method returned, a vtable in a
/// `Box<dyn Error>` or in a type of the interface's crate may live on. What hotcall promises of a
/// replaced plugin is that it is *drained*, not that it is unmapped. One that stays costs its memory and one
/// file descriptor. [`Library::unload_when_drained`] is for who knows better.
///
/// Both kinds stay where something of the library may still run: see there. Names of types ([`Instance::type_name`]) are copies, and
/// outlive it.
///
/// # Panics in a plugin
///
/// A panic in a constructor comes back as [`PluginError::Constructor`], with its message and its place. A panic out of a method,
/// or out of the destructor of an instance, becomes a panic *of this program*: it unwinds from the call on, is seen by
/// `std::thread::panicking`, poisons, and ends in `catch_unwind` or at the end of the thread as any other. Its payload is a
/// `String`, the message followed by the place: `no such note, at src/lib.rs:65:24`. The plugin's own hook has
/// printed it; this program's is not run. An instance that the runtime drops is reported with an error event. What
/// unwinds through a plugin and is this program's, from a closure that the plugin was given or from a slot that it calls, passes.
///
/// A method that the compiler sees not to panic is called as before; any other costs one more call and return.
///
/// Only the methods of exported interfaces are such a boundary. A function, a closure or a trait object that a plugin hands out
/// raises the plugin's own panics, at which a `catch_unwind` of this program aborts; and so does a `catch_unwind` in the plugin at
/// one of this program's. Other processors than x86-64 let no foreign panic pass: there it aborts.
///
/// # Platforms
///
/// Linux. Elsewhere [`Library::open`] answers [`PluginError::Load`].
///
/// # The private copy
///
/// The dynamic linker sees a copy at `/proc/self/fd/N`, so `/proc` must be mounted, and a library that looks
/// for its dependencies beside itself (`$ORIGIN` in its run path) does not find them: give it an absolute run
/// path, or link them in. Debuggers and profilers show the copy as `/memfd:libreverb.so (deleted)`.
#[derive(Clone)]
pub struct Library {
    inner: Arc<Inner>,
}

/// Invariants:
/// 1. `loaded` is the library that `exports` describes: both come from one sealed copy.
/// 2. It is unloaded, if at all, by `Drop`: every handle and every instance of it holds this value.
struct Inner {
    path: PathBuf,
    exports: Vec<Export>,
    /// The lock admits one loader at a time.
    loading: Gated<Loading>,
    loaded: OnceLock<Loaded>,
    unload: AtomicBool,
    /// It has made an instance of an interface of which something may be left.
    leaves: AtomicBool,
    /// Slots of it follow the program's: it stays.
    linked: AtomicBool,
    watch: OnceLock<Box<dyn Watch>>,
}

/// Who is told what becomes of a library.
pub(crate) trait Watch: Send + Sync {
    /// A method or a destructor of it panicked, on this thread. The panic goes on when this returns.
    fn panicked(&self, text: &str);

    /// Nothing holds it any more: it has been unloaded, or stays for a reason.
    fn gone(&self, unloaded: Result<(), String>);
}

/// Tells who watches a library that it panicked.
///
/// # Safety
///
/// `library` is null, or comes from [`Inner::as_request`] and that lives.
pub(super) unsafe fn panicked(library: *const (), text: &str) {
    // SAFETY: the caller's promise.
    let inner = unsafe { library.cast::<Inner>().as_ref() };
    if let Some(watch) = inner.and_then(|inner| inner.watch.get()) {
        // What it calls may be the user's, a subscriber's: a panic there does not take the place of this one.
        let told = catch_unwind(AssertUnwindSafe(|| watch.panicked(text)));
        core::mem::forget(told);
    }
}

/// How far a library has come that is not in [`Inner::loaded`].
enum Loading {
    /// This is to be loaded.
    Copy(PrivateCopy),
    /// Its slots are to follow the program's: that was refused, and may be tried again.
    Unlinked(Loaded),
    /// Loading has begun, and has not come back.
    Begun,
}

/// One plugin that a library exports.
///
/// ```no_run
/// # let library = unsafe { hotcall::Library::open("libreverb.so") }?;
/// for export in library.exports() {
///     println!("{} as {} ({:016x})", export.interface(), export.name(), export.fingerprint());
/// }
/// # Ok::<(), hotcall::Error>(())
/// ```
pub struct Export {
    header: Header,
}

impl Export {
    /// The interface, as written: `dyn Effect`.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.header.interface.name
    }

    /// The export's name: what `export!` was given, or else the name of the type.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// A hash of all that the header says of it. Two builds that differ in their interface differ in it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.header.fingerprint
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("interface", &self.interface())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library")
            .field("path", &self.inner.path)
            .field("exports", &self.inner.exports)
            .field("loaded", &self.inner.loaded.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Library {
    /// Copies the library at `path` and checks what it was built with. Nothing of it is loaded yet.
    ///
    /// # Errors
    ///
    /// [`PluginError::Read`] if the file cannot be read, [`PluginError::NotAPlugin`] if it is no shared library
    /// of this machine or has no sound header, [`PluginError::Build`] if another compiler, another version
    /// of hotcall, another panic strategy or another way to lay types out built it, and [`PluginError::Load`] if it could not be
    /// copied.
    ///
    /// # Safety
    ///
    /// The header is a check against mistakes, not against malice: a library that lies in it is believed. The
    /// caller vouches that
    ///
    /// * the header was written by `hotcall::export!`, and the library by safe Rust or sound unsafe Rust;
    /// * the constructors that the ELF file runs on loading, and its dependencies', may run in this process,
    ///   at the first instance, on the thread that asks for it;
    /// * types that the methods name and that *another crate* defines than the one that declares the interface have one
    ///   definition on both sides, down to what they refer to: the same version, with the same features. So do types whose names
    ///   a macro makes up, and those of generic parameters of the interface. The header has the size and alignment of each
    ///   argument, the version of the interface's crate, and for every type, trait and constant of that crate that the methods
    ///   name, with all that these name in turn, a hash of the definition and of the features and `--cfg`s that it asks for.
    ///   (Comments, the bodies of functions and the folder do not count.);
    /// * both sides have the same global allocator, if anything that owns memory passes through the interface
    ///   (a `String` that a method returns is freed by its caller) *and* either allocator does not give a block that was freed
    ///   to the next who asks for its size. Where both do, as nearly all do, another allocator is refused by
    ///   [`PluginError::Allocator`]. What passes in other ways, through a static or a system call, is the caller's to know.
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        examine(path).map(|examined| Self::of(path, examined)).map_err(refused)
    }

    /// As [`open`](Self::open), of a file that has been read. Who opens it says why it was refused.
    ///
    /// # Safety
    ///
    /// As there.
    #[cfg(target_os = "linux")]
    pub(crate) unsafe fn open_bytes(path: &Path, bytes: &[u8]) -> Result<Self, PluginError> {
        super::file::examine_bytes(path, bytes).map(|examined| Self::of(path, examined))
    }

    fn of(path: &Path, (copy, headers): (PrivateCopy, Vec<Header>)) -> Self {
        let exports: Vec<_> = headers.into_iter().map(|header| Export { header }).collect();
        tracing::debug!(target: TARGET, path = %path.display(), exports = exports.len(), "plugin accepted");
        Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                exports,
                loading: Gated::new(Loading::Copy(copy)),
                loaded: OnceLock::new(),
                unload: AtomicBool::new(false),
                leaves: AtomicBool::new(false),
                linked: AtomicBool::new(false),
                watch: OnceLock::new(),
            }),
        }
    }

    /// The path that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What the library exports. To look, nothing of it has to be loaded.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.inner.exports
    }

    /// Makes an instance of the one export of the interface `I`.
    ///
    /// ```no_run
    /// # use hotcall::{dispatch, Instance, Library};
    /// # #[dispatch]
    /// # pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
    /// # let library = unsafe { Library::open("libreverb.so") }?;
    /// let reverb: Instance<dyn Effect> = library.instantiate::<dyn Effect>("room=large")?;
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PluginError::NoInterface`] if nothing of the interface is exported, [`PluginError::Ambiguous`] if more
    /// than one is, [`PluginError::Interface`] if the interface or a type that it names is not this program's,
    /// [`PluginError::Load`] if the dynamic linker refuses the library, [`PluginError::Allocator`] if the library allocates
    /// elsewhere and memory would pass, [`PluginError::Constructor`] if the constructor fails or panics.
    pub fn instantiate<I: ?Sized + Interface>(&self, config: &str) -> Result<Instance<I>, Error> {
        self.make(None, config)
    }

    /// Makes an instance of the export `name` of the interface `I`.
    ///
    /// ```no_run
    /// # use hotcall::{dispatch, Library};
    /// # #[dispatch]
    /// # pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
    /// # let library = unsafe { Library::open("libreverb.so") }?;
    /// let plate = library.instantiate_named::<dyn Effect>("plate", "")?;
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Library::instantiate`].
    pub fn instantiate_named<I: ?Sized + Interface>(
        &self,
        name: &str,
        config: &str,
    ) -> Result<Instance<I>, Error> {
        self.make(Some(name), config)
    }

    /// Unloads the library when its last handle and its last instance are gone, on the thread that drops the
    /// last of them: that may be the thread that reclaims what was replaced.
    ///
    /// It stays as if this had not been called, and an event says why, where something of it may still run: it has started a thread,
    /// made a thread-specific key (as `std::thread::current` does, or a first call of a slot of its own) or set a signal's handler;
    /// the dynamic linker has a thread-local destructor of it to run; it has constructors of its own in its ELF file, needs
    /// libraries besides the C library, or has slots or keys of the program. Where glibc does not bind its calls, it always stays.
    ///
    /// ```no_run
    /// # let library = unsafe { hotcall::Library::open("libreverb.so") }?;
    /// // SAFETY: its methods take and return numbers only, and it starts no threads.
    /// unsafe { library.unload_when_drained() };
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// When the last instance has been dropped, nobody has anything of the library: no reference to its statics,
    /// no `&'static str`, no function pointer or trait object made in it, no error. What it registered with the system by
    /// other ways than the C library's `pthread_create`, `pthread_key_create` and `sigaction`, called by name, is gone. Its
    /// finalisers may run on any thread.
    pub unsafe fn unload_when_drained(&self) {
        // Partner: `Inner::drop`. The reference count orders this before it: `self` holds one.
        self.inner.unload.store(true, Ordering::Relaxed);
    }

    /// Has `watch` told what becomes of it. The first who watches does.
    #[cfg(target_os = "linux")]
    pub(crate) fn watch(&self, watch: Box<dyn Watch>) {
        let _ = self.inner.watch.set(watch);
    }

    /// The export of an interface, where it is this program's.
    #[cfg(target_os = "linux")]
    pub(crate) fn find(&self, host: &Description, name: Option<&str>) -> Result<&Header, PluginError> {
        Ok(&self.inner.select(host, name)?.0.header)
    }

    fn make<I: ?Sized + Interface>(&self, name: Option<&str>, config: &str) -> Result<Instance<I>, Error> {
        let made = self.make_raw(&Wanted::of::<I>(), name, config)?;
        Ok(Instance::from_raw(made.raw))
    }

    /// Makes an instance, for who knows of what interface it is.
    pub(crate) fn make_raw(&self, wanted: &Wanted, name: Option<&str>, config: &str) -> Result<Made, Error> {
        let export = self.inner.select(wanted.description, name).map_err(refused)?;
        let entry = self.entry(&export).map_err(refused)?;
        let interface = (wanted.type_name)();
        let shares_memory = wanted.description.shares_memory || self.inner.linked.load(Ordering::Relaxed);
        let library = Arc::as_ptr(&self.inner).cast();
        let request = Request { interface, config, host: Host::this(), library, shares_memory };
        // SAFETY: the symbol comes from the header, which names an entry (the promise of `open`); that both sides agree on
        // hotcall and compiler, and so on what an entry is, was found before.
        let outcome = unsafe { entry(&request) };
        let reason = match outcome {
            Outcome::Made(fresh) => {
                if !wanted.description.leaves_nothing || !fresh.is_of_one_allocator() {
                    // Partner: `Inner::drop`. As in `unload_when_drained`.
                    self.inner.leaves.store(true, Ordering::Relaxed);
                }
                let (data, table, handing) = fresh.into_parts();
                let keeper: Keeper = self.inner.clone();
                // SAFETY: `Fresh` promises what `data` and `table` are; `inner` keeps the library.
                let raw = unsafe { RawInstance::from_library(data, table, keeper) };
                return Ok(Made { raw, handing });
            }
            Outcome::Foreign(text) => {
                return Err(refused(PluginError::Interface {
                    path: self.inner.path.clone(),
                    name: export.0.interface().to_owned(),
                    library: format!("`{}`", text.into_string()),
                    host: format!("`{interface}`"),
                }));
            }
            Outcome::AllocatesElsewhere => {
                return Err(refused(self.inner.another_allocator(&export.0.header)));
            }
            Outcome::Failed(text) => text.into_string(),
            Outcome::Panicked(text) => format!("it panicked: {}", text.into_string()),
        };
        let path = &self.inner.path;
        tracing::warn!(target: TARGET, path = %path.display(), reason, "plugin constructor failed");
        Err(PluginError::Constructor { path: path.clone(), reason }.into())
    }

    /// The export's constructor, for which the library is loaded if it is not yet.
    fn entry(&self, export: &Agreed<'_>) -> Result<Entry, PluginError> {
        let failed = |reason| PluginError::Load { path: self.inner.path.clone(), reason };
        let loaded = self.inner.load(export).map_err(failed)?;
        // SAFETY: the symbol comes from the header, which names an entry (the promise of `open`); that both
        // sides agree on hotcall and compiler, and so on what an entry is, was found before.
        unsafe { loaded.entry(&export.0.header.entry) }.map_err(failed)
    }
}

/// An interface, without its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) description: &'static Description,
    type_name: fn() -> &'static str,
}

impl Wanted {
    pub(crate) fn of<I: ?Sized + Interface>() -> Self {
        Self { description: const { &I::DESCRIPTION }, type_name: core::any::type_name::<I> }
    }
}

/// An instance of a library, without its interface's type.
pub(crate) struct Made {
    pub(crate) raw: RawInstance,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for the host of plugins"))]
    pub(crate) handing: Option<&'static Handing>,
}

/// An export that was found to agree with this program. Only [`Inner::select`] makes one.
struct Agreed<'a>(&'a Export);

impl Inner {
    fn another_allocator(&self, header: &Header) -> PluginError {
        PluginError::Allocator {
            path: self.path.clone(),
            interface: header.interface.name.clone(),
            library: "a global allocator of its own".to_owned(),
            host: match Allocator::this_is_the_systems() {
                Kin::Same => "the system's",
                Kin::Differ => "one of its own",
                Kin::Unknown => "another",
            }
            .to_owned(),
        }
    }

    /// The one export with this interface and, if one is given, this name.
    fn select(&self, host: &Description, name: Option<&str>) -> Result<Agreed<'_>, PluginError> {
        let ours = InterfaceRecord::of(host);
        let candidates = self.exports.iter().filter(|export| {
            export.interface() == host.name && name.is_none_or(|name| export.name() == name)
        });
        let mut agreed = Vec::new();
        let mut differing: Option<(&Export, Difference)> = None;
        for export in candidates {
            // Traits of one name may come from several crates: blame the one from the crate that was meant.
            match difference(&export.header.interface, &ours) {
                None => agreed.push(export),
                Some(found) => {
                    if differing.is_none() || export.header.interface.crate_name == host.crate_name {
                        differing = Some((export, found));
                    }
                }
            }
        }
        match (agreed.as_slice(), differing) {
            (&[export], _) => Ok(Agreed(export)),
            ([], Some((export, Difference { library, host }))) => Err(PluginError::Interface {
                path: self.path.clone(),
                name: export.interface().to_owned(),
                library,
                host,
            }),
            ([], None) => Err(PluginError::NoInterface {
                path: self.path.clone(),
                wanted: name.map_or_else(|| host.name.to_owned(), |name| format!("{} as {name}", host.name)),
                exported: self.exports.iter().map(|e| format!("{} as {}", e.interface(), e.name())).collect(),
            }),
            (several, _) => Err(PluginError::Ambiguous {
                path: self.path.clone(),
                interface: host.name.to_owned(),
                names: several.iter().map(|export| export.name().to_owned()).collect(),
            }),
        }
    }

    /// Loads the library, once. What [`Agreed`] proves is why its code may run.
    fn load(&self, proof: &Agreed<'_>) -> Result<&Loaded, String> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let mut loading = self.loading.lock();
        if let Some(loaded) = self.loaded.get() {
            // Another thread was faster.
            return Ok(loaded);
        }
        let loaded = match core::mem::replace(&mut *loading, Loading::Begun) {
            Loading::Copy(copy) => {
                // SAFETY: the promise of `Library::open`.
                let load = || unsafe { Loaded::load(copy, &self.path) };
                near_the_program(load).map_err(|(copy, reason)| {
                    *loading = Loading::Copy(copy);
                    reason
                })?
            }
            Loading::Unlinked(loaded) => loaded,
            Loading::Begun => return Err("a constructor of it has not returned".to_owned()),
        };
        let slots = match self.link(&loaded, proof) {
            Ok(slots) => slots,
            Err(refused) => {
                *loading = Loading::Unlinked(loaded);
                return Err(refused);
            }
        };
        let path = self.path.display();
        tracing::info!(target: TARGET, %path, exports = self.exports.len(), slots, "plugin loaded");
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// Has the library's slots and keys follow those of the same declarations in the program, before anything of it calls them.
    /// How many slots.
    #[cfg(patched)]
    fn link(&self, loaded: &Loaded, proof: &Agreed<'_>) -> Result<usize, String> {
        crate::sys::image::has_loaded();
        // SAFETY: as in `Library::entry`.
        let entry = unsafe { loaded.entry(&proof.0.header.entry) }?;
        let linked = crate::slot::backend::link(entry as usize).map_err(|refused| refused.to_string())?;
        self.linked.store(linked.slots + linked.keys != 0, Ordering::Relaxed);
        let path = self.path.display();
        // Of slots and of keys.
        for slot in linked.ambiguous {
            tracing::warn!(
                target: TARGET, %path, slot,
                "several declarations cannot be told from it: it stays the library's own, and does not follow the program's"
            );
        }
        for slot in linked.other_sources {
            tracing::warn!(
                target: TARGET, %path, slot,
                "it does not follow the program's, which was compiled from other sources: build both from the same"
            );
        }
        Ok(linked.slots)
    }

    #[cfg(not(patched))]
    fn link(&self, _: &Loaded, _: &Agreed<'_>) -> Result<usize, String> {
        Ok(0)
    }
}

impl Inner {
    fn tell(&self, unloaded: Result<(), String>) {
        if let Some(watch) = self.watch.get() {
            watch.gone(unloaded);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Partners: `Library::unload_when_drained`, and `make`.
        let unload = *self.unload.get_mut() || !*self.leaves.get_mut();
        if unload && *self.linked.get_mut() {
            let reason = "its slots or keys follow the program's";
            tracing::warn!(target: TARGET, path = %self.path.display(), reason, "plugin kept mapped");
            self.tell(Err(reason.to_owned()));
            return;
        }
        let Some(loaded) = self.loaded.take() else { return };
        if unload {
            let path = self.path.display();
            // SAFETY: invariant 2: no handle and no instance is left. The rest is the promise of
            // `unload_when_drained`; or the interfaces of all instances are such that nothing of the library was handed out
            // (`plain`), and what its code told the system `unload` knows of.
            let unloaded = unsafe { loaded.unload() };
            match &unloaded {
                Ok(()) => tracing::info!(target: TARGET, %path, "plugin unloaded"),
                Err(reason) => tracing::warn!(target: TARGET, %path, reason, "plugin kept mapped"),
            }
            self.tell(unloaded);
        } else {
            self.tell(Err(
                "something of it may have been handed out, and nobody has said that it may go".to_owned()
            ));
        }
    }
}

static NEAR: AtomicBool = AtomicBool::new(true);

/// Whether libraries are loaded near the program: so near that its calls go straight into them.
///
/// By default they are, where the address space has room. While one is loaded, for milliseconds, the ranges of addresses
/// above are reserved; what other threads map meanwhile comes to lie near the program, too. Elsewhere a library is
/// called through a trampoline, which costs about a nanosecond more. Takes effect for libraries that are loaded from
/// now on. In the portable backend, and on other platforms, they lie wherever the system puts them.
///
/// ```
/// hotcall::load_libraries_near(false);
/// ```
pub fn load_libraries_near(near: bool) {
    NEAR.store(near, Ordering::Relaxed);
}

/// Loads within reach of the calls, where that is wanted and can be had.
#[cfg(patched)]
fn near_the_program<R>(load: impl FnOnce() -> R) -> R {
    match crate::sys::image::own_code().filter(|_| NEAR.load(Ordering::Relaxed)) {
        Some(code) => crate::sys::near::load_near(&code, load),
        None => load(),
    }
}

#[cfg(not(patched))]
fn near_the_program<R>(load: impl FnOnce() -> R) -> R {
    load()
}

/// Says why on the way out.
fn refused(error: PluginError) -> Error {
    tracing::warn!(target: TARGET, reason = %error, "plugin refused");
    error.into()
}

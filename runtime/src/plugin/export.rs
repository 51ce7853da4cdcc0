//! The library's side: what `export!` expands to calls these, and the host calls what it expands to.
//!
//! # The entry
//!
//! Each export is one `extern "C-unwind"` function from a [`Request`] to an [`Outcome`]. It is called only after
//! the host has found both sides built by one compiler against one hotcall, so that both see the same layout;
//! `repr(C)` is there for whoever reads it in a debugger.
//!
//! The header cannot tell `dyn Stage<u8>` from `dyn Stage<u16>` where the parameter shows in no layout: no
//! constant names a type. So the entry compares the type's name before it runs the constructor.
//!
//! # State
//!
//! An export may name two functions that save an instance's state and restore it in another: [`Handing`] is what the host
//! calls them through.
//!
//! # What may cross
//!
//! A panic may not: see [`super::boundary`]. The entry catches a constructor's inside; one of the host's, from a slot that
//! the constructor called, passes. What the library allocated is freed by the library: the instance by its table's destructor,
//! a message by [`Text::free`].
#![allow(unsafe_code)]

use core::convert::Infallible;
use core::fmt::Display;
use core::ptr::{self, NonNull};

use super::allocator::Kin;
use super::boundary::{self, Exported, Host};
use super::catch;
use crate::interface::{Implements, Table};

/// An export's constructor, as the host sees it.
pub type Entry = unsafe extern "C-unwind" fn(&Request<'_>) -> Outcome;

/// What the host asks for.
#[repr(C)]
#[derive(Debug)]
pub struct Request<'a> {
    /// The interface, as [`core::any::type_name`] prints it.
    pub(crate) interface: &'a str,
    /// What the constructor is given.
    pub(crate) config: &'a str,
    /// Who asks.
    pub(crate) host: &'static Host,
    /// Which library it is, for the host: what it gives back with each panic.
    pub(crate) library: *const (),
    /// Memory that one side allocates may be freed by the other.
    pub(crate) shares_memory: bool,
}

/// What a constructor answered.
#[repr(C)]
#[derive(Debug)]
pub enum Outcome {
    /// An instance.
    Made(Fresh),
    /// The constructor returned an error.
    Failed(Text),
    /// The constructor panicked.
    Panicked(Text),
    /// The export is for another interface, of this name: nothing was constructed.
    Foreign(Text),
    /// The library has another allocator than its host, and memory would pass between them: nothing was constructed.
    AllocatesElsewhere,
}

/// What a constructor made.
///
/// Invariant: `data` came from `Box::into_raw` of the type of `table`, which is `Send`, `Sync` and `'static`.
#[repr(C)]
#[derive(Debug)]
pub struct Fresh {
    data: NonNull<()>,
    table: &'static Table,
    handing: Option<&'static Handing>,
    /// Memory that passes is of one allocator for certain, or none passes.
    one_allocator: bool,
}

impl Fresh {
    /// Whether memory that passes is of one allocator for certain, or none passes.
    pub(crate) fn is_of_one_allocator(&self) -> bool {
        self.one_allocator
    }

    /// The instance, its code and its destructor, as the invariant says; and how its state is saved and restored.
    pub(crate) fn into_parts(self) -> (NonNull<()>, &'static Table, Option<&'static Handing>) {
        (self.data, self.table, self.handing)
    }
}

/// State, or why there is none.
#[repr(C)]
#[derive(Debug)]
pub enum Saved {
    /// The state.
    State(Bytes),
    /// The function returned an error, or panicked.
    Failed(Text),
}

type Save = dyn Fn(NonNull<()>) -> Saved + Send + Sync;
type Restore = dyn Fn(NonNull<()>, &[u8]) -> Option<Text> + Send + Sync;

/// How the state of an export's instances is saved and restored. Neither lets a panic out.
///
/// Invariant: both take what [`Fresh`] gave as `data`, of the type of this export, while it lives.
#[repr(C)]
pub struct Handing {
    save: Box<Save>,
    restore: Box<Restore>,
}

impl core::fmt::Debug for Handing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handing").finish_non_exhaustive()
    }
}

impl Handing {
    fn new<T: Send + Sync + 'static>(
        save: impl Fn(&T) -> Result<Vec<u8>, String> + Send + Sync + 'static,
        restore: impl Fn(&T, &[u8]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        // SAFETY: by the invariant it is a `T` that lives; it is `Sync`, so that others may use it meanwhile.
        let of = |data: NonNull<()>| unsafe { &*data.cast::<T>().as_ptr() };
        let save = move |data| match catch::attempt(|| save(of(data))) {
            Ok(Ok(state)) => Saved::State(Bytes::new(state)),
            Ok(Err(error)) => Saved::Failed(Text::new(error)),
            Err(payload) => Saved::Failed(panicked(payload)),
        };
        let restore = move |data, state: &[u8]| match catch::attempt(|| restore(of(data), state)) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Text::new(error)),
            Err(payload) => Some(panicked(payload)),
        };
        Self { save: Box::new(save), restore: Box::new(restore) }
    }

    /// The state of an instance, in this program's memory.
    ///
    /// # Safety
    ///
    /// The invariant's.
    pub(crate) unsafe fn save(&self, data: NonNull<()>) -> Result<Vec<u8>, String> {
        match (self.save)(data) {
            Saved::State(state) => Ok(state.as_slice().to_vec()),
            Saved::Failed(text) => Err(text.into_string()),
        }
    }

    /// Restores state in an instance.
    ///
    /// # Safety
    ///
    /// The invariant's.
    pub(crate) unsafe fn restore(&self, data: NonNull<()>, state: &[u8]) -> Result<(), String> {
        (self.restore)(data, state).map_or(Ok(()), |text| Err(text.into_string()))
    }
}

fn panicked(payload: catch::Payload) -> Text {
    Text::new(format!("it panicked: {}", boundary::describe(payload)))
}

/// Bytes that are freed by the library that wrote them.
///
/// Invariants:
/// 1. `bytes` and `length` are those of a leaked `Box<[u8]>`.
/// 2. `free` is the function that takes it back, compiled with the allocator that it came from.
#[repr(C)]
#[derive(Debug)]
pub struct Bytes {
    bytes: NonNull<u8>,
    length: usize,
    free: unsafe extern "C-unwind" fn(NonNull<u8>, usize),
}

impl Bytes {
    fn new(bytes: Vec<u8>) -> Self {
        let bytes = Box::leak(bytes.into_boxed_slice());
        Self { length: bytes.len(), bytes: NonNull::from(bytes).cast(), free: free_bytes }
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: invariant 1: `length` initialised bytes, alive until `self` is dropped.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr(), self.length) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: invariants 1 and 2; it is dropped once.
        unsafe { (self.free)(self.bytes, self.length) }
    }
}

/// # Safety
///
/// The arguments are those of a [`Bytes`] that this copy of hotcall made, given back once.
unsafe extern "C-unwind" fn free_bytes(bytes: NonNull<u8>, length: usize) {
    let bytes = ptr::slice_from_raw_parts_mut(bytes.as_ptr(), length);
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(bytes) });
}

/// A message that is freed by the library that wrote it.
#[repr(C)]
#[derive(Debug)]
pub struct Text(Bytes);

impl Text {
    fn new(text: String) -> Self {
        Self(Bytes::new(text.into_bytes()))
    }

    /// The message, in this program's memory.
    pub(crate) fn into_string(self) -> String {
        String::from_utf8_lossy(self.0.as_slice()).into_owned()
    }
}

/// What a constructor returned, made into a `Result` if it was not one.
///
/// `Made(x).settle()` is the inherent method for every `Result`, and that of [`Plain`] for the rest: which of
/// the two it is follows from the type alone, so that what is wrong with the type is reported afterwards, as
/// what it is.
#[derive(Debug)]
pub struct Made<R>(pub R);

impl<T, E> Made<Result<T, E>> {
    /// The result.
    ///
    /// # Errors
    ///
    /// Those of the constructor.
    pub fn settle(self) -> Result<T, E> {
        self.0
    }
}

/// A constructor that cannot fail.
pub trait Plain {
    /// What it makes.
    type Value;

    /// The value.
    ///
    /// # Errors
    ///
    /// None.
    fn settle(self) -> Result<Self::Value, Infallible>;
}

impl<T> Plain for Made<T> {
    type Value = T;

    fn settle(self) -> Result<T, Infallible> {
        Ok(self.0)
    }
}

/// Calls a constructor. It tells the compiler what a closure in its place takes.
pub fn call<R>(constructor: impl FnOnce(&str) -> R, config: &str) -> R {
    constructor(config)
}

/// Calls a function that saves. It tells the compiler what a closure in its place takes.
pub fn call_save<T, R>(save: impl FnOnce(&T) -> R, of: &T) -> R {
    save(of)
}

/// Calls a function that restores. It tells the compiler what a closure in its place takes.
pub fn call_restore<T, R>(restore: impl FnOnce(&T, &[u8]) -> R, to: &T, state: &[u8]) -> R {
    restore(to, state)
}

/// As [`construct`], for an export that saves and restores its state.
pub fn construct_handing<I, T, E, const METHODS: usize>(
    request: &Request<'_>,
    exported: &'static Exported<METHODS>,
    constructor: impl FnOnce(&str) -> Result<T, E>,
    save: impl Fn(&T) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    restore: impl Fn(&T, &[u8]) -> Result<(), String> + Send + Sync + 'static,
) -> Outcome
where
    I: ?Sized + Implements<T>,
    T: Send + Sync + 'static,
    E: Display,
{
    let mut outcome = construct::<I, T, E, METHODS>(request, exported, constructor);
    if let Outcome::Made(fresh) = &mut outcome {
        fresh.handing = Some(exported.handing(|| Handing::new(save, restore)));
    }
    outcome
}

/// What every entry does: compares the interface and the allocators, runs the constructor, and lets no panic out.
pub fn construct<I, T, E, const METHODS: usize>(
    request: &Request<'_>,
    exported: &'static Exported<METHODS>,
    constructor: impl FnOnce(&str) -> Result<T, E>,
) -> Outcome
where
    I: ?Sized + Implements<T>,
    T: Send + Sync + 'static,
    E: Display,
{
    let interface = core::any::type_name::<I>();
    if request.interface != interface {
        return Outcome::Foreign(Text::new(interface.to_owned()));
    }
    let kin = if request.shares_memory { request.host.kin() } else { Kin::Same };
    if kin == Kin::Differ {
        return Outcome::AllocatesElsewhere;
    }
    boundary::prepare(request.host, request.library);
    let table = exported.table::<I, T>(request.host);
    let outcome = catch::attempt(|| match constructor(request.config) {
        Ok(value) => {
            let data = NonNull::from(Box::leak(Box::new(value))).cast();
            Outcome::Made(Fresh { data, table, handing: None, one_allocator: kin == Kin::Same })
        }
        Err(error) => Outcome::Failed(Text::new(error.to_string())),
    });
    outcome.unwrap_or_else(|payload| Outcome::Panicked(Text::new(boundary::describe(payload))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::{Code, Description, Interface};
    use crate::plugin::testing::Probe;

    fn run<T: Send + Sync + 'static, E: Display>(make: impl FnOnce(&str) -> Result<T, E>) -> Outcome
    where
        dyn Probe: Implements<T>,
    {
        let request = request(core::any::type_name::<dyn Probe>(), "seven");
        construct::<dyn Probe, _, _, 1>(&request, Box::leak(Box::new(Exported::new())), make)
    }

    fn request<'a>(interface: &'a str, config: &'a str) -> Request<'a> {
        Request { interface, config, host: Host::this(), library: ptr::null(), shares_memory: true }
    }

    fn assert_description<I: ?Sized + Interface>() -> Description {
        I::DESCRIPTION
    }

    #[test]
    fn an_instance_comes_out() {
        let Outcome::Made(fresh) = run(|config| Made(config.len()).settle()) else { panic!() };
        let (data, table, _) = fresh.into_parts();
        assert!(table.type_name().ends_with("usize"));
        assert_eq!(table.methods().len(), assert_description::<dyn Probe>().methods.len());
        assert_ne!(table.method(0), Code::new(ptr::null()));
        // SAFETY: it is a boxed `usize`, read before it is dropped.
        assert_eq!(unsafe { data.cast::<usize>().read() }, 5);
        // SAFETY: the data is of this table, and dropped once.
        unsafe { table.drop_box(data.as_ptr()) };
    }

    #[test]
    fn an_error_comes_out() {
        let outcome = run(|config| Made(config.parse::<usize>()).settle());
        let Outcome::Failed(text) = outcome else { panic!("{outcome:?}") };
        assert_eq!(text.into_string(), "invalid digit found in string");
    }

    #[test]
    fn a_panic_comes_out_as_text() {
        for (outcome, expected) in [
            (run(|_| -> Result<usize, &str> { panic!("plain") }), "plain"),
            (run(|config| -> Result<usize, &str> { panic!("with {config}") }), "with seven"),
            (run(|_| -> Result<usize, &str> { std::panic::panic_any(1) }), "a value that is no text"),
        ] {
            let Outcome::Panicked(text) = outcome else { panic!("{outcome:?}") };
            // This copy is its own host, whose hook is left alone: nothing tells the place.
            assert!(text.into_string().starts_with(expected));
        }
    }

    #[test]
    fn another_interface_of_the_name_constructs_nothing() {
        let request = request("dyn testing::Probe<u8>", "");
        let exported = Box::leak(Box::new(Exported::new()));
        let outcome =
            construct::<dyn Probe, usize, &str, 1>(&request, exported, |_| panic!("was constructed"));
        let Outcome::Foreign(text) = outcome else { panic!("{outcome:?}") };
        assert_eq!(text.into_string(), core::any::type_name::<dyn Probe>());
    }
}

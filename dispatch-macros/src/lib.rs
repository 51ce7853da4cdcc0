//! The macros of [hotcall](https://docs.rs/hotcall): use them through that crate.
//!
//! `#[dispatch]` reads a trait and writes, beside it, what slots of it need: a shim of each method for each
//! implementor, a stub of each method for each slot, and implementations of the trait for slots, bound slots and instances.
//! `#[slot]` reads a static and writes the slot's definition. `export!` writes a plugin's header and entry.

use proc_macro::TokenStream;

mod dispatch;
mod export;
mod foreign;
mod hash;
mod key;
mod known;
mod paths;
mod slot;
mod sources;

/// Makes a trait one that slots can hold. The trait itself stays as it is.
///
/// It may be any trait that has trait objects. Methods with `&self` are called on the slot itself, as patched calls, where
/// they lend nothing; with `&mut self` on `SLOT.lock()`; what lends on `SLOT.bind(&guard)` and on locks. All that cannot be
/// dispatched is called on the trait object: `SLOT.get(&guard)`, locks, `Instance`, `Instance::into_box`.
///
/// ```ignore
/// #[hotcall::dispatch]
/// pub trait Plan: Debug + Display + Send + Sync {
///     fn rows(&self) -> u64;                  // PLAN.rows()
///     fn name(&self) -> &str;                 // PLAN.bind(&guard).name()
///     fn refresh(&mut self);                  // then PLAN.lock() is how the slot is used
///     fn finish(self: Box<Self>) -> u64;      // instance.into_box()?.finish()
/// }
/// ```
///
/// # Arguments
///
/// | `#[dispatch(..)]` | for |
/// |---|---|
/// | `blanket` | a trait that has an implementation for all types of a kind, `impl<T: Read + Seek> ReadSeek for T`: then what holds an implementor has the trait's methods, and the trait itself by that implementation or not at all |
/// | `type Error`, `type Item` | associated types of supertraits that no method of the trait names: `dyn Codec<Error = E, Item = I>` |
/// | `since = "1.2.0"` | the oldest version of this crate with whose plugins and hosts the interface is compatible: of two versions, the newer one's word counts, and methods and definitions are compared all the same; without it a plugin and its host have one version |
/// | `crate = path` | a crate that has hotcall by another's re-export |
///
/// Methods may be marked `#[chain(..)]`: see `hotcall::Chain`. An `#[async_trait]` may stand above or below it.
///
/// # What becomes of a method
///
/// | it | plain, `SLOT.m()` | `SLOT.bind(&guard)` | `SLOT.lock()` | `Patched` | the trait object |
/// |---|---|---|---|---|---|
/// | takes `&self` and lends nothing; none takes `&mut self` | patched | patched | | by its table | yes |
/// | takes `&self` and lends, by its result or through an argument | | patched | | `get_mut(&guard)` | yes |
/// | takes `&mut self`, or stands beside one that does | | | patched | by its table | yes |
/// | is a supertrait's, or has a bound of its own on `Self` | | at the cost of `dyn` | the same | `get_mut(&guard)` | yes |
/// | takes `self: Box<Self>`, `Pin<&mut Self>`, `Rc<Self>`, `Arc<Self>` | | | | | of `Instance::into_box` |
/// | is `where Self: Sized`, or takes `self` by value | | | | | |
///
/// What a slot or a handle does not have is refused where it is called, with what to write instead: see `hotcall::refusals`.
/// `docs/FORMS.md` lists every form, each with its test. What no trait object has is refused at its token: generic methods, `impl Trait`,
/// `async fn`, functions without `self`, each without `where Self: Sized`; associated constants, generic associated types.
#[proc_macro_attribute]
pub fn dispatch(arguments: TokenStream, item: TokenStream) -> TokenStream {
    dispatch::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a static a slot: `#[slot] pub static EFFECT: dyn Effect = Bypass;`.
///
/// The default is a constant expression whose type can be read off it: `Type`, `Type { .. }`, `Type(..)`,
/// `Type::new(..)`, `Enum::Variant`; any other is written with its type: `EXPRESSION as Type`.
///
/// | the static's type | it holds | it is used |
/// |---|---|---|
/// | `dyn Trait` of a trait with [`#[dispatch]`](macro@dispatch), its associated types named | an implementor that is `Send + Sync + 'static` | as the trait says: `SLOT.m()`, `SLOT.bind(&guard)`, `SLOT.get(&guard)` |
/// | the same, where a method takes `&mut self` | an implementor that is `Send + 'static` | by its lock: `SLOT.lock()`, `SLOT.read()`, `SLOT.try_lock()` |
/// | `dyn Name` of a trait that [`foreign!`](macro@foreign) has declared | the same | the same, and where the other crate wants an implementor |
/// | `fn(A) -> R` | a function or a closure, with state too | `SLOT(x)` |
/// | `Option<fn(A) -> R>` | the same, or nothing: then a call returns `R::default()` | `SLOT(x)`, `SLOT.clear()` |
/// | `Chain<dyn Trait>` | `Chain::EMPTY`, at first | as a chain |
///
/// # Arguments
///
/// * `control = NAME`, `control = pub NAME`: the slot is called, and only this static retargets it.
/// * `crate = path`: where hotcall is re-exported.
#[proc_macro_attribute]
pub fn slot(arguments: TokenStream, item: TokenStream) -> TokenStream {
    slot::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a static a key: `#[key] pub static TRACING: bool = false;`.
///
/// Its arguments are `control = NAME`, or `control = pub NAME`: the static that may turn the key, which then may not itself; and
/// `crate = path`, where hotcall is re-exported. See `hotcall::Key`.
#[proc_macro_attribute]
pub fn key(arguments: TokenStream, item: TokenStream) -> TokenStream {
    key::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Exports plugins from a cdylib: `hotcall::export!(dyn Effect, Reverb::from_config);`.
///
/// The interface is a trait with [`#[dispatch]`](macro@dispatch), of any form, its associated types named: what a host then has is an
/// `Instance` of it. It is followed by one constructor or several, each with a name in front of it or without; interfaces are
/// separated by semicolons:
///
/// ```ignore
/// hotcall::export! {
///     dyn Effect, Reverb::from_config, "plate", Reverb::plate, "bypass", |_: &str| Bypass;
///     dyn Codec, Opus::new
/// }
/// ```
///
/// * A *constructor* is any expression that is called with a `&str`, the configuration, and returns the implementor, or a `Result`
///   of it and an error that is `Display`. It runs in the host, whenever that makes an instance. It may panic, as its methods and its
///   destructor may: the panic becomes the host's.
/// * The implementor is `Send`, `Sync` and `'static`.
/// * The *name*, by which `Library::instantiate_named` finds the export, is a text in one line. Left out, it is that of the
///   constructor's type (`Reverb`, of `Reverb::from_config`), or of the function. A closure has none, and is given one.
/// * Two exports of one interface and one name do not compile.
///
/// It may be invoked several times, and in safe code: `forbid(unsafe_code)` stands.
///
/// After a constructor may stand how the state of its instances is saved, and restored in an instance of a later version, for
/// `hotcall::host::HandOver`. Both take `&self`, for both may run while calls go on; each may return a `Result`:
///
/// ```ignore
/// hotcall::export!(dyn Effect, Reverb::new, save = Reverb::save, restore = Reverb::restore);
///
/// impl Reverb {
///     fn save(&self) -> Vec<u8> { .. }
///     fn restore(&self, state: &[u8]) -> Result<(), String> { .. }
/// }
/// ```
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    export::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a trait of another crate, unchanged, one that slots can hold.
///
/// `dyn Log` is then the type of slots, and what stands for an implementor goes wherever the other crate wants one:
///
/// ```ignore
/// hotcall::foreign!(log::Log);
///
/// #[hotcall::slot]
/// static LOGGER: dyn Log = Nop;
/// log::set_logger(&LOGGER)?;
/// ```
///
/// # By its path alone
///
/// A macro sees no traits. So the path is enough for those whose methods are written down here: `log::Log`,
/// `metrics::Recorder`, `tracing::Subscriber`, `tower_service::Service<Request>`; and of the standard library
/// `std::io::{Read, BufRead, Write, Seek}`, `std::fmt::Write`, `std::iter::Iterator`, `std::alloc::GlobalAlloc`. Several are separated
/// by `,` or `;`. Of any other trait the methods are listed.
///
/// # With its methods listed
///
/// ```ignore
/// hotcall::foreign! {
///     /// What answers a request.
///     pub trait tower_service::Service<Request<String>> as Handler: Send {
///         type Response;
///         type Error;
///         type Future: Future<Output = Result<Self::Response, Self::Error>>;
///         fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;
///         fn call(&mut self, request: Request<String>) -> Self::Future;
///     }
/// }
/// ```
///
/// They are listed as their crate declares them, without bodies; associated types with their bounds. Those with a default may be left
/// out: they are then the trait's own on the slot, whatever an implementor has in their place, which is called on
/// `SLOT.get(&guard)` and on what a lock derefs to. Those `where Self: Sized` that have none are listed, too.
///
/// * After `as` stands the local name; else it is the last part of the path.
/// * After a colon stand supertraits that matter here: `trait engine::Plan: Debug + Display { .. }`. `Send` and `Sync` may be asked for
///   although the trait does not: then its implementors with them are taken, and `dyn Handler` has them.
///
/// # What has the foreign trait
///
/// | the trait's methods | |
/// |---|---|
/// | all take `&self` and lend nothing | the static, and `SLOT.handle()` by value |
/// | some take `&mut self` | `&mut *SLOT.lock()` |
/// | none lends | `&mut *handle`, of a `Patched<dyn Handler>` |
/// | any | `&*SLOT.get(&guard)`, `&*instance`, `instance.into_box()`: the trait object |
///
/// The methods themselves can be called where they can be for a trait with [`#[dispatch]`](macro@dispatch).
#[proc_macro]
pub fn foreign(input: TokenStream) -> TokenStream {
    foreign::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

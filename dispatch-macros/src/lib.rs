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
/// `docs/FORMS.md` lists every form, each with its test. Its arguments are `crate = path`, where hotcall is
/// re-exported; `since = "1.2.0"`, the oldest version of this crate with whose plugins and hosts the interface is compatible: of two
/// versions, the newer one's word counts, and methods and definitions are compared all the same (without it a plugin and its host
/// have one version); and `blanket`, for a trait that has an implementation for all types of a kind, `impl<T: Read + Seek> ReadSeek for T`:
/// then what holds an implementor has the trait's methods, and the trait itself by that implementation or not at all.
/// Methods may be marked `#[chain(..)]`: see `hotcall::Chain`. An `#[async_trait]` may stand above or below it.
#[proc_macro_attribute]
pub fn dispatch(arguments: TokenStream, item: TokenStream) -> TokenStream {
    dispatch::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a static a slot: `#[slot] pub static EFFECT: dyn Effect = Bypass;`.
///
/// The default is a constant expression whose type can be read off it: `Type`, `Type { .. }`, `Type(..)`,
/// `Type::new(..)`; any other is written with its type: `EXPRESSION as Type`.
#[proc_macro_attribute]
pub fn slot(arguments: TokenStream, item: TokenStream) -> TokenStream {
    slot::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Exports plugins from a cdylib: `hotcall::export!(dyn Effect, Reverb::from_config);`.
///
/// An interface is followed by one constructor or several, each with a name in front of it or without; interfaces are separated
/// by semicolons:
///
/// ```ignore
/// hotcall::export! {
///     dyn Effect, Reverb::from_config, "plate", Reverb::plate, "bypass", |_: &str| Bypass;
///     dyn Codec, Opus::new
/// }
/// ```
///
/// * A *constructor* is any expression that is called with a `&str`, the configuration, and returns the implementor, or a `Result`
///   of it and an error that is `Display`. It runs in the host, whenever that makes an instance. It may panic.
/// * The implementor is `Send`, `Sync` and `'static`.
/// * The *name*, by which `Library::instantiate_named` finds the export, is a text in one line. Left out, it is that of the
///   constructor's type (`Reverb`, of `Reverb::from_config`), or of the function. A closure has none, and is given one.
/// * Two exports of one interface and one name do not compile.
///
/// It may be invoked several times, and in safe code: `forbid(unsafe_code)` stands.
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    export::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a trait of another crate, unchanged, one that slots can hold.
///
/// The trait's methods are listed as their crate declares them. Those left out are the trait's own on the slot, whatever an
/// implementor has in their place: that is called on `SLOT.get(&guard)`. `dyn Log` is then the type of slots, and the static
/// implements the foreign trait, where every listed method takes `&self` and lends nothing; else it has the methods, as for
/// a trait with `#[dispatch]`:
///
/// ```ignore
/// hotcall::foreign! {
///     trait log::Log {
///         fn enabled(&self, metadata: &log::Metadata<'_>) -> bool;
///         fn log(&self, record: &log::Record<'_>);
///         fn flush(&self);
///     }
/// }
/// #[hotcall::slot]
/// static LOGGER: dyn Log = Nop;
/// log::set_logger(&LOGGER)?;
/// ```
///
/// The local name is the last part of the path, or the one after `as`: `trait log::Log as Logging { .. }`. Supertraits that matter
/// here follow a colon: `trait engine::Plan: Debug + Display { .. }`.
#[proc_macro]
pub fn foreign(input: TokenStream) -> TokenStream {
    foreign::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

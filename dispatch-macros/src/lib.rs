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
/// re-exported; and `blanket`, for a trait that has an implementation for all types of a kind, `impl<T: Read + Seek> ReadSeek for T`:
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

/// Makes a static a key: `#[key] pub static TRACING: bool = false;`.
///
/// Its arguments are `control = NAME`, or `control = pub NAME`: the static that may turn the key, which then may not itself; and
/// `crate = path`, where hotcall is re-exported. See `hotcall::Key`.
#[proc_macro_attribute]
pub fn key(arguments: TokenStream, item: TokenStream) -> TokenStream {
    key::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Exports a plugin from a cdylib: `hotcall::export!(dyn Effect, Reverb::from_config);`.
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

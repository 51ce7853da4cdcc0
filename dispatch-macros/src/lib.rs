//! The macros of [hotcall](https://docs.rs/hotcall): use them through that crate.
//!
//! `#[dispatch]` reads a trait and writes, beside it, what slots of it need: a shim of each method for each
//! implementor, a stub of each method for each slot, and implementations of the trait for slots, bound slots and instances.
//! `#[slot]` reads a static and writes the slot's definition. `export!` writes a plugin's header and entry.

use proc_macro::TokenStream;

mod dispatch;
mod export;
mod foreign;
mod paths;
mod slot;
mod sources;

/// Makes a trait one that slots can hold. The trait itself stays as it is.
///
/// See the crate `hotcall` for what may stand in it.
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

/// Exports a plugin from a cdylib: `hotcall::export!(dyn Effect, Reverb::from_config);`.
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    export::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a trait of another crate, unchanged, one that slots can hold.
///
/// The trait's methods are listed as their crate declares them; those left out are the trait's own. `dyn Log` is then the
/// type of slots, and the static implements the foreign trait:
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
/// The local name is the last part of the path, or the one after `as`: `trait log::Log as Logging { .. }`.
#[proc_macro]
pub fn foreign(input: TokenStream) -> TokenStream {
    foreign::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

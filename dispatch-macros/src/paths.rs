//! Where the expansions find hotcall.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// The path of the `hotcall` crate, by the name that the user's `Cargo.toml` gives it.
///
/// Inside hotcall itself it is `::hotcall` as well: its tests and examples are crates of their own, and its
/// root says `extern crate self as hotcall`. A package that does not depend on hotcall directly gets the same,
/// so that the compiler says what is missing.
pub(crate) fn crate_path() -> TokenStream {
    let name = match crate_name("hotcall") {
        Ok(FoundCrate::Name(name)) => name,
        Ok(FoundCrate::Itself) | Err(_) => "hotcall".to_owned(),
    };
    let name = Ident::new(&name, Span::mixed_site());
    quote!(::#name)
}

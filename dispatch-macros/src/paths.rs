//! Where the expansions find hotcall.

use core::cell::RefCell;

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Path, Token};

thread_local! {
    /// What `crate = ..` says in the invocation that is being expanded.
    static WRITTEN: RefCell<Option<TokenStream>> = const { RefCell::new(None) };
}

/// `crate = path::to::hotcall`: for a crate that has hotcall through another's re-export.
pub(crate) struct CratePath(Path);

impl CratePath {
    pub(crate) fn is_next(input: ParseStream) -> bool {
        input.peek(Token![crate]) && input.peek2(Token![=])
    }
}

impl Parse for CratePath {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        input.parse::<Token![crate]>()?;
        input.parse::<Token![=]>()?;
        Ok(Self(input.call(Path::parse_mod_style)?))
    }
}

/// Expands with the path that was written, if one was.
pub(crate) fn with_crate_path<T>(path: Option<CratePath>, expand: impl FnOnce() -> T) -> T {
    WRITTEN.set(path.map(|CratePath(path)| path.to_token_stream()));
    let expanded = expand();
    WRITTEN.set(None);
    expanded
}

/// The path of the `hotcall` crate, by the name that the user's `Cargo.toml` gives it.
///
/// Inside hotcall itself it is `::hotcall` as well: its tests and examples are crates of their own, and its
/// root says `extern crate self as hotcall`. A package that does not depend on hotcall directly gets the same,
/// so that the compiler says what is missing.
pub(crate) fn crate_path() -> TokenStream {
    if let Some(written) = WRITTEN.with_borrow(Clone::clone) {
        return written;
    }
    let name = match crate_name("hotcall") {
        Ok(FoundCrate::Name(name)) => name,
        Ok(FoundCrate::Itself) | Err(_) => "hotcall".to_owned(),
    };
    let name = Ident::new(&name, Span::mixed_site());
    quote!(::#name)
}

//! `#[slot] static NAME: Chain<dyn Trait> = Chain::EMPTY;`: a static chain.
//!
//! A chain needs no stub: it is a static as it stands. The attribute may be there so that all that can be swapped is
//! declared alike; it checks the declaration and passes it on.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, ItemStatic, Type};

/// The static, where it is a chain.
pub(super) fn of(item: &ItemStatic, arguments: &TokenStream) -> Option<syn::Result<TokenStream>> {
    let Type::Path(path) = &*item.ty else { return None };
    if path.path.segments.last()?.ident != "Chain" {
        return None;
    }
    if !arguments.is_empty() {
        let message = "a chain is edited by whoever sees it: `#[slot]` takes no arguments here";
        return Some(Err(syn::Error::new_spanned(arguments, message)));
    }
    let is_empty = matches!(&*item.expr, Expr::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "EMPTY"));
    if !is_empty {
        let message =
            "a static chain begins without elements, `= Chain::EMPTY`: push them when the program runs";
        return Some(Err(syn::Error::new_spanned(&item.expr, message)));
    }
    Some(Ok(item.to_token_stream()))
}

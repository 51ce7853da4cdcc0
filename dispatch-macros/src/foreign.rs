//! `foreign!`
use proc_macro2::TokenStream;

pub(crate) fn expand(input: TokenStream) -> syn::Result<TokenStream> {
    Err(syn::Error::new_spanned(input, "not yet"))
}

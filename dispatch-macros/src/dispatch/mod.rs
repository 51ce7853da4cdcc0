//! `#[dispatch]`: what a trait needs so that slots can hold it.
//!
//! Beside the trait, unchanged, stand in one anonymous constant:
//!
//! * for each method a *shim* (one for each implementor: from the erased instance to the method), a *default*
//!   (one for each slot: from nothing to the default's method) and a *stub* (one for each slot: the jump that is
//!   retargeted);
//! * `Interface`, `Implements` and `Stubs` for `dyn Trait`, which hand their addresses to the runtime;
//! * the trait itself for what calls them: `Slot`, `Bound`, `Patched`, `Instance`,
//!   `Held`.

mod chain;
mod expand;
mod functions;
mod implementations;
mod lending;
mod memory;
mod method;
mod passing;
mod rewrite;
mod tables;
mod trait_item;
mod types;

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream};
use syn::{ItemTrait, LitStr};

use crate::paths::{CratePath, crate_path, with_crate_path};

pub(crate) use trait_item::{Foreign, Trait};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item: ItemTrait = syn::parse2(item)?;
    let Arguments { crate_path, own } = syn::parse2(arguments)?;
    with_crate_path(crate_path, || dispatch(item, &own))
}

#[derive(Default)]
struct Arguments {
    crate_path: Option<CratePath>,
    own: OwnArguments,
}

/// `blanket`, `type Name`.
#[derive(Default)]
struct OwnArguments {
    blanket: bool,
    /// The version of its crate since which plugins are compatible.
    since: Option<LitStr>,
    /// Associated types of supertraits, which cannot be seen where no method names them.
    types: Vec<syn::Ident>,
}

impl quote::ToTokens for OwnArguments {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (blanket, types) = (self.blanket.then(|| quote::quote!(blanket,)), &self.types);
        let since = self.since.iter();
        tokens.extend(quote::quote!(#blanket #(since = #since,)* #(type #types,)*));
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            if CratePath::is_next(input) {
                arguments.crate_path = Some(input.parse()?);
            } else if input.peek(syn::Ident) && input.fork().parse::<syn::Ident>()? == "blanket" {
                input.parse::<syn::Ident>()?;
                arguments.own.blanket = true;
            } else if input.peek(syn::Ident) && input.fork().parse::<syn::Ident>()? == "since" {
                input.parse::<syn::Ident>()?;
                input.parse::<syn::Token![=]>()?;
                arguments.own.since = Some(version(&input.parse()?)?);
            } else if input.peek(syn::Token![type]) {
                input.parse::<syn::Token![type]>()?;
                arguments.own.types.push(input.parse()?);
            } else {
                return Err(input.error(
                    "the arguments of #[dispatch] are `blanket`, for a trait that its crate implements for all types of a \
                     kind; `type Name`, for an associated type of a supertrait that no method names; `since = \"1.2.0\"`, the \
                     version of this crate since which plugins are compatible; and `crate = path`, where hotcall is \
                     re-exported",
                ));
            }
            if !input.is_empty() {
                input.parse::<syn::Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

/// A version that others can be compared with: three numbers.
fn version(text: &LitStr) -> syn::Result<LitStr> {
    let value = text.value();
    let numbers: Vec<_> = value.split('.').map(str::parse::<u64>).collect();
    if numbers.len() == 3 && numbers.iter().all(Result::is_ok) {
        return Ok(text.clone());
    }
    Err(syn::Error::new_spanned(
        text,
        "this is a version of this crate: three numbers, as in `since = \"1.2.0\"`",
    ))
}

fn dispatch(mut item: ItemTrait, own: &OwnArguments) -> syn::Result<TokenStream> {
    if let Some(place) = item.attrs.iter().position(rewrites_methods) {
        // That attribute is to see the trait first.
        let krate = crate_path();
        item.attrs.insert(place + 1, syn::parse_quote!(#[#krate::dispatch(#own crate = #krate)]));
        return Ok(quote::quote!(#item));
    }
    if let Some((with, without)) = configured(&item, own) {
        return Ok(quote::quote!(#with #without));
    }
    let rules = chain::Rules::take(&mut item)?;
    let analysed = Trait::with_types(&item, &own.types)?;
    let analysed = if own.blanket { analysed.with_a_blanket() } else { analysed };
    let analysed = analysed.compatible_since(own.since.clone());
    let chains = chain::expansion(&analysed, &rules)?;
    let expansion = expand::expansion(&analysed, &chains);
    Ok(quote::quote! {
        #item
        #expansion
    })
}

/// An attribute that makes other methods of those that are written.
fn rewrites_methods(attribute: &syn::Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "async_trait")
}

/// A method that may be configured out is no reason for anything that is written beside the trait. So where one might be, the
/// compiler first says which it is: of two traits, with the method and without, it keeps one.
fn configured(item: &ItemTrait, own: &OwnArguments) -> Option<(ItemTrait, ItemTrait)> {
    let krate = crate_path();
    let place = item.items.iter().position(|item| match item {
        syn::TraitItem::Fn(function) => {
            function.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"))
                && method::is_uncommon(function)
        }
        _ => false,
    })?;
    let (mut with, mut without) = (item.clone(), item.clone());
    let syn::TraitItem::Fn(function) = &mut with.items[place] else { return None };
    let conditions: Vec<_> = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .filter_map(|attribute| attribute.meta.require_list().ok().map(|list| list.tokens.clone()))
        .collect();
    function.attrs.retain(|attribute| !attribute.path().is_ident("cfg"));
    without.items.remove(place);
    for (item, condition) in [
        (&mut with, quote::quote!(all(#(#conditions),*))),
        (&mut without, quote::quote!(not(all(#(#conditions),*)))),
    ] {
        item.attrs.insert(0, syn::parse_quote!(#[cfg(#condition)]));
        item.attrs.push(syn::parse_quote!(#[#krate::dispatch(#own crate = #krate)]));
    }
    Some((with, without))
}

/// What stands beside the trait of a function slot: it has no chains.
pub(crate) fn beside_function(item: &ItemTrait) -> syn::Result<TokenStream> {
    Ok(expand::expansion(&Trait::analyse(item)?.of_a_function(), &TokenStream::new()))
}

/// What stands beside the local trait that represents one of another crate.
pub(crate) fn beside_foreign(item: &ItemTrait, foreign: Foreign) -> syn::Result<TokenStream> {
    Ok(expand::expansion(&Trait::analyse(item)?.represents(foreign)?, &TokenStream::new()))
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    #[test]
    fn arguments_say_what_is_accepted() {
        let arguments: Arguments = syn::parse_str("blanket, since = \"1.2.0\"").unwrap();
        assert!(arguments.own.blanket && arguments.own.since.is_some_and(|since| since.value() == "1.2.0"));
        for wrong in ["1.2", "^1.2.0", "1.2.0-beta", "one", ""] {
            let refused = syn::parse_str::<Arguments>(&format!("since = {wrong:?}")).err().expect("accepted");
            assert!(refused.to_string().contains("three numbers"), "{refused}");
        }
        let refused = syn::parse_str::<Arguments>("version = \"1.2.0\"").err().expect("accepted");
        assert!(refused.to_string().contains("`since = \"1.2.0\"`"), "{refused}");
    }
}

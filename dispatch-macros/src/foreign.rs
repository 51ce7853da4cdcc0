//! `foreign!`: what `#[dispatch]` writes, for a trait that another crate declares.
//!
//! Neither `dyn log::Log` nor `hotcall::Slot` belongs to the user's crate, so neither may have an implementation
//! there. So a local trait `Log` is written, which every implementor of `log::Log` has and no other, for `dyn Log` to stand for
//! the interface; and `log::Log` is implemented for the local type of the statics, and of what stands for them by value.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Ident, ItemTrait, Path, Token, TraitItem, TypeParamBound, Visibility, braced};

use crate::dispatch::{self, Foreign};
use crate::known::known;
use crate::paths::crate_path;

/// `[pub] [unsafe] trait path::to::Trait [as Name] { fn method(&self); .. }`, or without methods, where they are known: then
/// `trait` may be missing, too.
struct Declaration {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    unsafety: Option<Token![unsafe]>,
    path: Path,
    name: Ident,
    /// What the trait asks for, as far as it matters here.
    supertraits: Punctuated<TypeParamBound, Token![+]>,
    items: Vec<TraitItem>,
}

impl Parse for Declaration {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let mut unsafety: Option<Token![unsafe]> = input.parse()?;
        let keyword: Option<Token![trait]> = input.parse()?;
        let path: Path = input.parse()?;
        let name = if input.parse::<Option<Token![as]>>()?.is_some() {
            input.parse()?
        } else {
            let last = path.segments.last().ok_or_else(|| input.error("the path of a trait"))?;
            if path.segments.len() == 1 {
                return Err(syn::Error::new_spanned(
                    &path,
                    "the local name would be that of the trait itself: write its path, as in `trait log::Log { .. }`, \
                     or another name, as in `trait Log as LogSlot { .. }`",
                ));
            }
            last.ident.clone()
        };
        let mut supertraits = Punctuated::new();
        if input.parse::<Option<Token![:]>>()?.is_some() {
            while !ends(input) {
                supertraits.push_value(input.parse()?);
                if input.peek(Token![+]) {
                    supertraits.push_punct(input.parse()?);
                }
            }
        }
        if ends(input) && !input.peek(syn::token::Brace) {
            let listed = known(&path)?;
            supertraits.extend(listed.supertraits);
            // SAFETY of an unsafe trait's: as in `dispatch::implementations`; who installs an implementor has promised.
            if listed.is_unsafe {
                unsafety.get_or_insert_with(|| Token![unsafe](path.span()));
            }
            return Ok(Self {
                attributes,
                visibility,
                unsafety,
                path,
                name,
                supertraits,
                items: listed.items,
            });
        }
        if keyword.is_none() {
            return Err(syn::Error::new_spanned(
                &path,
                "methods are listed in a trait: write `trait` before its path",
            ));
        }
        let content;
        braced!(content in input);
        let mut items = Vec::new();
        while !content.is_empty() {
            items.push(content.parse()?);
        }
        Ok(Self { attributes, visibility, unsafety, path, name, supertraits, items })
    }
}

struct Declarations(Vec<Declaration>);

impl Parse for Declarations {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut declarations = Vec::new();
        while !input.is_empty() {
            declarations.push(input.parse()?);
            // After a declaration that is a path alone.
            if input.peek(Token![;]) {
                input.parse::<Token![;]>()?;
            } else if input.peek(Token![,]) {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(Self(declarations))
    }
}

/// The declaration's head is over.
fn ends(input: ParseStream) -> bool {
    input.is_empty() || input.peek(syn::token::Brace) || input.peek(Token![;]) || input.peek(Token![,])
}

pub(crate) fn expand(input: TokenStream) -> syn::Result<TokenStream> {
    let Declarations(declarations) = syn::parse2(input)?;
    declarations.into_iter().map(Declaration::expand).collect()
}

impl Declaration {
    fn expand(self) -> syn::Result<TokenStream> {
        for item in &self.items {
            check(item)?;
        }
        let Self { attributes, visibility, unsafety, path, name, supertraits, items } = self;
        let krate = crate_path();
        let rt = quote!(#krate::__private);
        // Only its methods are looked at: the local trait that is written has none.
        let listed: ItemTrait = syn::parse_quote!(#unsafety trait #name: #supertraits { #(#items)* });
        // Others the trait has itself, or the local one would not stand for it.
        let markers: Vec<_> = supertraits.iter().filter(|bound| is_marker(bound)).cloned().collect();
        let beside =
            dispatch::beside_foreign(&listed, Foreign { path: path.clone(), markers: markers.clone() })?;
        let text = format!(
            "Stands for [`{}`] as the type of slots: `static NAME: dyn {name} = default;`.",
            as_text(&path)
        );
        Ok(quote! {
            #(#attributes)*
            #[doc = #text]
            #visibility trait #name: #path #(+ #markers)* {}
            impl<__Foreign: ?#rt::core::marker::Sized + #path #(+ #markers)*> #name for __Foreign {}

            #beside
        })
    }
}

/// What may be asked of implementors beyond what the trait asks: it says where an instance may go.
fn is_marker(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => bound.path.is_ident("Send") || bound.path.is_ident("Sync"),
        _ => false,
    }
}

/// What cannot be routed through a slot is refused where it stands.
fn check(item: &TraitItem) -> syn::Result<()> {
    if let TraitItem::Type(ty) = item
        && ty.generics.params.is_empty()
    {
        return Ok(());
    }
    let TraitItem::Fn(function) = item else {
        return Err(syn::Error::new(
            item.span(),
            "only methods and associated types are listed here, `type Error;`: no trait object has anything else",
        ));
    };
    if let Some(body) = &function.default {
        return Err(syn::Error::new(
            body.span(),
            "the method's body is its own crate's: end the signature with `;`, or leave the method out, then the \
             slot has the trait's own",
        ));
    }
    Ok(())
}

fn as_text(path: &Path) -> String {
    quote!(#path).to_string().replace(' ', "")
}

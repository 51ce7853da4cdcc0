//! `foreign!`: what `#[dispatch]` writes, for a trait that another crate declares.
//!
//! Neither `dyn log::Log` nor `hotcall::Slot` belongs to the user's crate, so neither may have an implementation
//! there. So two local types are written: a trait `Log`, which every implementor of `log::Log` has and no other, for
//! `dyn Log` to stand for the interface; and the type of the statics, which implements `log::Log` and derefs to the slot.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Ident, ItemTrait, Path, Token, TraitItem, Visibility, braced};

use crate::dispatch::{self, Foreign};
use crate::paths::crate_path;

/// `[pub] [unsafe] trait path::to::Trait [as Name] { fn method(&self); .. }`
struct Declaration {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    unsafety: Option<Token![unsafe]>,
    path: Path,
    name: Ident,
    items: Vec<TraitItem>,
}

impl Parse for Declaration {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let unsafety = input.parse()?;
        input.parse::<Token![trait]>()?;
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
        let content;
        braced!(content in input);
        let mut items = Vec::new();
        while !content.is_empty() {
            items.push(content.parse()?);
        }
        Ok(Self { attributes, visibility, unsafety, path, name, items })
    }
}

struct Declarations(Vec<Declaration>);

impl Parse for Declarations {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut declarations = Vec::new();
        while !input.is_empty() {
            declarations.push(input.parse()?);
        }
        Ok(Self(declarations))
    }
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
        let Self { attributes, visibility, unsafety, path, name, items } = self;
        let krate = crate_path();
        let rt = quote!(#krate::__private);
        let slot = format_ident!("__hotcall_{name}_slot");
        // Only its methods are looked at: the local trait that is written has none.
        let handle = format_ident!("__hotcall_{name}_handle");
        let listed: ItemTrait = syn::parse_quote!(#unsafety trait #name { #(#items)* });
        let beside = dispatch::beside_foreign(
            &listed,
            Foreign { path: quote!(#path), slot: slot.clone(), handle: handle.clone() },
        )?;
        let text = format!(
            "Stands for [`{}`] as the type of slots: `static NAME: dyn {name} = default;`.",
            as_text(&path)
        );
        let slot_text =
            format!("A slot that implements [`{}`], and derefs to the slot itself.", as_text(&path));
        let handle_text = format!("Implements [`{}`] by calling a slot.", as_text(&path));
        Ok(quote! {
            #(#attributes)*
            #[doc = #text]
            #visibility trait #name: #path {}
            impl<__Foreign: ?#rt::core::marker::Sized + #path> #name for __Foreign {}

            #[doc = #slot_text]
            #[allow(non_camel_case_types)]
            #visibility struct #slot<__Slot: #rt::Definition>(#rt::Slot<__Slot>);

            #[doc = #handle_text]
            #[allow(non_camel_case_types)]
            #visibility struct #handle<__Slot: #rt::Definition>(&'static #slot<__Slot>);

            #[allow(clippy::all, clippy::pedantic)]
            const _: () = {
                impl<__Slot: #rt::Definition> #rt::core::clone::Clone for #handle<__Slot> {
                    fn clone(&self) -> Self {
                        Self(self.0)
                    }
                }
                impl<__Slot: #rt::Definition> #slot<__Slot> {
                    /// What implements the trait by calling this slot, for where a reference will not do.
                    #[allow(dead_code)]
                    pub const fn handle(&'static self) -> #handle<__Slot> {
                        #handle(self)
                    }
                    #[doc(hidden)]
                    #[inline(always)]
                    pub const fn __new<__Default: #rt::core::marker::Sync + 'static>(
                        default: &'static __Default,
                    ) -> Self {
                        Self(#rt::Slot::__new(default))
                    }
                    #[doc(hidden)]
                    #[inline(always)]
                    pub const fn __slot(&self) -> &#rt::Slot<__Slot> {
                        &self.0
                    }
                }
                impl<__Slot: #rt::Definition> #rt::core::ops::Deref for #slot<__Slot> {
                    type Target = #rt::Slot<__Slot>;
                    #[inline(always)]
                    fn deref(&self) -> &#rt::Slot<__Slot> {
                        &self.0
                    }
                }
                impl<__Slot: #rt::Open> #rt::Retarget for #slot<__Slot> {
                    type Interface = <__Slot as #rt::Definition>::Interface;
                    fn __core(&'static self) -> &'static #rt::SlotCore {
                        #rt::Slot::__core(&self.0)
                    }
                }
            };
            #beside
        })
    }
}

/// What cannot be routed through a slot is refused where it stands.
fn check(item: &TraitItem) -> syn::Result<()> {
    let TraitItem::Fn(function) = item else {
        return Err(syn::Error::new(
            item.span(),
            "only methods are listed here; a trait with associated types or constants cannot be routed through a \
             slot from outside its crate",
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

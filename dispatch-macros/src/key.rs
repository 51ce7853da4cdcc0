//! `#[key]`: a static that is on or off.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemStatic, Type};

use crate::paths::{crate_path, with_crate_path};
use crate::slot::arguments::Arguments;
use crate::slot::identity;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item: ItemStatic = syn::parse2(item)?;
    let mut arguments: Arguments = syn::parse2(arguments)?;
    with_crate_path(arguments.crate_path.take(), || key(&item, &arguments))
}

fn key(item: &ItemStatic, arguments: &Arguments) -> syn::Result<TokenStream> {
    if let syn::StaticMutability::Mut(token) = &item.mutability {
        return Err(syn::Error::new_spanned(
            token,
            "a key is turned by `set`, not by assignment: write `static`, not `static mut`",
        ));
    }
    if !is_bool(&item.ty) {
        return Err(syn::Error::new_spanned(
            &item.ty,
            "a key is on or off: write `static NAME: bool = false;`, or `= true;`",
        ));
    }
    let krate = crate_path();
    let rt = quote!(#krate::__private);
    let ItemStatic { attrs, vis, ident, expr, .. } = item;
    let definition = format_ident!("__hotcall_key_{ident}");
    let name = ident.to_string();
    let identity = identity(&rt, item, &definition);
    let default = quote_spanned!(expr.span()=> const DEFAULT: bool = #expr;);
    let control = arguments.control.as_ref().map(|(vis, control)| {
        let text = format!("The right to turn [`{ident}`].");
        quote! {
            #[doc = #text]
            #vis static #control: #rt::KeyControl<#definition> = #rt::KeyControl::__new(&#ident, &#definition(()));
        }
    });
    let open = arguments.control.is_none().then(|| {
        quote! {
            // SAFETY: no control was asked for.
            unsafe impl #rt::OpenKey for #definition {}
        }
    });
    Ok(quote! {
        #(#attrs)*
        // SAFETY: this is the static of the definition.
        #vis static #ident: #rt::Key<#definition> = unsafe { #rt::Key::__new() };

        #control

        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        #vis struct #definition(());

        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
        const _: () = {
            #open

            // SAFETY: the definition is a type of this static alone, whose core that is, and whose word is loaded.
            unsafe impl #rt::KeyDefinition for #definition {
                const NAME: &'static str = #rt::core::concat!(#rt::core::module_path!(), "::", #name);
                #default
                const IDENTITY: #rt::Identity = #identity;

                #[inline(always)]
                fn load() -> bool {
                    #rt::key_load!(#ident)
                }

                #[inline(never)]
                extern "C" fn core() -> &'static #rt::KeyCore {
                    #rt::key_record!(#definition);
                    #rt::Key::<#definition>::__core(&#ident)
                }
            }
        };
    })
}

fn is_bool(ty: &Type) -> bool {
    match ty {
        Type::Paren(inner) => is_bool(&inner.elem),
        Type::Group(inner) => is_bool(&inner.elem),
        Type::Path(path) => path.path.is_ident("bool"),
        _ => false,
    }
}

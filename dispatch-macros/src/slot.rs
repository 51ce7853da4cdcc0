//! `#[slot]`: a static that holds an implementor of a trait.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Expr, ItemStatic, Path, Type, TypeParamBound};

use crate::paths::crate_path;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(syn::Error::new_spanned(arguments, "#[slot] takes no arguments"));
    }
    let item: ItemStatic = syn::parse2(item)?;
    if let syn::StaticMutability::Mut(token) = &item.mutability {
        return Err(syn::Error::new_spanned(
            token,
            "a slot is changed through `replace`, not by assignment: write `static`, not `static mut`",
        ));
    }
    let interface = interface(&item.ty)?;
    let (default_type, default) = default(&item.expr)?;
    let krate = crate_path();
    let rt = quote!(#krate::__private);
    let ItemStatic { attrs, vis, ident, .. } = &item;
    let definition = format_ident!("__hotcall_slot_{ident}");
    let name = ident.to_string();
    Ok(quote! {
        #(#attrs)*
        #vis static #ident: #rt::Slot<#definition> = #rt::Slot::__new(#definition::__default());

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #vis struct #definition;

        #[doc(hidden)]
        #[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
        const _: () = {
            impl #definition {
                #[inline(always)]
                const fn __default() -> &'static #default_type {
                    static __DEFAULT: #default_type = #default;
                    &__DEFAULT
                }
            }

            impl #rt::Open for #definition {}

            unsafe impl #rt::Definition for #definition {
                type Interface = #interface;
                const NAME: &'static str =
                    #rt::core::concat!(#rt::core::module_path!(), "::", #name);
                const TABLE: &'static #rt::Table = #rt::Table::of::<#interface, #default_type>();

                #[inline(always)]
                fn default() -> &'static (#interface + 'static) {
                    #definition::__default()
                }

                extern "C" fn core() -> &'static #rt::SlotCore {
                    #rt::Slot::__core(&#ident)
                }
            }
        };
    })
}

/// The trait object without what every slot demands anyway.
fn interface(ty: &Type) -> syn::Result<Type> {
    match ty {
        Type::TraitObject(object) => {
            let mut object = object.clone();
            object.bounds = object
                .bounds
                .into_iter()
                .filter(|bound| match bound {
                    TypeParamBound::Lifetime(lifetime) => lifetime.ident != "static",
                    TypeParamBound::Trait(bound) => {
                        !bound.path.segments.last().is_some_and(|last| last.ident == "Send" || last.ident == "Sync")
                    }
                    _ => true,
                })
                .collect();
            Ok(Type::TraitObject(object))
        }
        Type::Paren(inner) => interface(&inner.elem),
        Type::Group(inner) => interface(&inner.elem),
        other => Err(syn::Error::new_spanned(
            other,
            "a slot holds implementors of a trait: write `static NAME: dyn Trait = default;`",
        )),
    }
}

/// The type of the default, read off the expression; and the expression.
fn default(expression: &Expr) -> syn::Result<(Type, &Expr)> {
    match expression {
        Expr::Cast(cast) => Ok(((*cast.ty).clone(), &cast.expr)),
        Expr::Paren(inner) => default(&inner.expr),
        Expr::Group(inner) => default(&inner.expr),
        Expr::Path(path) if path.qself.is_none() => Ok((of_constructor(&path.path), expression)),
        Expr::Struct(literal) if literal.qself.is_none() => Ok((of_path(literal.path.clone()), expression)),
        Expr::Call(call) => match &*call.func {
            Expr::Path(function) if function.qself.is_none() => match of_function(&function.path) {
                Some(ty) => Ok((ty, expression)),
                None => Err(unreadable(expression)),
            },
            _ => Err(unreadable(expression)),
        },
        _ => Err(unreadable(expression)),
    }
}

fn unreadable(expression: &Expr) -> syn::Error {
    syn::Error::new_spanned(
        expression,
        "the default's type cannot be read off this expression: write it, as in `= EXPRESSION as Type`",
    )
}

/// `Type`, or `Enum::Variant`.
fn of_constructor(path: &Path) -> Type {
    let count = path.segments.len();
    if count >= 2 && is_type_name(&path.segments[count - 2].ident.to_string()) {
        return of_path(without_last(path));
    }
    of_path(path.clone())
}

/// `Type::new(..)`, `Type(..)`, or `Enum::Variant(..)`.
fn of_function(path: &Path) -> Option<Type> {
    let last = path.segments.last()?.ident.to_string();
    if is_type_name(&last) {
        return Some(of_constructor(path));
    }
    (path.segments.len() >= 2).then(|| of_path(without_last(path)))
}

fn is_type_name(name: &str) -> bool {
    name.chars().next().is_some_and(char::is_uppercase)
}

fn without_last(path: &Path) -> Path {
    let mut shorter = path.clone();
    shorter.segments.pop();
    if let Some(last) = shorter.segments.pop() {
        shorter.segments.push_value(last);
    }
    shorter
}

fn of_path(path: Path) -> Type {
    Type::Path(syn::TypePath { attrs: Vec::new(), qself: None, path })
}

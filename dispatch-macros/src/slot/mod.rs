//! `#[slot]`: a static that holds an implementor of a trait, or a function.

pub(crate) mod arguments;
mod chain;
mod default;
mod function;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemStatic, Type, TypeParamBound};

use crate::hash::Hash;
use crate::paths::{crate_path, with_crate_path};
use arguments::Arguments;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item: ItemStatic = syn::parse2(item)?;
    if let Some(chain) = chain::of(&item, &arguments) {
        return chain;
    }
    let mut arguments: Arguments = syn::parse2(arguments)?;
    with_crate_path(arguments.crate_path.take(), || slot(&item, arguments))
}

fn slot(item: &ItemStatic, arguments: Arguments) -> syn::Result<TokenStream> {
    if let syn::StaticMutability::Mut(token) = &item.mutability {
        return Err(syn::Error::new_spanned(
            token,
            "a slot is changed through `replace`, not by assignment: write `static`, not `static mut`",
        ));
    }
    let slot = Slot::new(item, arguments);
    match function::of(&item.ty)? {
        Some(function) => slot.of_function(&function),
        None => slot.of_trait(),
    }
}

/// What both kinds of slots are written from.
struct Slot<'a> {
    item: &'a ItemStatic,
    arguments: Arguments,
    rt: TokenStream,
    definition: Ident,
}

impl<'a> Slot<'a> {
    fn new(item: &'a ItemStatic, arguments: Arguments) -> Self {
        let krate = crate_path();
        let definition = format_ident!("__hotcall_slot_{}", item.ident);
        Self { item, arguments, rt: quote!(#krate::__private), definition }
    }

    fn of_trait(&self) -> syn::Result<TokenStream> {
        let Self { item, rt, definition, .. } = self;
        let interface = interface(&item.ty)?;
        let (default_type, default) = default::default(&item.expr)?;
        let slot_type = quote_spanned!(interface.span()=> <#interface as #rt::Stubs<#definition>>::Static);
        let declared = self.declared(&slot_type, &quote!(#definition::__default()));
        let defined = self.defined(
            &interface,
            &quote_spanned!(default_type.span()=> #rt::Table::of::<#interface, #default_type>()),
            &quote!(#rt::DefaultCell::<#default_type>::get(#definition::__default())),
            // SAFETY: the table is that of the value's type.
            &quote!(unsafe { #rt::Instance::__with_table::<#default_type>(__VALUE, Self::TABLE) }),
        );
        Ok(quote! {
            #declared
            #[doc(hidden)]
            #[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
            const _: () = {
                const __VALUE: #default_type = #default;
                impl #definition {
                    #[inline(always)]
                    const fn __default() -> &'static #rt::DefaultCell<#default_type> {
                        static __DEFAULT: #rt::DefaultCell<#default_type> = #rt::DefaultCell::new(__VALUE);
                        &__DEFAULT
                    }
                }
                #defined
            };
        })
    }

    /// The static, its definition's type, and its control.
    fn declared(&self, slot_type: &TokenStream, default: &TokenStream) -> TokenStream {
        let Self { item, rt, definition, arguments } = self;
        let ItemStatic { attrs, vis, ident, .. } = item;
        let control = arguments.control.as_ref().map(|(vis, name)| {
            let text = format!("The right to retarget [`{ident}`].");
            quote! {
                #[doc = #text]
                #vis static #name: #rt::Control<#definition> =
                    #rt::Control::__new(<#slot_type>::__slot(&#ident), &#definition(()));
            }
        });
        quote! {
            #(#attrs)*
            #vis static #ident: #slot_type = {
                let __default = #default;
                // SAFETY: this is the static of the definition, and that its default.
                unsafe { <#slot_type>::__new(__default) }
            };

            #control

            #[doc(hidden)]
            #[allow(non_camel_case_types, dead_code)]
            #vis struct #definition(());
        }
    }

    /// What the runtime asks of the definition.
    fn defined(
        &self,
        interface: &Type,
        table: &TokenStream,
        default: &TokenStream,
        fresh: &TokenStream,
    ) -> TokenStream {
        let Self { item, rt, definition, arguments } = self;
        let ident = &item.ident;
        let name = ident.to_string();
        let identity = identity(rt, item, definition);
        let open = arguments.control.is_none().then(|| {
            quote! {
                // SAFETY: no control was asked for.
                unsafe impl #rt::Open for #definition {}
            }
        });
        quote! {
            #open

            // SAFETY: the definition is a type of this static alone; core, default and table are its own.
            unsafe impl #rt::Definition for #definition {
                type Interface = #interface;
                const NAME: &'static str =
                    #rt::core::concat!(#rt::core::module_path!(), "::", #name);
                const IDENTITY: #rt::Identity = #identity;
                const TABLE: &'static #rt::Table = #table;

                #[inline(always)]
                fn default() -> *mut (#interface + 'static) {
                    #default
                }

                #[inline]
                fn fresh() -> #rt::Instance<#interface> {
                    #fresh
                }

                #[inline(always)]
                fn slot() -> &'static #rt::Slot<#definition> {
                    &#ident
                }

                #[inline(never)]
                extern "C" fn core() -> &'static #rt::SlotCore {
                    #rt::slot_record!(#definition);
                    #rt::Slot::<#definition>::__core(&#ident)
                }
            }
        }
    }
}

/// Which declaration the static is, whose definition is the type `definition`.
pub(crate) fn identity(rt: &TokenStream, item: &ItemStatic, definition: &Ident) -> TokenStream {
    let text = text_of(item);
    quote! {
        #rt::Identity {
            package: #rt::core::option_env!("CARGO_PKG_NAME"),
            version: #rt::core::option_env!("CARGO_PKG_VERSION"),
            repository: #rt::core::option_env!("CARGO_PKG_REPOSITORY"),
            path: #rt::core::any::type_name::<#definition>,
            file: #rt::core::file!(),
            line: #rt::core::line!(),
            column: #rt::core::column!(),
            text: #text,
        }
    }
}

/// A hash (FNV-1a) of what is declared: the name, the type and the default, as written.
fn text_of(item: &ItemStatic) -> u64 {
    let ItemStatic { ident, ty, expr, .. } = item;
    let text = quote!(#ident: #ty = #expr).to_string();
    Hash::of(&[&text])
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
                    TypeParamBound::Trait(bound) => !bound
                        .path
                        .segments
                        .last()
                        .is_some_and(|last| last.ident == "Send" || last.ident == "Sync"),
                    _ => true,
                })
                .collect();
            Ok(Type::TraitObject(object))
        }
        Type::Paren(inner) => interface(&inner.elem),
        Type::Group(inner) => interface(&inner.elem),
        other => Err(syn::Error::new_spanned(
            other,
            "a slot holds implementors of a trait, or functions: write `static NAME: dyn Trait = default;`, \
             `static NAME: fn(A) -> R = default;` or `static NAME: Option<fn(A) -> R> = None;`",
        )),
    }
}

//! `#[slot]`: a static that holds an implementor of a trait, or a function.

pub(crate) mod arguments;
mod chain;
mod default;
mod function;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemStatic, Type, TypeParamBound, Visibility};

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
    /// The module of the definition, which has the static's name: what the compiler says of the slot, it says of that.
    module: Ident,
    definition: TokenStream,
}

impl<'a> Slot<'a> {
    fn new(item: &'a ItemStatic, arguments: Arguments) -> Self {
        let krate = crate_path();
        let ident = &item.ident;
        let module = format_ident!("__hotcall_{ident}");
        let definition = quote!(#module::#ident);
        Self { item, arguments, rt: quote!(#krate::__private), module, definition }
    }

    fn of_trait(&self) -> syn::Result<TokenStream> {
        let Self { item, rt, definition, .. } = self;
        let interface = interface(&item.ty)?;
        let (default_type, default) = default::default(&item.expr)?;
        // Of what is no interface the compiler speaks here, and nowhere else.
        let span = interface.span();
        let (rt_here, rt_default) = (at(span, rt.clone()), at(default_type.span(), rt.clone()));
        let itself = quote_spanned!(span=> <#interface as #rt_here::Interface>::Itself);
        let slot_type = quote_spanned!(span=> <#itself as #rt_here::Stubs<#definition>>::Static);
        let declared = self.declared(&slot_type, &quote!(#definition::__default()));
        // And of a default that is no implementor.
        let of_default =
            quote_spanned!(default_type.span()=> #rt_default::Table::of_default::<_, #default_type>());
        // Braces around a value alone would be warned of.
        let of_default = quote_spanned!(span=> { let __of_default = #of_default; __of_default });
        let fresh = quote_spanned! {span=>
            #rt_here::Instance::__with_table::<#default_type>(__VALUE, Self::TABLE)
        };
        let alias = quote_spanned!(span=> __Interface);
        let of_default_type = quote_spanned!(span=> (&'static #rt_here::Table, fn(*mut ()) -> *mut #alias));
        let defined = self.defined(
            &alias,
            &quote_spanned!(span=> __OF_DEFAULT.0),
            &quote_spanned! {span=>
                __OF_DEFAULT.1(#rt::DefaultCell::<#default_type>::get(#definition::__default()).cast())
            },
            // SAFETY: the table is that of the value's type.
            &quote!(unsafe { #fresh }),
        );
        Ok(quote! {
            #declared
            #[doc(hidden)]
            #[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
            const _: () = {
                const __VALUE: #default_type = #default;
                type __Interface = #itself;
                const __OF_DEFAULT: #of_default_type = #of_default;
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
        let Self { item, rt, module, definition, arguments } = self;
        let ItemStatic { attrs, vis, ident, .. } = item;
        let as_visible = from_a_module(vis);
        let rt_here = at(item.ty.span(), rt.clone());
        let as_static = quote_spanned!(item.ty.span()=> #rt_here::as_static(__slot));
        let slot = quote! {
            let __default = #default;
            // SAFETY: this is the static of the definition, and that its default.
            let __slot = unsafe { #rt::Slot::<#definition>::__new(__default) };
            // SAFETY: the type of the static is that of the slot, or a transparent one of it.
            unsafe { #as_static }
        };
        let slot = quote_spanned!(item.ty.span()=> { #slot });
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
            #[allow(clippy::type_complexity)]
            #vis static #ident: #slot_type = #slot;

            #control

            #[doc(hidden)]
            #[allow(non_snake_case, non_camel_case_types, missing_docs, dead_code, clippy::all, clippy::pedantic)]
            #vis mod #module {
                #as_visible struct #ident(pub(super) ());
            }
        }
    }

    /// What the runtime asks of the definition.
    fn defined(
        &self,
        interface: &TokenStream,
        table: &TokenStream,
        default: &TokenStream,
        fresh: &TokenStream,
    ) -> TokenStream {
        let Self { item, rt, definition, arguments, .. } = self;
        let ident = &item.ident;
        let name = ident.to_string();
        let text = text_of(item);
        // What is wrong with the interface is said at one place.
        let span = item.ty.span();
        let itself = quote_spanned!(span=> type Interface = #interface;);
        let default = quote_spanned!(span=> fn default() -> *mut #interface { #default });
        let result = at(span, quote!(#rt::Instance<#interface>));
        let fresh = quote_spanned!(span=> fn fresh() -> #result { #fresh });
        let identity = identity(rt, item, definition);
        let open = arguments.control.is_none().then(|| {
            quote! {
                // SAFETY: no control was asked for.
                unsafe impl #rt::Open for #definition {}
            }
        });
        quote! {
            #open

            const __NAME: &str = <#definition as #rt::Definition>::NAME;
            #[used]
            #[cfg_attr(target_os = "linux", unsafe(link_section = ".note.hotcall.slot"))]
            static __NOTE: #rt::plugin::SlotNote<{ __NAME.len() }> = #rt::plugin::SlotNote::new(
                __NAME,
                &[
                    #rt::core::option_env!("CARGO_PKG_NAME"),
                    #rt::core::option_env!("CARGO_PKG_VERSION"),
                    #rt::core::option_env!("CARGO_PKG_REPOSITORY"),
                ],
                [#rt::core::line!() as u64, #rt::core::column!() as u64, #text],
                <#interface as #rt::Interface>::EXCLUSIVE,
            );

            // SAFETY: the definition is a type of this static alone; core, default and table are its own.
            unsafe impl #rt::Definition for #definition {
                #itself
                const NAME: &'static str =
                    #rt::core::concat!(#rt::core::module_path!(), "::", #name);
                const IDENTITY: #rt::Identity = #identity;
                const TABLE: &'static #rt::Table = #table;

                #[inline(always)]
                #default

                #[inline]
                #fresh

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

/// The tokens, as if they stood there: so that what the compiler says of them it says there.
fn at(span: Span, tokens: TokenStream) -> TokenStream {
    let at = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(at).collect()
}

/// The visibility, written one module further in.
fn from_a_module(visibility: &Visibility) -> TokenStream {
    match visibility {
        Visibility::Inherited => quote!(pub(super)),
        Visibility::Restricted(restricted) => {
            let path = &restricted.path;
            match path.segments.first().map(|first| first.ident.to_string()).as_deref() {
                Some("self") => quote!(pub(super)),
                Some("super") => quote!(pub(in super::#path)),
                _ => quote!(pub(in #path)),
            }
        }
        Visibility::Public(_) => quote!(pub),
    }
}

/// Which declaration the static is, whose definition is the type `definition`.
pub(crate) fn identity(rt: &TokenStream, item: &ItemStatic, definition: &impl ToTokens) -> TokenStream {
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
            // As the compiler says it.
            object.bounds.push(syn::parse_quote_spanned!(object.span()=> 'static));
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

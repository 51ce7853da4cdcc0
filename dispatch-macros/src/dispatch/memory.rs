//! What the types of an interface say of themselves beyond their sizes: for a plugin's header.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::visit_mut::VisitMut;
use syn::{GenericArgument, PathArguments, Type};

use super::expand::Context;
use super::method::Why;
use super::rewrite::Static;
use super::trait_item::{MARKERS, is_named};
use super::types::primitive;
use crate::sources;

impl Context<'_> {
    /// The names in the methods that this crate defines, as constant expressions.
    pub(super) fn definitions(&self) -> Vec<TokenStream> {
        let rt = &self.rt;
        let signatures: TokenStream =
            self.of.methods.iter().map(|method| method.signature.to_token_stream()).collect();
        sources::definitions(&signatures)
            .into_iter()
            .map(|sources::Definition { name, hash, asks_for_debug }| {
                let debug = asks_for_debug
                    .then(|| quote!(^ if #rt::core::cfg!(debug_assertions) { !0_u64 } else { 0 }));
                quote!(#rt::TypeDefinition { name: #name, hash: #hash #debug })
            })
            .collect()
    }

    /// Whether what one side allocates may be freed by the other, as a constant expression. A type counts where a value of it
    /// has to be dropped; what cannot be looked into counts.
    pub(super) fn shares_memory(&self) -> TokenStream {
        let rt = &self.rt;
        let methods = self.of.methods.iter().map(|method| {
            let cfgs = &method.cfgs;
            let mut parts = Some(Vec::new());
            method.argument_types.iter().chain([&method.result]).for_each(|ty| take_apart(ty, &mut parts));
            let shares = match parts {
                None => quote!(true),
                Some(parts) => quote!(false #(|| #rt::owns::<#parts>())*),
            };
            quote!(#(#cfgs)* { shares |= #shares; })
        });
        quote!({
            #[allow(unused_mut)]
            let mut shares = false;
            #(#methods)*
            shares
        })
    }
}

impl Context<'_> {
    /// Whether what the methods take and give leads nowhere into the implementor's library, as a constant expression: see
    /// `plain.rs` of the runtime.
    pub(super) fn leaves_nothing(&self) -> TokenStream {
        let (rt, of) = (&self.rt, self.of);
        // What is declared `where Self: Sized` no trait object has.
        let is_dispatched = of.undispatched.iter().all(|method| method.why == Why::Sized);
        let may_be_marker = |bound| is_named(bound, &MARKERS);
        if !of.parameters.is_empty()
            || !is_dispatched
            || of.foreign.is_some()
            || !of.asked.iter().all(may_be_marker)
        {
            return quote!(false);
        }
        // Whether they are is not for their names to say.
        let bounds = of.asked.iter().map(|bound| quote!(plain &= #rt::Asked::<dyn #bound>::IS_MARKER;));
        let methods = of.methods.iter().map(|method| {
            let (cfgs, types) = (&method.cfgs, &method.static_types);
            let result = types.len() - 1;
            let types = types.iter().enumerate().map(|(place, ty)| {
                let ty = if place == result { ty } else { behind_reference(ty) };
                quote!(plain &= #rt::Asked::<#ty>::IS_PLAIN;)
            });
            quote!(#(#cfgs)* { #(#types)* })
        });
        quote!({
            #[allow(unused_imports)]
            use #rt::Otherwise as _;
            #[allow(unused_mut)]
            let mut plain = true;
            #(#bounds)*
            #(#methods)*
            plain
        })
    }
}

/// What a reference leads to.
fn behind_reference(ty: &Type) -> &Type {
    match ty {
        Type::Reference(reference) => &reference.elem,
        Type::Paren(inner) => behind_reference(&inner.elem),
        Type::Group(inner) => behind_reference(&inner.elem),
        other => other,
    }
}

/// Adds the types that a value of `ty` leads to. `None` where that cannot be told.
fn take_apart(ty: &Type, parts: &mut Option<Vec<Type>>) {
    match ty {
        Type::Reference(reference) => take_apart(&reference.elem, parts),
        Type::Ptr(pointer) => take_apart(&pointer.elem, parts),
        Type::Slice(slice) => take_apart(&slice.elem, parts),
        Type::Array(array) => take_apart(&array.elem, parts),
        Type::Paren(inner) => take_apart(&inner.elem, parts),
        Type::Group(inner) => take_apart(&inner.elem, parts),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|ty| take_apart(ty, parts)),
        Type::Never(_) => {}
        Type::Path(path) => {
            if primitive(ty) || path.path.is_ident("str") {
                return;
            }
            for segment in &path.path.segments {
                match &segment.arguments {
                    PathArguments::None => {}
                    PathArguments::AngleBracketed(arguments) => {
                        for argument in &arguments.args {
                            match argument {
                                GenericArgument::Type(ty) => take_apart(ty, parts),
                                GenericArgument::Const(_) => {}
                                // A lifetime: there is a reference inside, to who knows what.
                                _ => *parts = None,
                            }
                        }
                    }
                    PathArguments::Parenthesized(_) => *parts = None,
                }
            }
            if let Some(parts) = parts {
                let mut ty = ty.clone();
                Static::default().visit_type_mut(&mut ty);
                parts.push(ty);
            }
        }
        // Trait objects and functions: they take and give what their own signatures say.
        _ => *parts = None,
    }
}

//! What the types of an interface say of themselves beyond their sizes: for a plugin's header.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::visit_mut::VisitMut;
use syn::{GenericArgument, PathArguments, Type};

use super::expand::Context;
use super::rewrite::Static;
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

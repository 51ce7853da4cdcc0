//! The expansion: the anonymous constant that stands beside the trait.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::trait_item::Trait;
use crate::paths::crate_path;

/// What every part of the expansion uses.
pub(super) struct Context<'a> {
    pub(super) of: &'a Trait,
    /// What the expansion calls `::hotcall::__private`: short, for it is written often.
    pub(super) rt: Ident,
}

/// What the expansion calls the runtime.
pub(super) fn runtime() -> Ident {
    Ident::new("__hotcall", Span::mixed_site())
}

pub(crate) fn expansion(of: &Trait, chains: &TokenStream) -> TokenStream {
    let krate = crate_path();
    let context = Context { of, rt: runtime() };
    let functions = of.methods.iter().enumerate().map(|(number, method)| context.functions(number, method));
    let rt = &context.rt;
    let tables = context.tables();
    let holder = of.holder.iter();
    let implementations = context.implementations();
    quote! {
        #[doc(hidden)]
        #[allow(
            non_upper_case_globals,
            improper_ctypes_definitions,
            unreachable_code,
            unused_unsafe,
            deprecated,
            clippy::all,
            clippy::pedantic,
            clippy::undocumented_unsafe_blocks,
            clippy::multiple_unsafe_ops_per_block
        )]
        const _: () = {
            use #krate::__private as #rt;
            #(#functions)*
            #(#rt::methods!(#holder);)*
            #tables
            #implementations
            #chains
        };
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(of: &'a Trait, rt: &Ident) -> Self {
        Self { of, rt: rt.clone() }
    }
}

impl Context<'_> {
    /// The generic parameter for an implementor.
    pub(super) fn implementor(&self) -> Ident {
        Ident::new("Implementor_", Span::mixed_site())
    }

    /// The generic parameter for how a shim finds the implementor.
    pub(super) fn receiver(&self) -> Ident {
        Ident::new("Receiver_", Span::mixed_site())
    }

    /// The generic parameter for a slot's definition.
    pub(super) fn definition(&self) -> Ident {
        Ident::new("Slot_", Span::mixed_site())
    }

    /// The type of a slot's static.
    pub(super) fn slot_type(&self) -> TokenStream {
        let (rt, definition) = (&self.rt, self.definition());
        let slot = quote!(#rt::Slot<#definition>);
        self.of.holder.as_ref().map_or_else(|| slot.clone(), |holder| quote!(#holder<#slot>))
    }

    /// What is demanded of a slot's definition.
    pub(super) fn definition_predicates(&self) -> TokenStream {
        let (rt, definition, interface) = (&self.rt, self.definition(), self.of.interface());
        quote!(#definition: #rt::Definition<Interface = #interface>)
    }
}

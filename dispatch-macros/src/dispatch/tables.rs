//! What hands the functions' addresses to the runtime, and describes the interface to plugins.

use proc_macro2::TokenStream;
use quote::quote;

use super::expand::Context;
use super::functions::Names;
use super::method::Method;
use super::rewrite::ASSOCIATED;
use super::trait_item::Trait;
use super::types::tidy;

impl Context<'_> {
    /// What tells tools that the program knows the interface. One with parameters is many, which nobody lists.
    fn note(&self) -> Option<TokenStream> {
        let is_for_plugins = self.of.holder.is_some() && self.of.parameters.is_empty();
        is_for_plugins.then(|| {
            let (rt, interface) = (&self.rt, self.of.interface());
            quote! {
                const __HOTCALL_KNOWN: #rt::plugin::Record =
                    #rt::plugin::Record::known(&<#interface as #rt::Interface>::DESCRIPTION);
                #[used]
                #[cfg_attr(target_os = "linux", unsafe(link_section = ".note.hotcall.record"))]
                static __HOTCALL_NOTE: #rt::plugin::Note<{ __HOTCALL_KNOWN.length() }> =
                    #rt::plugin::Note::new(&__HOTCALL_KNOWN);
            }
        })
    }

    pub(super) fn tables(&self) -> TokenStream {
        let rt = &self.rt;
        let Trait { parameters, arguments: generics, bound, predicates, methods, .. } = self.of;
        let (implementor, definition, interface) =
            (self.implementor(), self.definition(), self.of.interface());
        let definition_predicates = self.definition_predicates();
        let interface_name = tidy(&interface.to_string().replace(ASSOCIATED, "")).replace("<>", "");
        let description = methods.iter().map(|method| {
            let Method { cfgs, text, static_types, name, .. } = method;
            let name = name.to_string();
            quote! {
                #(#cfgs)*
                #rt::Method {
                    name: #name,
                    signature: #text,
                    layout: &[#(#rt::layout::<#static_types>()),*],
                }
            }
        });
        let definitions = self.definitions();
        let (shares_memory, leaves_nothing) = (self.shares_memory(), self.leaves_nothing());
        let shims = methods.iter().enumerate().map(|(number, method)| {
            let (cfgs, shim) = (&method.cfgs, Names::new(number).shim);
            quote!(#(#cfgs)* #rt::Code::new(#shim::<#(#generics,)* #implementor, #rt::Behind> as *const ()))
        });
        let watched = methods.iter().enumerate().map(|(number, method)| {
            let (cfgs, bounded) = (&method.cfgs, Names::new(number).bounded);
            quote!(#(#cfgs)* #rt::Code::new(#bounded::<#(#generics,)* #implementor, #rt::Watched> as *const ()))
        });
        let caught = methods.iter().enumerate().map(|(number, method)| {
            let (cfgs, Names { bounded, caught, .. }) = (&method.cfgs, Names::new(number));
            quote! {
                #(#cfgs)*
                #rt::Code::new(if #rt::BY_FRAME {
                    #caught::<#(#generics,)* #implementor> as *const ()
                } else {
                    #bounded::<#(#generics,)* #implementor, #rt::Caught> as *const ()
                })
            }
        });
        let count = self.of.index(methods.len());
        let defaults = methods.iter().enumerate().map(|(number, method)| {
            let (cfgs, shim) = (&method.cfgs, Names::new(number).shim);
            quote! {
                #(#cfgs)*
                #rt::Code::new(#shim::<#(#generics,)* #interface, #rt::DefaultOf<#definition>> as *const ())
            }
        });
        let slot_type = self.slot_type();
        let access = if self.of.is_exclusive { quote!(Exclusive) } else { quote!(Shared) };
        let is_exclusive = self.of.is_exclusive;
        let access_type = if is_exclusive { quote!(SoleAccess) } else { quote!(SharedAccess) };
        let of_v = self.of.holder.as_ref().map_or_else(|| quote!(__V), |holder| quote!(#holder<__V>));
        let debug = self.of.is_debug.then(|| {
            quote! {
                fn debug(
                    &self,
                    f: &mut #rt::core::fmt::Formatter<'_>,
                ) -> #rt::core::option::Option<#rt::core::fmt::Result> {
                    #rt::Some(#rt::core::fmt::Debug::fmt(self, f))
                }
            }
        });
        let since = self.of.since.iter();
        let since = quote!(#rt::core::concat!(#(#since)*));
        let note = self.note();
        quote! {
            #note

            // SAFETY: the methods stand in the order in which the shims stand below.
            unsafe impl<#(#parameters),*> #rt::Interface for #interface
            where
                #(#predicates,)*
            {
                const DESCRIPTION: #rt::Description = #rt::Description {
                    name: #interface_name,
                    crate_name: #rt::core::env!("CARGO_PKG_NAME"),
                    crate_version: #rt::core::env!("CARGO_PKG_VERSION"),
                    since: #since,
                    definitions: &[#(#definitions),*],
                    shares_memory: #shares_memory,
                    leaves_nothing: #leaves_nothing,
                    methods: &[#(#description),*],
                };
                const EXCLUSIVE: bool = #is_exclusive;
                type Itself = Self;
                type Access = #rt::#access_type;
                type Methods<__V> = #of_v;
                #debug
            }

            // SAFETY: it says whether methods take `&mut self`.
            unsafe impl<#(#parameters),*> #rt::#access for #interface
            where
                #(#predicates,)*
            {}

            // SAFETY: shim `i` is that of method `i`, with the signature of the interface, for this implementor.
            unsafe impl<#(#parameters,)* #implementor> #rt::Implements<#implementor> for #interface
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
            {
                const METHODS: &'static [#rt::Code] = &[#(#shims),*];
                const WATCHED: &'static [#rt::Code] = &[#(#watched),*];
                const CAUGHT: &'static [#rt::Code] = &[#(#caught),*];

                fn object(this: *mut ()) -> *mut Self {
                    this.cast::<#implementor>()
                }
            }

            // SAFETY: there are as many cells as methods; the static is a slot, or derefs to one.
            unsafe impl<#(#parameters,)* #definition> #rt::Stubs<#definition> for #interface
            where
                #definition_predicates,
                #(#predicates,)*
            {
                type Static = #slot_type;
                type Cells = #rt::cells!(#count);
                const CELLS: Self::Cells = #rt::cells!(empty #count);
                const DEFAULTS: &'static [#rt::Code] = &[#(#defaults),*];
            }
        }
    }
}

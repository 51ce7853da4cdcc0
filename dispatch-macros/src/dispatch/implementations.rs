//! The trait itself, for what calls its methods: slots, bound slots, handles, instances.

use proc_macro2::TokenStream;
use quote::quote;

use super::expand::Context;
use super::functions::Names;
use super::method::{Method, Undispatched};
use super::rewrite::associated_parameter;
use super::trait_item::Trait;

impl Context<'_> {
    /// The trait, for what calls its methods.
    pub(super) fn implementations(&self) -> TokenStream {
        let rt = &self.rt;
        let Trait { parameters, arguments: generics, predicates, methods, is_static, .. } = self.of;
        let (definition, interface) = (self.definition(), self.of.interface());
        let definition_predicates = self.definition_predicates();
        let lends_shared = self.of.lends_shared();
        let slot_type = self.slot_type();
        let definition_of_static = quote!(#slot_type<#definition>);
        let lends_nothing = methods.iter().all(|method| !method.borrows);

        let slot = (lends_shared && lends_nothing).then(|| {
            let body = |number: usize, method: &Method| {
                let (slowly, arguments) = (Names::new(number).slowly, &method.arguments);
                let call = self.in_section(number, method);
                quote! {
                    // SAFETY: below, what is bound is called, and stays where it is.
                    match unsafe { #rt::Slot::<#definition>::__enter(self) } {
                        #rt::Some(__entered) => #call,
                        #rt::None => #slowly::<#(#generics,)* #definition>(self #(, #arguments)*),
                    }
                }
            };
            let header = quote!(<#(#parameters,)* #definition>);
            let predicates = quote!(#definition_predicates, #(#predicates,)*);
            self.implementation(
                &header,
                &definition_of_static,
                &predicates,
                &quote!(#[cfg_attr(not(debug_assertions), inline(always))]),
                &body,
            )
        });
        // Refused by a condition, so that the compiler says which rule is in the way.
        let refused = (lends_shared && !lends_nothing && self.of.foreign.is_none()).then(|| {
            let body = |_: usize, _: &Method| quote!(#rt::core::unreachable!());
            let header = quote!(<#(#parameters,)* #definition>);
            let predicates =
                quote!(#definition_predicates, #definition_of_static: #rt::MayLend, #(#predicates,)*);
            let inline = quote!(#[allow(unused_variables)]);
            self.implementation(&header, &definition_of_static, &predicates, &inline, &body)
        });
        if let Some(foreign) = &self.of.foreign {
            // No type of the runtime can have a trait of a third crate.
            let body = |_: usize, method: &Method| {
                let (path, name, arguments) = (&self.of.path, &method.name, &method.arguments);
                let call = quote!(<#definition_of_static as #path>::#name(self.0 #(, #arguments)*));
                if method.is_unsafe() {
                    // SAFETY: the contract is the caller's, and the same.
                    quote!(unsafe { #call })
                } else {
                    call
                }
            };
            let header = quote!(<#definition>);
            let handle = &foreign.handle;
            let target = quote!(#handle<#definition>);
            let handle =
                self.implementation(&header, &target, &definition_predicates, &quote!(#[inline]), &body);
            return quote!(#slot #handle);
        }
        let bound = self.of.has_bound().then(|| {
            let body = |number: usize, method: &Method| {
                let call = self.through_stub(number, method);
                quote!(let __bound = self; #call)
            };
            let header = quote!(<#(#parameters,)* #definition>);
            let predicates = quote!(#definition_predicates, #(#predicates,)*);
            let target = quote!(#rt::Bound<'_, #definition>);
            self.implementation(
                &header,
                &target,
                &predicates,
                &quote!(#[cfg_attr(not(debug_assertions), inline(always))]),
                &body,
            )
        });
        let through_table = |holder: TokenStream| {
            let (rt, generics) = (&self.rt, &self.of.arguments);
            move |number: usize, method: &Method| {
                let (through_table, arguments) = (Names::new(number).through_table, &method.arguments);
                let index = self.of.index(number);
                quote! {
                    // SAFETY: the instance lives, and the code is what its table has for this method.
                    unsafe { #through_table::<#(#generics),*>(#rt::#holder::__load(self, #index) #(, #arguments)*) }
                }
            }
        };
        let patched = lends_nothing.then(|| {
            let body = |number: usize, method: &Method| {
                let (through_table, arguments) = (Names::new(number).through_table, &method.arguments);
                let index = self.of.index(number);
                quote! {
                    // SAFETY: the interface has this method.
                    unsafe {
                        #rt::Patched::__call(self, #index, |__loaded| {
                            // SAFETY: what is loaded is an instance that the call keeps, and its code for this method.
                            unsafe { #through_table::<#(#generics),*>(__loaded #(, #arguments)*) }
                        })
                    }
                }
            };
            let header = quote!(<#(#parameters),*>);
            let predicates = quote!(#(#predicates,)*);
            let target = quote!(#rt::Patched<#interface>);
            self.implementation(&header, &target, &predicates, &quote!(#[inline]), &body)
        });
        let header = quote!(<#(#parameters),*>);
        let predicates = quote!(#(#predicates,)*);
        let inline = quote!(#[inline]);
        let instance = self.implementation(
            &header,
            &quote!(#rt::Instance<#interface>),
            &predicates,
            &inline,
            &through_table(quote!(Instance)),
        );
        let held = (lends_shared && !is_static).then(|| {
            self.implementation(
                &header,
                &quote!(#rt::Held<'_, #interface>),
                &predicates,
                &inline,
                &through_table(quote!(Held)),
            )
        });
        quote!(#slot #refused #bound #patched #instance #held)
    }

    fn implementation(
        &self,
        header: &TokenStream,
        target: &TokenStream,
        predicates: &TokenStream,
        inline: &TokenStream,
        body: &dyn Fn(usize, &Method) -> TokenStream,
    ) -> TokenStream {
        let Trait { path, methods, undispatched, associated, is_unsafe, .. } = self.of;
        let is_unsafe = is_unsafe.then(|| quote!(unsafe));
        let associated = associated.iter().map(|name| {
            let parameter = associated_parameter(name);
            quote!(type #name = #parameter;)
        });
        let methods = methods.iter().enumerate().map(|(number, method)| {
            let Method { cfgs, signature, .. } = method;
            let body = body(number, method);
            quote!(#(#cfgs)* #inline #signature { #body })
        });
        let undispatched = undispatched.iter().filter(|method| !method.has_default).map(|method| {
            let Undispatched { cfgs, signature, .. } = method;
            let message = format!(
                "`{}` is declared `where Self: Sized`: it is not dispatched, and neither a slot nor an instance has it",
                signature.ident
            );
            let rt = &self.rt;
            quote!(#(#cfgs)* #[allow(unused_variables)] #signature { #rt::core::panic!(#message) })
        });
        quote! {
            #is_unsafe impl #header #path for #target
            where
                #predicates
            {
                #(#associated)*
                #(#methods)*
                #(#undispatched)*
            }
        }
    }
}

//! The trait itself, for what calls its methods: slots, bound slots, handles, instances.

use proc_macro2::TokenStream;
use quote::quote;

use super::expand::Context;
use super::functions::Names;
use super::method::{Method, Undispatched};
use super::rewrite::associated_parameter;
use super::trait_item::Trait;

/// Names of a slot's own methods: a trait's method of such a name is the trait's when it is called on the slot, also where
/// the trait is not in scope.
const OF_SLOTS: [&str; 22] = [
    "bind",
    "borrow",
    "clear",
    "clone",
    "control",
    "deref",
    "fmt",
    "get",
    "handle",
    "is_empty",
    "lease",
    "lock",
    "name",
    "read",
    "replace",
    "replace_instance",
    "replace_with",
    "restore",
    "target",
    "try_lock",
    "try_read",
    "write",
];

impl Context<'_> {
    /// The trait, for what calls its methods.
    pub(super) fn implementations(&self) -> TokenStream {
        let rt = &self.rt;
        let Trait { parameters, arguments: generics, predicates, methods, is_static, .. } = self.of;
        let (definition, interface) = (self.definition(), self.of.interface());
        let definition_predicates = self.definition_predicates();
        let lends_shared = self.of.lends_shared();
        let lends_nothing = methods.iter().all(|method| !method.borrows);

        let slot = lends_shared.then(|| self.of_slot(lends_nothing));
        if self.of.foreign.is_some() {
            // No type of the runtime can have a trait of a third crate.
            let body = |number: usize, method: &Method| {
                let call = self.plainly(number, method);
                quote!(let __slot = #rt::Handle::<#definition>::slot(self.0); #call)
            };
            let holder = &self.of.holder;
            let target = quote!(#holder<#rt::Handle<#definition>>);
            let header = quote!(<#definition>);
            let handle =
                self.implementation(&header, &target, &definition_predicates, &quote!(#[inline]), &body);
            return quote!(#rt::handle!(#holder); #slot #handle);
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
                let (index, checked) = (self.of.index(number), self.lends_nothing(method));
                quote! {
                    #checked
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
        quote!(#slot #bound #patched #instance #held)
    }

    /// What a slot has: the trait, where every method can be called plainly; else those methods that can be.
    fn of_slot(&self, lends_nothing: bool) -> TokenStream {
        let rt = &self.rt;
        let Trait { parameters, predicates, .. } = self.of;
        let (definition, target) = (self.definition(), self.slot_type());
        let header = quote!(<#(#parameters,)* #definition>);
        let definition_predicates = self.definition_predicates();
        let predicates = quote!(#definition_predicates, #(#predicates,)*);
        let inline = quote!(#[cfg_attr(not(debug_assertions), inline(always))]);
        let slot = if self.of.holder.is_some() { quote!(&self.0) } else { quote!(self) };
        let body = |number: usize, method: &Method| {
            let call = self.plainly(number, method);
            quote!(let __slot = #slot; #call)
        };
        let of_its_own = |(_, method): &(usize, &Method)| {
            !method.borrows
                && self.of.holder.is_some()
                && (!lends_nothing || OF_SLOTS.iter().any(|name| method.name == name))
        };
        let inherent = self.inherent(&header, &target, &predicates, &inline, &of_its_own, &body);
        let has_trait = if lends_nothing {
            self.implementation(&header, &target, &predicates, &inline, &body)
        } else {
            // Refused by a condition, so that the compiler says which rule is in the way.
            let body = |_: usize, _: &Method| quote!(#rt::core::unreachable!());
            let predicates = quote!(#target: #rt::MayLend, #predicates);
            self.implementation(&header, &target, &predicates, &quote!(#[allow(unused_variables)]), &body)
        };
        quote!(#inherent #has_trait)
    }

    /// Methods of the trait as methods of the type itself: they come before those that it derefs to.
    fn inherent(
        &self,
        header: &TokenStream,
        target: &TokenStream,
        predicates: &TokenStream,
        inline: &TokenStream,
        which: &dyn Fn(&(usize, &Method)) -> bool,
        body: &dyn Fn(usize, &Method) -> TokenStream,
    ) -> Option<TokenStream> {
        let methods: Vec<_> = self.of.methods.iter().enumerate().filter(which).collect();
        if methods.is_empty() {
            return None;
        }
        let methods = methods.into_iter().map(|(number, method)| {
            let (cfgs, body) = (&method.cfgs, body(number, method));
            let signature = method.outside(&self.of.associated);
            quote!(#(#cfgs)* #inline #[allow(dead_code, missing_docs)] pub #signature { #body })
        });
        Some(quote! {
            impl #header #target
            where
                #predicates
            {
                #(#methods)*
            }
        })
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

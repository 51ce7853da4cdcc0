//! What stands beside a trait for one of its methods: free functions, that the tables and implementations name.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

use super::expand::Context;
use super::method::Method;
use super::trait_item::Trait;
use super::types::primitive;

/// The names of what is made from one method.
pub(super) struct Names {
    pub(super) shim: Ident,
    pub(super) stub: Ident,
    pub(super) slowly: Ident,
    pub(super) through_table: Ident,
    pub(super) bounded: Ident,
    pub(super) caught: Ident,
}

impl Names {
    pub(super) fn new(number: usize) -> Self {
        let name = |what: &str| format_ident!("__{what}_{number}", span = Span::mixed_site());
        Self {
            shim: name("shim"),
            stub: name("stub"),
            slowly: name("slowly"),
            through_table: name("through_table"),
            bounded: name("bounded"),
            caught: name("caught"),
        }
    }
}

impl Context<'_> {
    /// All functions of one method.
    pub(super) fn functions(&self, number: usize, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, result, .. } = method;
        let names = Names::new(number);
        let count = self.of.count(number);
        let in_register = (method.in_register && primitive(result))
            .then(|| quote!(#(#cfgs)* const _: () = #rt::assert_register::<#result>();));
        let shim = self.shim(&names, method);
        let for_slots = self.of.lends_shared().then(|| {
            let (stub, slowly) = (self.stub(number, &names, method), self.slowly(number, &names, method));
            quote!(#stub #slowly)
        });
        let through_table = self.through_table(&names, method);
        let bounded = self.bounded(&names, method);
        quote!(#count #in_register #shim #bounded #for_slots #through_table)
    }

    /// A call of the slot's method by its stub, on `__bound`, a reference to a `Bound`.
    pub(super) fn through_stub(&self, number: usize, method: &Method) -> TokenStream {
        let (rt, generics, definition) = (&self.rt, &self.of.arguments, self.definition());
        let Names { stub, through_table, .. } = Names::new(number);
        let index = self.of.index(number);
        let arguments = &method.arguments;
        let out = if method.in_register { quote!() } else { quote!(out,) };
        quote! {
            #rt::call!(
                __bound,
                method = #index,
                stub = #stub::<#(#generics,)* #definition>,
                table = #through_table::<#(#generics),*>,
                #out
                (#(#arguments),*)
            )
        }
    }

    /// A call of the slot's method in the section `__entered`: what is bound has it, where a `Bound` can have the trait.
    pub(super) fn in_section(&self, number: usize, method: &Method) -> TokenStream {
        let (rt, definition) = (&self.rt, self.definition());
        // A condition on `Self` would have to hold of the `Bound`, which lives no longer than the section.
        if !self.of.has_bound() || method.signature.generics.where_clause.is_some() {
            let call = self.through_stub(number, method);
            return quote!({ let __bound = &__entered.bound; #call });
        }
        let (path, name, arguments) = (&self.of.path, &method.name, &method.arguments);
        let call = quote!(<#rt::Bound<'_, #definition> as #path>::#name(&__entered.bound #(, #arguments)*));
        // SAFETY: the contract is the caller's, and the same.
        if method.is_unsafe() { quote!(unsafe { #call }) } else { call }
    }

    /// From the erased instance to an implementor's method. Where there are slots, also to the method of a slot's default:
    /// then `__HotcallReceiver` says how the implementor is found.
    fn shim(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, name, lifetimes, arguments, predicates: own, .. } = method;
        let Trait { parameters, path, bound, predicates, .. } = self.of;
        let (shim, implementor) = (&names.shim, self.implementor());
        let (inputs, result) = self.erased_signature(method);
        let receiver = self.receiver();
        let (declared, found) = if self.of.lends_shared() {
            let found = quote!(<#receiver as #rt::Receiver<#implementor>>::receive);
            (quote!(#implementor: ?#rt::core::marker::Sized, #receiver: #rt::Receiver<#implementor>), found)
        } else {
            let instance = if method.takes_mut { quote!(instance_mut) } else { quote!(instance) };
            (quote!(#implementor), quote!(#rt::#instance::<#implementor>))
        };
        let call = quote!(<#implementor as #path>::#name(#found(__this) #(, #arguments)*));
        let returned = self.returned(method, &call);
        quote! {
            #(#cfgs)*
            unsafe extern "C-unwind" fn #shim<#(#lifetimes,)* #(#parameters,)* #declared>(#inputs) -> #result
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
                #(#own,)*
            {
                // SAFETY: the table that names this function is that of the implementor's type, so `__this` points
                // to a live one; that of a slot's default is not read. Whoever calls gives an `__out` that the result may
                // be written to, and keeps the contract of a method that is itself unsafe.
                unsafe { #returned }
            }
        }
    }

    /// The shim of an implementor in a library: between it and the host stands a boundary.
    fn bounded(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, lifetimes, arguments, predicates: own, .. } = method;
        let Trait { parameters, arguments: generics, bound, predicates, .. } = self.of;
        let Names { shim, bounded, caught, .. } = names;
        let implementor = self.implementor();
        let (inputs, result) = self.erased_signature(method);
        let receiver = self.of.lends_shared().then(|| quote!(, #rt::Behind));
        let out = (!method.in_register).then(|| quote!(__out,));
        quote! {
            #(#cfgs)*
            unsafe extern "C-unwind" fn #bounded<#(#lifetimes,)* #(#parameters,)* #implementor, __HotcallBoundary: #rt::Boundary>(
                #inputs
            ) -> #result
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
                #(#own,)*
            {
                <__HotcallBoundary as #rt::Boundary>::run(move || {
                    // SAFETY: what the caller promises is what the shim asks for.
                    unsafe { #shim::<#(#generics,)* #implementor #receiver>(__this, #out #(#arguments),*) }
                })
            }

            #(#cfgs)*
            #rt::caught! {
                shim = [#shim::<#(#generics,)* #implementor #receiver>],
                unsafe extern "C-unwind" fn #caught<#(#lifetimes,)* #(#parameters,)* #implementor>(#inputs) -> #result
                where
                    #implementor: #bound + 'static,
                    #(#predicates,)*
                    #(#own,)*
            }
        }
    }

    /// For each slot: the jump that is retargeted, at first to the shim for the slot's default.
    fn stub(&self, number: usize, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, lifetimes, predicates: own, .. } = method;
        let Trait { parameters, arguments: generics, predicates, .. } = self.of;
        let Names { shim, stub, .. } = names;
        let index = self.of.index(number);
        let (definition, definition_predicates) = (self.definition(), self.definition_predicates());
        let (inputs, result) = self.erased_signature(method);
        // Through the trait object, so that the default's type may be private to the slot's module. The object's
        // table is a constant there: the compiler calls the method itself.
        let interface = self.of.interface();
        quote! {
            #(#cfgs)*
            #rt::stub! {
                method = #index,
                definition = [#definition],
                default = [#shim::<#(#generics,)* #interface, #rt::DefaultOf<#definition>>],
                unsafe extern "C-unwind" fn #stub<#(#lifetimes,)* #(#parameters,)* #definition>(#inputs) -> #result
                where
                    #definition_predicates,
                    #(#predicates,)*
                    #(#own,)*
            }
        }
    }

    /// For each slot: a plain call whose section cannot begin quickly. Kept out of the callers.
    fn slowly(&self, number: usize, names: &Names, method: &Method) -> Option<TokenStream> {
        if method.borrows {
            return None;
        }
        let rt = &self.rt;
        let Method { cfgs, lifetimes, arguments, argument_types, result, predicates: own, .. } = method;
        let Trait { parameters, predicates, .. } = self.of;
        let slowly = &names.slowly;
        let (definition, definition_predicates) = (self.definition(), self.definition_predicates());
        let call = self.in_section(number, method);
        Some(quote! {
            #(#cfgs)*
            #[cold]
            #[inline(never)]
            fn #slowly<#(#lifetimes,)* #(#parameters,)* #definition>(
                __slot: &#rt::Slot<#definition>,
                #(#arguments: #argument_types),*
            ) -> #result
            where
                #definition_predicates,
                #(#predicates,)*
                #(#own,)*
            {
                // SAFETY: below, what is bound is called, and stays where it is.
                let __entered = unsafe { #rt::Slot::<#definition>::__enter_slowly(__slot) };
                #call
            }
        })
    }

    /// From the interface's code for an instance to a call: for handles, instances and chains.
    fn through_table(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, lifetimes, arguments, argument_types, result, predicates: own, .. } = method;
        let Trait { parameters, predicates, .. } = self.of;
        let through_table = &names.through_table;
        let erased = method.erased_type(rt);
        let call = if method.in_register {
            // SAFETY: see below.
            quote!(unsafe { __method(__this #(, #arguments)*) })
        } else {
            quote! {
                let mut __result = #rt::MaybeUninit::uninit();
                // SAFETY: the caller's promise: `__code` is that of this method and of the instance, which lives.
                unsafe { __method(__this, &raw mut __result #(, #arguments)*) };
                // SAFETY: a method that returns has written its result.
                unsafe { __result.assume_init() }
            }
        };
        quote! {
            #(#cfgs)*
            #[inline]
            unsafe fn #through_table<#(#lifetimes,)* #(#parameters),*>(
                (__this, __code): (*const (), #rt::Code),
                #(#arguments: #argument_types),*
            ) -> #result
            where
                #(#predicates,)*
                #(#own,)*
            {
                // SAFETY: the caller's promise: `__code` is the address of a shim of this method, a function of this type.
                let __method = unsafe { #rt::core::mem::transmute::<*const (), #erased>(__code.as_ptr()) };
                #call
            }
        }
    }

    /// The parameters of a function of the erased type, and its result.
    fn erased_signature(&self, method: &Method) -> (TokenStream, TokenStream) {
        let Method { arguments, argument_types, .. } = method;
        let (out_type, result) = method.out_and_result(&self.rt);
        let out_type = out_type.iter();
        (quote!(__this: *const (), #(__out: #out_type,)* #(#arguments: #argument_types),*), result)
    }

    /// What a function of the erased type does with a method's result.
    fn returned(&self, method: &Method, value: &TokenStream) -> TokenStream {
        let rt = &self.rt;
        if method.in_register { quote!(#value) } else { quote!(#rt::give(__out, #value)) }
    }
}

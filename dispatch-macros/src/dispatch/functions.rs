//! What stands beside a trait for one of its methods: free functions, that the tables and implementations name.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

use super::expand::Context;
use super::method::Method;
use super::trait_item::Trait;
use super::types::primitive;

/// The names of what is made from one method.
pub(super) struct Names {
    pub(super) index: Ident,
    pub(super) next_index: Ident,
    pub(super) shim: Ident,
    pub(super) default: Ident,
    pub(super) stub: Ident,
    pub(super) slowly: Ident,
    pub(super) through_table: Ident,
}

impl Names {
    pub(super) fn new(number: usize) -> Self {
        let name = |what: &str, number: usize| format_ident!("__{what}_{number}", span = Span::mixed_site());
        Self {
            index: name("INDEX", number),
            next_index: name("INDEX", number + 1),
            shim: name("shim", number),
            default: name("default", number),
            stub: name("stub", number),
            slowly: name("slowly", number),
            through_table: name("through_table", number),
        }
    }
}

impl Context<'_> {
    /// All functions of one method.
    pub(super) fn functions(&self, number: usize, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, result, .. } = method;
        let names = Names::new(number);
        let count = index(&names, cfgs);
        let in_register = (method.in_register && primitive(result))
            .then(|| quote!(#(#cfgs)* const _: () = #rt::assert_register::<#result>();));
        let shim = self.shim(&names, method);
        let for_slots = self.of.lends_shared().then(|| {
            let (default_and_stub, slowly) =
                (self.default_and_stub(&names, method), self.slowly(&names, method));
            quote!(#default_and_stub #slowly)
        });
        let through_table = self.through_table(&names, method);
        quote!(#count #in_register #shim #for_slots #through_table)
    }

    /// A call of the slot's method on `__bound`, a reference to a `Bound`.
    pub(super) fn through_stub(&self, names: &Names, method: &Method) -> TokenStream {
        let (rt, generics, definition) = (&self.rt, &self.of.arguments, self.definition());
        let Names { index, stub, through_table, .. } = names;
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

    /// From the erased instance to an implementor's method.
    fn shim(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, name, lifetimes, arguments, predicates: own, .. } = method;
        let Trait { parameters, path, bound, predicates, .. } = self.of;
        let (shim, implementor) = (&names.shim, self.implementor());
        let (inputs, result) = self.erased_signature(method);
        let instance = if method.takes_mut { quote!(instance_mut) } else { quote!(instance) };
        let call =
            quote!(<#implementor as #path>::#name(#rt::#instance::<#implementor>(__this) #(, #arguments)*));
        let returned = self.returned(method, &call);
        quote! {
            #(#cfgs)*
            unsafe extern "C-unwind" fn #shim<#(#lifetimes,)* #(#parameters,)* #implementor>(#inputs) -> #result
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
                #(#own,)*
            {
                // SAFETY: the table that names this function is that of the implementor's type, so `__this` points
                // to a live one; whoever calls gives an `__out` that the result may be written to, and keeps the
                // contract of a method that is itself unsafe.
                unsafe { #returned }
            }
        }
    }

    /// For each slot: what its stub jumps to at first, and the stub.
    fn default_and_stub(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, name, lifetimes, arguments, predicates: own, .. } = method;
        let Trait { parameters, arguments: generics, path, predicates, .. } = self.of;
        let Names { index, default, stub, .. } = names;
        let (definition, definition_predicates) = (self.definition(), self.definition_predicates());
        let (inputs, result) = self.erased_signature(method);
        // Through the trait object, so that the default's type may be private to the slot's module. The object's
        // table is a constant here: the compiler calls the method itself.
        let interface = self.of.interface();
        let call = quote!(<#interface as #path>::#name(<#definition as #rt::Definition>::default() #(, #arguments)*));
        let returned = self.returned(method, &call);
        let conditions = quote! {
            where
                #definition_predicates,
                #(#predicates,)*
                #(#own,)*
        };
        quote! {
            #(#cfgs)*
            #[allow(unused_variables)]
            unsafe extern "C-unwind" fn #default<#(#lifetimes,)* #(#parameters,)* #definition>(#inputs) -> #result
            #conditions
            {
                // SAFETY: the default is a static, so `__this` is not read; `__out` and the contract of a method that
                // is itself unsafe are as for the shim.
                unsafe { #returned }
            }

            #(#cfgs)*
            #rt::stub! {
                method = #index,
                definition = [#definition],
                default = [#default::<#(#generics,)* #definition>],
                unsafe extern "C-unwind" fn #stub<#(#lifetimes,)* #(#parameters,)* #definition>(#inputs) -> #result
                #conditions
            }
        }
    }

    /// For each slot: a plain call whose section cannot begin quickly. Kept out of the callers.
    fn slowly(&self, names: &Names, method: &Method) -> Option<TokenStream> {
        if method.borrows {
            return None;
        }
        let rt = &self.rt;
        let Method { cfgs, lifetimes, arguments, argument_types, result, predicates: own, .. } = method;
        let Trait { parameters, predicates, .. } = self.of;
        let slowly = &names.slowly;
        let (definition, definition_predicates) = (self.definition(), self.definition_predicates());
        let call = self.through_stub(names, method);
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
                let __entered = __slot.__enter_slowly();
                let __bound = &__entered.bound();
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
                __this: *const (),
                __code: #rt::Code,
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

/// The method's number, and with it the next one's, which counts only the methods that are configured in.
fn index(names: &Names, cfgs: &[syn::Attribute]) -> TokenStream {
    let Names { index, next_index, .. } = names;
    if cfgs.is_empty() {
        return quote!(const #next_index: usize = #index + 1;);
    }
    let conditions = cfgs.iter().filter_map(|attr| attr.meta.require_list().ok().map(|list| &list.tokens));
    let conditions = quote!(all(#(#conditions),*));
    quote! {
        #[cfg(#conditions)] const #next_index: usize = #index + 1;
        #[cfg(not(#conditions))] const #next_index: usize = #index;
    }
}

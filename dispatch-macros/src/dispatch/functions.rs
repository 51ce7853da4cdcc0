//! What stands beside a trait for one of its methods: free functions, that the tables and implementations name.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};

use super::expand::Context;
use super::method::Method;
use super::trait_item::Trait;
use super::types::assert_primitives;

/// The names of what is made from one method.
pub(super) struct Names {
    pub(super) shim: Ident,
    pub(super) stub: Ident,
    pub(super) through_stub: Ident,
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
            through_stub: name("through_stub"),
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
        let Method { cfgs, argument_types, result, .. } = method;
        let names = Names::new(number);
        let count = self.of.count(number);
        let primitives = assert_primitives(rt, cfgs, argument_types.iter().chain([result]));
        let shim = self.shim(&names, method);
        let stub = self.stub(number, &names, method);
        let through_stub = self.through_stub(number, &names, method);
        let through_table = self.through_table(&names, method);
        let bounded = self.bounded(&names, method);
        quote!(#count #primitives #shim #bounded #stub #through_stub #through_table)
    }

    /// A call of the slot's method by its stub. One function for all that calls it: so its frame is small, which is what aligns
    /// calls where nothing is optimised.
    fn through_stub(&self, number: usize, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, lifetimes, arguments, argument_types, result, predicates: own, .. } = method;
        let Trait { parameters, arguments: generics, predicates, .. } = self.of;
        let (definition, definition_predicates) = (self.definition(), self.definition_predicates());
        let Names { stub, through_stub, .. } = names;
        let index = self.of.index(number);
        let packed = method.passing.pack(rt, arguments);
        let registers = method.passing.registers(&out());
        let registers = registers.iter().map(|(register, variable)| quote!(#register #variable));
        let padding = Literal::usize_unsuffixed(method.passing.padding());
        let erased = method.erased_type(rt);
        let call = quote! {
            #rt::call!(
                __within,
                method = #index,
                definition = [#definition],
                stub = [#stub::<#(#generics,)* #definition>],
                table = [#erased],
                padding = #padding,
                arguments = [#(#registers),*]
            )
        };
        let call = method.with_out(rt, &call);
        quote! {
            #(#cfgs)*
            #[cfg_attr(not(debug_assertions), inline(always))]
            unsafe fn #through_stub<#(#lifetimes,)* #(#parameters,)* #definition, __Kind>(
                __within: &#rt::Within<'_, #definition, __Kind>,
                #(#arguments: #argument_types),*
            ) -> #result
            where
                #definition_predicates,
                #(#predicates,)*
                #(#own,)*
            {
                #packed
                #call
            }
        }
    }

    /// A call of the slot's method on `within`, a reference to a `Within`.
    pub(super) fn on(&self, within: &TokenStream, number: usize, method: &Method) -> TokenStream {
        let (generics, definition) = (&self.of.arguments, self.definition());
        let (through_stub, arguments) = (Names::new(number).through_stub, &method.arguments);
        quote! {
            // SAFETY: what is within is alone with the implementor, where the method takes `&mut self`; the contract of an
            // unsafe method is the caller's.
            unsafe { #through_stub::<#(#generics,)* #definition, _>(#within #(, #arguments)*) }
        }
    }

    /// The body of a plain call of the slot `__slot`.
    pub(super) fn plainly(&self, number: usize, method: &Method) -> TokenStream {
        let (rt, definition) = (&self.rt, self.definition());
        let checked = self.lends_nothing(method);
        let call = self.on(&quote!(&__entered.bound), number, method);
        quote! {
            #checked
            // SAFETY: below, what is bound is called, and stays where it is; that it lends nothing has been checked.
            let __entered = unsafe { #rt::Slot::<#definition>::__enter(__slot) };
            #call
        }
    }

    /// From the erased instance to an implementor's method, also to the method of a slot's default: `Receiver_` says
    /// how the implementor is found.
    fn shim(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, name, lifetimes, arguments, predicates: own, .. } = method;
        let Trait { parameters, path, bound, predicates, .. } = self.of;
        let (shim, implementor) = (&names.shim, self.implementor());
        let (inputs, result) = self.erased_signature(method);
        let (rest, unpacked) =
            (method.passing.unpack_rest(rt, arguments), method.passing.unpack(rt, arguments));
        let receiver = self.receiver();
        let receive = if method.takes_mut { quote!(receive_mut) } else { quote!(receive) };
        let found = quote!(<#receiver as #rt::Receiver<#implementor>>::#receive);
        let declared =
            quote!(#implementor: ?#rt::core::marker::Sized, #receiver: #rt::Receiver<#implementor>);
        let call = quote!(<#implementor as #path>::#name(#found(__this) #(, #unpacked)*));
        let returned = self.returned(method, &call);
        quote! {
            #(#cfgs)*
            unsafe extern "C-unwind" fn #shim<#(#lifetimes,)* #(#parameters,)* #declared>(#inputs) -> #result
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
                #(#own,)*
            {
                #rest
                // SAFETY: the table that names this function is that of the implementor's type, so `__this` points
                // to a live one; that of a slot's default is not read. Whoever calls gives an `__out` that the result may
                // be written to, words that were packed from this method's arguments, and keeps the contract of a method that is
                // itself unsafe.
                unsafe { #returned }
            }
        }
    }

    /// The shim of an implementor in a library: between it and the host stands a boundary.
    fn bounded(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, lifetimes, predicates: own, .. } = method;
        let Trait { parameters, arguments: generics, bound, predicates, .. } = self.of;
        let Names { shim, bounded, caught, .. } = names;
        let implementor = self.implementor();
        let (inputs, result) = self.erased_signature(method);
        let passed = self.passed(method);
        quote! {
            #(#cfgs)*
            unsafe extern "C-unwind" fn #bounded<#(#lifetimes,)* #(#parameters,)* #implementor, Boundary_: #rt::Boundary>(
                #inputs
            ) -> #result
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
                #(#own,)*
            {
                <Boundary_ as #rt::Boundary>::run(move || {
                    // SAFETY: what the caller promises is what the shim asks for.
                    unsafe { #shim::<#(#generics,)* #implementor, #rt::Behind>(__this #(, #passed)*) }
                })
            }

            #(#cfgs)*
            #rt::caught! {
                shim = [#shim::<#(#generics,)* #implementor, #rt::Behind>],
                unsafe extern "C-unwind" fn #caught<#(#lifetimes,)* #(#parameters,)* #implementor>(#inputs) -> #result
                where
                    #implementor: #bound + 'static,
                    #(#predicates,)*
                    #(#own,)*
            }
        }
    }

    /// For each slot: what a call that is not patched goes to, at first the shim for the slot's default.
    fn stub(&self, number: usize, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, lifetimes, predicates: own, .. } = method;
        let Trait { parameters, arguments: generics, predicates, .. } = self.of;
        let Names { shim, stub, .. } = names;
        let index = self.of.index(number);
        let (definition, definition_predicates) = (self.definition(), self.definition_predicates());
        let (inputs, result) = self.erased_signature(method);
        let erased = method.erased_type(rt);
        let passed = self.passed(method);
        // Through the trait object, so that the default's type may be private to the slot's module. The object's
        // table is a constant there: the compiler calls the method itself.
        let interface = self.of.interface();
        quote! {
            #(#cfgs)*
            #rt::stub! {
                method = #index,
                definition = [#definition],
                itself = [#stub::<#(#generics,)* #definition>],
                erased = [#erased],
                default = [#shim::<#(#generics,)* #interface, #rt::DefaultOf<#definition>>],
                arguments = [__this #(, #passed)*],
                unsafe extern "C-unwind" fn #stub<#(#lifetimes,)* #(#parameters,)* #definition>(#inputs) -> #result
                where
                    #definition_predicates,
                    #(#predicates,)*
                    #(#own,)*
            }
        }
    }

    /// From the interface's code for an instance to a call: for handles, instances and chains.
    fn through_table(&self, names: &Names, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, lifetimes, arguments, argument_types, result, predicates: own, .. } = method;
        let Trait { parameters, predicates, .. } = self.of;
        let through_table = &names.through_table;
        let erased = method.erased_type(rt);
        let packed = method.passing.pack(rt, arguments);
        let registers = method.passing.registers(&out());
        let passed = registers.iter().map(|(_, variable)| variable);
        // SAFETY: the caller's promise: `__code` is that of this method and of the instance, which lives.
        let call = method.with_out(rt, &quote!(unsafe { __method(__this #(, #passed)*) }));
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
                #packed
                #call
            }
        }
    }

    /// The parameters of a function of the erased type, and its result.
    fn erased_signature(&self, method: &Method) -> (TokenStream, TokenStream) {
        let parameters = method.passing.parameters(&self.rt, &method.argument_types);
        let parameters = parameters.into_iter().map(|(name, ty)| quote!(#name: #ty));
        let (out_type, result) = method.out_and_result(&self.rt);
        let (out, out_type) = (out(), out_type.iter());
        (quote!(__this: *const (), #(#out: #out_type,)* #(#parameters),*), result)
    }

    /// The names of those parameters, after `this`.
    fn passed(&self, method: &Method) -> Vec<Ident> {
        let out = (!method.in_register).then(out);
        let parameters = method.passing.parameters(&self.rt, &method.argument_types);
        out.into_iter().chain(parameters.into_iter().map(|(name, _)| name)).collect()
    }

    /// What a function of the erased type does with a method's result.
    fn returned(&self, method: &Method, value: &TokenStream) -> TokenStream {
        let rt = &self.rt;
        if method.in_register {
            return value.clone();
        }
        let out = out();
        quote!(#rt::give(#out, #value))
    }
}

/// The out pointer, as a parameter and as a caller's variable.
fn out() -> Ident {
    Ident::new("__out", Span::mixed_site())
}

impl Method {
    /// A call of a function of the erased type, for the method's result.
    fn with_out(&self, rt: &impl ToTokens, call: &TokenStream) -> TokenStream {
        if self.in_register {
            return call.clone();
        }
        let out = out();
        quote! {
            let mut __result = #rt::MaybeUninit::uninit();
            let mut #out = &raw mut __result;
            #call;
            // SAFETY: a method that returns has written its result.
            unsafe { __result.assume_init() }
        }
    }
}

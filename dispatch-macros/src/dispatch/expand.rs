//! Writing the expansion.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};

use super::method::{Method, primitive, tidy};
use super::rewrite::ASSOCIATED;
use super::trait_item::Trait;
use crate::paths::crate_path;

/// What every part of the expansion uses.
pub(super) struct Context<'a> {
    pub(super) of: &'a Trait,
    /// `::hotcall::__private`.
    pub(super) rt: TokenStream,
}

/// The names of what is made from one method.
pub(super) struct Names {
    pub(super) index: Ident,
    pub(super) next_index: Ident,
    pub(super) shim: Ident,
    pub(super) default: Ident,
    pub(super) stub: Ident,
    pub(super) invoke: Ident,
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
            invoke: name("invoke", number),
            slowly: name("slowly", number),
            through_table: name("through_table", number),
        }
    }
}

pub(crate) fn expansion(of: &Trait, chains: &TokenStream) -> TokenStream {
    let krate = crate_path();
    let context = Context { of, rt: quote!(#krate::__private) };
    let functions = of.methods.iter().enumerate().map(|(number, method)| context.functions(number, method));
    let first_index = Names::new(0).index;
    let tables = context.tables();
    let implementations = context.implementations();
    quote! {
        #[doc(hidden)]
        #[allow(
            non_upper_case_globals,
            improper_ctypes_definitions,
            deprecated,
            clippy::all,
            clippy::pedantic,
            clippy::undocumented_unsafe_blocks,
            clippy::multiple_unsafe_ops_per_block
        )]
        const _: () = {
            const #first_index: usize = 0;
            #(#functions)*
            #tables
            #implementations
            #chains
        };
    }
}

impl Context<'_> {
    /// The generic parameter for an implementor.
    fn implementor(&self) -> Ident {
        Ident::new("__HotcallImplementor", Span::mixed_site())
    }

    /// The generic parameter for a slot's definition.
    pub(super) fn definition(&self) -> Ident {
        Ident::new("__HotcallSlot", Span::mixed_site())
    }

    /// The type of a slot's static, without its parameter: that of the runtime, or the local one that has a trait of
    /// another crate.
    pub(super) fn slot_type(&self) -> TokenStream {
        let rt = &self.rt;
        self.of.foreign.as_ref().map_or_else(|| quote!(#rt::Slot), |foreign| foreign.slot.to_token_stream())
    }

    /// What is demanded of a slot's definition.
    pub(super) fn definition_predicates(&self) -> TokenStream {
        let (rt, definition, interface) = (&self.rt, self.definition(), self.of.interface());
        quote!(#definition: #rt::Definition<Interface = #interface>)
    }

    fn functions(&self, number: usize, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let names = Names::new(number);
        let Names { index, next_index, shim, default, stub, invoke, slowly, through_table } = &names;
        let Method {
            cfgs,
            name,
            lifetimes,
            arguments,
            argument_types,
            result,
            this_lifetime,
            predicates: own,
            ..
        } = method;
        let Trait { parameters, arguments: generics, path, bound, predicates, .. } = self.of;
        let (implementor, definition) = (self.implementor(), self.definition());
        let definition_predicates = self.definition_predicates();
        let erased = method.erased_type(rt);
        let (out_type, erased_result) = method.out_and_result(rt);
        let out = out_type.iter().map(|_| quote!(__out)).collect::<Vec<_>>();
        let out_type: Vec<_> = out_type.into_iter().collect();

        let instance = if method.takes_mut { quote!(instance_mut) } else { quote!(instance) };
        let on_instance =
            quote!(<#implementor as #path>::#name(#rt::#instance::<#implementor>(__this) #(, #arguments)*));
        // Through the trait object, so that the default's type may be private to the slot's module. The object's
        // table is a constant here: the compiler calls the method itself.
        let interface = self.of.interface();
        let on_default = quote!(<#interface as #path>::#name(<#definition as #rt::Definition>::default() #(, #arguments)*));
        let returned = |value: TokenStream| {
            if method.in_register { value } else { quote!((*__out).write(#value);) }
        };
        let (from_instance, from_default) = (returned(on_instance), returned(on_default));
        let called = |call: TokenStream| {
            if method.in_register {
                call
            } else {
                quote! {
                    let mut __result = #rt::core::mem::MaybeUninit::<#result>::uninit();
                    let __out = &raw mut __result;
                    #call;
                    // SAFETY: a method that returns has written its result.
                    unsafe { __result.assume_init() }
                }
            }
        };
        let through_stub = called(quote! {
            #rt::call!(
                __bound,
                method = #index,
                stub = #stub::<#(#generics,)* #definition>,
                type = #erased,
                (#(#out,)* #(#arguments),*)
            )
        });
        let from_table = called(quote!(unsafe { __method(__this, #(#out,)* #(#arguments),*) }));
        let count = if cfgs.is_empty() {
            quote!(const #next_index: usize = #index + 1;)
        } else {
            let conditions =
                cfgs.iter().filter_map(|attr| attr.meta.require_list().ok().map(|list| &list.tokens));
            let conditions = quote!(all(#(#conditions),*));
            quote! {
                #[cfg(#conditions)] const #next_index: usize = #index + 1;
                #[cfg(not(#conditions))] const #next_index: usize = #index;
            }
        };
        let in_register = (method.in_register && primitive(result))
            .then(|| quote!(#(#cfgs)* const _: () = #rt::assert_register::<#result>();));
        let through_slow_section = (!method.borrows).then(|| {
            quote! {
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
                    let __bound = __entered.bound();
                    #invoke::<#(#generics,)* #definition>(&__bound #(, #arguments)*)
                }
            }
        });
        let for_slots = self.of.lends_shared().then(|| {
            quote! {
                // SAFETY: as above, but for the instance: the default is a static.
                #(#cfgs)*
                #[allow(unused_variables)]
                unsafe extern "C-unwind" fn #default<#(#lifetimes,)* #(#parameters,)* #definition>(
                    __this: *const (),
                    #(__out: #out_type,)*
                    #(#arguments: #argument_types),*
                ) -> #erased_result
                where
                    #definition_predicates,
                    #(#predicates,)*
                    #(#own,)*
                {
                    unsafe { #from_default }
                }

                #(#cfgs)*
                #rt::stub! {
                    method = #index,
                    definition = [#definition],
                    default = [#default::<#(#generics,)* #definition>],
                    unsafe extern "C-unwind" fn #stub<#(#lifetimes,)* #(#parameters,)* #definition>(
                        __this: *const (),
                        #(__out: #out_type,)*
                        #(#arguments: #argument_types),*
                    ) -> #erased_result
                    where
                        #definition_predicates,
                        #(#predicates,)*
                    #(#own,)*
                }

                #(#cfgs)*
                #[inline(always)]
                fn #invoke<#(#lifetimes,)* #(#parameters,)* #definition>(
                    __bound: & #this_lifetime #rt::Bound<'_, #definition>,
                    #(#arguments: #argument_types),*
                ) -> #result
                where
                    #definition_predicates,
                    #(#predicates,)*
                    #(#own,)*
                {
                    #through_stub
                }
                #through_slow_section
            }
        });
        quote! {
            #count
            #in_register

            // SAFETY: called with a pointer to a live implementor, and where there is one, a valid out pointer.
            #(#cfgs)*
            unsafe extern "C-unwind" fn #shim<#(#lifetimes,)* #(#parameters,)* #implementor>(
                __this: *const (),
                #(__out: #out_type,)*
                #(#arguments: #argument_types),*
            ) -> #erased_result
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
                #(#own,)*
            {
                unsafe { #from_instance }
            }

            #for_slots

            // SAFETY: `__code` is the interface's code for this method and for the instance, which lives.
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
                let __method = unsafe { #rt::core::mem::transmute::<*const (), #erased>(__code.as_ptr()) };
                #from_table
            }
        }
    }

    /// What hands the functions' addresses to the runtime.
    fn tables(&self) -> TokenStream {
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
                    layout: &[#((
                        #rt::core::mem::size_of::<#static_types>(),
                        #rt::core::mem::align_of::<#static_types>()
                    )),*],
                }
            }
        });
        let shims = methods.iter().enumerate().map(|(number, method)| {
            let (cfgs, shim) = (&method.cfgs, Names::new(number).shim);
            quote!(#(#cfgs)* #rt::Code::new(#shim::<#(#generics,)* #implementor> as *const ()))
        });
        let stubs = methods.iter().enumerate().map(|(number, method)| {
            let (cfgs, stub) = (&method.cfgs, Names::new(number).stub);
            quote!(#(#cfgs)* [#stub::<#(#generics,)* #definition>])
        });
        let slot_type = self.slot_type();
        let stubs = self.of.lends_shared().then(|| {
            quote! {
                unsafe impl<#(#parameters,)* #definition> #rt::Stubs<#definition> for #interface
                where
                    #definition_predicates,
                    #(#predicates,)*
                {
                    type Static = #slot_type<#definition>;
                    const STUBS: &'static [#rt::Code] = #rt::stubs!(#(#stubs),*);
                }
            }
        });
        quote! {
            unsafe impl<#(#parameters),*> #rt::Interface for #interface
            where
                #(#predicates,)*
            {
                const DESCRIPTION: #rt::Description = #rt::Description {
                    name: #interface_name,
                    crate_name: #rt::core::env!("CARGO_PKG_NAME"),
                    crate_version: #rt::core::env!("CARGO_PKG_VERSION"),
                    methods: &[#(#description),*],
                };
            }

            unsafe impl<#(#parameters,)* #implementor> #rt::Implements<#implementor> for #interface
            where
                #implementor: #bound + 'static,
                #(#predicates,)*
            {
                const METHODS: &'static [#rt::Code] = &[#(#shims),*];
            }

            #stubs
        }
    }
}

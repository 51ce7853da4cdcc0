//! Writing the expansion.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

use super::method::{Method, Undispatched, primitive, tidy};
use super::rewrite::{ASSOCIATED, associated_parameter};
use super::trait_item::Trait;
use crate::paths::crate_path;

/// What every part of the expansion uses.
struct Context<'a> {
    of: &'a Trait,
    /// `::hotcall::__private`.
    rt: TokenStream,
}

/// The names of what is made from one method.
struct Names {
    index: Ident,
    next_index: Ident,
    shim: Ident,
    default: Ident,
    stub: Ident,
    invoke: Ident,
    slowly: Ident,
    through_table: Ident,
}

impl Names {
    fn new(number: usize) -> Self {
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
    fn definition(&self) -> Ident {
        Ident::new("__HotcallSlot", Span::mixed_site())
    }

    /// What is demanded of a slot's definition.
    fn definition_predicates(&self) -> TokenStream {
        let (rt, definition, interface) = (&self.rt, self.definition(), self.of.interface());
        quote!(#definition: #rt::Definition<Interface = #interface>)
    }

    fn functions(&self, number: usize, method: &Method) -> TokenStream {
        let rt = &self.rt;
        let names = Names::new(number);
        let Names { index, next_index, shim, default, stub, invoke, slowly, through_table } = &names;
        let Method { cfgs, name, lifetimes, arguments, argument_types, result, this_lifetime, predicates: own, .. } = method;
        let Trait { parameters, arguments: generics, path, bound, predicates, .. } = self.of;
        let (implementor, definition) = (self.implementor(), self.definition());
        let definition_predicates = self.definition_predicates();
        let erased = method.erased_type(rt);
        let (out_type, erased_result) = method.out_and_result(rt);
        let out = out_type.iter().map(|_| quote!(__out)).collect::<Vec<_>>();
        let out_type: Vec<_> = out_type.into_iter().collect();

        let instance = if method.takes_mut { quote!(instance_mut) } else { quote!(instance) };
        let on_instance = quote!(<#implementor as #path>::#name(#rt::#instance::<#implementor>(__this) #(, #arguments)*));
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
            let conditions = cfgs.iter().filter_map(|attr| attr.meta.require_list().ok().map(|list| &list.tokens));
            let conditions = quote!(all(#(#conditions),*));
            quote! {
                #[cfg(#conditions)] const #next_index: usize = #index + 1;
                #[cfg(not(#conditions))] const #next_index: usize = #index;
            }
        };
        let in_register = (method.in_register && primitive(result))
            .then(|| quote!(#(#cfgs)* const _: () = #rt::assert_register::<#result>();));
        let through_slow_section = (!method.borrows).then(|| quote! {
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
        });
        let for_slots = self.of.lends_shared().then(|| quote! {
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
        let (implementor, definition, interface) = (self.implementor(), self.definition(), self.of.interface());
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
        let stubs = self.of.lends_shared().then(|| quote! {
            unsafe impl<#(#parameters,)* #definition> #rt::Stubs<#definition> for #interface
            where
                #definition_predicates,
                #(#predicates,)*
            {
                type Static = #rt::Slot<#definition>;
                const STUBS: &'static [#rt::Code] = #rt::stubs!(#(#stubs),*);
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

    /// The trait, for what calls its methods.
    fn implementations(&self) -> TokenStream {
        let rt = &self.rt;
        let Trait { parameters, arguments: generics, predicates, methods, is_static, .. } = self.of;
        let (definition, interface) = (self.definition(), self.of.interface());
        let definition_predicates = self.definition_predicates();
        let lends_shared = self.of.lends_shared();
        let lends_nothing = methods.iter().all(|method| !method.borrows);

        let slot = (lends_shared && lends_nothing).then(|| {
            let body = |names: &Names, method: &Method| {
                let (invoke, slowly, arguments) = (&names.invoke, &names.slowly, &method.arguments);
                quote! {
                    match #rt::Slot::__enter(self) {
                        #rt::core::option::Option::Some(__entered) => {
                            let __bound = __entered.bound();
                            #invoke::<#(#generics,)* #definition>(&__bound #(, #arguments)*)
                        }
                        #rt::core::option::Option::None => {
                            #slowly::<#(#generics,)* #definition>(self #(, #arguments)*)
                        }
                    }
                }
            };
            let header = quote!(<#(#parameters,)* #definition>);
            let predicates = quote!(#definition_predicates, #(#predicates,)*);
            self.implementation(&header, &quote!(#rt::Slot<#definition>), &predicates, &quote!(#[inline(always)]), &body)
        });
        let bound = (lends_shared && !is_static).then(|| {
            let body = |names: &Names, method: &Method| {
                let (invoke, arguments) = (&names.invoke, &method.arguments);
                quote!(#invoke::<#(#generics,)* #definition>(self #(, #arguments)*))
            };
            let header = quote!(<#(#parameters,)* #definition>);
            let predicates = quote!(#definition_predicates, #(#predicates,)*);
            let target = quote!(#rt::Bound<'_, #definition>);
            self.implementation(&header, &target, &predicates, &quote!(#[inline(always)]), &body)
        });
        let through_table = |names: &Names, method: &Method| {
            let (through_table, index, arguments) = (&names.through_table, &names.index, &method.arguments);
            quote! {
                let (__this, __code) = (self.__this().cast_const(), self.__method(#index));
                unsafe { #through_table::<#(#generics),*>(__this, __code #(, #arguments)*) }
            }
        };
        let header = quote!(<#(#parameters),*>);
        let predicates = quote!(#(#predicates,)*);
        let inline = quote!(#[inline]);
        let instance =
            self.implementation(&header, &quote!(#rt::Instance<#interface>), &predicates, &inline, &through_table);
        let held = (lends_shared && !is_static).then(|| {
            self.implementation(&header, &quote!(#rt::Held<'_, #interface>), &predicates, &inline, &through_table)
        });
        quote!(#slot #bound #instance #held)
    }

    fn implementation(
        &self,
        header: &TokenStream,
        target: &TokenStream,
        predicates: &TokenStream,
        inline: &TokenStream,
        body: &dyn Fn(&Names, &Method) -> TokenStream,
    ) -> TokenStream {
        let Trait { path, methods, undispatched, associated, is_unsafe, .. } = self.of;
        let is_unsafe = is_unsafe.then(|| quote!(unsafe));
        let associated = associated.iter().map(|name| {
            let parameter = associated_parameter(name);
            quote!(type #name = #parameter;)
        });
        let methods = methods.iter().enumerate().map(|(number, method)| {
            let Method { cfgs, signature, .. } = method;
            let body = body(&Names::new(number), method);
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

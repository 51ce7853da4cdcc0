//! The trait itself, for what calls its methods: slots, bound slots, handles, instances.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::expand::Context;
use super::functions::Names;
use super::method::{Method, Undispatched, Why};
use super::rewrite::associated_parameter;
use super::trait_item::Trait;

/// Names of a slot's own methods: a trait's method of such a name is the trait's when it is called on the slot, also where
/// the trait is not in scope.
const OF_SLOTS: [&str; 23] = [
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
    "try_replace_with",
    "write",
];

/// On every method that calls a stub.
fn inline_always() -> TokenStream {
    quote!(#[cfg_attr(not(debug_assertions), inline(always))])
}

impl Context<'_> {
    /// The trait, for what calls its methods.
    pub(super) fn implementations(&self) -> TokenStream {
        let within = self.of_holder_within();
        let slot = if self.of.is_shared() { self.of_slot() } else { self.refused(&quote!(MayShare)) };
        let not_on_slots = self.not_on_slots();
        let not_on_handles = self.not_on_handles();
        let foreign = self.of.foreign.as_ref().map(|_| self.of_foreign_handle());
        let bound = self.of.guarded_have_it().then(|| self.of_guarded());
        let (patched, instance, lease) = (self.of_patched(), self.of_instance(), self.of_lease());
        quote!(#slot #not_on_slots #not_on_handles #within #foreign #bound #patched #instance #lease)
    }

    /// The parameters of an implementation: `before` them lifetimes, and `after` them types.
    fn header(&self, before: &TokenStream, after: &TokenStream) -> TokenStream {
        let Trait { parameters, lifetimes, .. } = self.of;
        quote!(<#before #(#lifetimes,)* #(#parameters,)* #after>)
    }

    /// As [`header`](Self::header), for methods outside the trait: those have its lifetimes themselves.
    fn header_outside(&self, more: &TokenStream) -> TokenStream {
        let parameters = &self.of.parameters;
        quote!(<#more #(#parameters,)*>)
    }

    /// What a slot has: the trait, where every method can be called plainly; and those methods that can be, where that is
    /// not so, and where their names are a slot's own.
    fn of_slot(&self) -> TokenStream {
        let predicates = &self.of.predicates;
        let (definition, target) = (self.definition(), self.slot_type());
        let definition_predicates = self.definition_predicates();
        let predicates = quote!(#definition_predicates, #(#predicates,)*);
        let has_it = self.of.slots_have_it();
        let slot = if self.of.holder.is_some() { quote!(&self.0) } else { quote!(self) };
        let body = |number: usize, method: &Method| {
            let call = self.plainly(number, method);
            quote!(let __slot = #slot; #call)
        };
        let always = !has_it || !self.of.knows_supertraits;
        let of_its_own = |(_, method): &(usize, &Method)| {
            method.is_plain()
                && self.of.holder.is_some()
                && (always || OF_SLOTS.iter().any(|name| method.name == name))
        };
        let header = self.header_outside(&quote!(#definition,));
        let inherent = self.inherent(&header, &target, &predicates, &inline_always(), &of_its_own, &body);
        let header = self.header(&TokenStream::new(), &quote!(#definition));
        let has_trait = if has_it {
            self.implementation(&header, &target, &predicates, &inline_always(), &body)
        } else {
            self.refused(&quote!(MayLend))
        };
        quote!(#inherent #has_trait)
    }

    /// The trait for a slot under a condition that nothing fulfils: so the compiler says which rule is in the way.
    fn refused(&self, condition: &TokenStream) -> TokenStream {
        if self.of.foreign.is_some() || !self.of.knows_supertraits || self.of.is_closed {
            return TokenStream::new();
        }
        let rt = &self.rt;
        let (definition, target, predicates) = (self.definition(), self.slot_type(), &self.of.predicates);
        let definition_predicates = self.definition_predicates();
        let body = |_: usize, _: &Method| quote!(#rt::core::unreachable!());
        self.conditional(
            &self.header(&TokenStream::new(), &quote!(#definition)),
            &target,
            &quote!(
                #definition: #rt::#condition,
                #definition_predicates,
                #(#predicates,)*
            ),
            &quote!(#[allow(unused_variables)]),
            &body,
        )
    }

    /// Methods that a slot does not have, under the condition that nothing fulfils: who calls one is told what to write. They take
    /// `&self`, so that nothing else is said.
    fn not_on_slots(&self) -> Option<TokenStream> {
        let rt = &self.rt;
        self.of.holder.as_ref()?;
        let shared = self.of.is_shared();
        let condition = if shared { quote!(MayLend) } else { quote!(MayShare) };
        let (definition, target, predicates) = (self.definition(), self.slot_type(), &self.of.predicates);
        let definition_predicates = self.definition_predicates();
        let is_refused = |method: &&Method| {
            // A slot with a lock has its own methods, whatever the trait's are called.
            if shared { method.borrows } else { OF_SLOTS.iter().all(|name| method.name != name) }
        };
        let refused = quote!(#definition: #rt::#condition);
        let methods = self.refused_methods(&is_refused, &refused)?;
        let header = self.header_outside(&quote!(#definition,));
        Some(quote!(impl #header #target where #definition_predicates, #(#predicates,)* { #methods }))
    }

    /// As above, methods that a handle does not have.
    fn not_on_handles(&self) -> Option<TokenStream> {
        let rt = &self.rt;
        let holder = self.of.holder.as_ref()?;
        let (interface, predicates) = (self.of.interface(), &self.of.predicates);
        let refused = quote!(for<'same_> <#interface as #rt::Same<'same_>>::It: #rt::LendsByItself);
        let methods = self.refused_methods(&|method| method.borrows, &refused)?;
        let header = self.header_outside(&TokenStream::new());
        let target = quote!(#holder<#rt::PatchedHandle<#interface>>);
        Some(quote!(impl #header #target where #(#predicates,)* { #methods }))
    }

    /// Those of the trait's methods, as methods that nobody can call, for want of `refused`.
    fn refused_methods(
        &self,
        which: &dyn Fn(&&Method) -> bool,
        refused: &TokenStream,
    ) -> Option<TokenStream> {
        let rt = &self.rt;
        let mut methods = self.of.methods.iter().filter(which).peekable();
        methods.peek()?;
        let methods = methods.map(|method| {
            let (cfgs, span) = (&method.cfgs, method.name.span().resolved_at(Span::mixed_site()));
            let mut signature = method.outside(&self.of.associated, &self.of.lifetimes);
            for input in &mut signature.inputs {
                if let syn::FnArg::Receiver(receiver) = input
                    && let syn::ReceiverKind::Reference(_, _, mutability) = &mut receiver.kind
                {
                    *mutability = None;
                }
            }
            let refused = quote_spanned!(span=> #refused);
            signature.generics.make_where_clause().predicates.push(syn::parse_quote!(#refused));
            quote! {
                #(#cfgs)*
                #[allow(dead_code, missing_docs, unused_variables)]
                pub #signature { #rt::core::unreachable!() }
            }
        });
        Some(quote!(#(#methods)*))
    }

    /// What is within a protection: a bound slot, a locked one. Each method that it has is a patched call.
    fn of_holder_within(&self) -> Option<TokenStream> {
        if self.of.guarded_have_it() && self.of.knows_supertraits {
            return None;
        }
        let rt = &self.rt;
        let holder = self.of.holder.as_ref()?;
        let predicates = &self.of.predicates;
        let (definition, definition_predicates) = (self.definition(), self.definition_predicates());
        let predicates = quote!(#definition_predicates, #(#predicates,)*);
        let body = |number: usize, method: &Method| self.on(&quote!(&self.0), number, method);
        let shared = self.inherent(
            &self.header_outside(&quote!('within_, #definition, __Kind,)),
            &quote!(#holder<#rt::Within<'within_, #definition, __Kind>>),
            &predicates,
            &inline_always(),
            &|(_, method)| !method.takes_mut,
            &body,
        );
        let exclusive = self.inherent(
            &self.header_outside(&quote!('within_, #definition,)),
            &quote!(#holder<#rt::Within<'within_, #definition, #rt::SoleAccess>>),
            &predicates,
            &inline_always(),
            &|(_, method)| method.takes_mut,
            &body,
        );
        let has_trait = self.of.foreign_has_it_alone().then(|| {
            self.implementation(
                &self.header(&TokenStream::new(), &quote!(#definition)),
                &quote!(#holder<#rt::Within<'static, #definition, #rt::SoleAccess>>),
                &predicates,
                &inline_always(),
                &body,
            )
        });
        Some(quote!(#shared #exclusive #has_trait))
    }

    /// No type of the runtime can have a trait of a third crate.
    fn of_foreign_handle(&self) -> TokenStream {
        let (rt, definition) = (&self.rt, self.definition());
        let holder = &self.of.holder;
        let handle = self.of.slots_have_it().then(|| {
            let body = |number: usize, method: &Method| {
                let call = self.plainly(number, method);
                quote!(let __slot = #rt::Handle::<#definition>::slot(self.0); #call)
            };
            let target = quote!(#holder<#rt::Handle<#definition>>);
            let (definition_predicates, predicates) = (self.definition_predicates(), &self.of.predicates);
            let predicates = quote!(#definition_predicates, #(#predicates,)*);
            self.implementation(
                &self.header(&TokenStream::new(), &quote!(#definition)),
                &target,
                &predicates,
                &quote!(#[inline]),
                &body,
            )
        });
        quote!(#rt::handle!(#holder); #handle)
    }

    /// A slot that is bound to a guard, and an implementor that is held by one.
    fn of_guarded(&self) -> TokenStream {
        let (rt, definition, interface) = (&self.rt, self.definition(), self.of.interface());
        let Trait { path, predicates, .. } = self.of;
        let definition_predicates = self.definition_predicates();
        let body =
            |number: usize, method: &Method| self.on(&quote!(#rt::Bound::__within(self)), number, method);
        let (guard, none) = (quote!('guard_,), TokenStream::new());
        let bound = self.implementation(
            &self.header(&guard, &quote!(#definition)),
            &quote!(#rt::Bound<'guard_, #definition>),
            &quote!(#definition_predicates, #(#predicates,)*),
            &inline_always(),
            &body,
        );
        let body = |_: usize, method: &Method| {
            let (name, arguments) = (&method.name, &method.arguments);
            let call = quote!(<#interface as #path>::#name(#rt::Held::__object(self) #(, #arguments)*));
            // SAFETY: the contract is the caller's, and the same.
            if method.is_unsafe() { quote!(unsafe { #call }) } else { call }
        };
        let held = self.implementation(
            &self.header(&guard, &none),
            &quote!(#rt::Held<'guard_, #interface>),
            &quote!(#(#predicates,)*),
            &quote!(#[inline]),
            &body,
        );
        quote!(#bound #held)
    }

    fn of_patched(&self) -> TokenStream {
        let (rt, interface, generics) = (&self.rt, self.of.interface(), &self.of.arguments);
        let predicates = &self.of.predicates;
        let predicates = quote!(#(#predicates,)*);
        let inline = quote!(#[inline]);
        let call = |function: &TokenStream, handle: &TokenStream, number: usize, method: &Method| {
            let (through_table, arguments) = (Names::new(number).through_table, &method.arguments);
            let (index, checked) = (self.of.index(number), self.lends_nothing(method));
            quote! {
                #checked
                // SAFETY: the interface has this method.
                unsafe {
                    #function(#handle, #index, |__loaded| {
                        // SAFETY: what is loaded is an instance that the call keeps, and its code for this method.
                        unsafe { #through_table::<#(#generics),*>(__loaded #(, #arguments)*) }
                    })
                }
            }
        };
        let has_it = self.of.handles_have_it();
        let has_trait = has_it.then(|| {
            let target = quote!(#rt::Patched<#interface>);
            let body = |number: usize, method: &Method| {
                call(&quote!(#rt::Patched::__call), &quote!(self), number, method)
            };
            self.implementation(
                &self.header(&TokenStream::new(), &TokenStream::new()),
                &target,
                &predicates,
                &inline,
                &body,
            )
        });
        let of_its_own = !has_it || !self.of.knows_supertraits;
        let inherent = self.of.holder.as_ref().filter(|_| of_its_own).map(|holder| {
            let target = quote!(#holder<#rt::PatchedHandle<#interface>>);
            let body = |number: usize, method: &Method| {
                call(&quote!(#rt::PatchedHandle::__call), &quote!(&self.0), number, method)
            };
            let header = self.header_outside(&TokenStream::new());
            let inherent = self.inherent(
                &header,
                &target,
                &predicates,
                &inline,
                &|(_, method)| method.is_plain(),
                &body,
            );
            let has_trait = self.of.foreign_handles_have_it().then(|| {
                let header = self.header(&TokenStream::new(), &TokenStream::new());
                self.implementation(&header, &target, &predicates, &inline, &body)
            });
            quote!(#inherent #has_trait)
        });
        quote!(#has_trait #inherent)
    }

    fn of_instance(&self) -> Option<TokenStream> {
        self.of.instances_have_it().then(|| self.of_what_keeps_one(&quote!(Instance)))
    }

    /// What keeps an implementor of a slot for as long as somebody likes.
    fn of_lease(&self) -> Option<TokenStream> {
        self.of.leases_have_it().then(|| self.of_what_keeps_one(&quote!(Lease)))
    }

    /// A type of the runtime that keeps one implementor, and knows its table.
    fn of_what_keeps_one(&self, name: &TokenStream) -> TokenStream {
        let (rt, interface, generics) = (&self.rt, self.of.interface(), &self.of.arguments);
        let predicates = &self.of.predicates;
        let body = |number: usize, method: &Method| {
            let (through_table, arguments) = (Names::new(number).through_table, &method.arguments);
            let index = self.of.index(number);
            quote! {
                // SAFETY: the implementor lives, and the code is what its table has for this method.
                unsafe { #through_table::<#(#generics),*>(#rt::#name::__load(self, #index) #(, #arguments)*) }
            }
        };
        self.implementation(
            &self.header(&TokenStream::new(), &TokenStream::new()),
            &quote!(#rt::#name<#interface>),
            &quote!(#(#predicates,)*),
            &quote!(#[inline]),
            &body,
        )
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
            let signature = method.outside(&self.of.associated, &self.of.lifetimes);
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

    /// The trait for a type of ours. Where the compiler lists who has it, it lists the user's types.
    fn implementation(
        &self,
        header: &TokenStream,
        target: &TokenStream,
        predicates: &TokenStream,
        inline: &TokenStream,
        body: &dyn Fn(usize, &Method) -> TokenStream,
    ) -> TokenStream {
        let implementation = self.conditional(header, target, predicates, inline, body);
        quote!(#[diagnostic::do_not_recommend] #implementation)
    }

    fn conditional(
        &self,
        header: &TokenStream,
        target: &TokenStream,
        predicates: &TokenStream,
        inline: &TokenStream,
        body: &dyn Fn(usize, &Method) -> TokenStream,
    ) -> TokenStream {
        let Trait { path, methods, associated, own_associated, is_unsafe, .. } = self.of;
        let is_unsafe = is_unsafe.then(|| quote!(unsafe));
        let associated = associated[..*own_associated].iter().map(|name| {
            let parameter = associated_parameter(name);
            quote!(type #name = #parameter;)
        });
        let methods = methods.iter().enumerate().map(|(number, method)| {
            let Method { cfgs, signature, .. } = method;
            let body = body(number, method);
            quote!(#(#cfgs)* #inline #signature { #body })
        });
        let kept = self.of.undispatched.iter().filter_map(|method| self.kept(method, target));
        let asked = self.of.asked_of(&self.rt, target);
        // SAFETY of an unsafe trait's: each method is that of an implementor, for which its own `unsafe impl` promises.
        quote! {
            #is_unsafe impl #header #path for #target
            where
                #predicates
                #asked
            {
                #(#associated)*
                #(#methods)*
                #(#kept)*
            }
        }
    }

    /// A method that is not dispatched, where the trait has no body for it.
    fn kept(&self, method: &Undispatched, target: &TokenStream) -> Option<TokenStream> {
        let rt = &self.rt;
        let Undispatched { cfgs, signature, has_default, why, arguments } = method;
        let body = match why {
            Why::Sized if *has_default => return None,
            Why::Sized => {
                let message = format!(
                    "`{}` is declared `where Self: Sized`: it is not dispatched, and neither a slot nor an instance has it",
                    signature.ident
                );
                quote!(#rt::core::panic!(#message))
            }
            Why::Boxed if target.to_string().contains("Slot") => quote!(#rt::core::unreachable!()),
            Why::Boxed => {
                let (interface, path, name) = (self.of.interface(), &self.of.path, &signature.ident);
                let call =
                    quote!(<#interface as #path>::#name(<#target>::__into_box(*self) #(, #arguments)*));
                // SAFETY: the contract is the caller's, and the same.
                if matches!(signature.safety, syn::Safety::Unsafe(_)) {
                    quote!(unsafe { #call })
                } else {
                    call
                }
            }
            // A slot is a static, never behind such a pointer nor moved; what stands for it by value may be.
            Why::Receiver | Why::Bound => {
                let message = format!(
                    "`{}` takes its implementor itself, or a pointer that owns it: a slot keeps what it holds, and has no such \
                     method",
                    signature.ident
                );
                quote!(#rt::core::panic!(#message))
            }
        };
        Some(quote!(#(#cfgs)* #[allow(unused_variables)] #signature { #body }))
    }
}

//! What a plain call may lend: nothing.
//!
//! Two things are here. The *check* is what holds: it stands in the body of every plain call, and the compiler's borrow checker
//! makes it from the types (see `Local` in the runtime's `private.rs`). The *guess*, from the tokens, says of which methods
//! plain calls are written at all: it errs on the side of lending, so that a method which lends is left to guards and locks and
//! does not fail the check.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::visit::{self, Visit};
use syn::{GenericParam, Lifetime, Signature, Type, WherePredicate};

use super::expand::Context;
use super::method::Method;

impl Context<'_> {
    /// The check: at the head of the body of a plain call. Its errors point at the method's name.
    pub(super) fn lends_nothing(&self, method: &Method) -> TokenStream {
        let (rt, interface, path) = (&self.rt, self.of.interface(), &self.of.path);
        let Method { name, arguments, .. } = method;
        let (mutable, lend) =
            if method.takes_mut { (Some(quote::quote!(mut)), "lend_mut") } else { (None, "lend") };
        let lend = proc_macro2::Ident::new(lend, Span::mixed_site());
        let span = name.span().resolved_at(Span::mixed_site());
        // The contract of an unsafe method is the caller's; nothing runs this.
        let unsafety = method.is_unsafe().then(|| quote::quote!(unsafe));
        quote_spanned! {span=>
            #[allow(unreachable_code, unused_braces, clippy::diverging_sub_expression)]
            if false {
                let #mutable __local = #rt::Local::<#interface>::new();
                return #unsafety { <#interface as #path>::#name(__local.#lend() #(, #arguments)*) };
            }
        }
    }
}

/// Whether the method may lend what is behind `self`, as far as the tokens tell.
///
/// `this` is the lifetime of the receiver, where it has a name. `result_elides`: the result leaves a lifetime out.
pub(super) fn may_lend(
    signature: &Signature,
    this: Option<&Lifetime>,
    result: &Type,
    result_elides: bool,
) -> bool {
    if result_elides {
        return true;
    }
    let Some(this) = this else { return false };
    let reached = outlived_by(this, signature);
    reached.iter().any(|lifetime| lifetime.ident == "static")
        || mentions(result, &reached)
        || signature.inputs.iter().any(|input| match input {
            syn::FnArg::Receiver(_) => false,
            syn::FnArg::Typed(argument) => match &*argument.ty {
                // Whatever is passed in this way may be shortened.
                Type::Reference(reference) if reference.mutability.is_none() => {
                    mentions(&reference.elem, &reached)
                }
                other => mentions(other, &reached),
            },
        })
}

/// The lifetime, and those that it outlives by what the signature says.
fn outlived_by(this: &Lifetime, signature: &Signature) -> Vec<Lifetime> {
    let mut bounds: Vec<(Lifetime, Lifetime)> = Vec::new();
    for parameter in &signature.generics.params {
        if let GenericParam::Lifetime(parameter) = parameter {
            let outlived = parameter.bounds.iter().cloned();
            bounds.extend(outlived.map(|outlived| (parameter.lifetime.clone(), outlived)));
        }
    }
    for predicate in signature.generics.where_clause.iter().flat_map(|clause| &clause.predicates) {
        if let WherePredicate::Lifetime(predicate) = predicate {
            let outlived = predicate.bounds.iter().cloned();
            bounds.extend(outlived.map(|outlived| (predicate.lifetime.clone(), outlived)));
        }
    }
    let mut reached = vec![this.clone()];
    let mut next = 0;
    while let Some(lifetime) = reached.get(next).cloned() {
        for (longer, shorter) in &bounds {
            if *longer == lifetime && !reached.contains(shorter) {
                reached.push(shorter.clone());
            }
        }
        next += 1;
    }
    reached
}

fn mentions(ty: &Type, lifetimes: &[Lifetime]) -> bool {
    struct Find<'a>(&'a [Lifetime], bool);
    impl<'ast> Visit<'ast> for Find<'_> {
        fn visit_lifetime(&mut self, node: &'ast Lifetime) {
            self.1 |= self.0.contains(node);
            visit::visit_lifetime(self, node);
        }
    }
    let mut find = Find(lifetimes, false);
    find.visit_type(ty);
    find.1
}

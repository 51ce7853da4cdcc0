//! One method of a trait, taken apart.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, FnArg, GenericParam, Lifetime, ReceiverKind, ReturnType, Signature, TraitItemFn, Type,
    TypeParamBound,
};

use super::lending::may_lend;
use super::passing::Passing;
use super::rewrite::{Associated, Elided, Static};
use super::trait_item::mentions_self;
pub(crate) use super::types::primitive;
use super::types::{is_register, tidy};

/// A method that is dispatched.
pub(crate) struct Method {
    /// `#[cfg(..)]` attributes, to stand on everything made from the method.
    pub(crate) cfgs: Vec<Attribute>,
    /// The signature for implementations: as written, with `__a0`, `__a1` … for the arguments' patterns.
    pub(crate) signature: Signature,
    /// The method as a user would read it, for a plugin's description.
    pub(crate) text: String,
    pub(crate) name: Ident,
    pub(crate) takes_mut: bool,
    /// What is behind `self` may be lent, by the result or through an argument.
    pub(crate) borrows: bool,
    /// The result leaves in a register: otherwise through an out pointer, so that `this` is always the first
    /// integer argument.
    pub(crate) in_register: bool,
    /// Lifetime parameters for those functions: the method's own, and that of `self`.
    pub(crate) lifetimes: Vec<TokenStream>,
    pub(crate) arguments: Vec<Ident>,
    /// For functions outside the trait: associated types are parameters, elided lifetimes of the result named.
    pub(crate) argument_types: Vec<Type>,
    /// How they travel.
    pub(super) passing: Passing,
    pub(crate) result: Type,
    /// The method's own `where` clause, for those functions.
    pub(crate) predicates: Vec<TokenStream>,
    /// All types of the signature, without their lifetimes: for sizes. The result's is last.
    pub(crate) static_types: Vec<Type>,
}

/// A method that is kept, and not dispatched.
pub(crate) struct Undispatched {
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) signature: Signature,
    pub(crate) has_default: bool,
    pub(crate) why: Why,
    pub(crate) arguments: Vec<Ident>,
}

/// Why a method is not dispatched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// `where Self: Sized`: no trait object has it.
    Sized,
    /// `self: Box<Self>`: what owns an instance gives its box.
    Boxed,
    /// A receiver that a static cannot be: `Rc<Self>`, `Arc<Self>`, `Pin<&mut Self>`; and `self` by value.
    Receiver,
    /// A bound on `Self`, or another receiver: the trait object has it, if any type has.
    Bound,
}

/// A method is one or the other.
pub(crate) enum Kind {
    Dispatched(Box<Method>),
    Undispatched(Box<Undispatched>),
}

pub(crate) fn analyse(item: &TraitItemFn, of: &Around<'_>) -> syn::Result<Kind> {
    let associated = of.associated;
    let signature = &item.sig;
    let cfgs: Vec<_> = item.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect();
    let kept = |why| {
        let mut signature = signature.clone();
        let (arguments, _) = name_arguments(&mut signature);
        let has_default = item.default.is_some();
        Ok(Kind::Undispatched(Box::new(Undispatched {
            cfgs: cfgs.clone(),
            signature,
            has_default,
            why,
            arguments,
        })))
    };
    if wants_sized(signature) {
        // A body that panics has no such type.
        let opaque =
            matches!(&signature.output, ReturnType::Type(_, ty) if matches!(**ty, Type::ImplTrait(_)));
        return kept(if opaque && item.default.is_none() { Why::Bound } else { Why::Sized });
    }
    let receiver = check(signature)?;
    let Some((lifetime, mutability)) = by_reference(receiver) else {
        // By value: a trait object may have it, and cannot be called so.
        return kept(smart(receiver).unwrap_or(Why::Receiver));
    };
    if asks_more_of_self(signature, of.supertraits) {
        return kept(Why::Bound);
    }

    let mut own: Vec<_> = of.lifetimes.iter().map(ToTokens::to_token_stream).collect();
    for parameter in &signature.generics.params {
        if let GenericParam::Lifetime(parameter) = parameter {
            own.push(parameter.to_token_stream());
        }
    }
    let this_lifetime = lifetime.clone().unwrap_or_else(|| {
        let lifetime = Lifetime::new("'self_", Span::mixed_site());
        own.push(lifetime.to_token_stream());
        lifetime
    });

    let mut result = match &signature.output {
        ReturnType::Default => syn::parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    Associated { names: associated }.visit_type_mut(&mut result);
    let mut elided = Elided { lifetime: this_lifetime.clone(), found: false };
    elided.visit_type_mut(&mut result);
    let borrows = may_lend(signature, lifetime.as_ref(), &result, elided.found);

    let mut renamed = signature.clone();
    let (arguments, mut argument_types) = name_arguments(&mut renamed);
    for ty in &mut argument_types {
        Associated { names: associated }.visit_type_mut(ty);
    }
    let mut static_types: Vec<Type> = argument_types.clone();
    static_types.push(result.clone());
    for ty in &mut static_types {
        Static::default().visit_type_mut(ty);
    }

    let passing = Passing::new(&argument_types, !is_register(&result));
    Ok(Kind::Dispatched(Box::new(Method {
        cfgs,
        text: tidy(&signature.to_token_stream().to_string()),
        name: signature.ident.clone(),
        takes_mut: mutability,
        borrows,
        in_register: is_register(&result),
        lifetimes: own,
        arguments,
        argument_types,
        result,
        predicates: predicates(signature, associated),
        static_types,
        passing,
        signature: renamed,
    })))
}

/// What no trait object can dispatch is refused here, at the token that is in the way.
fn check(signature: &Signature) -> syn::Result<&syn::Receiver> {
    let Some(receiver) = signature.receiver() else {
        return Err(syn::Error::new_spanned(
            &signature.ident,
            "this function has no `self`, so there is no implementor to dispatch on: give it a receiver, or \
             `where Self: Sized`, then it is kept and not dispatched",
        ));
    };
    if let Some(token) = &signature.asyncness {
        return Err(syn::Error::new_spanned(
            token,
            "an async method cannot be dispatched: return a boxed future instead, \
             `-> Pin<Box<dyn Future<Output = T> + Send>>`",
        ));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(syn::Error::new_spanned(
            variadic,
            "a variadic method cannot be dispatched: pass a slice",
        ));
    }
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            return Err(syn::Error::new_spanned(
                parameter,
                "a generic method cannot be dispatched, for it would need a stub for each type: give it \
                 `where Self: Sized`, then it is kept and not dispatched, or take `&dyn Trait`",
            ));
        }
    }
    for argument in &signature.inputs {
        if let FnArg::Typed(argument) = argument
            && let Type::ImplTrait(ty) = &*argument.ty
        {
            return Err(syn::Error::new_spanned(
                ty,
                "`impl Trait` makes the method generic, which cannot be dispatched: take `&dyn Trait`, or give \
                 the method `where Self: Sized`, then it is kept and not dispatched",
            ));
        }
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && let Type::ImplTrait(ty) = &**ty
    {
        return Err(syn::Error::new_spanned(
            ty,
            "a result of type `impl Trait` cannot be dispatched, for each implementor has another: return \
             `Box<dyn Trait>`",
        ));
    }
    Ok(receiver)
}

/// Whether the method asks for `Self: Sized`.
pub(super) fn wants_sized(signature: &Signature) -> bool {
    signature.generics.where_clause.as_ref().is_some_and(asks_for_sized)
}

pub(super) fn asks_for_sized(clause: &syn::WhereClause) -> bool {
    clause.predicates.iter().any(|predicate| {
        let syn::WherePredicate::Type(predicate) = predicate else { return false };
        is_self(&predicate.bounded_ty)
            && predicate.bounds.iter().any(|bound| {
                matches!(bound, TypeParamBound::Trait(bound)
                    if bound.path.segments.last().is_some_and(|last| last.ident == "Sized"))
            })
    })
}

/// Whether the method is another than one with `&self` that lends nothing.
pub(crate) fn is_uncommon(item: &TraitItemFn) -> bool {
    let around = Around { associated: &[], supertraits: &[], lifetimes: &[] };
    !matches!(analyse(item, &around), Ok(Kind::Dispatched(method)) if !method.takes_mut && !method.borrows)
}

/// What of the trait a method's analysis asks for.
pub(crate) struct Around<'a> {
    pub(crate) associated: &'a [Ident],
    pub(crate) supertraits: &'a [TypeParamBound],
    pub(crate) lifetimes: &'a [Lifetime],
}

/// A receiver that is neither a value nor a reference.
fn smart(receiver: &syn::Receiver) -> Option<Why> {
    let ReceiverKind::Typed(_, ty) = &receiver.kind else { return None };
    let Type::Path(path) = &**ty else { return Some(Why::Bound) };
    if is_self(ty) {
        return None;
    }
    let last = path.path.segments.last()?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(Why::Bound) };
    let of = match arguments.args.first() {
        Some(syn::GenericArgument::Type(of)) => of,
        _ => return Some(Why::Bound),
    };
    let by_shared_reference = matches!(of, Type::Reference(reference) if reference.mutability.is_none());
    Some(match &*last.ident.to_string() {
        "Box" if is_self(of) => Why::Boxed,
        "Rc" | "Arc" => Why::Receiver,
        "Pin" if !by_shared_reference => Why::Receiver,
        _ => Why::Bound,
    })
}

/// Whether the method asks for something of `Self` that the trait does not.
fn asks_more_of_self(signature: &Signature, supertraits: &[TypeParamBound]) -> bool {
    let has = |bound: &TypeParamBound| {
        let bound = bound.to_token_stream().to_string();
        supertraits.iter().any(|one| one.to_token_stream().to_string() == bound)
    };
    signature.generics.where_clause.iter().flat_map(|clause| &clause.predicates).any(|predicate| {
        match predicate {
            syn::WherePredicate::Type(bounds) if is_self(&bounds.bounded_ty) => {
                bounds.bounds.iter().any(|bound| matches!(bound, TypeParamBound::Trait(_)) && !has(bound))
            }
            _ => false,
        }
    })
}

/// The `where` clause for functions outside the trait. What it says of `Self` holds there.
fn predicates(signature: &Signature, associated: &[Ident]) -> Vec<TokenStream> {
    let mut predicates = Vec::new();
    for predicate in signature.generics.where_clause.iter().flat_map(|clause| &clause.predicates) {
        let mut rewritten = predicate.clone();
        Associated { names: associated }.visit_where_predicate_mut(&mut rewritten);
        if !mentions_self(&rewritten.to_token_stream()) {
            predicates.push(rewritten.to_token_stream());
        }
    }
    predicates
}

/// Gives the arguments plain names; their names and types.
fn name_arguments(signature: &mut Signature) -> (Vec<Ident>, Vec<Type>) {
    let (mut names, mut types) = (Vec::new(), Vec::new());
    for argument in &mut signature.inputs {
        match argument {
            // `mut self` is the body's business.
            FnArg::Receiver(receiver) => receiver.attrs.clear(),
            FnArg::Typed(argument) => {
                let name = format_ident!("__a{}", names.len(), span = Span::mixed_site());
                argument.attrs.retain(|attr| attr.path().is_ident("cfg"));
                *argument.pat = syn::parse_quote!(#name);
                types.push((*argument.ty).clone());
                names.push(name);
            }
        }
    }
    (names, types)
}

/// `&self`, `&mut self`, `self: &'a Self`: the lifetime, where it is written, and `mut`.
fn by_reference(receiver: &syn::Receiver) -> Option<(Option<Lifetime>, bool)> {
    match &receiver.kind {
        ReceiverKind::Reference(_, lifetime, mutability) => Some((lifetime.clone(), mutability.is_some())),
        ReceiverKind::Typed(_, ty) => match &**ty {
            Type::Reference(reference) if is_self(&reference.elem) => {
                Some((reference.lifetime.clone(), reference.mutability.is_some()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_self(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("Self"))
}

impl Method {
    pub(crate) fn is_unsafe(&self) -> bool {
        matches!(self.signature.safety, syn::Safety::Unsafe(_))
    }

    /// The signature, for a method outside the trait.
    pub(crate) fn outside(&self, associated: &[Ident], lifetimes: &[Lifetime]) -> Signature {
        let mut signature = self.signature.clone();
        Associated { names: associated }.visit_signature_mut(&mut signature);
        for (place, lifetime) in lifetimes.iter().enumerate() {
            let parameter = GenericParam::Lifetime(syn::LifetimeParam::new(lifetime.clone()));
            signature.generics.params.insert(place, parameter);
        }
        if let Some(clause) = &mut signature.generics.where_clause {
            // What it says of `Self` holds of the implementor, and need not hold of what calls it.
            clause.predicates = core::mem::take(&mut clause.predicates)
                .into_iter()
                .filter(|predicate| !mentions_self(&predicate.to_token_stream()))
                .collect();
        }
        signature
    }

    /// A plain call of it can be written.
    pub(crate) fn is_plain(&self) -> bool {
        !self.borrows
    }

    /// The function's type, as shims, stubs and tables have it.
    pub(crate) fn erased_type(&self, rt: &impl ToTokens) -> TokenStream {
        let types = self.passing.parameters(rt, &self.argument_types).into_iter().map(|(_, ty)| ty);
        let (out, result) = self.out_and_result(rt);
        let out = out.iter();
        quote!(unsafe extern "C-unwind" fn(*const (), #(#out,)* #(#types),*) -> #result)
    }

    /// The type of the out pointer, if there is one, and what is returned.
    pub(crate) fn out_and_result(&self, rt: &impl ToTokens) -> (Option<TokenStream>, TokenStream) {
        let result = &self.result;
        if self.in_register {
            (None, quote!(#result))
        } else {
            (Some(quote!(*mut #rt::MaybeUninit<#result>)), quote!(()))
        }
    }
}

//! A trait, taken apart.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::visit_mut::VisitMut;
use syn::{GenericParam, ItemTrait, TraitItem, TypeParamBound};

use super::method::{self, Kind, Method, Undispatched};
use super::rewrite::{Associated, associated_parameter};

/// A trait of another crate that a local one represents.
pub(crate) struct Foreign {
    /// Where it is, with its arguments.
    pub(crate) path: TokenStream,
}

/// What the expansion needs to know of a trait.
pub(crate) struct Trait {
    pub(crate) is_unsafe: bool,
    pub(crate) methods: Vec<Method>,
    pub(crate) undispatched: Vec<Undispatched>,
    pub(crate) associated: Vec<Ident>,
    /// Declarations of the trait's parameters and of those that stand for associated types, without defaults.
    pub(crate) parameters: Vec<TokenStream>,
    /// The same, as arguments.
    pub(crate) arguments: Vec<TokenStream>,
    /// `Trait<T>`.
    pub(crate) path: TokenStream,
    /// `Trait<T, Error = __AssocError>`.
    pub(crate) bound: TokenStream,
    /// The trait's own bounds on its parameters, and `'static`.
    pub(crate) predicates: Vec<TokenStream>,
    /// A supertrait demands `'static`: only `Slot` and `Instance` can implement the trait.
    pub(crate) is_static: bool,
    /// It demands `Send` and not `Sync`: what borrows its implementors from several threads cannot have it.
    pub(crate) is_send_only: bool,
    pub(crate) foreign: Option<Foreign>,
    /// The type, declared beside the trait, that has its methods for what calls them. A function slot derefs to its
    /// function, and has none.
    pub(crate) holder: Option<Ident>,
    interface: TokenStream,
}

impl Trait {
    pub(crate) fn analyse(item: &ItemTrait) -> syn::Result<Self> {
        let (mut parameters, mut arguments, mut path_arguments, mut predicates) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for parameter in &item.generics.params {
            match parameter {
                GenericParam::Lifetime(lifetime) => {
                    return Err(syn::Error::new_spanned(
                        lifetime,
                        "a slot lives for ever, so its trait cannot have a lifetime parameter: put the lifetime on \
                         the methods",
                    ));
                }
                GenericParam::Type(ty) => {
                    let mut declared = ty.clone();
                    declared.default = None;
                    let name = &ty.ident;
                    parameters.push(declared.to_token_stream());
                    arguments.push(quote!(#name));
                    path_arguments.push(quote!(#name));
                    predicates.push(quote!(#name: 'static));
                }
                GenericParam::Const(constant) => {
                    let mut declared = constant.clone();
                    declared.default = None;
                    let name = &constant.ident;
                    parameters.push(declared.to_token_stream());
                    arguments.push(quote!(#name));
                    path_arguments.push(quote!(#name));
                }
            }
        }

        let associated = associated_names(item)?;
        for item in &item.items {
            if let TraitItem::Type(ty) = item {
                let parameter = associated_parameter(&ty.ident);
                let bounds = rewritten_bounds(ty.bounds.iter(), &associated);
                parameters.push(quote!(#parameter));
                arguments.push(quote!(#parameter));
                predicates.push(quote!(#parameter: #(#bounds +)* 'static));
            }
        }
        if let Some(clause) = &item.generics.where_clause {
            for predicate in &clause.predicates {
                let mut predicate = predicate.clone();
                Associated { names: &associated }.visit_where_predicate_mut(&mut predicate);
                if !mentions_self(&predicate.to_token_stream()) {
                    predicates.push(predicate.to_token_stream());
                }
            }
        }

        let (mut methods, mut undispatched) = (Vec::new(), Vec::new());
        for item in &item.items {
            match item {
                TraitItem::Fn(function) => match method::analyse(function, &associated)? {
                    Kind::Dispatched(method) => methods.push(*method),
                    Kind::Undispatched(method) => undispatched.push(*method),
                },
                TraitItem::Const(constant) => {
                    return Err(syn::Error::new_spanned(
                        constant,
                        "a trait with an associated constant has no trait objects: make it a method",
                    ));
                }
                TraitItem::Macro(invocation) => {
                    return Err(syn::Error::new_spanned(
                        invocation,
                        "#[dispatch] cannot see the methods that a macro would write here: write them out",
                    ));
                }
                _ => {}
            }
        }

        let name = &item.ident;
        let path = quote!(#name<#(#path_arguments),*>);
        let named = associated.iter().map(|name| {
            let parameter = associated_parameter(name);
            quote!(#name = #parameter)
        });
        let bound_arguments = path_arguments.iter().cloned().chain(named);
        let bound = quote!(#name<#(#bound_arguments),*>);
        Ok(Self {
            is_send_only: demands(item, "Send") && !demands(item, "Sync"),
            foreign: None,
            holder: Some(format_ident!("__hotcall_{}", item.ident, span = Span::mixed_site())),
            interface: quote!(dyn #bound),
            is_unsafe: item.unsafety.is_some(),
            is_static: item.supertraits.iter().any(demands_static),
            methods,
            undispatched,
            associated,
            parameters,
            arguments,
            path,
            bound,
            predicates,
        })
    }

    /// The same, for the hidden trait of a function slot.
    pub(crate) fn of_a_function(self) -> Self {
        Self { holder: None, ..self }
    }

    /// No method takes `&mut self`: a slot, which everybody shares, can have the trait.
    pub(crate) fn lends_shared(&self) -> bool {
        self.methods.iter().all(|method| !method.takes_mut)
    }

    /// What is bound to a guard can have the trait.
    pub(crate) fn has_bound(&self) -> bool {
        self.lends_shared() && !self.is_static && self.foreign.is_none()
    }

    /// The method's index among those that are configured in; for `methods.len()`, how many there are.
    pub(crate) fn index(&self, number: usize) -> TokenStream {
        if self.methods.iter().all(|method| method.cfgs.is_empty()) {
            return Literal::usize_unsuffixed(number).to_token_stream();
        }
        format_ident!("__INDEX_{number}", span = Span::mixed_site()).to_token_stream()
    }

    /// Where methods may be configured out, constants count the others: that of the method after this one.
    pub(crate) fn count(&self, number: usize) -> Option<TokenStream> {
        if self.methods.iter().all(|method| method.cfgs.is_empty()) {
            return None;
        }
        let (index, next) = (self.index(number), self.index(number + 1));
        let first = (number == 0).then(|| quote!(const #index: usize = 0;));
        let cfgs = &self.methods[number].cfgs;
        if cfgs.is_empty() {
            return Some(quote!(#first const #next: usize = #index + 1;));
        }
        let conditions =
            cfgs.iter().filter_map(|attr| attr.meta.require_list().ok().map(|list| &list.tokens));
        let conditions = quote!(all(#(#conditions),*));
        Some(quote! {
            #first
            #[cfg(#conditions)] const #next: usize = #index + 1;
            #[cfg(not(#conditions))] const #next: usize = #index;
        })
    }

    /// `dyn Trait<..>`.
    pub(crate) fn interface(&self) -> TokenStream {
        self.interface.clone()
    }

    /// The same methods, as those of a trait of another crate: `dyn Trait` stays the interface.
    pub(crate) fn represents(self, foreign: Foreign) -> syn::Result<Self> {
        for method in &self.methods {
            if method.takes_mut {
                return Err(syn::Error::new_spanned(
                    &method.name,
                    "a slot is shared, so it cannot have a trait with a method that takes `&mut self`",
                ));
            }
            if method.borrows {
                return Err(syn::Error::new_spanned(
                    &method.result,
                    "this result borrows from the implementor, which may be replaced and freed as soon as the call \
                     returns: a slot cannot have the method, nor the trait",
                ));
            }
        }
        let path = foreign.path.clone();
        Ok(Self { bound: path.clone(), path, foreign: Some(foreign), ..self })
    }
}

fn associated_names(item: &ItemTrait) -> syn::Result<Vec<Ident>> {
    let mut names = Vec::new();
    for item in &item.items {
        if let TraitItem::Type(ty) = item {
            if !ty.generics.params.is_empty() {
                return Err(syn::Error::new_spanned(
                    &ty.generics,
                    "a trait with a generic associated type has no trait objects",
                ));
            }
            names.push(ty.ident.clone());
        }
    }
    Ok(names)
}

fn rewritten_bounds<'a>(
    bounds: impl Iterator<Item = &'a TypeParamBound>,
    associated: &[Ident],
) -> Vec<TypeParamBound> {
    bounds
        .cloned()
        .map(|mut bound| {
            Associated { names: associated }.visit_type_param_bound_mut(&mut bound);
            bound
        })
        .collect()
}

/// Whether the trait names a marker as a supertrait.
fn demands(item: &ItemTrait, marker: &str) -> bool {
    item.supertraits.iter().any(|bound| {
        matches!(bound, TypeParamBound::Trait(bound)
            if bound.path.segments.last().is_some_and(|last| last.ident == marker))
    })
}

fn demands_static(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Lifetime(lifetime) => lifetime.ident == "static",
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|last| last.ident == "Any"),
        _ => false,
    }
}

pub(crate) fn mentions_self(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => ident == "Self",
        proc_macro2::TokenTree::Group(group) => mentions_self(&group.stream()),
        _ => false,
    })
}

//! Rewriting the types of a signature for functions that stand outside the trait.

use proc_macro2::Span;
use syn::visit_mut::{self, VisitMut};
use syn::{Ident, Lifetime, Type};

/// What the names of those parameters begin with.
pub(crate) const ASSOCIATED: &str = "__HotcallAssoc";

/// The generic parameter that stands for an associated type.
pub(crate) fn associated_parameter(name: &Ident) -> Ident {
    Ident::new(&format!("{ASSOCIATED}{name}"), name.span())
}

/// Replaces `Self::Name` by the parameter that stands for it.
pub(crate) struct Associated<'a> {
    pub(crate) names: &'a [Ident],
}

impl VisitMut for Associated<'_> {
    fn visit_type_mut(&mut self, node: &mut Type) {
        if let Type::Path(path) = node
            && let Some(name) = self.names.iter().find(|name| is_projection(path, name))
        {
            let parameter = associated_parameter(name);
            *node = syn::parse_quote!(#parameter);
            return;
        }
        visit_mut::visit_type_mut(self, node);
    }
}

/// `Self::Name`, or `<Self as Trait>::Name`.
fn is_projection(path: &syn::TypePath, name: &Ident) -> bool {
    let segments = &path.path.segments;
    let last_is_name = segments.last().is_some_and(|last| last.ident == *name);
    match &path.qself {
        None => segments.len() == 2 && segments[0].ident == "Self" && last_is_name,
        Some(qself) => matches!(&*qself.ty, Type::Path(of) if of.path.is_ident("Self")) && last_is_name,
    }
}

/// Names the lifetimes that a result leaves out: they are that of `self`.
pub(crate) struct Elided {
    pub(crate) lifetime: Lifetime,
    pub(crate) found: bool,
}

impl VisitMut for Elided {
    fn visit_type_reference_mut(&mut self, node: &mut syn::TypeReference) {
        if node.lifetime.is_none() {
            node.lifetime = Some(self.lifetime.clone());
            self.found = true;
        }
        visit_mut::visit_type_reference_mut(self, node);
    }

    fn visit_lifetime_mut(&mut self, node: &mut Lifetime) {
        if node.ident == "_" {
            *node = self.lifetime.clone();
            self.found = true;
        }
    }

    // Function pointers and `Fn(..) -> ..` bounds have scopes of their own.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut syn::ParenthesizedGenericArguments) {}
}

/// Replaces every lifetime by `'static`, and adds it where one is left out: for sizes. Those that a `for<'a>`
/// inside the type binds stay, and so do those that a function pointer leaves out.
#[derive(Default)]
pub(crate) struct Static {
    bound: Vec<Ident>,
    /// How many function types this is inside of.
    functions: usize,
}

impl Static {
    fn binding(&mut self, lifetimes: Option<&syn::BoundLifetimes>, inside: impl FnOnce(&mut Self)) {
        let before = self.bound.len();
        for parameter in lifetimes.iter().flat_map(|bound| &bound.lifetimes) {
            if let syn::GenericParam::Lifetime(parameter) = parameter {
                self.bound.push(parameter.lifetime.ident.clone());
            }
        }
        inside(self);
        self.bound.truncate(before);
    }
}

impl VisitMut for Static {
    fn visit_type_reference_mut(&mut self, node: &mut syn::TypeReference) {
        if node.lifetime.is_none() && self.functions == 0 {
            node.lifetime = Some(Lifetime::new("'static", Span::mixed_site()));
        }
        visit_mut::visit_type_reference_mut(self, node);
    }

    fn visit_lifetime_mut(&mut self, node: &mut Lifetime) {
        let elided_by_a_function = node.ident == "_" && self.functions != 0;
        if !elided_by_a_function && !self.bound.contains(&node.ident) {
            *node = Lifetime::new("'static", node.span());
        }
    }

    fn visit_type_mut(&mut self, node: &mut Type) {
        // A function may return `!`, but nothing else names it on stable; its size is that of nothing.
        if let Type::Never(_) = node
            && self.functions == 0
        {
            *node = syn::parse_quote!(());
        }
        visit_mut::visit_type_mut(self, node);
    }

    fn visit_type_fn_ptr_mut(&mut self, node: &mut syn::TypeFnPtr) {
        self.functions += 1;
        self.binding(node.lifetimes.clone().as_ref(), |this| visit_mut::visit_type_fn_ptr_mut(this, node));
        self.functions -= 1;
    }

    fn visit_trait_bound_mut(&mut self, node: &mut syn::TraitBound) {
        self.binding(node.lifetimes.clone().as_ref(), |this| visit_mut::visit_trait_bound_mut(this, node));
    }

    fn visit_parenthesized_generic_arguments_mut(&mut self, node: &mut syn::ParenthesizedGenericArguments) {
        self.functions += 1;
        visit_mut::visit_parenthesized_generic_arguments_mut(self, node);
        self.functions -= 1;
    }
}

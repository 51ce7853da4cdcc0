//! Rewriting the types of a signature for functions that stand outside the trait.

use proc_macro2::Span;
use syn::visit_mut::{self, VisitMut};
use syn::{Ident, Lifetime, Type};

/// The generic parameter that stands for an associated type.
pub(crate) fn associated_parameter(name: &Ident) -> Ident {
    Ident::new(&format!("__Assoc{name}"), name.span())
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
        Some(qself) => {
            matches!(&*qself.ty, Type::Path(of) if of.path.is_ident("Self")) && last_is_name
        }
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

/// Replaces every lifetime by `'static`, and adds it where one is left out: for sizes.
pub(crate) struct Static;

impl VisitMut for Static {
    fn visit_type_reference_mut(&mut self, node: &mut syn::TypeReference) {
        node.lifetime = Some(Lifetime::new("'static", Span::mixed_site()));
        self.visit_type_mut(&mut node.elem);
    }

    fn visit_lifetime_mut(&mut self, node: &mut Lifetime) {
        *node = Lifetime::new("'static", node.span());
    }

    fn visit_type_fn_ptr_mut(&mut self, _: &mut syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut syn::ParenthesizedGenericArguments) {}
}

//! A trait, taken apart.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::visit_mut::VisitMut;
use syn::{GenericParam, ItemTrait, Lifetime, LitStr, TraitItem, TypeParamBound};

use super::method::{self, Around, Kind, Method, Undispatched, Why};
use super::rewrite::{Associated, associated_parameter};
use super::types::is_primitive_name;

/// A trait of another crate that a local one represents.
pub(crate) struct Foreign {
    /// Where it is, with its arguments.
    pub(crate) path: syn::Path,
    /// Markers that it does not ask for itself, and that are asked for here.
    pub(crate) markers: Vec<TypeParamBound>,
}

/// What the expansion needs to know of a trait.
pub(crate) struct Trait {
    pub(crate) is_unsafe: bool,
    pub(crate) methods: Vec<Method>,
    pub(crate) undispatched: Vec<Undispatched>,
    /// Names of the associated types: the trait's own, and then those of supertraits that its methods name.
    pub(crate) associated: Vec<Ident>,
    /// How many of them are the trait's own.
    pub(crate) own_associated: usize,
    /// The trait's lifetime parameters.
    pub(crate) lifetimes: Vec<Lifetime>,
    /// The supertraits that not every type has.
    pub(crate) supertraits: Vec<TypeParamBound>,
    /// What holds an implementor has all of them.
    pub(crate) knows_supertraits: bool,
    /// All that it asks of its implementors, but lifetimes.
    pub(crate) asked: Vec<TypeParamBound>,
    /// `Debug` is one of them.
    pub(crate) is_debug: bool,
    /// It has something that no type but an implementor can have.
    pub(crate) is_closed: bool,
    /// Slots of it have a lock.
    pub(crate) is_exclusive: bool,
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
    /// The version of its crate since which plugins are compatible, as written.
    pub(crate) since: Option<LitStr>,
    /// The type, declared beside the trait, that has its methods for what calls them. A function slot derefs to its
    /// function, and has none.
    pub(crate) holder: Option<Holder>,
    interface: TokenStream,
}

/// That type: in a module of its own, so that its name is nobody else's. The compiler says it.
pub(crate) struct Holder(Ident);

impl Holder {
    fn of(of: &Ident) -> Self {
        Self(format_ident!("MethodsOf{of}", span = Span::mixed_site()))
    }
}

impl ToTokens for Holder {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let name = &self.0;
        tokens.extend(quote!(__methods::#name));
    }
}

impl Trait {
    pub(crate) fn analyse(item: &ItemTrait) -> syn::Result<Self> {
        Self::with_types(item, &[])
    }

    /// `types`: associated types of supertraits.
    pub(crate) fn with_types(item: &ItemTrait, types: &[Ident]) -> syn::Result<Self> {
        let (mut parameters, mut arguments, mut path_arguments, mut predicates) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut lifetimes = Vec::new();
        for parameter in &item.generics.params {
            match parameter {
                GenericParam::Lifetime(lifetime) => {
                    lifetimes.push(lifetime.lifetime.clone());
                    let lifetime = &lifetime.lifetime;
                    path_arguments.push(quote!(#lifetime));
                }
                GenericParam::Type(ty) => {
                    let mut declared = ty.clone();
                    declared.default = None;
                    let name = &ty.ident;
                    if is_primitive_name(name) {
                        return Err(syn::Error::new_spanned(
                            name,
                            "a type parameter with the name of a primitive type would be taken for that type: give it \
                             another name",
                        ));
                    }
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

        let Associations { names: associated, own: own_associated, mut is_closed } =
            Associations::of(item, types)?;
        for name in &associated[own_associated..] {
            let parameter = associated_parameter(name);
            parameters.push(quote!(#parameter));
            arguments.push(quote!(#parameter));
            predicates.push(quote!(#parameter: 'static));
        }
        let mut asked: Vec<TypeParamBound> = item.supertraits.iter().cloned().collect();
        for item in &item.items {
            if let TraitItem::Type(ty) = item
                && associated.contains(&ty.ident)
            {
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
                } else if let syn::WherePredicate::Type(of) = &predicate
                    && of.bounded_ty.to_token_stream().to_string() == "Self"
                {
                    asked.extend(of.bounds.iter().cloned());
                }
            }
        }

        let around = Around { associated: &associated, supertraits: &asked, lifetimes: &lifetimes };
        let (mut methods, mut undispatched) = (Vec::new(), Vec::new());
        for item in &item.items {
            match item {
                TraitItem::Fn(function) => match method::analyse(function, &around)? {
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

        // No type of ours can be called; and whatever can be may have the trait by an implementation for all such types.
        is_closed |= asked.iter().any(|bound| is_named(bound, &["Fn", "FnMut", "FnOnce"]));
        is_closed |= undispatched.iter().any(|method: &Undispatched| method.why == Why::Bound);
        let name = &item.ident;
        let path = quote!(#name<#(#path_arguments),*>);
        let named = associated.iter().map(|name| {
            let parameter = associated_parameter(name);
            quote!(#name = #parameter)
        });
        // Of its own names, so that they are not those of a function around.
        let higher: Vec<_> = (0..lifetimes.len())
            .map(|place| Lifetime::new(&format!("'__of_trait_{place}"), Span::mixed_site()))
            .collect();
        let bound_arguments = higher.iter().map(ToTokens::to_token_stream);
        let bound_arguments =
            bound_arguments.chain(path_arguments[lifetimes.len()..].iter().cloned()).chain(named);
        let binder = (!higher.is_empty()).then(|| quote!(for<#(#higher),*>));
        let bound = quote!(#binder #name<#(#bound_arguments),*>);
        if own_associated < associated.len() {
            // What a supertrait asks of its associated types cannot be seen; that it holds is part of this.
            predicates.push(quote!(dyn #bound: #bound));
            // And that an implementation would give them the same types.
            is_closed = true;
        }
        let is_exclusive = methods.iter().any(|method| method.takes_mut)
            || asked.iter().any(|bound| is_named(bound, &EXCLUSIVE));
        let mut supertraits: Vec<_> = asked
            .iter()
            .filter(|bound| !is_lifetime(bound) && !is_named(bound, &EVERYWHERE))
            .cloned()
            .collect();
        for bound in &mut supertraits {
            Associated { names: &associated }.visit_type_param_bound_mut(bound);
        }
        Ok(Self {
            is_send_only: demands(&asked, "Send") && !demands(&asked, "Sync"),
            foreign: None,
            since: None,
            holder: Some(Holder::of(&item.ident)),
            interface: quote!(dyn #bound),
            is_unsafe: item.unsafety.is_some(),
            is_static: asked.iter().any(demands_static),
            knows_supertraits: supertraits.iter().all(|bound| is_named(bound, &KNOWN)),
            is_debug: asked.iter().any(|bound| is_named(bound, &["Debug", "Error"])),
            supertraits,
            asked: asked.into_iter().filter(|bound| !is_lifetime(bound)).collect(),
            is_closed,
            is_exclusive,
            methods,
            undispatched,
            associated,
            own_associated,
            lifetimes,
            parameters,
            arguments,
            path,
            bound,
            predicates,
        })
    }

    /// The same, for a trait that its crate implements for all types of a kind: another implementation might be in the way.
    pub(crate) fn with_a_blanket(self) -> Self {
        Self { is_closed: true, ..self }
    }

    /// The same, with what is said of older versions of its crate.
    pub(crate) fn compatible_since(self, since: Option<LitStr>) -> Self {
        Self { since, ..self }
    }

    /// The same, for the hidden trait of a function slot.
    pub(crate) fn of_a_function(self) -> Self {
        Self { holder: None, ..self }
    }

    /// Everybody shares what a slot holds: plain calls, guards.
    pub(crate) fn is_shared(&self) -> bool {
        !self.is_exclusive
    }

    /// No method lends what is behind `self`.
    pub(crate) fn lends_nothing(&self) -> bool {
        self.methods.iter().all(Method::is_plain)
    }

    /// Every method that is not dispatched is kept for one of these reasons.
    fn keeps_only(&self, reasons: &[Why]) -> bool {
        !self.is_closed && self.undispatched.iter().all(|method| reasons.contains(&method.why))
    }

    /// The static can have the trait. It is never in a box, nor pinned: methods that want that cannot be called on it.
    pub(crate) fn slots_have_it(&self) -> bool {
        self.is_shared() && self.lends_nothing() && self.keeps_only(&[Why::Sized, Why::Boxed, Why::Receiver])
    }

    /// What lives no longer than a guard can have the trait.
    pub(crate) fn guarded_have_it(&self) -> bool {
        self.is_shared() && !self.is_static && self.foreign.is_none() && self.keeps_only(&[Why::Sized])
    }

    /// What owns an instance that others may swap can have the trait.
    pub(crate) fn handles_have_it(&self) -> bool {
        self.lends_nothing() && self.instances_have_it()
    }

    /// What owns an instance can have the trait.
    pub(crate) fn instances_have_it(&self) -> bool {
        self.foreign.is_none() && self.keeps_only(&[Why::Sized, Why::Boxed])
    }

    /// What keeps an implementor of a slot, which nobody has alone, can have the trait.
    pub(crate) fn leases_have_it(&self) -> bool {
        self.is_shared() && self.foreign.is_none() && self.keeps_only(&[Why::Sized])
    }

    /// A trait of another crate: what has the lock of a slot can have it, by its local type.
    pub(crate) fn foreign_has_it_alone(&self) -> bool {
        self.foreign.is_some() && self.is_exclusive && self.keeps_only(&[Why::Sized])
    }

    /// As above, what owns an instance that others may swap.
    pub(crate) fn foreign_handles_have_it(&self) -> bool {
        self.foreign.is_some() && self.lends_nothing() && self.keeps_only(&[Why::Sized])
    }

    /// A chain can have the trait; `wanted`: it has rules for it.
    pub(crate) fn chains_have_it(&self, wanted: bool) -> bool {
        self.keeps_only(&[Why::Sized])
            && (wanted || self.supertraits.iter().all(|bound| is_named(bound, &["Debug"])))
    }

    /// What the trait asks of `target`, where that may not have it.
    pub(crate) fn asked_of(&self, rt: &Ident, target: &TokenStream) -> TokenStream {
        let supertraits = self.supertraits.iter().filter(|bound| !is_named(bound, &["Debug"]));
        let each = supertraits.map(|bound| {
            let mut bound = bound.clone();
            // One binder: `for<'a> Super<'a>` has no other around it.
            let binder = match &mut bound {
                TypeParamBound::Trait(bound) => bound.lifetimes.take(),
                _ => None,
            };
            let lifetimes = binder.iter().flat_map(|binder| &binder.lifetimes);
            quote!(for<'__same #(, #lifetimes)*> <#target as #rt::Same<'__same>>::It: #bound,)
        });
        quote!(#(#each)*)
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
        let path = foreign.path.to_token_stream();
        let mut bound = foreign.path.clone();
        if let Some(last) = bound.segments.last_mut()
            && !self.associated.is_empty()
        {
            let written = match &last.arguments {
                syn::PathArguments::AngleBracketed(arguments) => arguments.args.iter().cloned().collect(),
                _ => Vec::new(),
            };
            let named = self.associated.iter().map(|name| {
                let parameter = associated_parameter(name);
                quote!(#name = #parameter)
            });
            last.arguments =
                syn::PathArguments::AngleBracketed(syn::parse_quote!(<#(#written,)* #(#named),*>));
        }
        let markers = &foreign.markers;
        let bound = quote!(#bound #(+ #markers)*);
        Ok(Self { bound, path, foreign: Some(foreign), ..self })
    }
}

/// Associated types.
struct Associations {
    names: Vec<Ident>,
    own: usize,
    /// The trait has one that no type but an implementor can give.
    is_closed: bool,
}

impl Associations {
    fn of(item: &ItemTrait, types: &[Ident]) -> syn::Result<Self> {
        let (mut names, mut kept) = (Vec::new(), Vec::new());
        for item in &item.items {
            if let TraitItem::Type(ty) = item {
                // Those that no trait object has are not looked at, and left to the implementors.
                let sized = ty.generics.where_clause.as_ref().is_some_and(method::asks_for_sized);
                if !sized && !ty.generics.params.is_empty() {
                    return Err(syn::Error::new_spanned(
                        &ty.generics,
                        "no trait object has a generic associated type: give it `where Self: Sized`, then it is kept and \
                         not dispatched",
                    ));
                }
                if sized {
                    kept.push(ty.ident.clone());
                } else {
                    names.push(ty.ident.clone());
                }
            }
        }
        let own = names.len();
        // `Self::Error`, of a supertrait.
        let mut named = Projections(types.to_vec());
        for item in &item.items {
            if let TraitItem::Fn(function) = item
                && !method::wants_sized(&function.sig)
            {
                syn::visit::Visit::visit_signature(&mut named, &function.sig);
            }
        }
        for name in named.0 {
            if !names.contains(&name) && !kept.contains(&name) {
                names.push(name);
            }
        }
        Ok(Self { names, own, is_closed: !kept.is_empty() })
    }
}

struct Projections(Vec<Ident>);

impl<'ast> syn::visit::Visit<'ast> for Projections {
    fn visit_type_path(&mut self, node: &'ast syn::TypePath) {
        let segments = &node.path.segments;
        if node.qself.is_none() && segments.len() == 2 && segments[0].ident == "Self" {
            self.0.push(segments[1].ident.clone());
        }
        syn::visit::visit_type_path(self, node);
    }
}

/// Supertraits that demand nothing of what holds an implementor, beyond what it has.
const EVERYWHERE: [&str; 4] = ["Send", "Sync", "Any", "Sized"];
/// Supertraits that everything has which holds an implementor.
const KNOWN: [&str; 7] = ["Debug", "Display", "Error", "Unpin", "UnwindSafe", "RefUnwindSafe", "Freeze"];
/// Supertraits without methods, if they are what their names say.
pub(super) const MARKERS: [&str; 5] = ["Send", "Sync", "Unpin", "UnwindSafe", "RefUnwindSafe"];
/// Supertraits with methods that take `&mut self`.
const EXCLUSIVE: [&str; 15] = [
    "FnMut",
    "Iterator",
    "DoubleEndedIterator",
    "ExactSizeIterator",
    "FusedIterator",
    "Read",
    "BufRead",
    "Write",
    "Seek",
    "Hasher",
    "RngCore",
    "Rng",
    "TryRng",
    "Buf",
    "BufMut",
];

pub(super) fn is_named(bound: &TypeParamBound, names: &[&str]) -> bool {
    matches!(bound, TypeParamBound::Trait(bound)
        if bound.path.segments.last().is_some_and(|last| names.iter().any(|name| last.ident == name)))
}

fn is_lifetime(bound: &TypeParamBound) -> bool {
    !matches!(bound, TypeParamBound::Trait(_))
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
fn demands(asked: &[TypeParamBound], marker: &str) -> bool {
    asked.iter().any(|bound| is_named(bound, &[marker]))
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

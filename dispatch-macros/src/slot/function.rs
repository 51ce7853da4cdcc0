//! Function slots: `fn(A) -> R`, and `Option<fn(A) -> R>`, which may be empty.
//!
//! A hidden trait with one method is written, which every function and closure of the type implements, and
//! dispatched as any other.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, GenericArgument, Lifetime, PathArguments, ReturnType, Type, TypeFnPtr};

use super::Slot;
use crate::dispatch;

/// The type of a function slot.
pub(super) struct Function {
    pointer: TypeFnPtr,
    may_be_empty: bool,
}

/// What a slot of type `ty` calls, if that is a function.
pub(super) fn of(ty: &Type) -> syn::Result<Option<Function>> {
    let (pointer, may_be_empty) = match ty {
        Type::Paren(inner) => return of(&inner.elem),
        Type::Group(inner) => return of(&inner.elem),
        Type::FnPtr(pointer) => (pointer.clone(), false),
        Type::Path(path) => match in_option(path) {
            Some(pointer) => (pointer.clone(), true),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    if let Some(token) = &pointer.unsafety {
        return Err(syn::Error::new_spanned(
            token,
            "calling a function slot is safe, so what it holds must be safe to call: write `fn(..)`, and wrap the \
             unsafe function in a safe one, or make it an `unsafe fn` of a #[dispatch] trait",
        ));
    }
    if let Some(abi) = &pointer.abi {
        return Err(syn::Error::new_spanned(
            abi,
            "a function slot has a calling convention of its own: write `fn(..)`, and a closure around the function, \
             `|x| f(x)`",
        ));
    }
    if let Some(variadic) = &pointer.variadic {
        return Err(syn::Error::new_spanned(
            variadic,
            "a variadic function cannot be dispatched: pass a slice",
        ));
    }
    Ok(Some(Function { pointer, may_be_empty }))
}

fn in_option(path: &syn::TypePath) -> Option<&TypeFnPtr> {
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(Type::FnPtr(pointer)) if last.ident == "Option" => Some(pointer),
        _ => None,
    }
}

/// The function as a method: every lifetime that it leaves out has a name.
struct Signature {
    lifetimes: Vec<TokenStream>,
    names: Vec<Ident>,
    types: Vec<Type>,
    result: Type,
}

impl Signature {
    fn of(pointer: &TypeFnPtr) -> syn::Result<Self> {
        let mut named = NameElided::default();
        let mut lifetimes: Vec<_> = pointer
            .lifetimes
            .iter()
            .flat_map(|bound| &bound.lifetimes)
            .map(ToTokens::to_token_stream)
            .collect();
        let mut types: Vec<Type> = pointer.inputs.iter().map(|argument| argument.ty.clone()).collect();
        types.iter_mut().for_each(|ty| named.visit_type_mut(ty));
        lifetimes.extend(named.fresh.iter().map(ToTokens::to_token_stream));
        let mut result = match &pointer.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let mut in_result = NameElided { of_result: Some(named.all), ..NameElided::default() };
        in_result.visit_type_mut(&mut result);
        if in_result.ambiguous {
            return Err(syn::Error::new_spanned(
                &pointer.output,
                "it is not clear which argument the result borrows from: name the lifetime, as in \
                 `for<'a> fn(&'a A, &B) -> &'a R`",
            ));
        }
        let names =
            (0..types.len()).map(|number| format_ident!("__a{number}", span = Span::mixed_site())).collect();
        Ok(Self { lifetimes, names, types, result })
    }
}

/// Gives a name to each lifetime left out: a fresh one in arguments, that of the arguments in a result.
#[derive(Default)]
struct NameElided {
    fresh: Vec<Lifetime>,
    /// Every lifetime met.
    all: Vec<Lifetime>,
    of_result: Option<Vec<Lifetime>>,
    ambiguous: bool,
}

impl NameElided {
    fn name(&mut self) -> Lifetime {
        let lifetime = match &self.of_result {
            Some(of_arguments) => {
                self.ambiguous |= of_arguments.len() != 1;
                of_arguments.first().cloned()
            }
            None => None,
        };
        lifetime.unwrap_or_else(|| {
            let lifetime = Lifetime::new(&format!("'__l{}", self.fresh.len()), Span::mixed_site());
            self.fresh.push(lifetime.clone());
            self.all.push(lifetime.clone());
            lifetime
        })
    }
}

impl VisitMut for NameElided {
    fn visit_type_reference_mut(&mut self, node: &mut syn::TypeReference) {
        if node.lifetime.is_none() {
            node.lifetime = Some(self.name());
            self.visit_type_mut(&mut node.elem);
        } else {
            visit_mut::visit_type_reference_mut(self, node);
        }
    }

    fn visit_lifetime_mut(&mut self, node: &mut Lifetime) {
        if node.ident == "_" {
            *node = self.name();
        } else if node.ident != "static" && !self.all.contains(node) {
            self.all.push(node.clone());
        }
    }

    // These have scopes of their own.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut syn::ParenthesizedGenericArguments) {}
}

impl Slot<'_> {
    /// A slot of a function type.
    pub(super) fn of_function(&self, function: &Function) -> syn::Result<TokenStream> {
        let Self { item, rt, definition, .. } = self;
        let Function { pointer, may_be_empty } = function;
        let Signature { lifetimes, names, types, result } = Signature::of(pointer)?;
        let ident = &item.ident;
        let interface = format_ident!("FunctionOf{ident}");
        let empty = quote!(&<#definition as #rt::MaybeEmpty>::EMPTY);
        let default = quote!(#definition::__default());
        // That of a default: a closure is told what it takes, and a function of another type is refused, here and nowhere else.
        let mut function = None;
        let default = match (may_be_empty, &*item.expr) {
            (false, expression) => {
                function = Some(expression.to_token_stream());
                default
            }
            (true, Expr::Path(path))
                if path.path.segments.last().is_some_and(|last| last.ident == "None") =>
            {
                empty
            }
            (true, Expr::Call(call)) if call.args.len() == 1 && is_some(&call.func) => {
                function = Some(call.args.first().to_token_stream());
                default
            }
            (true, other) => {
                return Err(syn::Error::new_spanned(
                    other,
                    "the default of a function slot that may be empty is `None`, or `Some(function)`",
                ));
            }
        };
        let slot_type = quote!(#rt::Slot<#definition>);
        let declared = self.declared(&slot_type, &default);
        let object = quote!(dyn #interface);
        let table = quote_spanned!(item.expr.span()=> #rt::table_of::<#object, _>(#default));
        let defined = self.defined(
            &object,
            &table,
            &quote!({
                let __default = #default;
                #rt::core::ptr::from_ref(__default).cast_mut()
            }),
            // A function slot is shared: its default comes back as it is.
            &quote!(#rt::core::unreachable!()),
        );

        let method = syn::parse_quote! {
            pub trait #interface {
                fn call<#(#lifetimes),*>(&self, #(#names: #types),*) -> #result;
            }
        };
        let dispatched = dispatch::beside_function(&method)?;
        let TypeFnPtr { lifetimes: bound, inputs, output, .. } = pointer;
        let unnamed = inputs.iter().map(|argument| &argument.ty);
        let callable = quote_spanned!(pointer.span()=> #bound #rt::core::ops::Fn(#(#unnamed),*) #output);
        let with_empty = may_be_empty.then(|| {
            let returned =
                quote_spanned!(result.span()=> <#result as #rt::core::default::Default>::default());
            quote! {
                pub struct __Empty;
                impl #interface for __Empty {
                    #[inline(always)]
                    #[allow(unused_variables)]
                    fn call<#(#lifetimes),*>(&self, #(#names: #types),*) -> #result {
                        #returned
                    }
                }
                // SAFETY: `#[slot]` is who may implement it.
                unsafe impl #rt::MaybeEmpty for #definition {
                    type Empty = __Empty;
                    const EMPTY: __Empty = __Empty;
                }
            }
        });
        let of_default = function.map(|function| {
            let body = quote_spanned!(item.expr.span()=> &(#function));
            let opaque = quote_spanned!(pointer.span()=> &'static (impl #callable + 'static));
            quote! {
                impl #definition {
                    #[inline(always)]
                    const fn __default() -> #opaque {
                        #body
                    }
                }
            }
        });
        Ok(quote! {
            #declared
            #[doc(hidden)]
            #[allow(
                non_camel_case_types,
                private_interfaces,
                private_bounds,
                clippy::all,
                clippy::pedantic,
                clippy::undocumented_unsafe_blocks
            )]
            const _: () = {
                #method
                #dispatched
                impl<__Callable: #callable> #interface for __Callable {
                    #[inline(always)]
                    fn call<#(#lifetimes),*>(&self, #(#names: #types),*) -> #result {
                        self(#(#names),*)
                    }
                }
                #of_default
                #with_empty
                #defined
                #[inline(always)]
                fn __call<#(#lifetimes),*>(#(#names: #types),*) -> #result {
                    <#slot_type as #interface>::call(&#ident, #(#names),*)
                }
                // SAFETY: `__call` calls the static that is declared here, whose definition this is.
                unsafe impl #rt::Function for #definition {
                    type Pointer = #pointer;
                    const POINTER: &'static #pointer = &(__call as #pointer);
                }
            };
        })
    }
}

fn is_some(function: &Expr) -> bool {
    matches!(function, Expr::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Some"))
}

//! `#[chain(..)]`: how the results of a chain's elements combine, and the trait for chains of it.
//!
//! A trait has chains where each of its methods has a rule, or takes its default body. A rule is written on the
//! method, or known: a method that returns nothing calls every element. Where one method is marked, all must have
//! a rule; where none is, a trait that happens to have methods without one simply has no chains.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, ItemTrait, Pat, Token, TraitItem, Type};

use super::expand;
use super::method::{Method, Undispatched, primitive};
use super::passing::Way;
use super::rewrite::associated_parameter;
use super::trait_item::Trait;

/// What stands in `#[chain(..)]`.
enum Rule {
    All,
    /// Which argument, where it is named.
    Through(Option<Ident>),
    First,
    Own,
}

/// What is known of a method before it is analysed.
struct Marked {
    name: Ident,
    rule: Option<Rule>,
    has_default: bool,
    arguments: Vec<Option<Ident>>,
}

/// The rules of a trait's methods, in order.
pub(crate) struct Rules(Vec<Marked>);

impl Rules {
    /// Takes the marks off the trait.
    pub(crate) fn take(item: &mut ItemTrait) -> syn::Result<Self> {
        let mut marked = Vec::new();
        for item in &mut item.items {
            let TraitItem::Fn(function) = item else { continue };
            let mut rule = None;
            for attribute in &function.attrs {
                if !attribute.path().is_ident("chain") {
                    continue;
                }
                if rule.is_some() {
                    return Err(syn::Error::new_spanned(attribute, "a method of a chain has one rule"));
                }
                rule = Some(parse(attribute)?);
            }
            function.attrs.retain(|attribute| !attribute.path().is_ident("chain"));
            let arguments = function.sig.inputs.iter().filter_map(|input| match input {
                FnArg::Receiver(_) => None,
                FnArg::Typed(argument) => Some(match &*argument.pat {
                    Pat::Ident(pattern) => Some(pattern.ident.clone()),
                    _ => None,
                }),
            });
            marked.push(Marked {
                name: function.sig.ident.clone(),
                rule,
                has_default: function.default.is_some(),
                arguments: arguments.collect(),
            });
        }
        Ok(Self(marked))
    }
}

fn parse(attribute: &syn::Attribute) -> syn::Result<Rule> {
    attribute.parse_args_with(|input: syn::parse::ParseStream<'_>| {
        let word: Ident = input.parse()?;
        let rule = match word.to_string().as_str() {
            "all" => Rule::All,
            "first" => Rule::First,
            "own" => Rule::Own,
            "through" if input.peek(Token![=]) => {
                input.parse::<Token![=]>()?;
                Rule::Through(Some(input.parse()?))
            }
            "through" => Rule::Through(None),
            _ => {
                return Err(syn::Error::new(
                    word.span(),
                    "a rule is one of `all`, `through`, `through = argument`, `first`, `own`",
                ));
            }
        };
        Ok(rule)
    })
}

/// A rule that fits its method.
#[derive(Clone, Copy)]
enum Fitted {
    All,
    Through(usize),
    First,
    Own,
}

/// What chains of the trait need; nothing where it has none.
pub(crate) fn expansion(of: &Trait, rules: &Rules) -> syn::Result<TokenStream> {
    let explicit = rules.0.iter().any(|marked| marked.rule.is_some());
    let mut marked = rules.0.iter();
    let mut fitted = Vec::with_capacity(of.methods.len());
    for method in &of.methods {
        // Dispatched methods are in the trait's order.
        let Some(marked) = marked.by_ref().find(|marked| marked.name == method.name) else {
            return Ok(TokenStream::new());
        };
        match fit(method, marked, explicit) {
            Ok(Some(one)) => fitted.push(one),
            Ok(None) => return Ok(TokenStream::new()),
            Err(error) => return Err(error),
        }
    }
    if fitted.iter().all(|one| matches!(one, Fitted::Own)) || !of.chains_have_it(explicit) {
        return Ok(TokenStream::new());
    }
    Ok(Context { of, rt: expand::runtime(), fitted }.expand())
}

/// The method's rule. `None` where it has none, and nobody asked for one.
fn fit(method: &Method, marked: &Marked, explicit: bool) -> syn::Result<Option<Fitted>> {
    let refuse = |message: &str| Err(syn::Error::new_spanned(&marked.name, message));
    let returns_nothing = matches!(&method.result, Type::Tuple(tuple) if tuple.elems.is_empty());
    let fitted = match &marked.rule {
        Some(Rule::Own) if marked.has_default => Fitted::Own,
        Some(Rule::Own) => return refuse("`#[chain(own)]` takes the default body, and this method has none"),
        Some(Rule::All) if returns_nothing => Fitted::All,
        Some(Rule::All) => {
            return refuse(
                "`#[chain(all)]` has nowhere to put the results: use `through` or `first`, or return nothing",
            );
        }
        Some(Rule::First) => Fitted::First,
        Some(Rule::Through(named)) => Fitted::Through(through(method, marked, named.as_ref())?),
        None if returns_nothing && (explicit || method.argument_types.iter().all(plainly_copied)) => {
            Fitted::All
        }
        None if marked.has_default => Fitted::Own,
        None if explicit => {
            return refuse(
                "how do the results of a chain's elements combine here? say `#[chain(through)]`, `#[chain(first)]` or \
                 give the method a default body",
            );
        }
        None => return Ok(None),
    };
    if method.borrows && !matches!(fitted, Fitted::Own) {
        if explicit {
            return refuse(
                "a chain's element may be gone when the call returns, so neither the result nor an argument can borrow \
                 from `self`: use owned values, or give the method a default body and the rule `#[chain(own)]`",
            );
        }
        return Ok(None);
    }
    Ok(Some(fitted))
}

/// Which argument the value goes through.
fn through(method: &Method, marked: &Marked, named: Option<&Ident>) -> syn::Result<usize> {
    let refuse = |token: &dyn ToTokens, message: String| Err(syn::Error::new_spanned(token, message));
    if let Some(named) = named {
        let found = marked.arguments.iter().position(|argument| argument.as_ref() == Some(named));
        return match found {
            Some(index) => Ok(index),
            None => refuse(named, format!("the method has no argument `{named}`")),
        };
    }
    let result = method.result.to_token_stream().to_string();
    let same =
        method.argument_types.iter().enumerate().filter(|(_, ty)| ty.to_token_stream().to_string() == result);
    let same: Vec<_> = same.map(|(index, _)| index).collect();
    match same[..] {
        [index] => Ok(index),
        [] => refuse(
            &marked.name,
            "no argument has the type of the result, so no value can go through".to_owned(),
        ),
        _ => refuse(
            &marked.name,
            "several arguments have the type of the result: name the one that the value goes through, \
             `#[chain(through = argument)]`"
                .to_owned(),
        ),
    }
}

/// Whether the type as written can be passed to many.
fn plainly_copied(ty: &Type) -> bool {
    matches!(ty, Type::Reference(_) | Type::Ptr(_)) || primitive(ty)
}

/// The kind of register, as far as the type as written tells.
fn class(ty: &Type) -> Ident {
    let name = match ty {
        Type::Reference(_) | Type::Ptr(_) | Type::FnPtr(_) => "Unsigned",
        Type::Paren(inner) => return class(&inner.elem),
        Type::Group(inner) => return class(&inner.elem),
        Type::Path(path) if primitive(ty) => {
            match path.path.get_ident().map(ToString::to_string).as_deref() {
                Some("f32" | "f64") => "Float",
                Some(signed) if signed.starts_with('i') => "Signed",
                _ => "Unsigned",
            }
        }
        _ => "Other",
    };
    format_ident!("{name}")
}

struct Context<'a> {
    of: &'a Trait,
    rt: Ident,
    fitted: Vec<Fitted>,
}

fn name(what: &str, number: usize) -> Ident {
    format_ident!("__{what}_{number}", span = Span::mixed_site())
}

impl Context<'_> {
    fn expand(&self) -> TokenStream {
        let rt = &self.rt;
        let Trait { parameters, predicates, methods, .. } = self.of;
        let interface = self.of.interface();
        let each = || methods.iter().zip(&self.fitted).enumerate();
        let functions = each().map(|(number, (method, fitted))| self.functions(number, method, *fitted));
        let rules = each().map(|(number, (method, fitted))| self.rule(number, method, *fitted));
        let empty = each().map(|(number, (method, fitted))| {
            let (cfgs, code) = (&method.cfgs, self.codes(number, *fitted).0);
            quote!(#(#cfgs)* #rt::chain::entry_point(#code))
        });
        let count = self.of.index(methods.len());
        let on_chain = self.implementation(&quote!(#rt::chain::Chain<#interface>), true);
        let on_bound = (!self.of.is_static && self.of.is_shared() && !self.of.is_send_only)
            .then(|| self.implementation(&quote!(#rt::chain::BoundChain<'guard_, #interface>), false));
        quote! {
            #(#functions)*

            // SAFETY: rule `i` is that of method `i`; its code has the method's signature.
            unsafe impl<#(#parameters),*> #rt::chain::Chainable for #interface
            where
                #(#predicates,)*
            {
                type Entries = [#rt::chain::EntryPoint; #count];
                const RULES: &'static [#rt::chain::MethodRule] = &[#(#rules),*];
                const EMPTY: Self::Entries = [#(#empty),*];
            }

            #on_chain
            #on_bound
        }
    }

    /// The code of the empty chain, and that of the loop.
    fn codes(&self, number: usize, fitted: Fitted) -> (TokenStream, TokenStream) {
        let (rt, generics) = (&self.rt, &self.of.arguments);
        if matches!(fitted, Fitted::Own) {
            let none = quote!(#rt::Code::new(#rt::core::ptr::null()));
            return (none.clone(), none);
        }
        let code = |what| {
            let function = name(what, number);
            quote!(#rt::Code::new(#function::<#(#generics),*> as *const ()))
        };
        (code("chain_empty"), code("chain_loop"))
    }

    fn rule(&self, number: usize, method: &Method, fitted: Fitted) -> TokenStream {
        let rt = &self.rt;
        let Method { cfgs, result, in_register, static_types, argument_types, .. } = method;
        let combine = match fitted {
            Fitted::All => quote!(All),
            Fitted::Through(index) => quote!(Through(#index)),
            Fitted::First if *in_register => quote!(First(#rt::core::option::Option::None)),
            Fitted::First => {
                let static_result = static_types.last();
                quote!(First(#rt::core::option::Option::Some(
                    #rt::Code::new(#rt::chain::step::<#static_result> as *const ())
                )))
            }
            Fitted::Own => quote!(Own),
        };
        let word = |class: &Ident, size: TokenStream| quote!(#rt::chain::Word { class: #rt::chain::Class::#class, size: #size });
        let through = match fitted {
            Fitted::Through(index) => Some(index),
            _ => None,
        };
        let (unsigned, other) = (format_ident!("Unsigned"), format_ident!("Other"));
        let each = argument_types.iter().zip(static_types).zip(&method.passing.ways).enumerate();
        let mut arguments: Vec<_> = each
            .filter_map(|(index, ((ty, static_type), way))| {
                // The value that goes through is known by what it is, and others by how they travel.
                let goes_through = through == Some(index);
                Some(match way {
                    Way::Rest if goes_through => word(&other, quote!(0)),
                    Way::Rest => return None,
                    Way::Float => {
                        word(&format_ident!("Float"), quote!(#rt::core::mem::size_of::<#static_type>()))
                    }
                    Way::Pair => word(&unsigned, quote!(16)),
                    Way::Word if goes_through => {
                        word(&class(ty), quote!(#rt::core::mem::size_of::<#static_type>()))
                    }
                    Way::Word => word(&unsigned, quote!(8)),
                })
            })
            .collect();
        if method.passing.ways.last() == Some(&Way::Rest) {
            arguments.push(word(&unsigned, quote!(8)));
        }
        let result = static_types
            .last()
            .map(|static_type| word(&class(result), quote!(#rt::core::mem::size_of::<#static_type>())));
        let out = !in_register;
        let (empty, looped) = self.codes(number, fitted);
        quote! {
            #(#cfgs)*
            #rt::chain::MethodRule {
                combine: #rt::chain::Combine::#combine,
                arguments: &[#(#arguments),*],
                result: #result,
                out: #out,
                empty: #empty,
                looped: #looped,
            }
        }
    }

    fn functions(&self, number: usize, method: &Method, fitted: Fitted) -> TokenStream {
        if matches!(fitted, Fitted::Own) {
            return TokenStream::new();
        }
        let rt = &self.rt;
        let Trait { parameters, arguments: generics, predicates, .. } = self.of;
        let Method { cfgs, lifetimes, arguments, argument_types, result, .. } = method;
        let (empty, looped) = (name("chain_empty", number), name("chain_loop", number));
        let (index, through_table) = (self.of.index(number), name("through_table", number));
        let (out_type, erased_result) = method.out_and_result(rt);
        let out_type: Vec<_> = out_type.into_iter().collect();
        let returned = |value: TokenStream| {
            if method.in_register {
                return value;
            }
            quote! {
                // SAFETY: the caller of a chain's code passes a place for the result, which nobody else knows.
                unsafe { (*__out).write(#value); }
            }
        };
        let again: Vec<_> = arguments
            .iter()
            .zip(argument_types)
            .enumerate()
            .map(|(number, (argument, ty))| match (fitted, ty) {
                (Fitted::Through(index), _) if index == number => quote!(__value),
                (_, Type::Reference(reference)) if reference.mutability.is_some() => quote!(&mut *#argument),
                _ => quote_spanned!(ty.span()=> #rt::chain::again(&#argument)),
            })
            .collect();
        let call = quote! {{
            // SAFETY: the link's code is that of this method for its instance, which lives as long as the section
            // that the caller is in.
            unsafe { #through_table::<#(#generics),*>((__link.this(), __link.method(#index)) #(, #again)*) }
        }};
        let (nothing, over_links) = match fitted {
            Fitted::All | Fitted::Own => (quote!(()), quote!({ for __link in __links { #call; } })),
            Fitted::Through(index) => {
                let argument = &arguments[index];
                let body = quote!({
                    let mut __value = #argument;
                    for __link in __links {
                        __value = #call;
                    }
                    __value
                });
                (quote!(#argument), body)
            }
            Fitted::First => {
                let first = quote_spanned!(result.span()=> <#result as #rt::chain::First>);
                let body = quote!('__search: {
                    let mut __result = #first::empty();
                    for __link in __links {
                        __result = #call;
                        if #first::stops(&__result) {
                            break '__search __result;
                        }
                    }
                    __result
                });
                (quote!(#first::empty()), body)
            }
        };
        let (nothing, over_links) = (returned(nothing), returned(over_links));
        let parameters_passed = method.passing.parameters(rt, argument_types);
        let passed = parameters_passed.iter().map(|(name, ty)| quote!(#name: #ty));
        let passed: Vec<_> = passed.collect();
        let rest = method.passing.unpack_rest(rt, arguments);
        let unpacked = method.passing.unpack(rt, arguments);
        let signature = |name: &Ident, body: TokenStream| {
            quote! {
                // SAFETY: called with the chain's `__this`, and where there is one, a valid out pointer.
                #(#cfgs)*
                #[allow(unused_variables, unused_unsafe, unused_braces, unused_mut)]
                unsafe extern "C-unwind" fn #name<#(#lifetimes,)* #(#parameters),*>(
                    __this: *const (),
                    #(__out: #out_type,)*
                    #(#passed),*
                ) -> #erased_result
                where
                    #(#predicates,)*
                {
                    #rest
                    // SAFETY: the words were packed from arguments of this method; that which goes through is unpacked once, and the
                    // others are copied.
                    #(let #arguments: #argument_types = unsafe { #unpacked };)*
                    #body
                }
            }
        };
        let empty = signature(&empty, nothing);
        let looped = signature(
            &looped,
            quote! {
                // SAFETY: a loop is only ever called through its chain, whose `__this` this is, inside a section or under a
                // guard of this thread.
                let __links = unsafe { #rt::chain::links(__this) };
                #over_links
            },
        );
        quote! {
            #empty
            #looped
        }
    }

    fn implementation(&self, target: &TokenStream, sections: bool) -> TokenStream {
        let rt = &self.rt;
        let Trait { parameters, arguments: generics, predicates, path, methods, .. } = self.of;
        let Trait { undispatched, associated, own_associated, lifetimes, is_unsafe, .. } = self.of;
        let asked = self.of.asked_of(rt, target);
        let guard = (!sections).then(|| quote!('guard_,));
        let interface = self.of.interface();
        let is_unsafe = is_unsafe.then(|| quote!(unsafe));
        let associated = associated[..*own_associated].iter().map(|name| {
            let parameter = associated_parameter(name);
            quote!(type #name = #parameter;)
        });
        let each = methods.iter().zip(&self.fitted).enumerate();
        let methods =
            each.filter(|(_, (_, fitted))| !matches!(fitted, Fitted::Own)).map(|(number, (method, _))| {
                let Method { cfgs, signature, arguments, .. } = method;
                let (index, through_table) = (self.of.index(number), name("through_table", number));
                let call = quote! {{
                    // SAFETY: the entry point is code of this method for this chain; the section around this, or the
                    // guard that a bound chain borrows, keeps what it runs.
                    unsafe { #through_table::<#(#generics),*>((self.__this(), self.__entry(#index)) #(, #arguments)*) }
                }};
                let body = if sections {
                    let checked = expand::Context::new(self.of, &self.rt).lends_nothing(method);
                    quote! {
                        #checked
                        let __section = #rt::chain::Chain::<#interface>::__enter();
                        #call
                    }
                } else {
                    call
                };
                quote!(#(#cfgs)* #[inline] #signature { #body })
            });
        let undispatched = undispatched.iter().filter(|method| !method.has_default).map(|method| {
            let Undispatched { cfgs, signature, .. } = method;
            let message = format!(
                "`{}` is declared `where Self: Sized`: it is not dispatched, and a chain does not have it",
                signature.ident
            );
            quote!(#(#cfgs)* #[allow(unused_variables)] #signature { #rt::core::panic!(#message) })
        });
        quote! {
            #[diagnostic::do_not_recommend]
            // SAFETY: where the trait is unsafe to implement, every element implements it, and a chain's methods run nothing
            // but theirs.
            #is_unsafe impl<#guard #(#lifetimes,)* #(#parameters),*> #path for #target
            where
                #(#predicates,)*
                #asked
            {
                #(#associated)*
                #(#methods)*
                #(#undispatched)*
            }
        }
    }
}

//! `export!`: a plugin's record and its entry.
//!
//! ```text
//! export!(dyn Effect, Reverb::from_config)
//!
//!   HEADER   [u8; N]  in section `hotcall_plugin`, exported as `hotcall_header_<hash>`
//!   entry    extern "C-unwind" fn(&Request) -> Outcome, exported as `hotcall_export_<hash>`
//! ```
//!
//! Both are exported, because a symbol that is exported is what keeps `--gc-sections` from dropping them; the
//! hash is over package, version, interface and name, so that two exports of one name collide when they are
//! compiled and not when they are looked for.
//!
//! Spans matter twice. What can be wrong with the user's constructor carries its span, so that the compiler
//! points there. What says `unsafe` carries the expansion's, which `forbid(unsafe_code)` leaves alone.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, Expr, Lit, LitStr, Path, Result, Token, Type};

use crate::hash::Hash;
use crate::paths::crate_path;

/// One constructor behind an interface; and the functions that save and restore the state of what it makes.
struct Export {
    interface: Type,
    name: LitStr,
    constructor: Expr,
    handing: Option<(Expr, Expr)>,
}

/// `dyn Effect, "reverb", Reverb::new, "plate", Plate::new; dyn Codec, Opus::new`.
struct Exports(Vec<Export>);

impl Parse for Exports {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut exports = Vec::new();
        while !input.is_empty() {
            if input.peek(Lit) {
                return Err(input.error(accepted("an interface comes first")));
            }
            let interface: Type = input.parse().map_err(|error| {
                Error::new(error.span(), accepted(&format!("an interface comes first ({error})")))
            })?;
            let mut any = false;
            while input.parse::<Option<Token![,]>>()?.is_some() {
                if input.is_empty() || input.peek(Token![;]) {
                    break;
                }
                exports.push(constructor(input, &interface)?);
                any = true;
            }
            if !any {
                return Err(Error::new_spanned(&interface, accepted("which constructor?")));
            }
            if !input.is_empty() {
                input.parse::<Token![;]>().map_err(|error| {
                    Error::new(
                        error.span(),
                        accepted(
                            "a constructor is followed by `,` and another, or by `;` and another interface",
                        ),
                    )
                })?;
            }
        }
        if exports.is_empty() {
            return Err(input.error(accepted("nothing is exported")));
        }
        Ok(Self(exports))
    }
}

/// What is wrong, and what would be right.
fn accepted(what: &str) -> String {
    format!(
        "{what}: write `export!(dyn Trait, Type::constructor)` or `export!(dyn Trait, \"name\", constructor)`, where the \
         constructor takes a `&str` and returns the implementor, or a `Result` of it; several follow each other, and another \
         interface follows `;`"
    )
}

fn constructor(input: ParseStream<'_>, interface: &Type) -> Result<Export> {
    // Not a part of an expression: `"name".len()` would be no constructor either.
    let name = if input.peek(Lit) {
        match input.parse()? {
            Lit::Str(name) => Some(name),
            other => return Err(Error::new_spanned(other, accepted("an export's name is a text"))),
        }
    } else {
        None
    };
    if let Some(name) = &name
        && (input.parse::<Option<Token![,]>>()?.is_none() || input.is_empty() || input.peek(Token![;]))
    {
        return Err(Error::new_spanned(name, accepted("which constructor has this name?")));
    }
    let constructor: Expr = input.parse().map_err(|error| {
        Error::new(error.span(), accepted(&format!("a constructor is an expression ({error})")))
    })?;
    let name = match name {
        Some(name) => name,
        None => default_name(&constructor)?,
    };
    if name.value().is_empty() || name.value().contains(char::is_control) {
        return Err(Error::new_spanned(name, "an export's name is one line of text"));
    }
    let handing = handing(input)?;
    Ok(Export { interface: interface.clone(), name, constructor, handing })
}

/// `, save = Reverb::save, restore = Reverb::restore`.
fn handing(input: ParseStream<'_>) -> Result<Option<(Expr, Expr)>> {
    let (mut save, mut restore) = (None, None);
    while input.peek(Token![,]) && input.peek3(Token![=]) && !input.peek3(Token![==]) {
        let ahead = input.fork();
        ahead.parse::<Token![,]>()?;
        let Ok(name) = ahead.parse::<Ident>() else { break };
        let place = match name.to_string().as_str() {
            "save" => &mut save,
            "restore" => &mut restore,
            other => {
                let message = format!(
                    "an export has no `{other}`: after its constructor there may be `save = Type::save, restore = Type::restore`"
                );
                return Err(Error::new_spanned(name, message));
            }
        };
        if place.is_some() {
            let message = format!("`{name}` is given twice");
            return Err(Error::new_spanned(name, message));
        }
        input.parse::<Token![,]>()?;
        input.parse::<Ident>()?;
        input.parse::<Token![=]>()?;
        *place = Some(input.parse::<Expr>()?);
    }
    match (save, restore) {
        (Some(save), Some(restore)) => Ok(Some((save, restore))),
        (None, None) => Ok(None),
        (Some(one), None) | (None, Some(one)) => Err(Error::new_spanned(
            one,
            "state is handed over by a pair: write `save = Type::save, restore = Type::restore`, where `save` takes `&self` and \
             returns a `Vec<u8>`, and `restore` takes `&self` and a `&[u8]`; each may return a `Result`",
        )),
    }
}

/// The type's name: the last segment before the function's. A function that belongs to a module gives its own.
fn default_name(constructor: &Expr) -> Result<LitStr> {
    let unnamed = || {
        Error::new_spanned(
            constructor,
            "this constructor has no type to take a name from: write `export!(dyn Trait, \"name\", ..)`, with the name before it",
        )
    };
    let Expr::Path(path) = constructor else { return Err(unnamed()) };
    let of_type = |path: &Path| path.segments.last().map(|segment| segment.ident.clone());
    let name = match &path.qself {
        Some(qself) => match &*qself.ty {
            Type::Path(ty) => of_type(&ty.path),
            _ => None,
        },
        None => {
            let segments: Vec<_> = path.path.segments.iter().map(|segment| &segment.ident).collect();
            match segments.as_slice() {
                [.., parent, function] => {
                    let is_type = parent.to_string().starts_with(char::is_uppercase);
                    Some(if is_type { (*parent).clone() } else { (*function).clone() })
                }
                [function] => Some((*function).clone()),
                [] => None,
            }
        }
    };
    let name = name.ok_or_else(unnamed)?;
    let text = name.to_string();
    Ok(LitStr::new(text.strip_prefix("r#").unwrap_or(&text), name.span()))
}

/// What `export!` expands to.
pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let Exports(exports) = syn::parse2(input)?;
    let hotcall = crate_path();
    Ok(exports.iter().map(|export| expand_one(export, &hotcall)).collect())
}

fn expand_one(export: &Export, hotcall: &TokenStream) -> TokenStream {
    let Export { interface, name, constructor, handing } = export;
    let hash = Hash::of(&[
        &std::env::var("CARGO_PKG_NAME").unwrap_or_default(),
        &std::env::var("CARGO_PKG_VERSION").unwrap_or_default(),
        &quote!(#interface).to_string(),
        &name.value(),
    ]);
    let here = Span::mixed_site();
    let header = LitStr::new(&format!("hotcall_header_{hash:016x}"), here);
    let entry = LitStr::new(&format!("hotcall_export_{hash:016x}"), here);
    let description = quote_spanned!(interface.span()=> <#interface as #hotcall::__private::plugin::Interface>::DESCRIPTION);
    // The bounds of `construct` are checked where it is named.
    let construct = quote_spanned!(constructor.span()=> #hotcall::__private::plugin::construct::<#interface, _, _, METHODS>);
    // A variable with the expansion's span: the user's expression cannot see it.
    let config = Ident::new("config", here);
    let made = quote_spanned!(constructor.span()=>
        #hotcall::__private::plugin::Made(#hotcall::__private::plugin::call(#constructor, #config)).settle()
    );
    let hands_over = handing.is_some();
    let body = match handing {
        None => quote_spanned!(here=> #construct(request, &EXPORTED, |#config: &str| #made)),
        Some((save, restore)) => handing_body(interface, save, restore, &config, &made, hotcall),
    };
    quote_spanned! {here=>
        const _: () = {
            const RECORD: #hotcall::__private::plugin::Record =
                #hotcall::__private::plugin::Record::new(&#description, #name, #entry, PANIC)
                    .of_package(
                        #hotcall::__private::core::env!("CARGO_PKG_NAME"),
                        #hotcall::__private::core::env!("CARGO_PKG_VERSION"),
                    )
                    .hands_over(#hands_over);
            const PANIC: &str = if #hotcall::__private::core::cfg!(panic = "abort") { "abort" } else { "unwind" };
            const METHODS: usize = #description.methods.len();
            static EXPORTED: #hotcall::__private::plugin::Exported<METHODS> =
                #hotcall::__private::plugin::Exported::new();

            #[used]
            #[cfg_attr(target_os = "linux", unsafe(link_section = "hotcall_plugin"))]
            #[unsafe(export_name = #header)]
            static HEADER: [u8; RECORD.length()] = RECORD.encode();

            #[unsafe(export_name = #entry)]
            extern "C-unwind" fn entry(
                request: &#hotcall::__private::plugin::Request<'_>,
            ) -> #hotcall::__private::plugin::Outcome {
                #[allow(unused_imports)]
                use #hotcall::__private::plugin::Plain as _;
                #body
            }
        };
    }
}

/// The entry's body, for an export that hands its state over.
fn handing_body(
    interface: &Type,
    save: &Expr,
    restore: &Expr,
    config: &Ident,
    made: &TokenStream,
    hotcall: &TokenStream,
) -> TokenStream {
    let here = Span::mixed_site();
    let (this, state) = (Ident::new("this", here), Ident::new("state", here));
    let saved = quote_spanned!(save.span()=>
        #hotcall::__private::plugin::Made(#hotcall::__private::plugin::call_save(#save, #this)).settle()
    );
    let restored = quote_spanned!(restore.span()=>
        #hotcall::__private::plugin::Made(#hotcall::__private::plugin::call_restore(#restore, #this, #state)).settle()
    );
    quote_spanned! {here=>
        #hotcall::__private::plugin::construct_handing::<#interface, _, _, METHODS>(
            request,
            &EXPORTED,
            |#config: &str| #made,
            |#this| #saved.map_err(|error| #hotcall::__private::std::string::ToString::to_string(&error)),
            |#this, #state: &[u8]| {
                #restored.map_err(|error| #hotcall::__private::std::string::ToString::to_string(&error))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(input: &str) -> Vec<(String, String)> {
        let Exports(exports) = syn::parse_str(input).unwrap();
        let text = |interface: &Type| quote!(#interface).to_string();
        exports.iter().map(|export| (text(&export.interface), export.name.value())).collect()
    }

    fn refused(input: &str) -> String {
        syn::parse_str::<Exports>(input).err().expect("accepted").to_string()
    }

    #[test]
    fn one_or_several() {
        let pair = |interface: &str, name: &str| (interface.to_owned(), name.to_owned());
        assert_eq!(names("dyn Effect, Reverb::new"), [pair("dyn Effect", "Reverb")]);
        assert_eq!(
            names(
                "dyn Effect, \"a\", Reverb::new, Plate::new,; dyn b::Codec, \"opus\", |config| Opus(config);"
            ),
            [pair("dyn Effect", "a"), pair("dyn Effect", "Plate"), pair("dyn b :: Codec", "opus")],
        );
    }

    #[test]
    fn state_is_handed_over_by_a_pair() {
        let pair = |input: &str| {
            let Exports(exports) = syn::parse_str(input).unwrap();
            let text =
                |(save, restore): &(Expr, Expr)| (quote!(#save).to_string(), quote!(#restore).to_string());
            exports.iter().map(|export| export.handing.as_ref().map(text)).collect::<Vec<_>>()
        };
        let both = Some(("A :: save".to_owned(), "A :: load".to_owned()));
        let one = pair("dyn T, A::new, save = A::save, restore = A::load");
        assert_eq!(one, std::slice::from_ref(&both));
        assert_eq!(
            pair("dyn T, \"a\", A::new, restore = A::load, save = A::save, B::new; dyn U, A::new,"),
            [both, None, None]
        );
        assert!(refused("dyn T, A::new, save = A::save").contains("by a pair"));
        assert!(refused("dyn T, A::new, save = A::save, save = A::save").contains("given twice"));
        assert!(refused("dyn T, A::new, store = A::save").contains("no `store`"));
    }

    #[test]
    fn names_come_from_types() {
        for (constructor, name) in [
            ("Reverb::new", "Reverb"),
            ("fx::Reverb::<f32>::new", "Reverb"),
            ("<Reverb as Make>::make", "Reverb"),
            ("<fx::Reverb>::make", "Reverb"),
            ("make_reverb", "make_reverb"),
            ("fx::make_reverb", "make_reverb"),
        ] {
            assert_eq!(names(&format!("dyn Effect, {constructor}"))[0].1, name);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(refused("").contains("nothing is exported"));
        assert!(refused("dyn Effect").contains("which constructor?"));
        assert!(refused("dyn Effect; dyn Codec, Opus::new").contains("which constructor?"));
        assert!(refused("dyn Effect, |_| Reverb").contains("no type to take a name from"));
        assert!(refused("\"reverb\", dyn Effect, Reverb::new").contains("an interface comes first"));
        assert!(refused("dyn Effect, \"reverb\"").contains("which constructor has this name?"));
        assert!(refused("dyn Effect, \"reverb\",").contains("which constructor has this name?"));
        assert!(refused("dyn Effect, \"reverb\" Reverb::new").contains("which constructor has this name?"));
        assert!(refused("dyn Effect, 7, Reverb::new").contains("an export's name is a text"));
        assert!(refused("dyn Effect, Reverb::new Plate::new").contains("is followed by `,`"));
        assert!(refused("dyn Effect, =").contains("a constructor is an expression"));
        for wrong in ["", "dyn Effect", "\"reverb\", dyn Effect", "dyn Effect, \"reverb\""] {
            assert!(refused(wrong).contains("`export!(dyn Trait, \"name\", constructor)`"), "{wrong}");
        }
        assert!(refused("dyn Effect, \"\", Reverb::new").contains("one line of text"));
    }
}

//! Traits of other crates whose methods `foreign!` knows, so that their path alone is enough.
//!
//! A macro sees tokens and no traits. So what stands here is written down, for traits that are everywhere and do not change. Should
//! one be declared otherwise after all, the compiler refuses what is written from it: nothing depends on this list being right.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Path, Token, TraitItem, TypeParamBound};

/// One of them. In `items`, `here` is the module of the trait as it was written, and `Parameter` the trait's own parameter.
struct Known {
    /// The crate may have several names, one for each facade.
    paths: &'static [&'static str],
    is_unsafe: bool,
    supertraits: &'static str,
    items: &'static str,
}

const KNOWN: [Known; 11] = [
    Known {
        paths: &["log::Log"],
        is_unsafe: false,
        supertraits: "",
        items: "fn enabled(&self, metadata: &here::Metadata<'_>) -> bool;
            fn log(&self, record: &here::Record<'_>);
            fn flush(&self);",
    },
    Known {
        paths: &["metrics::Recorder"],
        is_unsafe: false,
        supertraits: "",
        items: "fn describe_counter(&self, key: here::KeyName, unit: ::core::option::Option<here::Unit>, text: here::SharedString);
            fn describe_gauge(&self, key: here::KeyName, unit: ::core::option::Option<here::Unit>, text: here::SharedString);
            fn describe_histogram(&self, key: here::KeyName, unit: ::core::option::Option<here::Unit>, text: here::SharedString);
            fn register_counter(&self, key: &here::Key, metadata: &here::Metadata<'_>) -> here::Counter;
            fn register_gauge(&self, key: &here::Key, metadata: &here::Metadata<'_>) -> here::Gauge;
            fn register_histogram(&self, key: &here::Key, metadata: &here::Metadata<'_>) -> here::Histogram;",
    },
    // Left out: what gives pointers into the subscriber, which may be replaced.
    Known {
        paths: &["tracing::Subscriber"],
        is_unsafe: false,
        supertraits: "'static",
        items: "fn on_register_dispatch(&self, subscriber: &here::Dispatch);
            fn register_callsite(&self, metadata: &'static here::Metadata<'static>) -> here::subscriber::Interest;
            fn enabled(&self, metadata: &here::Metadata<'_>) -> bool;
            fn max_level_hint(&self) -> ::core::option::Option<here::level_filters::LevelFilter>;
            fn new_span(&self, span: &here::span::Attributes<'_>) -> here::span::Id;
            fn record(&self, span: &here::span::Id, values: &here::span::Record<'_>);
            fn record_follows_from(&self, span: &here::span::Id, follows: &here::span::Id);
            fn event_enabled(&self, event: &here::Event<'_>) -> bool;
            fn event(&self, event: &here::Event<'_>);
            fn enter(&self, span: &here::span::Id);
            fn exit(&self, span: &here::span::Id);
            fn clone_span(&self, id: &here::span::Id) -> here::span::Id;
            fn try_close(&self, id: here::span::Id) -> bool;",
    },
    Known {
        paths: &["tower_service::Service", "tower::Service"],
        is_unsafe: false,
        supertraits: "",
        items: "type Response;
            type Error;
            type Future: ::core::future::Future<Output = ::core::result::Result<Self::Response, Self::Error>>;
            fn poll_ready(&mut self, cx: &mut ::core::task::Context<'_>)
                -> ::core::task::Poll<::core::result::Result<(), Self::Error>>;
            fn call(&mut self, request: Parameter) -> Self::Future;",
    },
    Known {
        paths: &["std::alloc::GlobalAlloc", "core::alloc::GlobalAlloc", "alloc::alloc::GlobalAlloc"],
        is_unsafe: true,
        supertraits: "",
        items: "unsafe fn alloc(&self, layout: here::Layout) -> *mut u8;
            unsafe fn dealloc(&self, pointer: *mut u8, layout: here::Layout);
            unsafe fn alloc_zeroed(&self, layout: here::Layout) -> *mut u8;
            unsafe fn realloc(&self, pointer: *mut u8, layout: here::Layout, size: usize) -> *mut u8;",
    },
    Known {
        paths: &["std::io::Read"],
        is_unsafe: false,
        supertraits: "",
        items: "fn read(&mut self, buffer: &mut [u8]) -> here::Result<usize>;
            fn read_vectored(&mut self, buffers: &mut [here::IoSliceMut<'_>]) -> here::Result<usize>;
            fn read_to_end(&mut self, buffer: &mut ::std::vec::Vec<u8>) -> here::Result<usize>;
            fn read_to_string(&mut self, buffer: &mut ::std::string::String) -> here::Result<usize>;
            fn read_exact(&mut self, buffer: &mut [u8]) -> here::Result<()>;",
    },
    Known {
        paths: &["std::io::BufRead"],
        is_unsafe: false,
        supertraits: "::std::io::Read",
        items: "fn fill_buf(&mut self) -> here::Result<&[u8]>;
            fn consume(&mut self, amount: usize);
            fn read_until(&mut self, byte: u8, buffer: &mut ::std::vec::Vec<u8>) -> here::Result<usize>;
            fn read_line(&mut self, buffer: &mut ::std::string::String) -> here::Result<usize>;",
    },
    Known {
        paths: &["std::io::Write"],
        is_unsafe: false,
        supertraits: "",
        items: "fn write(&mut self, buffer: &[u8]) -> here::Result<usize>;
            fn write_vectored(&mut self, buffers: &[here::IoSlice<'_>]) -> here::Result<usize>;
            fn flush(&mut self) -> here::Result<()>;
            fn write_all(&mut self, buffer: &[u8]) -> here::Result<()>;
            fn write_fmt(&mut self, arguments: ::core::fmt::Arguments<'_>) -> here::Result<()>;",
    },
    Known {
        paths: &["std::io::Seek"],
        is_unsafe: false,
        supertraits: "",
        items: "fn seek(&mut self, position: here::SeekFrom) -> here::Result<u64>;
            fn rewind(&mut self) -> here::Result<()>;
            fn stream_position(&mut self) -> here::Result<u64>;
            fn seek_relative(&mut self, offset: i64) -> here::Result<()>;",
    },
    Known {
        paths: &["std::iter::Iterator", "core::iter::Iterator"],
        is_unsafe: false,
        supertraits: "",
        items: "type Item;
            fn next(&mut self) -> ::core::option::Option<Self::Item>;
            fn size_hint(&self) -> (usize, ::core::option::Option<usize>);
            fn nth(&mut self, number: usize) -> ::core::option::Option<Self::Item>;",
    },
    Known {
        paths: &["std::fmt::Write", "core::fmt::Write"],
        is_unsafe: false,
        supertraits: "",
        items: "fn write_str(&mut self, text: &str) -> here::Result;
            fn write_char(&mut self, character: char) -> here::Result;
            fn write_fmt(&mut self, arguments: here::Arguments<'_>) -> here::Result;",
    },
];

/// What is known of a trait, as if it had been written.
pub(crate) struct Listed {
    pub(crate) is_unsafe: bool,
    pub(crate) supertraits: Punctuated<TypeParamBound, Token![+]>,
    pub(crate) items: Vec<TraitItem>,
}

/// What is known of the trait at this path.
pub(crate) fn known(path: &Path) -> syn::Result<Listed> {
    let written: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let written = written.join("::");
    let is_it = |known: &&str| written == **known || written.ends_with(&format!("::{known}"));
    let Some(known) = KNOWN.iter().find(|known| known.paths.iter().any(is_it)) else {
        return Err(syn::Error::new_spanned(path, unknown(&written)));
    };
    let mut here = path.clone();
    let last = here.segments.pop();
    here.segments.pop_punct();
    let parameter = last.and_then(|last| match last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => {
            arguments.args.first().map(ToTokens::to_token_stream)
        }
        _ => None,
    });
    let span = path.segments.last().map_or_else(Span::call_site, |last| last.ident.span());
    let written = |text: &str| -> syn::Result<TokenStream> {
        Ok(replaced(text.parse()?, span, &here.to_token_stream(), parameter.as_ref()))
    };
    let items = Parser::parse2(items, written(known.items)?)?;
    let supertraits = Punctuated::parse_terminated.parse2(written(known.supertraits)?)?;
    Ok(Listed { is_unsafe: known.is_unsafe, supertraits, items })
}

fn items(input: syn::parse::ParseStream<'_>) -> syn::Result<Vec<TraitItem>> {
    let mut items = Vec::new();
    while !input.is_empty() {
        items.push(input.parse()?);
    }
    Ok(items)
}

/// The tokens as if they stood where the path does.
fn replaced(
    tokens: TokenStream,
    span: Span,
    here: &TokenStream,
    parameter: Option<&TokenStream>,
) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(name) if name == "here" => here.clone(),
            TokenTree::Ident(name) if name == "Parameter" && parameter.is_some() => {
                parameter.cloned().unwrap_or_default()
            }
            TokenTree::Group(group) => {
                let inside = replaced(group.stream(), span, here, parameter);
                let mut group = Group::new(group.delimiter(), inside);
                group.set_span(span);
                TokenTree::from(group).into()
            }
            mut token => {
                token.set_span(span);
                token.into()
            }
        })
        .collect()
}

/// What is said of a trait that is not there.
fn unknown(written: &str) -> String {
    let name = written.rsplit("::").next().unwrap_or(written);
    let same_name =
        KNOWN.iter().flat_map(|known| known.paths).filter(|path| path.ends_with(&format!("::{name}")));
    let same_name: Vec<_> = same_name.map(|path| format!("`{path}`")).collect();
    if !same_name.is_empty() {
        return format!(
            "a macro sees no traits, and `{written}` may be any: write the whole path, {}, or list the methods as the \
             trait's crate declares them, `trait {written} {{ fn method(&self); }}`",
            same_name.join(" or ")
        );
    }
    format!(
        "a macro sees no traits, and the methods of `{written}` are not among those that hotcall knows: list them as the \
         trait's crate declares them, `trait {written} {{ fn method(&self); }}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listing_is_one() {
        for known_trait in &KNOWN {
            for path in known_trait.paths {
                let path: Path = syn::parse_str(&format!("::{path}<Argument>")).unwrap();
                let listed = known(&path).map_err(|error| error.to_string()).unwrap();
                let items: TokenStream = listed.items.iter().map(ToTokens::to_token_stream).collect();
                let items = items.to_string();
                assert!(!items.contains("here") && !items.contains("Parameter"), "{items}");
            }
        }
    }

    #[test]
    fn what_is_not_listed_says_what_to_write() {
        let said = |path: &str| known(&syn::parse_str(path).unwrap()).err().unwrap().to_string();
        assert!(said("io::Read").contains("write the whole path, `std::io::Read`, or list"));
        assert!(
            said("tower::Servant")
                .contains("list them as the trait's crate declares them, `trait tower::Servant {")
        );
    }
}

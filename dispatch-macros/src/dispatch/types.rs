//! Types and signatures, as far as their tokens tell.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::visit::Visit;
use syn::{Attribute, Ident, Type, TypePath};

/// Primitive types, as tokens: the expansion asserts that these names stand for them ([`assert_primitives`]).
const PRIMITIVES: [&str; 16] = [
    "bool", "char", "u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize", "f32", "f64",
    "u128", "i128",
];

/// Whether a value of the type is returned in registers by the C calling convention.
pub(super) fn is_register(ty: &Type) -> bool {
    match ty {
        Type::Reference(_) | Type::Ptr(_) | Type::Never(_) => true,
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Path(_) => primitive(ty),
        Type::Paren(inner) => is_register(&inner.elem),
        Type::Group(inner) => is_register(&inner.elem),
        _ => false,
    }
}

/// Whether the type is written as a primitive.
pub(crate) fn primitive(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.qself.is_none() && PRIMITIVES.iter().any(|name| path.path.is_ident(name)),
        Type::Paren(inner) => primitive(&inner.elem),
        Type::Group(inner) => primitive(&inner.elem),
        _ => false,
    }
}

/// Whether a type of this name is taken for the one that the language gives the name to.
pub(crate) fn is_primitive_name(name: &Ident) -> bool {
    name == "str" || PRIMITIVES.iter().any(|primitive| name == primitive)
}

/// Assertions that each name of a primitive type in `types` stands for that type: an alias or a type of the user's may have it.
pub(super) fn assert_primitives<'a>(
    rt: &impl ToTokens,
    cfgs: &[Attribute],
    types: impl Iterator<Item = &'a Type>,
) -> TokenStream {
    let mut names = Names::default();
    types.for_each(|ty| names.visit_type(ty));
    let Names { found } = names;
    found
        .iter()
        .map(|name| {
            quote!(#(#cfgs)* const _: () = #rt::assert_primitive::<#name, #rt::core::primitive::#name>();)
        })
        .collect()
}

/// The names of primitive types that types are written with, each once.
#[derive(Default)]
struct Names {
    found: Vec<Ident>,
}

impl Visit<'_> for Names {
    fn visit_type_path(&mut self, path: &TypePath) {
        if let (None, Some(name)) = (&path.qself, path.path.get_ident())
            && is_primitive_name(name)
            && !self.found.contains(name)
        {
            self.found.push(name.clone());
        }
        syn::visit::visit_type_path(self, path);
    }
}

/// A signature as a person would write it: tokens print with a space between any two.
pub(crate) fn tidy(tokens: &str) -> String {
    let mut text = tokens.split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [
        (" ,", ","),
        (" :", ":"),
        (": :", "::"),
        (":: ", "::"),
        (" ::", "::"),
        ("& ", "&"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        ("- >", "->"),
        ("->", " -> "),
        (" [", " ["),
        ("[ ", "["),
        (" ]", "]"),
        (" ;", ";"),
        (",)", ")"),
        ("* ", "*"),
        (" !", "!"),
    ] {
        text = text.replace(from, to);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Types and signatures, as far as their tokens tell.

use syn::Type;

/// Primitive types, as tokens: what the expansion then asserts of them.
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

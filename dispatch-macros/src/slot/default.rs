//! The type of a slot's default, read off the expression.

use syn::{Expr, Path, Type};

/// The type of the default, read off the expression; and the expression.
pub(super) fn default(expression: &Expr) -> syn::Result<(Type, &Expr)> {
    match expression {
        Expr::Cast(cast) => Ok(((*cast.ty).clone(), &cast.expr)),
        Expr::Paren(inner) => default(&inner.expr),
        Expr::Group(inner) => default(&inner.expr),
        Expr::Path(path) if path.qself.is_none() => Ok((of_constructor(&path.path), expression)),
        Expr::Struct(literal) if literal.qself.is_none() => Ok((of_path(literal.path.clone()), expression)),
        Expr::Call(call) => match &*call.func {
            Expr::Path(function) if function.qself.is_none() => match of_function(&function.path) {
                Some(ty) => Ok((ty, expression)),
                None => Err(unreadable(expression)),
            },
            _ => Err(unreadable(expression)),
        },
        _ => Err(unreadable(expression)),
    }
}

fn unreadable(expression: &Expr) -> syn::Error {
    syn::Error::new_spanned(
        expression,
        "the default's type cannot be read off this expression: write it, as in `= EXPRESSION as Type`",
    )
}

/// `Type`, or `Enum::Variant`.
fn of_constructor(path: &Path) -> Type {
    let count = path.segments.len();
    if count >= 2 && is_type_name(&path.segments[count - 2].ident.to_string()) {
        return of_path(without_last(path));
    }
    of_path(path.clone())
}

/// `Type::new(..)`, `Type(..)`, or `Enum::Variant(..)`.
fn of_function(path: &Path) -> Option<Type> {
    let last = path.segments.last()?.ident.to_string();
    if is_type_name(&last) {
        return Some(of_constructor(path));
    }
    (path.segments.len() >= 2).then(|| of_path(without_last(path)))
}

fn is_type_name(name: &str) -> bool {
    name.chars().next().is_some_and(char::is_uppercase)
}

fn without_last(path: &Path) -> Path {
    let mut shorter = path.clone();
    shorter.segments.pop();
    if let Some(last) = shorter.segments.pop() {
        shorter.segments.push_value(last);
    }
    shorter
}

fn of_path(path: Path) -> Type {
    Type::Path(syn::TypePath { attrs: Vec::new(), qself: None, path })
}

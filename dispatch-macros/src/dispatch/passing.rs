//! How a method's arguments travel: as words in integer registers, and as floats.
//!
//! Between a call and the method stand the stub, a thunk, a trampoline, or a chain's emitted line, none of which knows the
//! method. So the convention is one that tokens decide, whatever the types behind them are:
//!
//! | an argument that is written as | travels as |
//! |---|---|
//! | `f32`, `f64` | itself, in a vector register |
//! | `&str`, `&[T]`, `&dyn Trait`, and their like | two words |
//! | anything else | one word: its bytes where there are 8 or less, else its address |
//! | what does not fit into six words and eight floats | together in one place, whose address is the last word |
//!
//! Nothing is on the stack: the call stays where the assembler aligned it. And nothing depends on how the C convention treats a
//! type: vectors, `u128` and structs of any layout pass alike.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::Type;

use super::types::primitive;

/// The registers for words, in their order.
const WORDS: [&str; 6] = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"];
/// Those for floats.
const FLOATS: [&str; 8] = ["xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7"];

/// How one argument travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Word,
    Pair,
    Float,
    /// With others, in memory.
    Rest,
}

/// How the arguments of a method travel.
#[derive(Debug)]
pub(super) struct Passing {
    /// By argument.
    pub(super) ways: Vec<Way>,
    /// The out pointer is the first word after `this`.
    out: bool,
}

impl Passing {
    pub(super) fn new(types: &[Type], out: bool) -> Self {
        let mut ways: Vec<_> = types.iter().map(way).collect();
        let room = WORDS.len() - 1 - usize::from(out);
        let fits = |ways: &[Way], room: usize| {
            let words: usize = ways.iter().map(|way| words(*way)).sum();
            let floats = ways.iter().filter(|way| **way == Way::Float).count();
            words <= room && floats <= FLOATS.len()
        };
        if !fits(&ways, room) {
            let kept = (0..ways.len()).rev().find(|kept| fits(&ways[..*kept], room - 1)).unwrap_or(0);
            ways[kept..].fill(Way::Rest);
        }
        Self { ways, out }
    }

    fn has_rest(&self) -> bool {
        self.ways.last() == Some(&Way::Rest)
    }

    /// The parameters of a function of this convention, after `this` and the out pointer: each a pattern and a type.
    pub(super) fn parameters(&self, rt: &impl ToTokens, types: &[Type]) -> Vec<(Ident, TokenStream)> {
        let word = quote!(#rt::Word);
        let mut parameters = Vec::new();
        for (number, (way, ty)) in self.ways.iter().zip(types).enumerate() {
            match way {
                Way::Word => parameters.push((first(number), word.clone())),
                Way::Pair => {
                    parameters.push((first(number), word.clone()));
                    parameters.push((second(number), word.clone()));
                }
                Way::Float => parameters.push((first(number), quote!(#ty))),
                Way::Rest => {}
            }
        }
        if self.has_rest() {
            parameters.push((rest(), word));
        }
        parameters
    }

    /// Statements of a caller that turn the arguments into variables of those names. The places that they make live for as long as
    /// the block that they stand in.
    pub(super) fn pack(&self, rt: &impl ToTokens, arguments: &[Ident]) -> TokenStream {
        let mut statements = TokenStream::new();
        for (number, (way, argument)) in self.ways.iter().zip(arguments).enumerate() {
            let (one, two, place) = (first(number), second(number), place(number));
            statements.extend(match way {
                Way::Word => quote! {
                    let mut #place = #rt::ManuallyDrop::new(#argument);
                    let mut #one = #rt::word(&mut #place);
                },
                Way::Pair => quote! {
                    let mut #place = #rt::ManuallyDrop::new(#argument);
                    let (mut #one, mut #two) = #rt::pair(&mut #place);
                },
                Way::Float => quote!(let mut #one = #argument;),
                Way::Rest => quote!(),
            });
        }
        if self.has_rest() {
            let others = self.others(arguments);
            let (rest, place) = (rest(), place(arguments.len()));
            statements.extend(quote! {
                let mut #place = #rt::ManuallyDrop::new((#(#others,)*));
                let mut #rest = #rt::place(&mut #place);
            });
        }
        statements
    }

    /// Statements of a callee that have to come first: those arguments that travel together.
    pub(super) fn unpack_rest(&self, rt: &impl ToTokens, arguments: &[Ident]) -> Option<TokenStream> {
        self.has_rest().then(|| {
            let others = self.others(arguments);
            let rest = rest();
            // SAFETY: the caller has packed them there, and they are unpacked once.
            quote!(let (#(#others,)*) = unsafe { #rt::unplace(#rest) };)
        })
    }

    /// In `unsafe`: each argument, of whatever type is expected of it.
    pub(super) fn unpack(&self, rt: &impl ToTokens, arguments: &[Ident]) -> Vec<TokenStream> {
        let each = self.ways.iter().zip(arguments).enumerate();
        each.map(|(number, (way, argument))| {
            let (one, two) = (first(number), second(number));
            match way {
                Way::Word => quote!(#rt::unword(#one)),
                Way::Pair => quote!(#rt::unpair(#one, #two)),
                Way::Float => quote!(#one),
                Way::Rest => quote!(#argument),
            }
        })
        .collect()
    }

    /// The registers, each with its variable: the out pointer's is `result`.
    pub(super) fn registers(&self, out: &Ident) -> Vec<(&'static str, Ident)> {
        let mut words = WORDS[1..].iter();
        let mut floats = FLOATS.iter();
        let mut registers = Vec::new();
        let mut take = |from: &mut core::slice::Iter<'static, &'static str>, name: Ident| {
            if let Some(register) = from.next() {
                registers.push((*register, name));
            }
        };
        if self.out {
            take(&mut words, out.clone());
        }
        for (number, way) in self.ways.iter().enumerate() {
            match way {
                Way::Word => take(&mut words, first(number)),
                Way::Pair => {
                    take(&mut words, first(number));
                    take(&mut words, second(number));
                }
                Way::Float => take(&mut floats, first(number)),
                Way::Rest => {}
            }
        }
        if self.has_rest() {
            take(&mut words, rest());
        }
        registers
    }

    /// Where the label before the call is to be, mod 8, in a build without optimisation. There each word is stored and
    /// loaded again in 5 bytes each, each float in 6; the call is to begin at 7, 0, 1, 2 or 3.
    pub(super) fn padding(&self) -> usize {
        let fixed = 1 + usize::from(self.out) + usize::from(self.has_rest());
        let words = fixed + self.ways.iter().map(|way| words(*way)).sum::<usize>();
        let floats = self.ways.iter().filter(|way| **way == Way::Float).count();
        let between = 10 * words + 12 * floats;
        (0..4).find(|padding| matches!((between + padding) % 8, 7 | 0..=3)).unwrap_or(0)
    }

    fn others<'a>(&self, arguments: &'a [Ident]) -> Vec<&'a Ident> {
        self.ways.iter().zip(arguments).filter(|(way, _)| **way == Way::Rest).map(|(_, name)| name).collect()
    }
}

fn words(way: Way) -> usize {
    match way {
        Way::Word => 1,
        Way::Pair => 2,
        Way::Float | Way::Rest => 0,
    }
}

fn way(ty: &Type) -> Way {
    match ty {
        Type::Paren(inner) => way(&inner.elem),
        Type::Group(inner) => way(&inner.elem),
        Type::Reference(reference) if is_unsized(&reference.elem) => Way::Pair,
        Type::Ptr(pointer) if is_unsized(&pointer.elem) => Way::Pair,
        Type::Path(path) if primitive(ty) && (path.path.is_ident("f32") || path.path.is_ident("f64")) => {
            Way::Float
        }
        _ => Way::Word,
    }
}

/// Whether a pointer to the type, as written, is two words.
fn is_unsized(ty: &Type) -> bool {
    match ty {
        Type::Paren(inner) => is_unsized(&inner.elem),
        Type::Group(inner) => is_unsized(&inner.elem),
        Type::Slice(_) | Type::TraitObject(_) => true,
        Type::Path(path) => path.qself.is_none() && path.path.is_ident("str"),
        _ => false,
    }
}

fn name(what: &str, number: usize) -> Ident {
    format_ident!("__{what}{number}", span = Span::mixed_site())
}

fn first(number: usize) -> Ident {
    name("w", number)
}

fn second(number: usize) -> Ident {
    name("x", number)
}

fn place(number: usize) -> Ident {
    name("p", number)
}

fn rest() -> Ident {
    Ident::new("__rest", Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(types: &[&str], out: bool) -> Vec<Way> {
        let types: Vec<Type> = types.iter().map(|ty| syn::parse_str(ty).unwrap()).collect();
        Passing::new(&types, out).ways
    }

    #[test]
    fn tokens_decide() {
        use Way::{Float, Pair, Word};
        assert_eq!(ways(&["u8", "f32", "&str", "&Packet"], true), [Word, Float, Pair, Word]);
        assert_eq!(ways(&["&mut [f32]", "&mut dyn FnMut(u8)"], false), [Pair, Pair]);
        assert_eq!(ways(&["u128", "[u64; 9]", "Option<f32>", "(f64,)"], false), [Word; 4]);
        assert_eq!(ways(&["f64"; 8], false), [Float; 8]);
    }

    #[test]
    fn what_does_not_fit_goes_together() {
        use Way::{Float, Pair, Rest, Word};
        assert_eq!(ways(&["u8"; 5], false), [Word; 5]);
        assert_eq!(ways(&["u8"; 5], true), [Word, Word, Word, Rest, Rest]);
        assert_eq!(ways(&["u8"; 7], false), [Word, Word, Word, Word, Rest, Rest, Rest]);
        assert_eq!(ways(&["&str", "&str", "&str", "f32"], false), [Pair, Pair, Rest, Rest]);
        assert_eq!(ways(&["f32"; 9], false)[7..], [Float, Rest]);
        assert_eq!(ways(&["u8", "&str", "&str", "f32"], true), [Word, Pair, Rest, Rest]);
    }

    #[test]
    fn registers_are_those_of_the_convention() {
        let types: Vec<Type> =
            ["u8", "f32", "&str", "f64"].iter().map(|ty| syn::parse_str(ty).unwrap()).collect();
        let passing = Passing::new(&types, true);
        let out = Ident::new("out", Span::call_site());
        let registers: Vec<_> = passing.registers(&out).into_iter().map(|(register, _)| register).collect();
        assert_eq!(registers, ["rsi", "rdx", "xmm0", "rcx", "r8", "xmm1"]);
    }
}

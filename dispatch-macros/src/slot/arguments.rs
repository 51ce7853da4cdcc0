//! What stands in the attribute's parentheses: `control = [vis] NAME`, `crate = path`.

use syn::parse::{Parse, ParseStream};
use syn::{Ident, Token, Visibility};

use crate::paths::CratePath;

/// The arguments of `#[slot(..)]`.
#[derive(Default)]
pub(super) struct Arguments {
    /// The static that may retarget the slot, which then may not itself.
    pub(super) control: Option<(Visibility, Ident)>,
    /// Where hotcall is.
    pub(super) crate_path: Option<CratePath>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            if CratePath::is_next(input) {
                arguments.crate_path = Some(input.parse()?);
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
                continue;
            }
            let name: Ident = input.parse()?;
            if name != "control" {
                return Err(syn::Error::new(
                    name.span(),
                    "the one argument of #[slot] is `control = NAME`, or `control = pub NAME`: the static that may \
                     retarget the slot",
                ));
            }
            input.parse::<Token![=]>()?;
            if arguments.control.is_some() {
                return Err(syn::Error::new(name.span(), "a slot has one control: name it once"));
            }
            arguments.control = Some((input.parse()?, input.parse()?));
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

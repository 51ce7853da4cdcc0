//! What stands in the parentheses of `#[slot(..)]` and `#[key(..)]`: `control = [vis] NAME`, `crate = path`.

use syn::parse::{Parse, ParseStream};
use syn::{Ident, Token, Visibility};

use crate::paths::CratePath;

/// The arguments of `#[slot(..)]` or `#[key(..)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    /// The static that may retarget the slot, or turn the key, which then may not itself.
    pub(crate) control: Option<(Visibility, Ident)>,
    /// Where hotcall is.
    pub(crate) crate_path: Option<CratePath>,
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
                    "the one argument of #[slot] and #[key] is `control = NAME`, or `control = pub NAME`: the static that \
                     may retarget the slot, or turn the key",
                ));
            }
            input.parse::<Token![=]>()?;
            if arguments.control.is_some() {
                return Err(syn::Error::new(name.span(), "there is one control: name it once"));
            }
            arguments.control = Some((input.parse()?, input.parse()?));
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

//! What is installed in a slot, asked by whoever calls it.

use core::fmt;
use std::path::{Path, PathBuf};

use super::{Definition, Slot};
use crate::interface::Table;
use crate::quiesce::Section;
use crate::sys::symbol;

/// What a slot or a handle holds at one moment. See [`Slot::target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    type_name: &'static str,
    symbol: Option<String>,
    library: Option<PathBuf>,
}

impl Target {
    /// The caller protects what the table belongs to.
    pub(crate) fn of(table: &'static Table) -> Self {
        let found = table.methods().first().map(|code| symbol::of(*code)).unwrap_or_default();
        Self { type_name: table.type_name(), symbol: found.name, library: found.library }
    }

    /// The implementor's type, as the compiler prints it; for a function, its path.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The symbol of its first method's code, where the dynamic linker knows one: in a program that is not linked
    /// with `-rdynamic` it knows few.
    #[must_use]
    pub fn symbol(&self) -> Option<&str> {
        self.symbol.as_deref()
    }

    /// The shared library that its code is in, as it was opened; `None` where it is in the program itself.
    #[must_use]
    pub fn library(&self) -> Option<&Path> {
        self.library.as_deref()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name)?;
        if let Some(library) = &self.library {
            write!(f, " in {}", library.display())?;
        }
        Ok(())
    }
}

impl<D: Definition> Slot<D> {
    /// What is installed just now.
    ///
    /// ```
    /// # use hotcall::{dispatch, slot};
    /// # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
    /// # struct Bypass; impl Effect for Bypass { fn process(&self, s: f32) -> f32 { s } }
    /// # #[slot] pub static EFFECT: dyn Effect = Bypass;
    /// assert!(EFFECT.target().type_name().ends_with("Bypass"));
    /// assert_eq!(EFFECT.target().library(), None);
    /// ```
    #[must_use]
    pub fn target(&self) -> Target {
        let _section = Section::enter();
        Target::of(self.core.current().1)
    }
}

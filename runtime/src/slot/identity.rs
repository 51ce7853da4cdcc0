//! Which declaration a slot comes from: the same in each image that contains it, another for each declaration.
//!
//! A program and a plugin that both contain the crate that declares a slot are compiled apart. Whether two statics are
//! the same declaration is told by what the compiler says of the place: a name is not enough, for two functions of a module
//! may each have a `SLOT`, and two crates one name. The folder that the sources lay in is left out, so that
//! another checkout of the same sources is the same.
//!
//! Two declarations that agree in all of it exist: a macro that declares two slots in two blocks of one function. Whoever
//! compares identities treats such as no identity at all.

/// What `#[slot]` says of a declaration.
///
/// `repr(C)`: the program reads those of the libraries that it links.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Identity {
    /// The package that is compiled, where cargo compiles it.
    pub package: Option<&'static str>,
    /// Its version.
    pub version: Option<&'static str>,
    /// Where it comes from, as its manifest has it.
    pub repository: Option<&'static str>,
    /// The name of the definition's type: crate, modules, and the functions that it is declared in.
    pub path: fn() -> &'static str,
    /// The file. What folder it lies in is not compared.
    pub file: &'static str,
    /// Where `#[slot]`, or the macro that wrote it, stands.
    pub line: u32,
    /// As above.
    pub column: u32,
    /// A hash of the declaration: name, type and default, as written.
    pub text: u64,
}

/// What is compared.
#[cfg_attr(not(patched), allow(dead_code, reason = "nothing is linked"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    package: [Option<&'static str>; 3],
    path: &'static str,
    file: &'static str,
    place: (u32, u32),
    text: u64,
}

#[cfg_attr(not(patched), allow(dead_code, reason = "nothing is linked"))]
impl Identity {
    /// What two versions of one source have in common, as a rule: for messages.
    pub(crate) fn name(&self) -> (Option<&'static str>, &'static str) {
        (self.package, (self.path)())
    }

    pub(crate) fn key(&self) -> Key {
        // Either kind of slash: a path in a program that was compiled elsewhere is only a text.
        let file = self.file.rsplit(['/', '\\']).next().unwrap_or(self.file);
        Key {
            package: [self.package, self.version, self.repository],
            path: (self.path)(),
            file,
            place: (self.line, self.column),
            text: self.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    const HERE: Identity = Identity {
        package: Some("effects"),
        version: Some("1.2.3"),
        repository: None,
        path: || "effects::first::__hotcall_slot_SLOT",
        file: "/home/one/effects/src/lib.rs",
        line: 7,
        column: 5,
        text: 42,
    };

    #[test]
    fn the_same_from_another_checkout() {
        let there = Identity { file: "effects/src/lib.rs", ..HERE };
        assert_eq!(there.key(), HERE.key());
    }

    #[test]
    fn each_part_tells_two_apart() {
        let others = [
            Identity { package: Some("effect"), ..HERE },
            Identity { package: None, ..HERE },
            Identity { version: Some("1.2.4"), ..HERE },
            Identity { repository: Some("https://example.org"), ..HERE },
            Identity { path: || "effects::second::__hotcall_slot_SLOT", ..HERE },
            Identity { file: "/home/one/effects/src/first.rs", ..HERE },
            Identity { line: 8, ..HERE },
            Identity { column: 6, ..HERE },
            Identity { text: 43, ..HERE },
        ];
        for other in others {
            assert_ne!(other.key(), HERE.key(), "{other:?}");
        }
    }
}

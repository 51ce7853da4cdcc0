//! Whether a library's interface is this program's, and if not, in what they differ.

use super::header::{InterfaceRecord, MethodRecord};
use crate::interface::{Description, Method};

/// Two interfaces of one name that are not the same: what each side has in the first place where they differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) library: String,
    pub(crate) host: String,
}

/// `None` when the two are the same in everything that a call depends on.
///
/// Methods come first: they say more than the version of the crate that declares them. Versions are the same, because
/// what a signature only names may change with them; unless the newer one says that the older is compatible with it.
pub(crate) fn difference(library: &InterfaceRecord, host: &InterfaceRecord) -> Option<Difference> {
    for index in 0..library.methods.len().max(host.methods.len()) {
        let (theirs, ours) = (library.methods.get(index), host.methods.get(index));
        if theirs != ours {
            let layouts = match (theirs, ours) {
                (Some(theirs), Some(ours)) => theirs.layout != ours.layout,
                _ => false,
            };
            let side = |method: Option<&MethodRecord>, other: Option<&MethodRecord>| match (method, other) {
                (Some(method), _) => method.render(layouts),
                (None, Some(other)) => format!("no method `{}` in place {index}", other.name),
                (None, None) => String::new(),
            };
            return Some(Difference { library: side(theirs, ours), host: side(ours, theirs) });
        }
    }
    if library.crate_name != host.crate_name || !agree(library, host) {
        return Some(Difference { library: library.render(), host: host.render() });
    }
    definitions(library, host)
}

/// Whether the versions are the same, or the newer one says that it is compatible with the older.
fn agree(one: &InterfaceRecord, other: &InterfaceRecord) -> bool {
    if one.crate_version == other.crate_version {
        return true;
    }
    let (Some(first), Some(second)) = (version(&one.crate_version), version(&other.crate_version)) else {
        return false;
    };
    let (older, newer) = if first < second { (first, other) } else { (second, one) };
    // Two that differ in what stands behind their numbers are not ordered.
    first != second && version(&newer.since).is_some_and(|since| since <= older)
}

/// `1.2.3`, or `1.2.3+build`. A pre-release is compatible with nothing but itself.
fn version(text: &str) -> Option<[u64; 3]> {
    let numbers = text.split_once('+').map_or(text, |(numbers, _)| numbers);
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    let version = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(version)
}

/// The first name that stands for something else on the other side. What the methods name is the same, so the names are.
fn definitions(library: &InterfaceRecord, host: &InterfaceRecord) -> Option<Difference> {
    let of = |side: &InterfaceRecord, name: &str, hash: Option<u64>| {
        let whose = format!(
            "`{}` as {} {} defines it",
            line(name),
            line(&side.crate_name),
            line(&side.crate_version)
        );
        hash.map_or_else(|| format!("no {whose}"), |hash| format!("{whose} (definition {hash:016x})"))
    };
    let hash = |side: &InterfaceRecord, name: &str| {
        side.definitions.iter().find(|known| known.0 == name).map(|known| known.1)
    };
    let mut names = host.definitions.iter().chain(&library.definitions).map(|known| known.0.as_str());
    names.find_map(|name| {
        let (theirs, ours) = (hash(library, name), hash(host, name));
        (theirs != ours)
            .then(|| Difference { library: of(library, name, theirs), host: of(host, name, ours) })
    })
}

/// The same for two that are at hand: what the library has, and what the host has.
#[cfg(patched)]
pub(crate) fn description_difference(library: &Description, host: &Description) -> Option<(String, String)> {
    let found = difference(&InterfaceRecord::of(library), &InterfaceRecord::of(host))?;
    Some((found.library, found.host))
}

impl InterfaceRecord {
    /// Which version of which crate it is of.
    pub(crate) fn render(&self) -> String {
        let (name, version) = (line(&self.crate_name), line(&self.crate_version));
        match line(&self.since) {
            since if since.is_empty() => format!("that of {name} {version}"),
            since => format!("that of {name} {version}, compatible since {since}"),
        }
    }

    pub(crate) fn of(description: &Description) -> Self {
        let layout = |method: &Method| {
            method.layout.iter().map(|&(size, alignment)| (size as u64, alignment as u64)).collect()
        };
        Self {
            name: description.name.into(),
            crate_name: description.crate_name.into(),
            crate_version: description.crate_version.into(),
            since: description.since.into(),
            definitions: description
                .definitions
                .iter()
                .map(|known| (known.name.into(), known.hash))
                .collect(),
            shares_memory: description.shares_memory,
            methods: description
                .methods
                .iter()
                .map(|method| MethodRecord {
                    name: method.name.into(),
                    signature: method.signature.into(),
                    layout: layout(method),
                })
                .collect(),
        }
    }
}

impl MethodRecord {
    fn render(&self, layout: bool) -> String {
        let signature = line(&self.signature);
        if !layout {
            return format!("`{signature}`");
        }
        let sizes: Vec<_> =
            self.layout.iter().map(|(size, alignment)| format!("{size}/{alignment}")).collect();
        format!("`{signature}` [size/alignment of arguments and result: {}]", sizes.join(", "))
    }
}

/// A text in one line.
pub(super) fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::TypeDefinition;

    const OURS: Description = Description {
        name: "dyn Effect",
        crate_name: "effects",
        crate_version: "1.2.3",
        since: "",
        definitions: &[TypeDefinition { name: "Mode", hash: 7 }],
        shares_memory: false,
        leaves_nothing: false,
        methods: &[
            Method { name: "process", signature: "process(&self, x: f32) -> f32", layout: &[(4, 4), (4, 4)] },
            Method { name: "reset", signature: "reset(&self)", layout: &[(0, 1)] },
        ],
    };

    fn theirs() -> InterfaceRecord {
        InterfaceRecord::of(&OURS)
    }

    fn sides(library: &InterfaceRecord) -> (String, String) {
        let Difference { library, host } =
            difference(library, &InterfaceRecord::of(&OURS)).expect("a difference");
        (library, host)
    }

    #[test]
    fn the_same_is_the_same() {
        assert_eq!(difference(&theirs(), &InterfaceRecord::of(&OURS)), None);
    }

    #[test]
    fn a_signature_differs() {
        let mut library = theirs();
        library.methods[0].signature = "process(&self,\n    x: f32, wet: f32) -> f32".into();
        let (library, host) = sides(&library);
        assert_eq!(library, "`process(&self, x: f32, wet: f32) -> f32`");
        assert_eq!(host, "`process(&self, x: f32) -> f32`");
    }

    #[test]
    fn a_layout_differs() {
        let mut library = theirs();
        library.methods[0].layout[0] = (8, 8);
        let (library, host) = sides(&library);
        assert!(library.ends_with("[size/alignment of arguments and result: 8/8, 4/4]"), "{library}");
        assert!(host.ends_with("[size/alignment of arguments and result: 4/4, 4/4]"), "{host}");
    }

    #[test]
    fn a_method_is_missing_or_too_many() {
        let mut library = theirs();
        let reset = library.methods.pop().unwrap();
        assert_eq!(sides(&library), ("no method `reset` in place 1".into(), "`reset(&self)`".into()));
        library.methods.push(reset.clone());
        library.methods.push(reset);
        assert_eq!(sides(&library), ("`reset(&self)`".into(), "no method `reset` in place 2".into()));
    }

    #[test]
    fn the_order_differs() {
        let mut library = theirs();
        library.methods.swap(0, 1);
        let (library, host) = sides(&library);
        assert!(library.starts_with("`reset(&self)`"), "{library}");
        assert!(host.starts_with("`process(&self, x: f32) -> f32`"), "{host}");
    }

    #[test]
    fn the_version_differs() {
        let mut library = theirs();
        library.crate_version = "2.0.0".into();
        assert_eq!(sides(&library), ("that of effects 2.0.0".into(), "that of effects 1.2.3".into()));
    }

    #[test]
    fn the_newer_version_says_what_it_is_compatible_with() {
        let of = |version: &str, since: &str| InterfaceRecord {
            crate_version: version.into(),
            since: since.into(),
            ..theirs()
        };
        for (older, newer, agree) in [
            (of("1.2.3", ""), of("1.2.4", ""), false),
            (of("1.2.3", ""), of("1.2.4", "1.2.0"), true),
            (of("1.2.3", ""), of("1.2.4", "1.2.3"), true),
            (of("1.2.3", ""), of("1.10.0", "1.2.0"), true),
            (of("1.2.3", ""), of("1.3.0", "1.2.4"), false),
            // What the older one says of those before it is nothing to the newer one.
            (of("1.2.3", "1.0.0"), of("1.2.4", ""), false),
            (of("1.2.3-beta", ""), of("1.2.4", "1.0.0"), false),
            (of("1.2.3+one", ""), of("1.2.3+two", "1.0.0"), false),
            (of("1.2.3+one", ""), of("1.2.4", "1.0.0"), true),
        ] {
            assert_eq!(difference(&older, &newer).is_none(), agree, "{older:?}, {newer:?}");
            assert_eq!(difference(&newer, &older).is_none(), agree, "{older:?}, {newer:?}");
        }
        // A definition that changed is another, whatever anybody says.
        let mut newer = of("1.2.4", "1.0.0");
        newer.definitions[0].1 = 8;
        let (theirs, ours) = sides(&newer);
        assert_eq!(theirs, "`Mode` as effects 1.2.4 defines it (definition 0000000000000008)");
        assert_eq!(ours, "`Mode` as effects 1.2.3 defines it (definition 0000000000000007)");
    }

    #[test]
    fn a_definition_differs() {
        let mut library = theirs();
        library.definitions[0].1 = 8;
        let (theirs, ours) = sides(&library);
        assert_eq!(theirs, "`Mode` as effects 1.2.3 defines it (definition 0000000000000008)");
        assert_eq!(ours, "`Mode` as effects 1.2.3 defines it (definition 0000000000000007)");
        library.definitions.clear();
        assert_eq!(sides(&library).0, "no `Mode` as effects 1.2.3 defines it");
    }
}

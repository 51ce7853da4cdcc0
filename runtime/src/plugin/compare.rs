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
/// Methods come first: they say more than the version of the crate that declares them. Versions are compared
/// to the letter, because types that a signature only names may change with them.
pub(crate) fn difference(library: &InterfaceRecord, host: &Description) -> Option<Difference> {
    for index in 0..library.methods.len().max(host.methods.len()) {
        let theirs = library.methods.get(index).map(View::of_record);
        let ours = host.methods.get(index).map(View::of_method);
        if theirs != ours {
            let layouts = match (&theirs, &ours) {
                (Some(theirs), Some(ours)) => theirs.layout != ours.layout,
                _ => false,
            };
            let side = |view: Option<View<'_>>, other: Option<&View<'_>>| match (view, other) {
                (Some(view), _) => view.render(layouts),
                (None, Some(other)) => format!("no method `{}` in place {index}", other.name),
                (None, None) => String::new(),
            };
            let host = side(ours.clone(), theirs.as_ref());
            return Some(Difference { library: side(theirs, ours.as_ref()), host });
        }
    }
    let theirs = (library.crate_name.as_str(), library.crate_version.as_str());
    let ours = (host.crate_name, host.crate_version);
    let render = |(name, version): (&str, &str)| format!("that of {} {}", line(name), line(version));
    if theirs != ours {
        return Some(Difference { library: render(theirs), host: render(ours) });
    }
    definitions(library, host)
}

/// The first name that stands for something else on the other side. What the methods name is the same, so the names are.
fn definitions(library: &InterfaceRecord, host: &Description) -> Option<Difference> {
    let of = |side: &str, name: &str, hash: Option<u64>| {
        let whose = format!("`{}` as {side} {} defines it", line(name), line(host.crate_version));
        hash.map_or_else(|| format!("no {whose}"), |hash| format!("{whose} (definition {hash:016x})"))
    };
    let theirs = |name: &str| library.definitions.iter().find(|known| known.0 == name).map(|known| known.1);
    let ours = |name: &str| host.definitions.iter().find(|known| known.name == name).map(|known| known.hash);
    let names = host.definitions.iter().map(|definition| definition.name);
    let mut names = names.chain(library.definitions.iter().map(|definition| definition.0.as_str()));
    names.find_map(|name| {
        let (theirs, ours) = (theirs(name), ours(name));
        let crate_name = line(host.crate_name);
        (theirs != ours)
            .then(|| Difference { library: of(&crate_name, name, theirs), host: of(&crate_name, name, ours) })
    })
}

/// The same for two that are at hand: what the library has, and what the host has.
#[cfg(patched)]
pub(crate) fn description_difference(library: &Description, host: &Description) -> Option<(String, String)> {
    let found = difference(&InterfaceRecord::of(library), host)?;
    Some((found.library, found.host))
}

#[cfg(any(patched, test))]
impl InterfaceRecord {
    fn of(description: &Description) -> Self {
        let layout = |method: &Method| {
            method.layout.iter().map(|&(size, alignment)| (size as u64, alignment as u64)).collect()
        };
        Self {
            name: description.name.into(),
            crate_name: description.crate_name.into(),
            crate_version: description.crate_version.into(),
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

/// A method of either side, in one form.
#[derive(Clone, PartialEq, Eq)]
struct View<'a> {
    name: &'a str,
    signature: &'a str,
    layout: Vec<(u64, u64)>,
}

impl<'a> View<'a> {
    fn of_record(method: &'a MethodRecord) -> Self {
        Self { name: &method.name, signature: &method.signature, layout: method.layout.clone() }
    }

    fn of_method(method: &'a Method) -> Self {
        let layout = method.layout.iter().map(|&(size, alignment)| (size as u64, alignment as u64)).collect();
        Self { name: method.name, signature: method.signature, layout }
    }

    fn render(&self, layout: bool) -> String {
        let signature = line(self.signature);
        if !layout {
            return format!("`{signature}`");
        }
        let sizes: Vec<_> =
            self.layout.iter().map(|(size, alignment)| format!("{size}/{alignment}")).collect();
        format!("`{signature}` [size/alignment of arguments and result: {}]", sizes.join(", "))
    }
}

/// A text in one line.
fn line(text: &str) -> String {
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
        definitions: &[TypeDefinition { name: "Mode", hash: 7 }],
        shares_memory: false,
        methods: &[
            Method { name: "process", signature: "process(&self, x: f32) -> f32", layout: &[(4, 4), (4, 4)] },
            Method { name: "reset", signature: "reset(&self)", layout: &[(0, 1)] },
        ],
    };

    fn theirs() -> InterfaceRecord {
        InterfaceRecord::of(&OURS)
    }

    fn sides(library: &InterfaceRecord) -> (String, String) {
        let Difference { library, host } = difference(library, &OURS).expect("a difference");
        (library, host)
    }

    #[test]
    fn the_same_is_the_same() {
        assert_eq!(difference(&theirs(), &OURS), None);
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

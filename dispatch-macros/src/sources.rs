//! What the types of an interface are defined by, as the crate's sources say it.
//!
//! # Problem
//!
//! A library and its host agree on a type's size and may still differ in what is where: fields or variants in another order, a
//! feature that one was built without. A macro on a trait sees the names of the types that its methods pass, and not
//! their definitions.
//!
//! # Idea
//!
//! The compiler that runs the macro was given the crate's root file and its `--cfg`s on its command line. From there the modules
//! are followed, and for each name in a method's signature that the crate defines, a hash is made of the definition and of all
//! that it names in turn. The same sources give the same hash in every folder; comments, documentation, lints and the
//! bodies of functions do not count.
//!
//! What counts, by the name that it defines: `struct`, `enum`, `union`, `type`, `const`, `static`, traits without their default
//! bodies, `const fn`, the constants and types of an `impl`, what `use` imports under a name, macros, and invocations of
//! macros that hold a definition of the name. With them count the features and `--cfg`s that these texts ask for.
//!
//! What another crate defines, a name stands for and no more.
//!
//! Where there is no root file (documentation tests, editors), nothing is said of any type.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::visit::Visit;
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Type, UseTree};

use crate::hash::Hash;

/// One definition: its text, and what it names.
struct Text {
    text: String,
    names: BTreeSet<String>,
}

/// What is known of the crate that is being compiled.
#[derive(Default)]
struct Sources {
    by_name: BTreeMap<String, Vec<Text>>,
    /// Names and values of the `--cfg`s.
    cfgs: Vec<(String, Option<String>)>,
    /// What decides the features of the processor.
    target: Vec<String>,
}

/// A name that the crate defines, and a hash of all that it stands for.
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) hash: u64,
    /// The definition asks whether debug assertions are on: the crate's own `cfg!` tells.
    pub(crate) asks_for_debug: bool,
}

/// The definitions of those of `names` that the crate defines.
pub(crate) fn definitions(names: &TokenStream) -> Vec<Definition> {
    thread_local! {
        static SOURCES: OnceCell<Sources> = const { OnceCell::new() };
    }
    let mut wanted = BTreeSet::new();
    collect_names(names, &mut wanted);
    SOURCES.with(|sources| {
        let sources = sources.get_or_init(|| Sources::of_command_line(&command_line()));
        wanted.iter().filter_map(|name| sources.definition(name)).collect()
    })
}

/// The compiler's, with files of arguments read.
fn command_line() -> Vec<String> {
    let mut words = Vec::new();
    for word in std::env::args_os().skip(1).filter_map(|word| word.into_string().ok()) {
        match word.strip_prefix('@').and_then(|file| std::fs::read_to_string(file).ok()) {
            Some(text) => words.extend(text.lines().map(str::to_owned)),
            None => words.push(word),
        }
    }
    words
}

impl Sources {
    fn of_command_line(words: &[String]) -> Self {
        let mut sources = Self::default();
        let mut words = words.iter();
        let mut root = None;
        while let Some(word) = words.next() {
            let cfg =
                if word == "--cfg" { words.next().map(String::as_str) } else { word.strip_prefix("--cfg=") };
            if let Some(cfg) = cfg {
                let (name, value) =
                    cfg.split_once('=').map_or((cfg, None), |(name, value)| (name, Some(value)));
                let value = value.map(|value| value.trim().trim_matches('"').to_owned());
                sources.cfgs.push((name.trim().to_owned(), value));
            } else if word.contains("target-feature=") || word.contains("target-cpu=") {
                sources.target.push(word.trim_start_matches("-C").to_owned());
            } else if root.is_none() && word.ends_with(".rs") && !word.starts_with('-') {
                root = Some(PathBuf::from(word)).filter(|path| path.is_file());
            }
        }
        sources.cfgs.sort();
        sources.cfgs.dedup();
        sources.target.sort();
        if let Some(root) = root {
            let mut collector =
                Collector { sources: &mut sources, within: Vec::new(), at: Place::root(&root) };
            collector.file(&root);
        }
        sources
    }

    fn definition(&self, name: &str) -> Option<Definition> {
        self.by_name.get(name)?;
        let (mut seen, mut queue) = (BTreeSet::from([name]), VecDeque::from([name]));
        while let Some(next) = queue.pop_front() {
            let names = self.by_name[next].iter().flat_map(|text| &text.names);
            for name in names.filter(|name| self.by_name.contains_key(*name)) {
                if seen.insert(name) {
                    queue.push_back(name);
                }
            }
        }
        let mut texts: Vec<_> = seen.iter().flat_map(|name| &self.by_name[*name]).collect();
        texts.sort_by(|one, other| one.text.cmp(&other.text));
        let names_it = |word: &str| texts.iter().any(|text| text.names.contains(word));
        let mut hash = Hash::new();
        texts.iter().for_each(|text| hash.add(&text.text));
        for (name, value) in &self.cfgs {
            let quoted = value.as_ref().map(|value| format!("{value:?}"));
            let is_asked = |quoted: &String| texts.iter().any(|text| text.text.contains(quoted));
            if names_it(name) && quoted.as_ref().is_none_or(is_asked) {
                hash.add(name);
                hash.add(value.as_deref().unwrap_or_default());
            }
        }
        if names_it("target_feature") {
            self.target.iter().for_each(|word| hash.add(word));
        }
        Some(Definition {
            name: name.to_owned(),
            hash: hash.get(),
            asks_for_debug: names_it("debug_assertions"),
        })
    }

    fn add(&mut self, name: &str, within: &[String], tokens: TokenStream) {
        let mut text = within.concat();
        write(tokens, &mut text);
        let mut names = BTreeSet::new();
        // The text once more, so that what it stands within counts, and what was left out does not.
        if let Ok(tokens) = text.parse::<TokenStream>() {
            collect_names(&tokens, &mut names);
        }
        self.by_name.entry(name.to_owned()).or_default().push(Text { text, names });
    }
}

/// Attributes that change nothing of a type.
const SILENT: [&str; 9] =
    ["doc", "allow", "warn", "deny", "forbid", "expect", "must_use", "deprecated", "inline"];

/// Writes tokens in one form, whatever stood between them, without what does not count.
fn write(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if let TokenTree::Punct(punct) = &token
            && punct.as_char() == '#'
            && let Some(TokenTree::Group(group)) = tokens.peek()
            && let Some(TokenTree::Ident(first)) = group.stream().into_iter().next()
            && SILENT.iter().any(|name| first == name)
        {
            tokens.next();
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => {
                text.push(punct.as_char());
                if punct.spacing() == proc_macro2::Spacing::Alone {
                    text.push(' ');
                }
            }
            other => {
                text.push_str(&other.to_string());
                text.push(' ');
            }
        }
    }
}

fn collect_names(tokens: &TokenStream, names: &mut BTreeSet<String>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(ident) => {
                names.insert(ident.to_string());
            }
            TokenTree::Group(group) => collect_names(&group.stream(), names),
            _ => {}
        }
    }
}

/// Where the modules that a file declares are.
struct Place {
    /// The folder of the file.
    folder: PathBuf,
    /// The folder of the modules that it declares without a path.
    modules: PathBuf,
}

impl Place {
    fn root(file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Self { modules: folder.clone(), folder }
    }

    /// `name.rs` declares modules in `name`, `mod.rs` beside itself.
    fn module(file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let modules = match file.file_stem() {
            Some(stem) if stem != "mod" => folder.join(stem),
            _ => folder.clone(),
        };
        Self { folder, modules }
    }
}

/// Walks through a file and the modules that it declares.
struct Collector<'a> {
    sources: &'a mut Sources,
    /// The conditions of the modules that this is within.
    within: Vec<String>,
    at: Place,
}

impl Collector<'_> {
    fn file(&mut self, path: &Path) {
        let Ok(text) = std::fs::read_to_string(path) else { return };
        match syn::parse_file(&text) {
            Ok(file) => file.items.iter().for_each(|item| self.visit_item(item)),
            // What cannot be taken apart counts as a whole, for every name in it.
            Err(_) => {
                if let Ok(tokens) = text.parse::<TokenStream>() {
                    self.whole(&tokens);
                }
            }
        }
    }

    fn add(&mut self, name: &syn::Ident, tokens: TokenStream) {
        self.sources.add(&name.to_string(), &self.within, tokens);
    }

    /// A text, for each name that follows a keyword of a definition in it.
    fn whole(&mut self, tokens: &TokenStream) {
        let mut names = BTreeSet::new();
        collect_defined(tokens, &mut names);
        names.iter().for_each(|name| self.sources.add(name, &self.within, tokens.clone()));
    }

    fn module(&mut self, module: &syn::ItemMod) {
        let name = module.ident.to_string();
        let name = name.strip_prefix("r#").unwrap_or(&name);
        let depth = self.within.len();
        for attribute in module.attrs.iter().filter(|attribute| is_condition(attribute)) {
            let mut text = String::new();
            write(attribute.to_token_stream(), &mut text);
            self.within.push(text);
        }
        let outer;
        if let Some((_, items)) = &module.content {
            let modules = self.at.modules.join(name);
            outer = core::mem::replace(&mut self.at, Place { folder: modules.clone(), modules });
            items.iter().for_each(|item| self.visit_item(item));
        } else {
            let written = module.attrs.iter().find_map(path_of).map(|path| self.at.folder.join(path));
            let flat = self.at.modules.join(format!("{name}.rs"));
            let path = match written {
                Some(path) => path,
                None if flat.is_file() => flat,
                None => self.at.modules.join(name).join("mod.rs"),
            };
            // A file that a path names declares modules beside itself.
            let place = if module.attrs.iter().any(|attribute| path_of(attribute).is_some()) {
                Place::root(&path)
            } else {
                Place::module(&path)
            };
            outer = core::mem::replace(&mut self.at, place);
            self.file(&path);
        }
        self.at = outer;
        self.within.truncate(depth);
    }

    fn import(&mut self, tree: &UseTree, whole: &TokenStream) {
        match tree {
            UseTree::Path(path) => self.import(&path.tree, whole),
            UseTree::Name(name) => self.add(&name.ident, quote!(use #whole #tree)),
            UseTree::Rename(rename) => self.add(&rename.rename, quote!(use #whole #tree)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, whole)),
            _ => {}
        }
    }
}

/// The names behind `struct`, `enum` and so on.
fn collect_defined(tokens: &TokenStream, names: &mut BTreeSet<String>) {
    const KEYWORDS: [&str; 7] = ["struct", "enum", "union", "type", "const", "static", "trait"];
    let mut after = false;
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(ident) => {
                if after {
                    names.insert(ident.to_string());
                }
                after = KEYWORDS.iter().any(|keyword| ident == keyword);
            }
            TokenTree::Group(group) => {
                collect_defined(&group.stream(), names);
                after = false;
            }
            _ => after = false,
        }
    }
}

fn is_condition(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
}

/// `#[cfg(test)]`: no interface is made of it.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(&attribute.meta, Meta::List(list)
            if attribute.path().is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

/// `#[path = ".."]`.
fn path_of(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        Expr::Lit(literal) if attribute.path().is_ident("path") => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// What `include!` was given: texts, `env!`, and `concat!` of them.
fn included(tokens: &TokenStream) -> Option<String> {
    let mut text = String::new();
    let mut tokens = tokens.clone().into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Literal(literal) => {
                let literal: syn::LitStr = syn::parse2(TokenTree::from(literal).into()).ok()?;
                text.push_str(&literal.value());
            }
            TokenTree::Ident(name) if name == "concat" || name == "env" => {
                tokens.next()?;
                let Some(TokenTree::Group(group)) = tokens.next() else { return None };
                let inner = included(&group.stream())?;
                text.push_str(&if name == "env" { std::env::var(inner).ok()? } else { inner });
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' => {}
            TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::None => {
                text.push_str(&included(&group.stream())?);
            }
            _ => return None,
        }
    }
    Some(text)
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Struct(item) if !is_for_tests(&item.attrs) => self.add(&item.ident, item.to_token_stream()),
            Item::Enum(item) if !is_for_tests(&item.attrs) => self.add(&item.ident, item.to_token_stream()),
            Item::Union(item) if !is_for_tests(&item.attrs) => self.add(&item.ident, item.to_token_stream()),
            Item::Type(item) if !is_for_tests(&item.attrs) => self.add(&item.ident, item.to_token_stream()),
            Item::Const(item) => {
                self.add(&item.ident, item.to_token_stream());
                self.visit_expr(&item.expr);
            }
            Item::Static(item) => self.add(&item.ident, item.to_token_stream()),
            Item::Trait(item) if !is_for_tests(&item.attrs) => {
                let mut bare = item.clone();
                for item in &mut bare.items {
                    if let TraitItem::Fn(function) = item {
                        function.default = None;
                    }
                }
                self.add(&item.ident, bare.to_token_stream());
            }
            Item::Fn(item) if !is_for_tests(&item.attrs) => {
                if item.sig.constness.is_some() {
                    self.add(&item.sig.ident, item.to_token_stream());
                }
                // Types may be declared inside.
                self.visit_block(&item.block);
            }
            Item::Impl(item) if !is_for_tests(&item.attrs) => {
                let counts = |item: &&ImplItem| match item {
                    ImplItem::Const(_) | ImplItem::Type(_) => true,
                    ImplItem::Fn(function) => function.sig.constness.is_some(),
                    _ => false,
                };
                let kept: Vec<_> = item.items.iter().filter(counts).collect();
                if let Type::Path(ty) = &*item.self_ty
                    && let Some(last) = ty.path.segments.last()
                    && !kept.is_empty()
                {
                    self.add(&last.ident, quote!(impl #(#kept)*));
                }
                for item in &item.items {
                    if let ImplItem::Fn(function) = item {
                        self.visit_block(&function.block);
                    }
                }
            }
            Item::Use(item) if !is_for_tests(&item.attrs) => {
                let conditions = item.attrs.iter().filter(|attribute| is_condition(attribute));
                let prefix = paths_before_the_last(&item.tree);
                self.import(&item.tree, &quote!(#(#conditions)* #prefix));
            }
            Item::Mod(item) if !is_for_tests(&item.attrs) => self.module(item),
            Item::Macro(item) => {
                if let Some(name) = &item.ident {
                    self.add(name, item.to_token_stream());
                } else if item.mac.path.is_ident("include") {
                    if let Some(path) = included(&item.mac.tokens) {
                        let path = self.at.folder.join(path);
                        self.file(&path);
                    }
                } else {
                    self.whole(&item.to_token_stream());
                }
            }
            _ => {}
        }
    }
}

/// The path that an import begins with, as far as it does not branch.
fn paths_before_the_last(tree: &UseTree) -> TokenStream {
    match tree {
        UseTree::Path(path) => {
            let (name, rest) = (&path.ident, paths_before_the_last(&path.tree));
            quote!(#name :: #rest)
        }
        _ => TokenStream::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of `name` in a crate with these files.
    fn hash_in(test: &str, files: &[(&str, &str)], cfgs: &[&str], name: &str) -> Option<u64> {
        let folder = std::env::temp_dir().join(format!("hotcall-sources-{}-{test}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = folder.join(files[0].0).to_str().unwrap().to_owned();
        let mut words = vec!["--crate-name".to_owned(), "x".to_owned(), root];
        words.extend(cfgs.iter().flat_map(|cfg| ["--cfg".to_owned(), (*cfg).to_owned()]));
        let sources = Sources::of_command_line(&words);
        std::fs::remove_dir_all(&folder).unwrap();
        sources.definition(name).map(|definition| definition.hash)
    }

    fn hash(text: &str, name: &str) -> u64 {
        hash_in(&format!("{:x}", Hash::of(&[text])), &[("lib.rs", text)], &[], name).expect("it is defined")
    }

    #[test]
    fn an_order_counts_and_a_comment_does_not() {
        let one = hash("pub enum Mode { Low, High }", "Mode");
        assert_ne!(one, hash("pub enum Mode { High, Low }", "Mode"));
        let same = "//! A crate.\n/// A mode.\n#[allow(unused)] pub enum Mode {\n /** Low. */ Low, /* and */ High }\nfn f() {}";
        assert_eq!(one, hash(same, "Mode"));
    }

    #[test]
    fn what_a_type_names_counts() {
        let of = |rest: &str| hash(&format!("pub struct Outer(pub [inner::Inner; N]); {rest}"), "Outer");
        let one = of("const N: usize = 2; mod inner { pub struct Inner(u8, u16); }");
        assert_ne!(one, of("const N: usize = 3; mod inner { pub struct Inner(u8, u16); }"));
        assert_ne!(one, of("const N: usize = 2; mod inner { pub struct Inner(u16, u8); }"));
        assert_eq!(one, of("const N: usize = 2; struct Other; mod inner { pub struct Inner(u8, u16); }"));
    }

    #[test]
    fn modules_and_included_files_are_followed() {
        let of = |text: &str| {
            let files = [
                ("lib.rs", "mod a; include!(\"b.rs\"); #[path = \"elsewhere/d.rs\"] mod d;"),
                ("b.rs", "pub struct B(a::c::C, d::D);"),
                ("a.rs", "pub mod c;"),
                ("a/c.rs", "pub struct C(u8, u16);"),
                ("elsewhere/d.rs", text),
            ];
            hash_in("modules", &files, &[], "B").unwrap()
        };
        assert_eq!(of("pub struct D(u8, u16);"), of("pub  struct D( u8, u16 );"));
        assert_ne!(of("pub struct D(u8, u16);"), of("pub struct D(u16, u8);"));
    }

    #[test]
    fn what_is_asked_for_counts() {
        let text = "#[cfg(feature = \"x\")] pub struct A(u8, u16); #[cfg(not(feature = \"x\"))] pub struct A(u16, u8); \
                    pub struct B(u8);";
        let of = |cfgs: &[&str], name| hash_in("features", &[("lib.rs", text)], cfgs, name).unwrap();
        assert_ne!(of(&["feature=\"x\""], "A"), of(&[], "A"));
        assert_eq!(of(&["feature=\"y\"", "other"], "A"), of(&[], "A"));
        assert_eq!(of(&["feature=\"x\""], "B"), of(&[], "B"));
        let within = "#[cfg(feature = \"x\")] mod m { pub struct C(u8); }";
        let of = |cfgs: &[&str]| hash_in("within", &[("lib.rs", within)], cfgs, "C").unwrap();
        assert_ne!(of(&["feature=\"x\""]), of(&[]));
    }

    #[test]
    fn what_is_not_defined_has_no_hash() {
        assert_eq!(hash_in("none", &[("lib.rs", "pub struct A;")], &[], "B"), None);
        assert!(Sources::of_command_line(&[]).by_name.is_empty());
    }
}

//! Where plugins are: a folder, or one file of it. What each file offers is read from its header; nothing of it runs.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use object::read::elf::NativeElfFile;

use super::PluginsError;
use crate::error::PluginError;
use crate::interface::Interface;
use crate::plugin::compare::{self, Difference};
use crate::plugin::file;
use crate::plugin::header::{Build, Header, InterfaceRecord};

/// A folder of plugins, or one file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    folder: PathBuf,
    only: Option<PathBuf>,
}

/// A plugin's name: that of its file, without `lib` before and `.so` behind. `None` for what is no library by its name.
pub(super) fn name_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_suffix(".so")?;
    let name = name.strip_prefix("lib").unwrap_or(name);
    (!name.is_empty() && !name.starts_with('.')).then_some(name)
}

impl Source {
    /// A folder that is there, or a file whose folder is.
    pub(super) fn new(path: &Path) -> Result<Self, PluginsError> {
        let refused = |source| PluginsError::Folder { path: path.to_owned(), source };
        // Events name files by the folder that was given: one name for one file.
        let path = std::path::absolute(path).map_err(refused)?;
        if path.is_dir() {
            return Ok(Self { folder: path, only: None });
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        if name_of(&path).is_none() {
            let none = match fs::metadata(&path) {
                Ok(_) => {
                    io::Error::new(io::ErrorKind::InvalidInput, "it is neither a folder nor named `NAME.so`")
                }
                Err(error) => error,
            };
            return Err(refused(none));
        }
        if !folder.is_dir() {
            return Err(refused(io::ErrorKind::NotFound.into()));
        }
        Ok(Self { folder: folder.to_owned(), only: Some(path.clone()) })
    }

    #[cfg(feature = "watch")]
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of the plugin that a file of this name would be; `None` where it is none of these.
    pub(super) fn plugin<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let here = match &self.only {
            Some(only) => path == only,
            None => path.parent() == Some(&self.folder),
        };
        name_of(path).filter(|_| here)
    }

    /// Every file that may be a plugin by its name, in the order of their names.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        if let Some(only) = &self.only {
            return Ok(only.exists().then(|| only.clone()).into_iter().collect());
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = self.folder.join(entry?.file_name());
            if name_of(&path).is_some() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The file of the plugin `name`: the first where several have that name.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        self.files().ok()?.into_iter().find(|path| name_of(path) == Some(name))
    }

    /// Where it would be expected.
    pub(super) fn expected(&self, name: &str) -> PathBuf {
        self.only.clone().unwrap_or_else(|| self.folder.join(format!("lib{name}.so")))
    }
}

/// What a look at a file found.
pub(super) enum Look {
    /// It was not written to for a moment, and did not change while it was read.
    Read(Vec<u8>),
    /// Somebody writes, or did so just now.
    Busy,
    /// It is not there.
    Missing,
    /// It cannot be read.
    Failed(PluginError),
}

/// Reads a file to which nothing has been written for `quiet`.
pub(super) fn look(path: &Path, quiet: Duration) -> Look {
    let metadata = || fs::metadata(path);
    let before = match metadata() {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Look::Missing,
        Err(source) => return Look::Failed(PluginError::Read { path: path.to_owned(), source }),
    };
    // A time that is to come says nothing.
    let age = before.modified().ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    if before.is_file() && age.is_some_and(|age| age < quiet) {
        return Look::Busy;
    }
    let bytes = match file::read(path) {
        Ok(bytes) => bytes,
        Err(PluginError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Look::Missing;
        }
        // To wait for the rest of it is for the caller.
        Err(PluginError::NotAPlugin { .. }) if before.is_file() && before.len() < 4 => match fs::read(path) {
            Ok(bytes) => bytes,
            Err(_) => return Look::Busy,
        },
        Err(error) => return Look::Failed(error),
    };
    match metadata() {
        Ok(after) if is_same(&before, &after) => Look::Read(bytes),
        _ => Look::Busy,
    }
}

fn is_same(before: &Metadata, after: &Metadata) -> bool {
    let of = |it: &Metadata| (it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec());
    of(before) == of(after)
}

/// A file in a folder of plugins, and what its header says. Made by [`Plugins::discover`](crate::Plugins::discover).
pub struct Found {
    path: PathBuf,
    name: String,
    built_with: Option<String>,
    needs: Vec<String>,
    headers: Vec<Header>,
    refusal: Option<PluginError>,
    shadowed_by: Option<PathBuf>,
}

/// A plugin that a library offers.
pub struct Offer<'a> {
    header: &'a Header,
}

impl Offer<'_> {
    /// The interface, as written: `dyn Effect`.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.header.interface.name
    }

    /// Name and version of the crate that declares the interface.
    #[must_use]
    pub fn interface_crate(&self) -> (&str, &str) {
        (&self.header.interface.crate_name, &self.header.interface.crate_version)
    }

    /// The name under which it is exported.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// Name and version of the package that exports it.
    #[must_use]
    pub fn package(&self) -> (&str, &str) {
        (&self.header.package.0, &self.header.package.1)
    }

    /// Whether it saves and restores its state.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        self.header.hands_over
    }
}

impl fmt::Debug for Offer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("interface", &self.interface())
            .field("name", &self.name())
            .field("package", &self.package())
            .finish_non_exhaustive()
    }
}

impl Found {
    /// Reads the header of a file.
    fn read(path: PathBuf) -> Self {
        let name = name_of(&path).unwrap_or_default().to_owned();
        let mut found = Self {
            path,
            name,
            built_with: None,
            needs: Vec::new(),
            headers: Vec::new(),
            refusal: None,
            shadowed_by: None,
        };
        let read = file::read(&found.path).and_then(|bytes| {
            found.needs = needs(&bytes);
            file::headers(&found.path, &bytes)
        });
        match read {
            Ok(headers) => {
                found.headers = headers;
                found.built_with = Some(Build::host().to_string());
            }
            Err(error) => {
                if let PluginError::Build { library, .. } = &error {
                    found.built_with = Some(library.clone());
                }
                found.refusal = Some(error);
            }
        }
        found
    }

    /// All of a folder.
    pub(super) fn all(source: &Source) -> io::Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        for path in source.files()? {
            let mut found = Self::read(path);
            found.shadowed_by =
                all.iter().find(|earlier| earlier.name == found.name).map(|earlier| earlier.path.clone());
            all.push(found);
        }
        Ok(all)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The plugin's name: that of the file, without `lib` and `.so`. It is what [`Plugins::keep`](crate::Plugins::keep) takes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hotcall and the compiler that built it, where it has a header that says so.
    #[must_use]
    pub fn built_with(&self) -> Option<&str> {
        self.built_with.as_deref()
    }

    /// The libraries that it needs, as it names them.
    #[must_use]
    pub fn needs(&self) -> &[String] {
        &self.needs
    }

    /// What it offers. Nothing, where it is refused whole.
    pub fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        self.headers.iter().map(|header| Offer { header })
    }

    /// What this program would refuse it for, whatever the interface. `None` where it would not.
    #[must_use]
    pub fn refusal(&self) -> Option<&PluginError> {
        self.refusal.as_ref()
    }

    /// What it would be refused for where the interface `I` was asked of it. `None` where it would be loaded.
    #[must_use]
    pub fn refusal_for<I: ?Sized + Interface>(&self) -> Option<String> {
        if let Some(refusal) = &self.refusal {
            return Some(refusal.to_string());
        }
        let host = const { &I::DESCRIPTION };
        let mut of_that_name =
            self.headers.iter().filter(|header| header.interface.name == host.name).peekable();
        if of_that_name.peek().is_none() {
            return Some(format!("{} does not export `{}`", self.path.display(), host.name));
        }
        let mut difference = None;
        for header in of_that_name {
            difference = Some(compare::difference(&header.interface, &InterfaceRecord::of(host))?);
        }
        difference.map(|Difference { library, host: ours }| {
            let (path, name) = (self.path.clone(), host.name.to_owned());
            PluginError::Interface { path, name, library, host: ours }.to_string()
        })
    }

    /// An earlier file of the same name: that one is taken. `None` where there is none.
    #[must_use]
    pub fn shadowed_by(&self) -> Option<&Path> {
        self.shadowed_by.as_deref()
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("path", &self.path)
            .field("offers", &self.offers().collect::<Vec<_>>())
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}

/// One line for each thing that it offers, or why it offers nothing.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refusal) = &self.refusal {
            return write!(f, "{}: {refusal}", self.name);
        }
        for (index, offer) in self.offers().enumerate() {
            let (package, version) = offer.package();
            let newline = if index == 0 { "" } else { "\n" };
            write!(
                f,
                "{newline}{}: {} as {} of {package} {version}",
                self.name,
                offer.interface(),
                offer.name()
            )?;
        }
        Ok(())
    }
}

/// The libraries that an ELF file names as needed.
fn needs(bytes: &[u8]) -> Vec<String> {
    let Ok(elf) = NativeElfFile::parse(bytes) else { return Vec::new() };
    let Ok(table) = elf.elf_dynamic_table() else { return Vec::new() };
    let needed = table.iter().filter(|entry| entry.tag == object::elf::DT_NEEDED);
    needed.filter_map(|entry| Some(String::from_utf8_lossy(table.string(entry).ok()?).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_names() {
        for (file, name) in [
            ("/a/libreverb.so", Some("reverb")),
            ("reverb.so", Some("reverb")),
            ("/a/libreverb.so.1", None),
            ("/a/libreverb.d", None),
            ("/a/lib.so", None),
            ("/a/.so", None),
            // What rsync writes before it renames.
            ("/a/.libreverb.so.x7Yq2z", None),
            ("/a/.libreverb.so", None),
        ] {
            assert_eq!(name_of(Path::new(file)), name, "{file}");
        }
    }

    #[test]
    fn needed_libraries_are_named() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(needs(&own).iter().any(|name| name.starts_with("libc")), "{:?}", needs(&own));
        assert!(needs(b"text").is_empty());
    }
}

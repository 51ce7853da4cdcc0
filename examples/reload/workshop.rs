//! Where the plugin is written, edited and built: a package of its own, beside the program's build.

use std::fs;
use std::path::{Path, PathBuf};

use hotcall_examples::plugins::{self, BuildError};

const SOURCE: &str = include_str!("plugin.rs");
const INTERFACE: &str = include_str!("../tally/src/lib.rs");

/// One edit of the plugin's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Another version.
    Good,
    /// It does not compile.
    Broken,
    /// It compiles; of what is built only the front half arrives.
    Half,
    /// Its interface has one more method.
    OtherInterface,
    /// It panics at its first call.
    Panics,
}

/// The package.
#[derive(Debug)]
pub struct Workshop {
    folder: PathBuf,
}

impl Workshop {
    /// Begins in an empty folder.
    pub fn new(folder: PathBuf) -> std::io::Result<Self> {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("src"))?;
        fs::create_dir_all(folder.join("other/src"))?;
        fs::create_dir_all(folder.join("plugins"))?;
        // The dependencies that the program has, so that nothing is to be fetched.
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock"), folder.join("Cargo.lock"))?;
        let interface = manifest("hotcall-tally", "", &[("hotcall", &path("../runtime"))]);
        fs::write(folder.join("other/Cargo.toml"), interface)?;
        let edited = INTERFACE.replace(
            "    /// What has been",
            "    /// One more.\n    fn more(&self) {}\n\n    /// What has been",
        );
        fs::write(folder.join("other/src/lib.rs"), edited)?;
        Ok(Self { folder })
    }

    /// Where the plugins are that the host watches.
    pub fn plugins(&self) -> PathBuf {
        self.folder.join("plugins")
    }

    /// Edits the source, builds it, and puts what was built where the host looks. Whether the compiler took it.
    pub fn build(&self, version: u64, edit: Edit) -> Result<bool, Box<dyn std::error::Error>> {
        let mut source =
            SOURCE.replace("const VERSION: u64 = 1;", &format!("const VERSION: u64 = {version};"));
        match edit {
            Edit::Broken => source.push_str("\nfn broken( {\n"),
            Edit::Panics => {
                source = source.replace("// (begin)", "assert_eq!(x, 0, \"this version cannot count\");")
            }
            Edit::Good | Edit::Half | Edit::OtherInterface => {}
        }
        fs::write(self.folder.join("src/lib.rs"), source)?;
        let interface = if edit == Edit::OtherInterface { "other".to_owned() } else { path("tally") };
        let library = "[lib]\nname = \"counter\"\ncrate-type = [\"cdylib\"]\n\n[workspace]\n\n\
                       [profile.release]\ndebug = \"line-tables-only\"\n";
        let package =
            manifest("counter", library, &[("hotcall", &path("../runtime")), ("hotcall-tally", &interface)]);
        fs::write(self.folder.join("Cargo.toml"), package)?;
        let built = match plugins::build_package(&self.folder, "counter") {
            Ok(built) => built,
            Err(BuildError::Failed { .. }) if edit == Edit::Broken => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let installed = self.plugins().join("libcounter.so");
        if edit == Edit::Half {
            let whole = fs::read(built)?;
            fs::write(&installed, &whole[..whole.len() / 2])?;
        } else {
            fs::copy(built, &installed)?;
        }
        Ok(true)
    }
}

fn path(from_examples: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(from_examples).display().to_string()
}

fn manifest(name: &str, more: &str, dependencies: &[(&str, &str)]) -> String {
    let dependencies: String =
        dependencies.iter().map(|(name, path)| format!("{name} = {{ path = {path:?} }}\n")).collect();
    format!(
        "[package]\nname = {name:?}\nversion = {:?}\nedition = \"2024\"\n\n{more}\n[dependencies]\n{dependencies}",
        env!("CARGO_PKG_VERSION")
    )
}

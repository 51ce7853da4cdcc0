//! The programs, and how they are built.

use std::path::{Path, PathBuf};
use std::process::Command;

use hotcall_tests::package::{cargo, folder, of_workspace, write};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// One way to build them.
pub struct Build {
    pub name: &'static str,
    /// Of a hundred calls, at least so many are patched.
    pub least: usize,
    /// Also where not all are asked for.
    pub always: bool,
    /// The library is a Rust dylib.
    dylib: bool,
    profile: &'static str,
    /// What cargo's configuration has beside that.
    config: &'static [&'static str],
    /// As the compiler driver calls it.
    pub linker: Option<&'static str>,
}

const RELEASE: Build = Build {
    name: "3",
    least: 99,
    always: false,
    dylib: false,
    profile: "release",
    config: &[],
    linker: None,
};
const DEV: Build = Build { name: "0", least: 85, profile: "dev", ..RELEASE };

/// All of them.
pub fn builds() -> Vec<Build> {
    let level = |name, config| Build { name, config, ..RELEASE };
    let linker = |name, linker| Build { name, linker: Some(linker), ..RELEASE };
    let always = |build| Build { always: true, ..build };
    vec![
        always(DEV),
        always(RELEASE),
        level("s", &["opt-level=\"s\""]),
        level("fat LTO", &["lto=\"fat\"", "codegen-units=1"]),
        Build { name: "dylib", dylib: true, ..RELEASE },
        level("1", &["opt-level=1"]),
        level("2", &["opt-level=2"]),
        level("z", &["opt-level=\"z\""]),
        level("thin LTO", &["lto=\"thin\""]),
        // A call that cannot unwind does not end its block: now and then four bytes and more come between label and call.
        Build { least: 98, ..level("panic=abort", &["panic=\"abort\""]) },
        level("target-cpu=native", &["rustflags"]),
        // What the compiler moves between label and call does no harm only where the label is at a multiple of 8.
        Build { least: 98, ..level("debug assertions", &["debug-assertions=true"]) },
        level("one unit", &["codegen-units=1"]),
        // Nobody can tell from within that nothing is optimised: most calls are left alone, and right.
        Build { least: 25, ..level("0 without assertions", &["opt-level=0"]) },
        Build { name: "dev, optimised dependencies", config: &["package.\"*\".opt-level=3"], ..DEV },
        Build { name: "dev dylib", dylib: true, ..DEV },
        linker("ld.bfd", "bfd"),
        linker("ld.gold", "gold"),
        linker("ld.lld", "lld"),
        linker("mold", "mold"),
    ]
}

/// Whether the linker is here.
pub fn is_installed(linker: &str) -> bool {
    let program = if linker == "mold" { "mold".to_owned() } else { format!("ld.{linker}") };
    Command::new(program).arg("--version").output().is_ok()
}

/// What was made.
pub struct Built {
    pub program: PathBuf,
    pub plugin: Option<PathBuf>,
    pub dylib: Option<PathBuf>,
}

impl Build {
    /// Writes the packages, and builds them.
    pub fn make(&self) -> Built {
        let folder = folder(TMP, if self.dylib { "sites-dynamic" } else { "sites" });
        write_packages(&folder, self.dylib);
        let program = self.artefact(&folder, "sites-program", "--bins", "sites-program");
        if self.dylib {
            let deps = program.parent().expect("it is in a folder").join("deps");
            return Built { program, plugin: None, dylib: Some(deps.join("libsites_library.so")) };
        }
        if self.linker == Some("gold") {
            println!(
                "{}: without the plugin, in which gold leaves the address of a frame's personality out",
                self.name
            );
            return Built { program, plugin: None, dylib: None };
        }
        let plugin = self.artefact(&folder, "sites-plugin", "--lib", "libsites_plugin.so");
        Built { program, plugin: Some(plugin), dylib: None }
    }

    /// Builds a package, and gives its file of that name.
    fn artefact(&self, folder: &Path, package: &str, target: &str, file: &str) -> PathBuf {
        let mut words = vec!["rustc".to_owned(), "--quiet".to_owned(), target.to_owned()];
        words
            .extend(["--package", package, "--target", TARGET, "--profile", self.profile].map(str::to_owned));
        words.push("--message-format=json-render-diagnostics".to_owned());
        for setting in self.config {
            words.push("--config".to_owned());
            words.push(match *setting {
                "rustflags" => format!("target.{TARGET}.rustflags=[\"-Ctarget-cpu=native\"]"),
                setting => format!("profile.{}.{setting}", self.profile),
            });
        }
        if let Some(linker) = self.linker {
            // Without the first, rustc's own lld comes first.
            words.extend(["--".to_owned(), "-Clinker-features=-lld".to_owned()]);
            words.push(format!("-Clink-arg=-fuse-ld={linker}"));
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let messages = cargo(TMP, folder, &words);
        let messages =
            messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let files = messages.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
        let mut files = files.filter_map(|file| Some(PathBuf::from(file.as_str()?)));
        let made = files.find(|path| path.file_name().is_some_and(|name| name == file));
        made.unwrap_or_else(|| panic!("{}: cargo made no {file}", self.name))
    }
}

fn write_packages(folder: &Path, dylib: bool) {
    let source = |name: &str| format!("{}/plugins/sites/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let hotcall = concat!("hotcall = { path = \"", env!("CARGO_MANIFEST_DIR"), "/../runtime\" }\n");
    let package = |name: &str, more: &str| {
        format!(
            "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n{more}[dependencies]\n{hotcall}"
        )
    };
    let lib = |kind: &str, name: &str| format!("[lib]\ncrate-type = [{kind:?}]\npath = {:?}\n", source(name));
    let shapes = "sites-shapes = { path = \"../shapes\" }\n";
    let library = "sites-library = { path = \"../library\" }\n";
    let kind = if dylib { "dylib" } else { "rlib" };
    let program = format!("[[bin]]\nname = \"sites-program\"\npath = {:?}\n", source("program"));
    let manifests = [
        ("shapes", package("sites-shapes", &lib("rlib", "shapes"))),
        ("library", package("sites-library", &lib(kind, "library")) + shapes),
        ("plugin", package("sites-plugin", &lib("cdylib", "plugin")) + shapes + library),
        ("program", package("sites-program", &program) + shapes + library),
    ];
    for (name, manifest) in manifests {
        write(&folder.join(name).join("Cargo.toml"), &manifest);
    }
    // What is built from elsewhere is the same in every build: only the callers are built as the profile says.
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"shapes\", \"library\", \"plugin\", \"program\"]\n\
                     [profile.dev]\ndebug = 0\n[profile.release.package.\"*\"]\nopt-level = 3\n";
    write(&folder.join("Cargo.toml"), workspace);
    write(&folder.join("Cargo.lock"), &of_workspace("Cargo.lock"));
}

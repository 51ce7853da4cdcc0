//! Plugins that are what they should be, and many that are not: what is refused has run none of its code.
//!
//! The plugins are built here, by cargo, into a target directory of their own: some of them with another
//! interface or another compiler's name.
#![cfg(all(target_os = "linux", not(miri)))]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs};

use hotcall::{Error, Instance, Library, PluginError};
use hotcall_probe::{Probe, Stage, Unheard};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");
const OTHER_COMPILER: (&str, &str) = ("HOTCALL_DECLARED_COMPILER", "rustc 9.99.0 (of another world)");
const OTHER_SIGNATURE: (&str, &str) = ("HOTCALL_PROBE", "signature");
const OTHER_LAYOUT: (&str, &str) = ("HOTCALL_PROBE", "layout");

/// Builds `hotcall-probe-<plugin>`, once for each change, and answers where the library is.
fn build(plugin: &str, change: Option<(&str, &str)>) -> PathBuf {
    // Holding the lock keeps builds with different environments apart.
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let key = format!(
        "{plugin}-{}",
        change.map_or("same", |(name, value)| if name == "HOTCALL_PROBE" { value } else { "compiler" })
    );
    let built = built.get_or_insert_default();
    if let Some(path) = built.get(&key) {
        return path.clone();
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(ROOT).args(["build", "--message-format=json-render-diagnostics", "--target-dir"]);
    cargo.arg(Path::new(SCRATCH).join("plugins")).args(["--package", &format!("hotcall-probe-{plugin}")]);
    cargo.env_remove("HOTCALL_PROBE").envs(change);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{cargo:?}\n{}", String::from_utf8_lossy(&output.stderr));
    let library = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == format!("hotcall_probe_{plugin}"))
        .find_map(|message| message["filenames"][0].as_str().map(PathBuf::from))
        .expect("cargo names the library");
    // The next build with another environment overwrites it.
    let path = Path::new(SCRATCH).join(&key).join(library.file_name().expect("a file"));
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
    fs::copy(&library, &path).expect("the library is copied");
    built.insert(key, path.clone());
    path
}

fn open(path: &Path) -> Result<Library, Error> {
    // SAFETY: the plugins of these tests follow the rules; what is not a plugin is refused.
    unsafe { Library::open(path) }
}

fn refusal<T>(answer: Result<T, Error>) -> PluginError {
    match answer {
        Err(Error::Plugin(error)) => error,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("accepted"),
    }
}

/// How many mappings of this process belong to copies of `library`.
fn mappings(library: &str) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps can be read");
    maps.lines().filter(|line| line.contains(&format!("memfd:{library}"))).count()
}

#[test]
fn what_fits_is_accepted() {
    let library = open(&build("good", None)).unwrap();
    let mut exports: Vec<_> =
        library.exports().iter().map(|export| (export.interface(), export.name())).collect();
    exports.sort_unstable();
    assert_eq!(exports, [("dyn Probe", "Counter"), ("dyn Stage<T>", "Counter")]);
    let probe: Instance<dyn Probe> = library.instantiate::<dyn Probe>("10").unwrap();
    assert_eq!((probe.count(), probe.count()), (10, 20));
    assert_eq!(probe.scale(0.5), 0.5);
    assert!(probe.type_name().ends_with("Counter"));
}

#[test]
fn several_are_chosen_by_name() {
    let library = open(&build("several", None)).unwrap();
    let mut names: Vec<_> = library.exports().iter().map(|export| export.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Counter", "closure", "panicking", "strict"]);
    let make = |name, config| library.instantiate_named::<dyn Probe>(name, config);
    let (plain, closure) = (make("Counter", "").unwrap(), make("closure", "seven").unwrap());
    assert_eq!((plain.count(), closure.count()), (1, 6));

    let ambiguous = refusal(library.instantiate::<dyn Probe>(""));
    assert!(matches!(&ambiguous, PluginError::Ambiguous { names, .. } if names.len() == 4), "{ambiguous:?}");
    for missing in [refusal(make("reverb", "")), refusal(library.instantiate::<dyn Unheard>(""))] {
        assert!(matches!(missing, PluginError::NoInterface { .. }), "{missing:?}");
        assert!(missing.to_string().contains("`dyn Probe as strict`"), "{missing}");
    }
}

#[test]
fn constructors_may_fail_and_panic() {
    let library = open(&build("several", None)).unwrap();
    let make = |name, config| library.instantiate_named::<dyn Probe>(name, config);
    assert!(make("strict", "3").is_ok());
    for (name, config, expected) in [
        ("strict", "three", "`three` is not a step"),
        ("panicking", "me", "it panicked: no counter for `me`, at "),
    ] {
        let error = refusal(make(name, config));
        assert!(
            matches!(&error, PluginError::Constructor { reason, .. } if reason.starts_with(expected)),
            "{error:?}"
        );
    }
}

#[test]
fn another_interface_is_refused() {
    for (change, library_has, host_has) in [
        (OTHER_SIGNATURE, "wet", "Number"),
        (OTHER_LAYOUT, "[size/alignment of arguments and result: 8/8, 4/4]", "result: 4/4, 4/4]"),
    ] {
        let opened = open(&build("good", Some(change))).unwrap();
        let error = refusal(opened.instantiate::<dyn Probe>(""));
        let PluginError::Interface { name, library, host, .. } = &error else { panic!("{error:?}") };
        assert_eq!(name, "dyn Probe");
        assert!(library.contains("scale") && library.contains(library_has), "{library}");
        assert!(host.contains("scale") && host.contains(host_has) && !host.contains(library_has), "{host}");
        let line = error.to_string();
        assert!(line.contains(library) && line.contains(host) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn another_parameter_is_refused() {
    let library = open(&build("good", None)).unwrap();
    assert_eq!(library.instantiate::<dyn Stage<u64>>("").unwrap().size(&7), 8);
    let error = refusal(library.instantiate::<dyn Stage<u8>>(""));
    let PluginError::Interface { library, host, .. } = &error else { panic!("{error:?}") };
    assert!(library.contains("Stage<u64>") && host.contains("Stage<u8>"), "{error}");
}

#[test]
fn another_compiler_is_refused() {
    let error = refusal(open(&build("good", Some(OTHER_COMPILER))));
    let PluginError::Build { library, host, .. } = &error else { panic!("{error:?}") };
    assert!(library.contains(OTHER_COMPILER.1), "{library}");
    assert!(host.contains("rustc") && !host.contains(OTHER_COMPILER.1), "{host}");
    let line = error.to_string();
    assert!(line.contains(library) && line.contains(host) && !line.contains('\n'), "{line}");
}

#[test]
fn what_is_no_plugin_is_refused() {
    let write = |name: &str, bytes: &[u8]| {
        let path = Path::new(SCRATCH).join(name);
        fs::write(&path, bytes).expect("the file is written");
        path
    };
    let library = fs::read(build("good", None)).unwrap();
    let this_program = env::current_exe().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.split_whitespace().find(|word| word.contains("/libc.so") || word.contains("/libc-"));
    let mut refused = vec![
        (write("text.so", b"not a library"), "not an ELF file"),
        (write("empty.so", b""), "empty"),
        (write("short.so", &library[..100]), "not an ELF file of this machine"),
        (write("half.so", &library[..library.len() / 2]), "not an ELF file of this machine"),
        (this_program, "has no section `hotcall_plugin`"),
        (PathBuf::from(SCRATCH), "it is a directory"),
    ];
    refused.extend(libc.map(|libc| (PathBuf::from(libc), "has no section `hotcall_plugin`")));
    for (path, expected) in refused {
        let error = refusal(open(&path));
        let PluginError::NotAPlugin { reason, .. } = &error else { panic!("{}: {error:?}", path.display()) };
        assert!(reason.contains(expected), "{}: {reason}", path.display());
    }
    let error = refusal(open(Path::new("/nonexistent/libreverb.so")));
    assert!(matches!(error, PluginError::Read { .. }), "{error:?}");
}

#[test]
fn a_damaged_header_is_refused() {
    let mut library = fs::read(build("good", None)).unwrap();
    // The last: before it are notes of the interfaces that the library knows.
    let magic = library.windows(8).rposition(|window| window == b"\x7fhotcall").expect("a header");
    let path = Path::new(SCRATCH).join("damaged.so");
    for at in [0, 8, 12, 16, 24, 40, 60] {
        library[magic + at] ^= 0x20;
        fs::write(&path, &library).expect("the file is written");
        let error = refusal(open(&path));
        assert!(
            matches!(error, PluginError::NotAPlugin { .. } | PluginError::Build { .. }),
            "{at}: {error:?}"
        );
        library[magic + at] ^= 0x20;
    }
}

#[test]
fn the_same_path_is_another_library() {
    let path = build("good", None);
    let count = |library: &Library| library.instantiate::<dyn Probe>("").unwrap().count();
    let (first, second) = (open(&path).unwrap(), open(&path).unwrap());
    assert_eq!((count(&first), count(&first), count(&second)), (1, 2, 1));
    assert_eq!(count(&first.clone()), 3);
    drop((first, second));
    assert_eq!(count(&open(&path).unwrap()), 1);
}

#[test]
fn a_file_may_change_once_it_is_open() {
    let path = Path::new(SCRATCH).join("changing.so");
    fs::copy(build("good", None), &path).expect("the library is copied");
    let library = open(&path).unwrap();
    fs::write(&path, b"something else").expect("the file is written");
    assert_eq!(library.instantiate::<dyn Probe>("").unwrap().count(), 1);
}

#[test]
fn instances_keep_their_library() {
    // A name of its own, so that other tests' mappings are not counted.
    let copy = |name: &str| {
        let path = Path::new(SCRATCH).join(name);
        fs::copy(build("good", None), &path).expect("the library is copied");
        path
    };

    // Of an interface of which nobody knows what it hands out: it has a parameter.
    let library = open(&copy("libstaying.so")).unwrap();
    assert_eq!(mappings("libstaying.so"), 0, "opening does not load");
    let stage = library.instantiate::<dyn Stage<u64>>("").unwrap();
    drop(library);
    assert_eq!(stage.size(&7), 8);
    drop(stage);
    assert_ne!(
        mappings("libstaying.so"),
        0,
        "what may have handed something out stays unless it is told to go"
    );

    let library = open(&copy("libtold.so")).unwrap();
    let stage = library.instantiate::<dyn Stage<u64>>("").unwrap();
    // SAFETY: it gives numbers, and starts no threads.
    unsafe { library.unload_when_drained() };
    drop((library, stage));
    assert!(cfg!(not(target_env = "gnu")) || mappings("libtold.so") == 0, "it goes when it is told to");

    // Numbers only: nothing of it can have been handed out, but the type's name.
    let library = open(&copy("libgoing.so")).unwrap();
    let probe = library.instantiate::<dyn Probe>("").unwrap();
    drop(library);
    assert_ne!(mappings("libgoing.so"), 0);
    assert_eq!(probe.count(), 1);
    let name = probe.type_name();
    drop(probe);
    assert!(name.ends_with("Counter"), "{name}");
    if cfg!(target_env = "gnu") {
        assert_eq!(mappings("libgoing.so"), 0, "it goes with its last instance");
    }
}

#[test]
fn what_is_refused_has_run_nothing() {
    let this_program = env::current_exe().unwrap();
    for (change, make, expected) in [
        (None, true, Some("accepted")),
        (None, false, None),
        (Some(OTHER_SIGNATURE), true, None),
        (Some(OTHER_COMPILER), true, None),
    ] {
        let library = build("several", change);
        let marker = library.with_file_name(format!("marker-{make}"));
        let _ = fs::remove_file(&marker);
        let output = Command::new(&this_program)
            .args(["--exact", "the_program_that_loads", "--ignored", "--nocapture"])
            .env("HOTCALL_PROBE_LIBRARY", &library)
            .env("HOTCALL_PROBE_MAKE", make.to_string())
            .env("HOTCALL_PROBE_MARKER", &marker)
            .output()
            .expect("this program runs again");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(marker.exists(), expected.is_some(), "{change:?}: {text}");
        if let Some(expected) = expected {
            assert!(text.contains(expected), "{text}");
        }
    }
}

/// Not a test: what `what_is_refused_has_run_nothing` runs in another process.
#[test]
#[ignore = "run by what_is_refused_has_run_nothing"]
fn the_program_that_loads() {
    let Some(library) = env::var_os("HOTCALL_PROBE_LIBRARY") else { return };
    let make = env::var("HOTCALL_PROBE_MAKE").is_ok_and(|make| make == "true");
    let answer = open(Path::new(&library)).and_then(|library| {
        if make { library.instantiate_named::<dyn Probe>("Counter", "").map(drop) } else { Ok(()) }
    });
    println!("{}", answer.map_or_else(|error| format!("refused: {error}"), |()| "accepted".to_owned()));
}

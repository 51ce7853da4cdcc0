//! Reloading: a plugin's library goes with its last instance where nothing of it can have been handed out, and what it was
//! opened as is what it is called. One test: it counts what the process has open and mapped.
#![cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use hotcall::{Interface, dispatch, slot};
use hotcall_examples::plugins;
use hotcall_probe::{Probe, Stage};
use hotcall_tests::LONG;

struct Silent;
impl Probe for Silent {
    fn count(&self) -> u32 {
        0
    }
}
#[slot]
static PROBE: dyn Probe = Silent;

struct Small;
impl Stage<u64> for Small {
    fn size(&self, _: &u64) -> usize {
        0
    }
}
#[slot]
static STAGE: dyn Stage<u64> = Small;

/// How many files are open, and how many mappings are of copies of the library.
fn held(name: &str) -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter(|line| line.contains(&format!("memfd:{name}"))).count();
    (fs::read_dir("/proc/self/fd").unwrap().count(), mapped)
}

/// The library under another name, so that its mappings can be told.
fn copy(name: &str) -> PathBuf {
    let built = plugins::build(&["hotcall-probe-good"]).unwrap().remove(0);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::copy(built, &path).unwrap();
    path
}

mod forms {
    //! What the types of an interface say of it.
    #![allow(dead_code)]
    use super::dispatch;

    #[dispatch]
    pub trait Plain: Send + Sync {
        fn numbers(&self, of: &[f32], to: &mut [f64], text: &str) -> Option<u32>;
        fn texts(&self, to: &mut Vec<String>) -> Result<String, (u8, Box<str>)>;
        fn nothing(&self);
        fn new() -> Self
        where
            Self: Sized;
    }
    #[dispatch]
    pub trait Lends: Send + Sync {
        fn name(&self) -> &'static str;
    }
    #[dispatch]
    pub trait Stores: Send + Sync {
        fn names(&self, to: &mut Vec<&'static str>);
    }
    #[dispatch]
    pub trait CallsBack: Send + Sync {
        fn call(&self, function: &dyn Fn());
    }
    #[dispatch]
    pub trait Fails: Send + Sync {
        fn run(&self) -> Result<(), Box<dyn std::error::Error>>;
    }
    #[dispatch]
    pub trait Prints: std::fmt::Debug + Send + Sync {
        fn run(&self);
    }
    /// A name says nothing of what it stands for.
    pub mod shadowed {
        pub struct String(pub &'static str);
        #[hotcall::dispatch]
        pub trait Shadowed: std::marker::Send + Sync {
            fn text(&self) -> String;
        }
        pub trait Sync {
            fn leaks(&self) -> &'static str;
        }
        impl<T: ?Sized> Sync for T {
            fn leaks(&self) -> &'static str {
                "in the implementor's library"
            }
        }
        #[hotcall::dispatch]
        pub trait Marked: std::marker::Send + std::marker::Sync + Sync {
            fn run(&self);
        }
    }
}

#[test]
fn reloading_leaves_nothing_where_that_is_safe() {
    use forms::shadowed::{Marked, Shadowed};
    use forms::{CallsBack, Fails, Lends, Plain, Prints, Stores};
    const { assert!(<dyn Probe>::DESCRIPTION.leaves_nothing) };
    const { assert!(<dyn Plain>::DESCRIPTION.leaves_nothing) };
    for (leaves_nothing, name) in [
        (<dyn Lends>::DESCRIPTION.leaves_nothing, "a reference for ever"),
        (<dyn Stores>::DESCRIPTION.leaves_nothing, "references in what is written to"),
        (<dyn CallsBack>::DESCRIPTION.leaves_nothing, "a function"),
        (<dyn Fails>::DESCRIPTION.leaves_nothing, "a trait object"),
        (<dyn Prints>::DESCRIPTION.leaves_nothing, "a supertrait with methods"),
        (<dyn Shadowed>::DESCRIPTION.leaves_nothing, "a type that is called as another"),
        (<dyn Marked>::DESCRIPTION.leaves_nothing, "a trait that is called as another"),
        (<dyn Stage<u64>>::DESCRIPTION.leaves_nothing, "a parameter"),
    ] {
        assert!(!leaves_nothing, "{name}");
    }

    let path = copy("libreload.so");
    let mut before = None;
    for round in 0..60_u32 {
        let library = plugins::open(&path).unwrap();
        let probe = library.instantiate::<dyn Probe>("7").unwrap();
        let name = probe.type_name();
        drop(PROBE.replace(probe).unwrap());
        // A library opened anew has statics of its own.
        assert_eq!(PROBE.count(), 7);
        let target = PROBE.target();
        assert_eq!(target.library(), Some(path.as_path()), "{target}");
        if hotcall::backend() == hotcall::Backend::Patched {
            let report = hotcall::report();
            let files: Vec<_> = report.images.iter().filter_map(|image| image.file.as_deref()).collect();
            assert!(files.iter().all(|file| !file.starts_with("/proc/self/fd")), "{files:?}");
        }
        drop(library);
        drop(PROBE.restore().unwrap());
        hotcall::drain(LONG).unwrap();
        // The name outlives the library that it comes from.
        assert!(name.ends_with("Counter"));
        assert!(target.type_name().ends_with("Counter"));
        let held = held("libreload.so");
        let before = before.get_or_insert(held);
        assert_eq!((held, held.1), (*before, 0), "round {round}");
    }

    // Where something may have been handed out, it stays.
    let path = copy("libreload-stays.so");
    let stage = plugins::open(&path).unwrap().instantiate::<dyn Stage<u64>>("").unwrap();
    drop(STAGE.replace(stage).unwrap());
    assert_eq!(STAGE.size(&1), 8);
    drop(STAGE.restore().unwrap());
    hotcall::drain(LONG).unwrap();
    assert_ne!(held("libreload-stays.so").1, 0);
}

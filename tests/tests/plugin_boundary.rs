//! What crosses the boundary to a plugin: its panics, as the host's; and no value that the two sides see otherwise.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::{Arc, Mutex};

use hotcall::{Chain, Error, Instance, Library, Patched, PluginError, slot};
use hotcall_probe::edge::{Edge, Mode, Numbers, Settings, Shared, Typed};
use hotcall_tests::negative;
use hotcall_tests::plugin::{Variant, build_edge};

struct Nothing;

impl Edge for Nothing {
    fn act(&self, x: u64) -> u64 {
        x
    }
    fn told(&self) -> String {
        String::new()
    }
    fn call_back(&self, x: u64, function: &mut dyn FnMut(u64) -> u64) -> u64 {
        function(x)
    }
    fn weigh(&self, _: [u64; 9], name: String, _: f32) -> String {
        name
    }
}

impl Numbers for Nothing {
    fn next(&self, x: u64) -> u64 {
        x
    }
}

fn open(variant: Variant) -> Result<Library, Error> {
    // SAFETY: the plugin is safe code, but for an allocator that is sound.
    unsafe { Library::open(build_edge(env!("CARGO_TARGET_TMPDIR"), variant)) }
}

fn told(library: &Library, what: &str) -> Instance<dyn Edge> {
    library.instantiate::<dyn Edge>(what).unwrap()
}

fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(call)) else { panic!("it returned") };
    assert!(!std::thread::panicking());
    *payload.downcast::<String>().expect("a plugin's panic has a text")
}

/// Counts what is destroyed, and whether that was by a panic.
struct Guarded<'a>(&'a Cell<u32>);

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + if std::thread::panicking() { 100 } else { 1 });
    }
}

fn a_panic_in_a_method_is_the_hosts(variant: Variant) {
    #[slot]
    static EDGE: dyn Edge = Nothing;

    let library = open(variant).unwrap();
    drop(EDGE.replace(told(&library, "panic")).unwrap());
    let (dropped, poisoned) = (Cell::new(0), Mutex::new(()));
    for round in 1..=3 {
        let said = panic_of(|| {
            let (_guarded, _locked) = (Guarded(&dropped), poisoned.lock());
            EDGE.act(round)
        });
        assert!(said.starts_with(&format!("told to panic at {round}, at ")), "{said}");
        assert!(said.contains("plugins/edge/src/lib.rs:"), "{said}");
        assert_eq!(dropped.get(), 100 * round as u32);
    }
    assert!(poisoned.is_poisoned());
    // Arguments that do not fit registers, and that are owned.
    let said = panic_of(|| EDGE.weigh([1, 2, 3, 4, 5, 6, 7, 8, 9], "it".to_owned(), 0.5));
    assert!(said.starts_with("it weighs 9, at "), "{said}");
    // The slot goes on, on this thread and on others; a thread may end by it.
    assert_eq!(EDGE.told(), "panic");
    assert!(std::thread::spawn(|| EDGE.act(0)).join().is_err());
    drop(EDGE.replace(told(&library, "")).unwrap());
    assert_eq!(EDGE.act(1), 2);
    assert_eq!(EDGE.weigh([1; 9], "it".to_owned(), 0.5), "it 9 0.5");
    drop(EDGE.restore().unwrap());
}

#[test]
fn a_panic_in_a_method_becomes_one_of_the_hosts() {
    if negative::sabotaged().is_some() {
        // It must not survive this.
        return a_panic_in_a_method_is_the_hosts(Variant::Same);
    }
    a_panic_in_a_method_is_the_hosts(Variant::Same);
    a_panic_in_a_method_is_the_hosts(Variant::Optimised);
    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_panic_in_a_method_becomes_one_of_the_hosts", "--nocapture"]);
        command
    };
    println!("open-boundary: {}", negative::is_noticed(again, "open-boundary").unwrap());
}

#[test]
fn it_does_so_wherever_the_instance_is() {
    let library = open(Variant::Same).unwrap();
    let make = || told(&library, "panic");
    assert!(panic_of(|| make().act(3)).starts_with("told to panic at 3, at "));
    assert!(panic_of(|| Patched::<dyn Edge>::from(make()).act(4)).starts_with("told to panic at 4, at "));
    let numbers = |config| library.instantiate_named::<dyn Numbers>("Told", config).unwrap();
    let chain = Chain::<dyn Numbers>::new([numbers(""), numbers("panic"), numbers("")]).unwrap();
    assert!(panic_of(|| chain.next(5)).starts_with("told to panic at 6, at "));
    drop(chain.remove(1).unwrap());
    assert_eq!(chain.next(5), 7);
}

#[test]
fn payloads_that_are_no_text_stay_in_the_plugin() {
    let library = open(Variant::Same).unwrap();
    for what in ["panic with a number", "panic with a bomb"] {
        let said = panic_of(|| told(&library, what).act(1));
        assert!(said.starts_with("a value that is no text"), "{said}");
    }
    // One that the plugin catches itself is nobody else's.
    assert_eq!(told(&library, "panic inside").act(1), 2);
}

#[test]
fn the_hosts_panics_pass_through_a_plugin() {
    for variant in [Variant::Same, Variant::Optimised] {
        let library = open(variant).unwrap();
        let plugin = told(&library, "");
        let caught =
            catch_unwind(AssertUnwindSafe(|| plugin.call_back(1, &mut |_| std::panic::panic_any(7_u8))));
        assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 7);
        // A plugin's, raised again in the host's closure, passes through another call of the plugin.
        let inner = told(&library, "panic");
        let said = panic_of(|| plugin.call_back(1, &mut |x| inner.act(x)));
        assert!(said.starts_with("told to panic at 1, at "), "{said}");
        // One that is raised while another unwinds, and is caught before that goes on.
        struct Calls<'a>(&'a Instance<dyn Edge>);
        impl Drop for Calls<'_> {
            fn drop(&mut self) {
                assert!(std::thread::panicking());
                let caught = catch_unwind(AssertUnwindSafe(|| self.0.act(2)));
                assert!(caught.is_err() && std::thread::panicking());
            }
        }
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _calls = Calls(&inner);
            plugin.call_back(1, &mut |_| panic!("outer"))
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "outer");
        assert!(!std::thread::panicking());
        // The plugin panics after it called back.
        let said = panic_of(|| inner.call_back(4, &mut |x| x + 1));
        assert!(said.starts_with("after 5, at "), "{said}");
    }
}

#[test]
fn constructors_and_destructors_may_panic() {
    #[slot]
    static EDGE: dyn Edge = Nothing;

    let library = open(Variant::Same).unwrap();
    let error = library.instantiate::<dyn Edge>("panic in the constructor").unwrap_err().to_string();
    assert!(error.contains("it panicked: told to panic in the constructor, at "), "{error}");
    assert!(error.contains("plugins/edge/src/lib.rs:"), "{error}");
    let said = panic_of(|| drop(told(&library, "panic in the destructor")));
    assert!(said.starts_with("told to panic in the destructor, at "), "{said}");
    // Dropped by the runtime: it goes on.
    for _ in 0..3 {
        drop(EDGE.replace(told(&library, "panic in the destructor")).unwrap());
    }
    let retired = EDGE.replace(Nothing).unwrap();
    let last = retired.wait().unwrap();
    assert!(panic_of(|| drop(last)).starts_with("told to panic in the destructor"));
    drop(EDGE.replace(told(&library, "")).unwrap());
    assert_eq!(EDGE.act(1), 2);
    drop(EDGE.restore().unwrap());
}

/// A library is opened, loaded and used inside a handover; and another thread may be the first to load it meanwhile.
#[test]
fn a_library_is_loaded_inside_a_handover() {
    #[slot]
    static EDGE: dyn Edge = Nothing;

    for by_another in [false, true] {
        let replaced = EDGE.replace_with(|_| {
            let library = open(Variant::Same).unwrap();
            if by_another {
                std::thread::scope(|scope| {
                    scope.spawn(|| drop(told(&library, "")));
                });
            }
            told(&library, "")
        });
        drop(replaced.unwrap());
    }
    drop(EDGE.restore().unwrap());
}

fn refused<T>(answer: Result<T, Error>) -> PluginError {
    match answer {
        Err(Error::Plugin(error)) => error,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn another_panic_strategy_is_refused() {
    let error = refused(open(Variant::Abort));
    let PluginError::Build { library, host, .. } = &error else { panic!("{error:?}") };
    assert!(library.contains("panic = \"abort\"") && host.contains("panic = \"unwind\""), "{error}");
}

#[test]
fn another_allocator_is_refused_where_memory_passes() {
    let library = open(Variant::Allocator).unwrap();
    let error = refused(library.instantiate::<dyn Edge>(""));
    let PluginError::Allocator { library: theirs, host, interface, .. } = &error else { panic!("{error:?}") };
    assert_eq!((theirs.as_str(), interface.as_str()), ("a global allocator of its own", "dyn Edge"));
    assert_eq!(host, "the system's");
    // Where only numbers pass, each frees its own.
    let numbers = library.instantiate_named::<dyn Numbers>("Told", "").unwrap();
    assert_eq!(numbers.next(1), 2);
    drop(numbers);
}

#[test]
fn another_definition_is_refused_by_its_name() {
    let settings = Settings { mode: Mode::High };
    let same = open(Variant::Same).unwrap().instantiate::<dyn Typed>("").unwrap();
    assert_eq!(same.mode(&settings), 20);
    let library = open(Variant::Definition).unwrap();
    let error = refused(library.instantiate::<dyn Typed>(""));
    let PluginError::Interface { library: theirs, host, .. } = &error else { panic!("{error:?}") };
    assert!(
        theirs.starts_with("`Settings` as hotcall-probe ") && host.starts_with("`Settings` as "),
        "{error}"
    );
    assert_ne!(theirs, host);
    // What passes none of these types is accepted.
    assert_eq!(library.instantiate_named::<dyn Numbers>("Told", "").unwrap().next(1), 2);
}

#[test]
fn no_typed_look_at_what_comes_from_a_library() {
    #[slot]
    static NUMBERS: dyn Numbers = Nothing;

    for variant in [Variant::Same, Variant::Definition] {
        let library = open(variant).unwrap();
        let make = || library.instantiate_named::<dyn Numbers>("Shared", "").unwrap();
        assert!(make().type_name().ends_with("Shared"));
        assert!(make().downcast::<Shared>().is_err());
        drop(NUMBERS.replace(make()).unwrap());
        let guard = hotcall::pin();
        assert_eq!(NUMBERS.get(&guard).next(1), 8);
        assert!(NUMBERS.get(&guard).downcast_ref::<Shared>().is_none());
        drop(guard);
        // The program's own is looked at, and one is not taken for the other.
        drop(NUMBERS.replace(Shared::new("")).unwrap());
        let guard = hotcall::pin();
        assert_eq!(NUMBERS.get(&guard).downcast_ref::<Shared>().map(Shared::number), Some(7));
        assert_eq!(NUMBERS.next(1), 8);
        drop(guard);
    }
    drop(NUMBERS.restore().unwrap());
    let library = Arc::new(open(Variant::Same).unwrap());
    let retired = NUMBERS.replace(library.instantiate_named::<dyn Numbers>("Shared", "").unwrap()).unwrap();
    drop(retired);
    let back = NUMBERS.restore().unwrap().wait().unwrap();
    assert!(back.downcast::<Shared>().is_err());
}

//! What is in a folder of plugins is known before anything of it runs.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

use std::fs;
use std::sync::mpsc;

use hotcall::host::{Found, PluginsError};
use hotcall::{Plugins, slot};
use hotcall_probe::living::{Nobody, Tally};
use hotcall_probe::{Probe, Unheard};
use hotcall_tests::living::{self, put};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

fn behaving(behaviour: &str) -> Vec<u8> {
    living::behaving(TMP, behaviour)
}

fn mapped(name: &str) -> bool {
    fs::read_to_string("/proc/self/maps").unwrap().contains(&format!("memfd:{name}"))
}

#[test]
fn a_folder_is_listed_without_running_anything() {
    let folder = living::folder(TMP, "discover");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    // Its constructor would panic, and its header is as good as any.
    write("libdiscovered.so", &living::of_version(behaving("panic in the constructor"), "2.5.1"));
    write("discovered.so", &behaving("twice of one name"));
    write("libempty.so", b"");
    write("libhalf.so", &behaving("half")[..1000]);
    write("libtext.so", b"a text");
    write("README.md", b"no plugin by its name");
    fs::copy("/proc/self/exe", folder.join("libprogram.so")).unwrap();
    fs::create_dir(folder.join("libfolder.so")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", folder.join("libgone.so")).unwrap();
    let mut other = behaving("of another compiler");
    let header = living::header(&other).start;
    other[header + 8] = 9;
    write("libother.so", &other);

    let all = Plugins::discover(&folder).unwrap();
    let names: Vec<_> = all.iter().map(Found::name).collect();
    let expected =
        ["discovered", "discovered", "empty", "folder", "gone", "half", "other", "program", "text"];
    assert_eq!(names, expected);
    let [first, second, empty, a_folder, gone, half, other, program, text] = all.as_slice() else { panic!() };

    // The first of a name is taken.
    assert_eq!(first.path().file_name().unwrap(), "discovered.so");
    assert_eq!((first.shadowed_by(), second.shadowed_by()), (None, Some(first.path())));
    let offers: Vec<_> = second.offers().collect();
    let [offer] = offers.as_slice() else { panic!("{offers:?}") };
    assert_eq!((offer.interface(), offer.name()), ("dyn Tally", "counter"));
    assert_eq!(offer.package(), ("hotcall-probe-living", "2.5.1"));
    assert_eq!(offer.interface_crate(), ("hotcall-probe", env!("CARGO_PKG_VERSION")));
    assert!(offer.hands_over());
    assert!(second.built_with().unwrap().contains("rustc"));
    assert!(second.needs().iter().any(|needed| needed.starts_with("libc.so")), "{:?}", second.needs());
    assert!(second.refusal().is_none());
    assert_eq!(second.refusal_for::<dyn Tally>(), None);
    assert!(second.refusal_for::<dyn Unheard>().unwrap().ends_with("does not export `dyn Unheard`"));
    assert!(second.refusal_for::<dyn Probe>().is_some());
    assert_eq!(second.to_string(), "discovered: dyn Tally as counter of hotcall-probe-living 2.5.1");

    for (found, reason) in [
        (empty, "the file is empty"),
        (a_folder, "it is a directory"),
        (gone, "No such file"),
        (half, "it is not an ELF file of this machine"),
        (other, "header format 9"),
        (program, "has no section"),
        (text, "it is not an ELF file"),
    ] {
        let said = found.refusal().unwrap().to_string();
        assert!(said.contains(reason), "{said}");
        assert_eq!(found.refusal_for::<dyn Tally>().unwrap(), said);
        assert_eq!(found.offers().count(), 0);
    }
    assert!(other.built_with().unwrap().contains("header format 9"));
    assert_eq!(text.built_with(), None);
    assert!(!mapped("discovered.so") && !mapped("libdiscovered.so"));
}

#[test]
fn one_file_is_listed() {
    let folder = living::folder(TMP, "discover_one");
    put(&folder.join("libone.so"), &behaving("one"));
    put(&folder.join("libtwo.so"), &behaving("two"));
    let all = Plugins::discover(folder.join("libtwo.so")).unwrap();
    assert_eq!(all.iter().map(Found::name).collect::<Vec<_>>(), ["two"]);
    let error = Plugins::discover(folder.join("nothing")).unwrap_err();
    assert!(matches!(error, PluginsError::Folder { .. }), "{error}");
}

/// Without a watcher nothing happens before it is asked for.
#[test]
fn a_host_may_look_when_it_is_told_to() {
    #[slot]
    static SLOT: dyn Tally = Nobody;
    let folder = living::folder(TMP, "opened");
    let path = folder.join("libopened.so");
    put(&path, &behaving("first"));
    // SAFETY: what the test puts there is safe code.
    let plugins = unsafe { Plugins::open(&folder) }.unwrap();
    let kept = plugins.keep(&SLOT, "opened").export("counter").config("softly").start().unwrap();
    assert_eq!(SLOT.who(), "first softly");
    put(&path, &behaving("second"));
    plugins.rescan().unwrap();
    assert_eq!(SLOT.who(), "second softly");
    kept.configure("loudly").unwrap();
    assert_eq!(SLOT.who(), "second loudly");
    fs::remove_file(&path).unwrap();
    plugins.rescan().unwrap();
    assert!(kept.reload().unwrap_err().to_string().contains("there is no"));
    assert_eq!(SLOT.who(), "second loudly");
    // Another export is not there.
    #[slot]
    static OTHER: dyn Tally = Nobody;
    put(&path, &behaving("third"));
    let other = plugins.keep(&OTHER, "opened").export("sum").start().unwrap();
    assert!(
        other.installed().unwrap_err().to_string().contains("as counter`, not `dyn Tally as sum`"),
        "{other:?}"
    );
}

/// The last handle ends the host, and leaves the slot as it is.
#[test]
fn what_a_host_leaves_goes_on() {
    #[slot]
    static SLOT: dyn Tally = Nobody;
    let folder = living::folder(TMP, "left");
    put(&folder.join("libleft.so"), &behaving("left"));
    // SAFETY: as above.
    let plugins = unsafe { Plugins::watch(&folder) }.unwrap();
    let (ends, ended) = mpsc::channel::<()>();
    plugins.on_event(move |_| {
        let _ = &ends;
    });
    drop(plugins.keep(&SLOT, "left").start().unwrap());
    drop(plugins);
    // The thread has ended, and with it who listened.
    assert!(ended.recv().is_err());
    assert_eq!(SLOT.who(), "left ");
    assert_eq!(SLOT.add(3), 3);
}

/// A forked child has no host, and is told so.
#[test]
fn a_forked_child_has_no_host() {
    #[slot]
    static SLOT: dyn Tally = Nobody;
    let folder = living::folder(TMP, "child");
    put(&folder.join("libchild.so"), &behaving("panic at seven"));
    // SAFETY: as above.
    let plugins = unsafe { Plugins::watch(&folder) }.unwrap();
    let keep = plugins.keep(&SLOT, "child").on_panic(hotcall::host::OnPanic::Default);
    let kept = keep.start().unwrap();
    hotcall_tests::forking::fork(|| {
        let gone = matches!(kept.reload(), Err(PluginsError::Gone));
        // There a panic changes nothing.
        let call = std::panic::AssertUnwindSafe(|| SLOT.add(7));
        gone && std::panic::catch_unwind(call).is_err() && SLOT.who() == "panic at seven "
    })
    .wait()
    .unwrap();
    assert!(kept.reload().is_ok());
}

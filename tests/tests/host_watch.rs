//! A plugin is what its file is, in whatever way that is replaced.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use hotcall::host::{Status, What};
use hotcall::{Plugins, Retarget, slot};
use hotcall_probe::living::{Nobody, Tally};
use hotcall_tests::living::{self, Told, put};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// Watches a folder that is empty.
fn watched(test: &str) -> (PathBuf, Plugins, Told) {
    let folder = living::folder(TMP, test);
    // SAFETY: what the tests put there is safe code.
    let plugins = unsafe { Plugins::watch(&folder) }.unwrap();
    let told = Told::of(&plugins, "living");
    (folder, plugins, told)
}

fn behaving(behaviour: &str) -> Vec<u8> {
    living::behaving(TMP, behaviour)
}

/// Comes after all that the system has told until now: another file, which is refused, as it is no plugin.
fn all_is_told(folder: &Path, plugins: &Plugins) {
    #[slot]
    static OTHER: dyn Tally = Nobody;
    let path = folder.join("libother.so");
    let _ = fs::remove_file(&path);
    let mut told = Told::of(plugins, "other");
    let other = plugins.keep(&OTHER, "other").start().unwrap();
    put(&path, b"no plugin");
    told.until_refused();
    other.release().unwrap();
}

/// Each way to replace a file leads to the version that is in it, once.
fn each_way<R: Retarget<Interface = dyn Tally>>(
    test: &str,
    slot: &'static R,
    who: fn() -> String,
    replace: fn(&Path, &[u8]),
) {
    let (folder, plugins, mut told) = watched(test);
    let path = folder.join("libliving.so");
    replace(&path, &behaving("first"));
    let kept = plugins.keep(slot, "living").config("loud").start().unwrap();
    told.until_swapped();
    assert_eq!(who(), "first loud");
    for behaviour in ["second", "third"] {
        replace(&path, &behaving(behaviour));
        told.until_swapped();
        assert_eq!(who(), format!("{behaviour} loud"));
    }
    all_is_told(&folder, &plugins);
    assert_eq!(told.refusals(), Vec::<String>::new());
    assert_eq!(told.count(|what| matches!(what, What::Swapped)), 3);
    assert!(matches!(kept.status(), Status::Installed { .. }));
}

macro_rules! each_way {
    ($($(#[$comment:meta])* $test:ident: $replace:expr;)*) => { $(
        $(#[$comment])*
        #[test]
        fn $test() {
            #[slot]
            static SLOT: dyn Tally = Nobody;
            each_way(stringify!($test), &SLOT, || SLOT.who(), $replace);
        }
    )* };
}

fn run(program: &str, words: &[&Path]) {
    let status = Command::new(program).args(words).status().unwrap();
    assert!(status.success(), "{program}: {status}");
}

/// Beside the folder that is watched, on the same file system.
fn elsewhere(path: &Path, bytes: &[u8]) -> PathBuf {
    let folder = path.parent().unwrap().with_extension("elsewhere");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("built.so");
    fs::write(&file, bytes).unwrap();
    file
}

each_way! {
    /// As `std::fs::write`, `cat >` and some editors do: emptied, and written from the front.
    written_in_place: |path, bytes| fs::write(path, bytes).unwrap();
    /// In pieces, with time to look between them.
    written_in_pieces: |path, bytes| {
        let mut file = File::create(path).unwrap();
        for piece in bytes.chunks(bytes.len() / 5) {
            file.write_all(piece).unwrap();
            file.sync_all().unwrap();
        }
    };
    /// As `rsync --inplace` does: over what is there, which keeps its length all the time.
    overwritten: |path, bytes| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
        for piece in bytes.chunks(4096) {
            file.write_all(piece).unwrap();
        }
        file.set_len(bytes.len() as u64).unwrap();
    };
    /// From the back, as no linker does.
    written_backwards: |path, bytes| {
        let mut file = File::create(path).unwrap();
        for (index, piece) in bytes.chunks(65536).enumerate().collect::<Vec<_>>().into_iter().rev() {
            file.seek(std::io::SeekFrom::Start(index as u64 * 65536)).unwrap();
            file.write_all(piece).unwrap();
        }
    };
    /// As most editors do, and package managers: written beside it, and renamed.
    renamed: put;
    /// As `rsync` does: a hidden file beside it, with another end of its name.
    renamed_from_a_hidden_file: |path, bytes| {
        let fresh = path.with_file_name(".libliving.so.Xk3d9a");
        fs::write(&fresh, bytes).unwrap();
        fs::rename(&fresh, path).unwrap();
    };
    moved_by_mv: |path, bytes| run("mv", &[&elsewhere(path, bytes), path]);
    copied_by_cp: |path, bytes| run("cp", &[&elsewhere(path, bytes), path]);
    /// `cp --remove-destination` and `install`: the old file is unlinked first.
    installed: |path, bytes| run("install", &[&elsewhere(path, bytes), path]);
    /// As cargo does: what was there is unlinked, and the file in another folder gets this name, too.
    linked_as_cargo_does: |path, bytes| {
        let built = elsewhere(path, bytes);
        let _ = fs::remove_file(path);
        fs::hard_link(&built, path).unwrap();
        fs::remove_file(&built).unwrap();
    };
    /// Deleted, noticed, and back.
    deleted_and_back: |path, bytes| {
        let _ = fs::remove_file(path);
        put(path, bytes);
    };
    /// Backed up by another name first, as vim does.
    backed_up: |path, bytes| {
        let _ = fs::rename(path, path.with_extension("so~"));
        fs::write(path, bytes).unwrap();
    };
    /// A symbolic link is exchanged.
    symbolic_link: |path, bytes| {
        let built = elsewhere(path, bytes);
        let own = built.with_file_name(format!("{}.so", bytes.iter().fold(0_u64, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte))));
        fs::rename(&built, &own).unwrap();
        let link = path.with_extension("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        fs::rename(&link, path).unwrap();
    };
}

/// A folder with a plugin that is installed, in a slot of the test's own.
macro_rules! installed {
    ($test:literal) => {{
        #[slot]
        static SLOT: dyn Tally = Nobody;
        let (folder, plugins, mut told) = watched($test);
        let path = folder.join("libliving.so");
        put(&path, &behaving("old"));
        let kept = plugins.keep(&SLOT, "living").start().unwrap();
        kept.installed().unwrap();
        told.until_swapped();
        (folder, plugins, told, path, kept, (|| SLOT.who()) as fn() -> String)
    }};
}

#[test]
fn what_somebody_writes_to_is_not_looked_at() {
    let (folder, plugins, mut told, path, _kept, who) = installed!("being_written");
    let new = behaving("new");
    // Of the right length all the time: only the end of writing says that it is whole.
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    for piece in new.chunks(new.len() / 3) {
        assert_eq!(who(), "old ");
        file.write_all(piece).unwrap();
        all_is_told(&folder, &plugins);
    }
    assert_eq!(told.count(|what| matches!(what, What::Swapped)), 1);
    assert_eq!(told.refusals(), Vec::<String>::new());
    drop(file);
    told.until_swapped();
    assert_eq!(who(), "new ");
}

#[test]
fn a_file_that_is_renamed_while_somebody_writes_is_not_looked_at() {
    let (folder, plugins, mut told, path, _kept, who) = installed!("renamed_while_written");
    let new = behaving("new");
    let fresh = folder.join("libfresh.so");
    let mut file = File::create(&fresh).unwrap();
    file.write_all(&new[..new.len() / 2]).unwrap();
    fs::rename(&fresh, &path).unwrap();
    all_is_told(&folder, &plugins);
    assert_eq!(who(), "old ");
    file.write_all(&new[new.len() / 2..]).unwrap();
    drop(file);
    told.until_swapped();
    assert_eq!(who(), "new ");
    assert_eq!(told.refusals(), Vec::<String>::new());
}

#[test]
fn half_a_file_is_refused_once_and_the_old_one_stays() {
    let (folder, plugins, mut told, path, kept, who) = installed!("half");
    let new = behaving("new");
    for (part, reason) in
        [(&new[..new.len() / 2], "half-written"), (&new[..2], "half-written"), (&[][..], "the file is empty")]
    {
        put(&path, part);
        assert!(told.until_refused().contains(reason), "{reason}");
        // Once, whatever else the system tells of it.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        plugins.rescan().unwrap();
        all_is_told(&folder, &plugins);
        assert_eq!(who(), "old ");
        assert!(kept.installed().is_ok());
    }
    assert_eq!(told.refusals().len(), 3);
    // The rest comes.
    put(&path, &new);
    told.until_swapped();
    assert_eq!(who(), "new ");
}

#[test]
fn a_deleted_file_leaves_its_plugin_installed() {
    let (folder, plugins, mut told, path, kept, who) = installed!("deleted");
    fs::remove_file(&path).unwrap();
    told.until("missing", |what| *what == What::Missing);
    all_is_told(&folder, &plugins);
    assert_eq!(who(), "old ");
    // What is back as it was is what is installed.
    put(&path, &behaving("old"));
    all_is_told(&folder, &plugins);
    assert_eq!(told.count(|what| matches!(what, What::Swapped)), 1);
    assert!(matches!(kept.status(), Status::Installed { .. }));
    fs::remove_file(&path).unwrap();
    told.until("missing again", |what| *what == What::Missing);
    put(&path, &behaving("new"));
    told.until_swapped();
    assert_eq!(who(), "new ");
}

#[test]
fn a_file_that_comes_later_is_installed() {
    #[slot]
    static SLOT: dyn Tally = Nobody;
    let (folder, plugins, mut told) = watched("later");
    let kept = plugins.keep(&SLOT, "living").start().unwrap();
    assert!(kept.installed().unwrap_err().to_string().contains("there is no"), "{:?}", kept.status());
    assert_eq!(SLOT.who(), "nobody");
    put(&folder.join("libliving.so"), &behaving("late"));
    told.until_swapped();
    assert_eq!(SLOT.who(), "late ");
    assert!(kept.installed().is_ok());
}

#[test]
fn what_fails_leaves_the_old_one_and_says_why() {
    let (folder, plugins, mut told, path, kept, who) = installed!("fails");
    let mut damaged = behaving("old");
    let header = living::header(&damaged).start;
    damaged[header + 30] ^= 1;
    for (bytes, reason) in [
        (b"no plugin".to_vec(), "it is not an ELF file"),
        (damaged, "fingerprint"),
        (fs::read("/proc/self/exe").unwrap(), "has no section"),
        (behaving("fail in the constructor"), "it was told to fail"),
        (behaving("panic in the constructor"), "it panicked: told to panic"),
    ] {
        put(&path, &bytes);
        let said = told.until_refused();
        assert!(said.contains(reason), "{said}");
        assert_eq!(who(), "old ");
        assert!(kept.installed().is_ok());
    }
    // The same content, touched or put there again, is not said again.
    put(&path, &behaving("panic in the constructor"));
    all_is_told(&folder, &plugins);
    assert_eq!(told.refusals().len(), 5);
}

#[test]
fn one_file_can_be_watched() {
    #[slot]
    static SLOT: dyn Tally = Nobody;
    let folder = living::folder(TMP, "one_file");
    let path = folder.join("living.so");
    // SAFETY: as above.
    let plugins = unsafe { Plugins::watch(&path) }.unwrap();
    let mut told = Told::of(&plugins, "living");
    let _kept = plugins.keep(&SLOT, "living").start().unwrap();
    // Of the same name, and not the file that was asked for.
    put(&folder.join("libliving.so"), &behaving("other"));
    put(&path, &behaving("right"));
    told.until_swapped();
    assert_eq!(SLOT.who(), "right ");
}

#[test]
fn where_nothing_can_be_watched_that_is_said() {
    for path in ["/nonexistent/plugins", "/nonexistent/libliving.so", "/proc/self/exe"] {
        // SAFETY: nothing is loaded.
        let error = unsafe { Plugins::watch(path) }.unwrap_err().to_string();
        assert!(error.starts_with(&format!("there are no plugins at {path}")), "{error}");
    }
}

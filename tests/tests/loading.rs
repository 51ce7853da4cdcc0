//! A library's constructor, which runs under the dynamic linker's lock, waits for threads that replace: nobody waits for ever.
//!
//! Replacing walks over the loaded images, under a lock of the dynamic linker's; the constructors of a library that is being
//! loaded run under another. That one is taken by a new thread of the standard library, so the runtime's thread is none.
#![allow(missing_docs, unsafe_code)]
#![cfg(target_os = "linux")]

use std::ffi::CString;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hotcall::{dispatch, slot};
use hotcall_tests::forking::fork;

#[dispatch]
pub trait Number: Send + Sync {
    fn number(&self) -> u64;
}
struct Of(u64);
impl Number for Of {
    fn number(&self) -> u64 {
        self.0
    }
}
#[slot]
static NUMBER: dyn Number = Of(0);
#[slot]
static OTHER: dyn Number = Of(0);

const SOURCE: &str = r#"
#include <stdlib.h>
__attribute__((constructor)) static void when_loaded(void) {
    const char *address = getenv("HOTCALL_TEST_CALLBACK");
    if (address) ((void (*)(void)) strtoull(address, 0, 10))();
}
"#;

static LOADED: AtomicU32 = AtomicU32::new(0);

const NOTHING: u32 = 0;
const REPLACE: u32 = 1;
const FORK: u32 = 2;
const RIGHT: u32 = 3;
const WRONG: u32 = 4;

/// What the other thread is asked, then its answer. No channel: who blocks in one for the first time registers storage with the
/// dynamic linker, and would itself wait for the constructor.
static ASKED: AtomicU32 = AtomicU32::new(NOTHING);
static WITH_ANOTHER: AtomicBool = AtomicBool::new(false);

/// Asks the other thread, and whether its answer was right.
fn ask(what: u32) -> bool {
    ASKED.store(what, Ordering::SeqCst);
    loop {
        match ASKED.load(Ordering::SeqCst) {
            RIGHT => return true,
            WRONG => return false,
            _ => std::thread::yield_now(),
        }
    }
}

/// Another thread, to be asked from the constructor.
fn start_another() {
    std::thread::spawn(|| {
        loop {
            let right = match ASKED.load(Ordering::SeqCst) {
                // The slot's stubs are looked up by it.
                REPLACE => OTHER.replace(Of(2)).unwrap().wait().is_ok(),
                FORK => fork(|| NUMBER.number() == 1 && NUMBER.replace(Of(3)).is_ok()).wait().is_ok(),
                _ => {
                    std::thread::yield_now();
                    continue;
                }
            };
            ASKED.store(if right { RIGHT } else { WRONG }, Ordering::SeqCst);
        }
    });
    // Once before: what the thread does for the first time may register storage, too.
    assert!(ask(REPLACE));
    WITH_ANOTHER.store(true, Ordering::SeqCst);
}

/// What the constructor calls.
extern "C" fn when_loaded() {
    // This thread, inside the dynamic linker.
    drop(NUMBER.replace(Of(1)).unwrap().wait());
    // A thread that this one waits for: it was there before, for a new one would wait for the dynamic linker whatever it does.
    if WITH_ANOTHER.load(Ordering::SeqCst) {
        assert!(ask(REPLACE));
        assert!(ask(FORK));
    }
    LOADED.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_constructor_waits_for_who_replaces() {
    let folder = std::env::temp_dir().join(format!("hotcall-loading-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, library) = (folder.join("loaded.c"), folder.join("libloaded.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.unwrap().success());
    let callback = (when_loaded as *const ()).expose_provenance().to_string();
    // In children, which are given up where they hang. In the first, the runtime's thread is started by the constructor.
    let outcomes = [false, true].map(|with_another| {
        let child = fork(|| {
            if with_another {
                start_another();
            }
            let name = CString::new(library.as_os_str().as_encoded_bytes()).unwrap();
            // SAFETY: nothing else in this child looks at its environment.
            unsafe { std::env::set_var("HOTCALL_TEST_CALLBACK", &callback) };
            // SAFETY: the library's constructor is the one above.
            let loaded = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
            let seen = (NUMBER.number(), OTHER.number());
            !loaded.is_null()
                && LOADED.load(Ordering::SeqCst) == 1
                && seen == (1, if with_another { 2 } else { 0 })
        });
        child.wait()
    });
    let _ = std::fs::remove_dir_all(&folder);
    assert_eq!(outcomes, [Ok(()), Ok(())]);
}

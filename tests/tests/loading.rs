//! A library's constructor, which runs under the dynamic linker's lock, waits for threads that replace: nobody waits for ever.
//!
//! Replacing walks over the loaded images, under a lock of the dynamic linker's; the constructors of a library that is being
//! loaded run under another. That one is taken by a new thread of the standard library, so the runtime's thread is none.
#![allow(missing_docs, unsafe_code)]
#![cfg(target_os = "linux")]

use std::ffi::CString;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};

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

enum Ask {
    Replace,
    Fork,
}

type Others = (mpsc::Sender<Ask>, Mutex<mpsc::Receiver<bool>>);
static OTHERS: OnceLock<Others> = OnceLock::new();

/// Another thread, to be asked from the constructor.
fn start_another() {
    let ((ask, asked), (answer, answers)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        for what in asked {
            let right = match what {
                // The slot's stubs are looked up by it.
                Ask::Replace => OTHER.replace(Of(2)).unwrap().wait().is_ok(),
                Ask::Fork => fork(|| NUMBER.number() == 1 && NUMBER.replace(Of(3)).is_ok()).wait().is_ok(),
            };
            answer.send(right).unwrap();
        }
    });
    // Once before: storage with destructors is registered with the dynamic linker, at its first use.
    ask.send(Ask::Replace).unwrap();
    assert!(answers.recv().unwrap());
    assert!(OTHERS.set((ask, Mutex::new(answers))).is_ok());
}

/// What the constructor calls.
extern "C" fn when_loaded() {
    // This thread, inside the dynamic linker.
    drop(NUMBER.replace(Of(1)).unwrap().wait());
    // A thread that this one waits for: it was there before, for a new one would wait for the dynamic linker whatever it does.
    if let Some((ask, answers)) = OTHERS.get() {
        for what in [Ask::Replace, Ask::Fork] {
            ask.send(what).unwrap();
            assert!(answers.lock().unwrap().recv().unwrap());
        }
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

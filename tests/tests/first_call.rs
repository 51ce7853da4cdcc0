//! A thread's first call, from a signal handler that has interrupted `malloc`, with any number of thread-specific keys in use: it
//! neither allocates nor locks.
//!
//! `malloc` and `calloc` of this program raise the signal inside themselves, where a real one holds its lock.
#![allow(missing_docs, unsafe_code)]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::{dispatch, slot};

#[dispatch]
pub trait Work: Send + Sync {
    fn run(&self) -> u64;
}
struct Number(u64);
impl Work for Number {
    fn run(&self) -> u64 {
        self.0
    }
}
#[slot]
static SLOT: dyn Work = Number(1);

thread_local! {
    /// The next allocation of this thread is interrupted.
    static ARMED: Cell<bool> = const { Cell::new(false) };
    /// It is inside the allocator.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}
static HANDLED: AtomicUsize = AtomicUsize::new(0);
static ALLOCATED_INSIDE: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
}

fn allocation(allocate: impl FnOnce() -> *mut c_void) -> *mut c_void {
    if INSIDE.get() {
        ALLOCATED_INSIDE.fetch_add(1, Ordering::SeqCst);
    } else if ARMED.replace(false) {
        INSIDE.set(true);
        // SAFETY: the signal has a handler.
        unsafe { libc::raise(libc::SIGUSR1) };
        INSIDE.set(false);
    }
    allocate()
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: glibc's own.
    allocation(|| unsafe { __libc_malloc(size) })
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: as above.
    allocation(|| unsafe { __libc_calloc(count, size) })
}

extern "C" fn handler(_: c_int) {
    let guard = hotcall::pin();
    let both = SLOT.run() == SLOT.bind(&guard).run();
    drop(guard);
    // Nested deeper than a record has flags, and the thread is given more.
    let guards: [_; 100] = std::array::from_fn(|_| hotcall::pin());
    drop(guards);
    HANDLED.fetch_add(both.into(), Ordering::SeqCst);
}

fn interrupted_in_malloc() {
    ARMED.set(true);
    // SAFETY: any length may be asked for.
    let allocated = unsafe { libc::malloc(60_000) };
    // SAFETY: it was allocated just now, or is null.
    unsafe { libc::free(std::hint::black_box(allocated)) };
}

/// At the end of its thread, after all of Rust's destructors.
extern "C" fn at_end(_: *mut c_void) {
    interrupted_in_malloc();
}

#[test]
fn a_first_call_inside_malloc() {
    // SAFETY: the handler calls slots, and atomics.
    let before = unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
    SLOT.replace(Number(2)).map(drop).unwrap();
    let key = |at_end: Option<unsafe extern "C" fn(*mut c_void)>| {
        let mut key = 0;
        // SAFETY: a valid place, and a function that lives for ever.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, at_end) }, 0);
        key
    };
    let last = key(Some(at_end));
    let mut expected = 0;
    for keys in [0, 40, 200] {
        for _ in 0..keys {
            key(None);
        }
        for _ in 0..50 {
            std::thread::spawn(interrupted_in_malloc).join().unwrap();
            std::thread::spawn(move || {
                // SAFETY: the key was made above; its value is no pointer to anything.
                assert_eq!(unsafe { libc::pthread_setspecific(last, std::ptr::without_provenance(1)) }, 0);
            })
            .join()
            .unwrap();
            expected += 2;
        }
    }
    assert_eq!(HANDLED.load(Ordering::SeqCst), expected);
    assert_eq!(ALLOCATED_INSIDE.load(Ordering::SeqCst), 0, "it has allocated inside `malloc`");
    drop(SLOT.restore().unwrap().wait().unwrap());
}

/// The same where every section has a fence: the registration is the same.
#[test]
fn without_membarrier() {
    const VARIABLE: &str = "HOTCALL_NO_MEMBARRIER";
    if std::env::var_os(VARIABLE).is_some() {
        assert_eq!(hotcall::sections(), hotcall::Sections::Pinned);
        return;
    }
    let output =
        std::process::Command::new(std::env::current_exe().unwrap()).env(VARIABLE, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

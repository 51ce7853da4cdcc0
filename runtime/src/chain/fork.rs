//! What must not be half-done when the process forks: the lists of emitted code that debuggers and libgcc keep.
//!
//! # Problem
//!
//! A child has only the thread that forked. A lock that another thread held is held there for ever.
//!
//! * The debugger's list has a lock of this crate. A handler takes it before a fork, and lets go in parent and child.
//! * libgcc has a lock that no handler reaches. Until version 13 of gcc it is taken for every frame that a panic passes, once
//!   anything has been registered. So a child does not ask libgcc to forget what its parent registered, nor frees that
//!   code: whatever a child inherits stays until the child ends. And before a child registers anything itself, a thread
//!   that may be lost finds out whether the lock can be had. Where it cannot, chains that are edited there become loops,
//!   which need no registration.
//!
//! In a child whose parent was unwinding in another thread as it forked, a panic hangs: that is libgcc's.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Once, mpsc};
use std::time::Duration;

use super::frames;
use crate::lock::{Mutex, MutexGuard};

static LOCK: Mutex<()> = Mutex::new(());

/// How many forks lie between this process and the one that began.
static FORKS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Held by the thread that forks.
    static FORKING: Cell<Option<MutexGuard<'static, ()>>> = const { Cell::new(None) };
}

/// The lock over changes of the debugger's list and of libgcc's. Nothing else is locked under it.
pub(super) fn lock() -> MutexGuard<'static, ()> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the three have the signature asked for and live for ever.
        let refused = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
        if refused != 0 {
            let error = std::io::Error::from_raw_os_error(refused);
            tracing::warn!(target: "hotcall", %error, "pthread_atfork was refused: do not edit chains after a fork");
        }
    });
    LOCK.lock()
}

extern "C" fn prepare() {
    FORKING.set(Some(LOCK.lock()));
}

extern "C" fn parent() {
    FORKING.set(None);
}

extern "C" fn child() {
    // Relaxed: there is one thread.
    FORKS.fetch_add(1, Ordering::Relaxed);
    // A lock that is lost stays so in a child's child.
    if LIBGCC.load(Ordering::Relaxed) != LOST {
        LIBGCC.store(UNKNOWN, Ordering::Relaxed);
    }
    FORKING.set(None);
}

/// What is known of libgcc's lock.
static LIBGCC: AtomicU8 = AtomicU8::new(WORKS);
const WORKS: u8 = 0;
const UNKNOWN: u8 = 1;
const LOST: u8 = 2;

/// How long a lock that somebody holds is waited for in a child. Who waits in vain emits loops: slower, and right.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether code with frames may be emitted: in a child, libgcc's lock may be lost.
pub(super) fn can_register() -> bool {
    // Relaxed: it says nothing of other memory. Two threads may both find out.
    match LIBGCC.load(Ordering::Relaxed) {
        WORKS => true,
        UNKNOWN => {
            let works = can_be_had();
            LIBGCC.store(if works { WORKS } else { LOST }, Ordering::Relaxed);
            if !works {
                tracing::warn!(target: "hotcall", "forked while another thread unwound: chains that are edited here are loops");
            }
            works
        }
        _ => false,
    }
}

/// Takes libgcc's lock in a thread that is left behind where it never gets it.
fn can_be_had() -> bool {
    let (had, waits) = mpsc::channel();
    let tries = move || {
        frames::probe();
        // Nobody listens any more where it took too long.
        let _ = had.send(());
    };
    let spawned = std::thread::Builder::new().name("hotcall-probe".into()).spawn(tries);
    spawned.is_ok() && waits.recv_timeout(PATIENCE).is_ok()
}

/// The process that something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(u32);

impl Process {
    /// One that no fork made.
    pub(super) const FIRST: Self = Self(0);

    pub(super) fn this() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }
}

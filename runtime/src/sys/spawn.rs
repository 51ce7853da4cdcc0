//! A thread that needs nothing of the dynamic linker's.
//!
//! # Problem
//!
//! The constructors of a library that is being loaded run under a lock of the dynamic linker's. A thread that the standard
//! library starts takes that lock before it runs anything: glibc looks up which library the destructors of its thread-local storage
//! are of. So whoever waits in such a constructor for a thread that is just being started waits for ever.
//!
//! # Idea
//!
//! The runtime's own thread is started by the system's function alone. It has no handle and is never joined, and the storage
//! that it uses has no destructors.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use std::io;

/// What a thread of the standard library has.
const STACK: usize = 2 << 20;

/// Starts a thread that runs `body`, which does not return. The system keeps 15 bytes of the name.
///
/// # Errors
///
/// What the system refused.
pub(crate) fn spawn(name: &'static CStr, body: &'static Body) -> io::Result<()> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: a place for attributes.
    refused(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
    // SAFETY: initialised above. Where the size is refused, it is the system's.
    unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK) };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED) };
    let mut thread = 0;
    let argument = ptr::from_ref(body).cast_mut().cast();
    // SAFETY: `start` has the signature asked for, and `argument` is what it expects.
    let started = unsafe { libc::pthread_create(&raw mut thread, attributes.as_ptr(), start, argument) };
    // SAFETY: initialised above, and not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    refused(started)?;
    // SAFETY: a thread that does not end, and a C string. That it has no name is no reason to fail.
    unsafe { libc::pthread_setname_np(thread, name.as_ptr()) };
    Ok(())
}

/// What a thread runs.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) fn() -> !);

extern "C" fn start(body: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` gave a `&'static Body`.
    let body: &'static Body = unsafe { &*body.cast_const().cast() };
    (body.0)()
}

fn refused(errno: i32) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Mutex, OnceLock};

    use super::*;

    static TOLD: OnceLock<Mutex<Sender<u64>>> = OnceLock::new();
    static BODY: Body = Body(|| {
        if let Some(told) = TOLD.get() {
            told.lock().unwrap().send(7).unwrap();
        }
        loop {
            std::thread::park();
        }
    });

    #[test]
    fn it_runs() {
        let (told, tells): (_, Receiver<u64>) = channel();
        TOLD.set(Mutex::new(told)).unwrap();
        spawn(c"hotcall-test", &BODY).unwrap();
        assert_eq!(tells.recv(), Ok(7));
    }
}

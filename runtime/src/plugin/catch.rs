//! Catching the panics of this copy of the standard library, and no others.
//!
//! # Problem
//!
//! Each Rust library has a standard library of its own. A panic that one raised and another's `catch_unwind` meets aborts
//! the process. A plugin has to catch its panics before they reach its host; but the host's panics, from a closure that
//! it gave the plugin or from a slot that the plugin called, come through the same frames, and have to pass.
//!
//! # Idea
//!
//! One frame, [`frame`], with a personality routine of its own. The unwinder asks it what to do with an exception, and it
//! answers "mine" or "go on" where `catch_unwind` would answer "mine" to all. An exception is recognised by a field
//! that the C++ ABI for Itanium gives every exception: the function that destroys it, of which each copy of the standard
//! library has its own. What that is here, is learnt from a first panic, which [`learn`] raises.
//!
//! ```text
//!   host ── shim ── attempt ── frame ── call ── the plugin's method ── host's closure
//!                                │                      │                    │
//!      own exception: caught ◄───┴──────────────────────┘                    │
//!      foreign: destructors run, goes on ◄───────────────────────────────────┘
//! ```
//!
//! What is caught is an exception and not a payload. It is raised again inside a `catch_unwind`, which takes it apart:
//! so nothing here knows what is in it.
//!
//! # Invariants
//!
//! 1. An exception that [`frame`] returns is this copy's, or was raised while it learns, by itself.
//! 2. `OWN` is 0 until [`learn`] is over, and then never changes.
#![allow(unsafe_code)]

use core::any::Any;
use core::ffi::{c_int, c_void};
use core::mem::{ManuallyDrop, MaybeUninit};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

/// What a panic carries.
pub(super) type Payload = Box<dyn Any + Send>;

/// An exception, as far as the ABI describes it to everyone.
#[repr(C)]
struct Exception {
    class: u64,
    destroy: usize,
}

#[repr(C)]
struct Context {
    opaque: [u8; 0],
}

unsafe extern "C-unwind" {
    fn _Unwind_RaiseException(exception: *mut Exception) -> c_int;
    fn _Unwind_GetLanguageSpecificData(context: *mut Context) -> *const i32;
    fn _Unwind_GetRegionStart(context: *mut Context) -> usize;
    fn _Unwind_SetGR(context: *mut Context, register: c_int, value: usize);
    fn _Unwind_SetIP(context: *mut Context, value: usize);
}

const SEARCH: c_int = 1;
const HANDLER_FRAME: c_int = 4;
const FORCED: c_int = 8;
const FOUND: c_int = 6;
const INSTALL: c_int = 7;
const GO_ON: c_int = 8;
/// The register in which a landing pad takes the exception: `rax`, by its number in DWARF.
const RAX: c_int = 0;

/// The function that destroys this copy's exceptions. Partner: the personality, which runs after `learn` or inside it.
static OWN: AtomicUsize = AtomicUsize::new(0);

/// Calls `call` with `data`. Null if it returned; the exception if it raised one of this copy's.
///
/// # Safety
///
/// `call` may be called with `data`.
#[unsafe(naked)]
unsafe extern "C-unwind" fn frame(
    call: unsafe extern "C-unwind" fn(*mut c_void),
    data: *mut c_void,
) -> *mut Exception {
    // The landing pad is the instruction after `xor`: the unwinder has put the stack and the registers back as they were
    // at the call, and the exception into `rax`. The word before it in `.data` is how position-independent code names a
    // personality; the "language specific data" is the way from itself to the landing pad.
    core::arch::naked_asm!(
        ".pushsection .data.rel.local.hotcall_catch, \"aw\", @progbits",
        ".balign 8",
        ".Lhotcall_catch_personality:",
        ".quad {personality}",
        ".popsection",
        ".cfi_startproc",
        ".cfi_personality 0x9b, .Lhotcall_catch_personality",
        ".cfi_lsda 0x1b, .Lhotcall_catch_data",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "xor eax, eax",
        ".Lhotcall_catch_landing:",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        // Never executed. It keeps the word: gold throws away what only unwind information refers to.
        ".long .Lhotcall_catch_personality - .",
        ".cfi_endproc",
        ".pushsection .gcc_except_table.hotcall_catch, \"a\", @progbits",
        ".balign 4",
        ".Lhotcall_catch_data:",
        ".long .Lhotcall_catch_landing - .Lhotcall_catch_data",
        ".popsection",
        personality = sym personality,
    )
}

/// What the unwinder asks about [`frame`].
unsafe extern "C" fn personality(
    _version: c_int,
    actions: c_int,
    _class: u64,
    exception: *mut Exception,
    context: *mut Context,
) -> c_int {
    // SAFETY: what the unwinder promises.
    let answer = unsafe { answer(actions, exception) };
    if answer == INSTALL {
        // SAFETY: the context is that of `frame`, whose data is one distance.
        let data = unsafe { _Unwind_GetLanguageSpecificData(context) };
        // SAFETY: as above.
        let distance = unsafe { data.read() };
        // SAFETY: it leads to the landing pad of this frame.
        unsafe { land(context, exception, data.addr().wrapping_add_signed(distance as isize)) };
    }
    answer
}

/// What it asks about a frame of [`crate::caught!`](crate::__caught).
#[doc(hidden)]
pub unsafe extern "C" fn personality_of_caught(
    _version: c_int,
    actions: c_int,
    _class: u64,
    exception: *mut c_void,
    context: *mut c_void,
) -> c_int {
    let (exception, context) = (exception.cast::<Exception>(), context.cast::<Context>());
    // SAFETY: what the unwinder promises.
    let answer = unsafe { answer(actions, exception) };
    if answer == INSTALL {
        // SAFETY: the context is that of such a frame.
        let start = unsafe { _Unwind_GetRegionStart(context) };
        // SAFETY: the landing pad is there in every such frame.
        unsafe { land(context, exception, start + LANDING_OF_CAUGHT) };
    }
    answer
}

/// How far behind its beginning a frame of `caught!` has its landing pad: the lengths of its first four instructions.
const LANDING_OF_CAUGHT: usize = 4 + 5 + 4 + 1;

/// Whose the exception is.
///
/// # Safety
///
/// `exception` is alive.
unsafe fn answer(actions: c_int, exception: *const Exception) -> c_int {
    let own = OWN.load(Ordering::Acquire);
    // SAFETY: the caller's promise; every exception begins with these two fields.
    let destroy = unsafe { &*exception }.destroy;
    if (own != 0 && destroy != own) || actions & FORCED != 0 {
        GO_ON
    } else if actions & SEARCH != 0 {
        FOUND
    } else if actions & HANDLER_FRAME != 0 {
        INSTALL
    } else {
        GO_ON
    }
}

/// Has the frame go on at its landing pad, with the exception in `rax`.
///
/// # Safety
///
/// `context` is that of the frame, and `landing` expects that.
unsafe fn land(context: *mut Context, exception: *mut Exception, landing: usize) {
    // SAFETY: the caller's promise.
    unsafe { _Unwind_SetGR(context, RAX, exception.addr()) };
    // SAFETY: as above.
    unsafe { _Unwind_SetIP(context, landing) };
}

/// For `#[dispatch]`: a shim in a frame that catches what it raises. It costs a call and a return, and touches no argument: all
/// of them travel in registers.
#[doc(hidden)]
#[macro_export]
macro_rules! __caught {
    (shim = [$($shim:tt)*], $($signature:tt)*) => {
        #[unsafe(naked)]
        $($signature)* {
            // The landing pad begins behind the `ret`: see `LANDING_OF_CAUGHT`.
            ::core::arch::naked_asm!(
                ".ifndef .Lhotcall_caught_personality",
                ".pushsection .data.rel.local.hotcall_caught, \"aw\", @progbits",
                ".balign 8",
                ".Lhotcall_caught_personality:",
                ".quad {personality}",
                ".popsection",
                ".endif",
                ".cfi_startproc",
                ".cfi_personality 0x9b, .Lhotcall_caught_personality",
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "call {shim}@PLT",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "ret",
                ".cfi_adjust_cfa_offset 8",
                "mov rdi, rax",
                "call {raise}@PLT",
                // Never executed: see `frame`.
                ".long .Lhotcall_caught_personality - .",
                ".balign 16, 0xcc",
                ".cfi_endproc",
                personality = sym $crate::__private::personality_of_caught,
                shim = sym $($shim)*,
                raise = sym $crate::__private::raise_caught,
            )
        }
    };
}

/// For `caught!`: the exception that its frame has caught becomes a panic of the host's.
#[doc(hidden)]
pub unsafe extern "C-unwind" fn raise_caught(exception: *mut c_void) -> ! {
    super::boundary::cross(take_apart(exception.cast()))
}

/// For `#[dispatch]`: frames of [`caught!`](crate::__caught) catch here. No argument is on the stack, where one would be out of
/// its place.
#[doc(hidden)]
pub const BY_FRAME: bool = true;

/// A closure, and then what it returned: both begin where the job does.
#[repr(C)]
union Job<F, R> {
    closure: ManuallyDrop<F>,
    result: ManuallyDrop<MaybeUninit<R>>,
}

unsafe extern "C-unwind" fn call<F: FnOnce() -> R, R>(job: *mut c_void) {
    // SAFETY: `run` gives a job that holds its closure, once.
    let closure = unsafe { job.cast::<F>().read() };
    let result = closure();
    // SAFETY: as above; the closure has been moved out.
    unsafe { job.cast::<R>().write(result) };
}

fn run<F: FnOnce() -> R, R>(closure: F) -> Result<R, *mut Exception> {
    let mut job = Job::<F, R> { closure: ManuallyDrop::new(closure) };
    // SAFETY: `call` takes a job of this type. Where it does not return, the closure has been moved out, and is
    // destroyed by unwinding.
    let exception = unsafe { frame(call::<F, R>, (&raw mut job).cast()) };
    if !exception.is_null() {
        return Err(exception);
    }
    // SAFETY: `call` has returned, so it has written its result.
    let result = unsafe { job.result };
    // SAFETY: as above.
    Ok(unsafe { ManuallyDrop::into_inner(result).assume_init() })
}

/// Runs `closure`, and catches a panic if this copy raised it. Others pass.
pub(super) fn attempt<F: FnOnce() -> R, R>(closure: F) -> Result<R, Payload> {
    learn();
    run(closure).map_err(take_apart)
}

/// As [`attempt`], once something else has [learnt](learn).
#[inline]
pub(super) fn attempt_learnt<F: FnOnce() -> R, R>(closure: F) -> Result<R, Payload> {
    run(closure).map_err(take_apart)
}

/// The exception's payload: this copy's `catch_unwind` knows where it is. The exception is gone then.
#[cold]
fn take_apart(exception: *mut Exception) -> Payload {
    let raised = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: invariant 1: it is an exception of this copy, which nobody else has.
        unsafe { _Unwind_RaiseException(exception) }
    }));
    match raised {
        Err(payload) => payload,
        // The unwinder found no end of the stack; there is a handler, so it is broken.
        Ok(_) => std::process::abort(),
    }
}

/// Learns what this copy's exceptions look like, by raising one. Answers what is equal for two copies only if they
/// are one.
pub(super) fn learn() -> usize {
    static LEARN: Once = Once::new();
    if OWN.load(Ordering::Acquire) == 0 {
        LEARN.call_once(|| {
            // `resume_unwind` runs no hook.
            let Err(exception) = run(|| -> () { resume_unwind(Box::new(())) }) else { std::process::abort() };
            // SAFETY: invariant 1: it is alive until it is taken apart.
            let destroy = unsafe { &*exception }.destroy;
            // Release, partner of the Acquire above and in the personality.
            OWN.store(destroy, Ordering::Release);
            drop(take_apart(exception));
        });
    }
    OWN.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_returns_returns() {
        assert_eq!(attempt(|| String::from("whole")).unwrap(), "whole");
        assert_eq!(attempt(|| [7_u64; 9]).unwrap(), [7; 9]);
    }

    #[test]
    fn a_panic_is_caught_and_everything_is_destroyed_once() {
        struct Counts<'a>(&'a core::cell::Cell<u32>);
        impl Drop for Counts<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = core::cell::Cell::new(0);
        let (moved, held) = (Counts(&dropped), Counts(&dropped));
        let caught = attempt(|| {
            let _moved = moved;
            let _second = Counts(&dropped);
            resume_unwind(Box::new(42_u32));
        });
        assert_eq!(*caught.unwrap_err().downcast::<u32>().unwrap(), 42);
        assert_eq!(dropped.get(), 2);
        assert!(!std::thread::panicking());
        drop(held);
        // A destructor that runs while a panic unwinds may catch one of its own.
        struct Nested;
        impl Drop for Nested {
            fn drop(&mut self) {
                assert!(std::thread::panicking());
                assert!(attempt(|| resume_unwind(Box::new("inner"))).is_err());
            }
        }
        let outer = attempt(|| {
            let _nested = Nested;
            resume_unwind(Box::new("outer"));
        });
        assert_eq!(*outer.unwrap_err().downcast::<&str>().unwrap(), "outer");
        assert!(!std::thread::panicking());
    }
}

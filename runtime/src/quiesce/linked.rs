//! Other copies of hotcall in this process that call this one's slots.
//!
//! A plugin in a shared library has a runtime of its own: its threads' records, its guards, its fork handlers. Where it
//! calls a slot of the program (see `slot::patched::link`), its calls are sections of *its* runtime. So who frees what the
//! slot held must wait for the readers of both.
//!
//! A runtime says how others reach it in a table of functions, which the record of each of its stubs leads to. The tables
//! of two copies agree because a library is linked only after its header was found to name this compiler and this version.

use super::{reclaimer, section};
use crate::gated::Gated;
use crate::sabotage::{self, Sabotage};

/// How another copy of hotcall reaches this one.
#[doc(hidden)]
#[derive(Debug)]
#[repr(C)]
pub struct Runtime {
    /// Keeps its records right in forked children.
    register_fork: extern "C" fn(),
    /// Waits until the sections and guards that are there at the call are gone. The heavy barrier is the caller's.
    wait_for_readers: extern "C" fn(),
    /// Code was written, and there is no `membarrier`: its threads serialise themselves.
    code_written: extern "C" fn(),
    /// Whether the calling thread is in one of its sections, or holds one of its guards.
    is_protected: extern "C" fn() -> bool,
}

/// This copy.
pub(crate) static OWN: Runtime = Runtime {
    register_fork: register_fork_here,
    wait_for_readers: wait_for_readers_here,
    code_written: code_written_here,
    is_protected: is_protected_here,
};

extern "C" fn register_fork_here() {
    super::register_fork();
}
extern "C" fn wait_for_readers_here() {
    reclaimer::wait_for_readers();
}
extern "C" fn code_written_here() {
    section::code_written();
}
extern "C" fn is_protected_here() -> bool {
    section::is_protected_here()
}

/// The copies that call this one's slots. They stay: a library that is linked is not unloaded.
static LINKED: Gated<Vec<&'static Runtime>> = Gated::new(Vec::new());

fn linked() -> Vec<&'static Runtime> {
    LINKED.lock().clone()
}

/// From now on, whoever frees something waits for the readers of `runtime`, too.
pub(crate) fn add(runtime: &'static Runtime) {
    (runtime.register_fork)();
    let mut linked = LINKED.lock();
    if !linked.iter().any(|known| core::ptr::eq(*known, runtime)) {
        linked.push(runtime);
    }
}

/// See [`Runtime::wait_for_readers`].
pub(crate) fn wait_for_readers() {
    if sabotage::is(Sabotage::UnlinkedReaders) {
        return;
    }
    linked().iter().for_each(|runtime| (runtime.wait_for_readers)());
}

/// See [`Runtime::code_written`].
pub(crate) fn code_written() {
    linked().iter().for_each(|runtime| (runtime.code_written)());
}

/// See [`Runtime::is_protected`].
pub(crate) fn is_protected() -> bool {
    linked().iter().any(|runtime| (runtime.is_protected)())
}

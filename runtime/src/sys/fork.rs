//! `fork`: a child that replaces must not change its parent, nor the other way round.
//!
//! Code memory is shared between its two views, and so a fork would share it between parent and child. Three
//! handlers, run by `fork` itself in the thread that calls it:
//!
//! * **prepare** keeps writers and the reclaimer out, and copies all code memory;
//! * **parent** lets them in again;
//! * **child** maps memory of its own, with the copied content, at the same addresses; forgets the threads that
//!   do not exist there; and lets writers in. Its reclaimer is started when it is next needed.
//!
//! `vfork` and `posix_spawn` run no handlers and need none: their child only replaces itself. A `clone` by
//! hand that shares no memory runs none either, and is not supported.
#![allow(unsafe_code)]

use std::sync::Once;

/// Registers the handlers, the first time.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the three have the signature asked for and live for ever.
        let refused = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
        if refused != 0 {
            let error = std::io::Error::from_raw_os_error(refused);
            tracing::warn!(target: "hotcall", %error, "pthread_atfork was refused: do not replace after a fork");
        }
    });
}

extern "C" fn prepare() {
    // Waits until no thread holds a lock of a writer's, an arena's, a chain's or a library's.
    crate::gated::before_fork();
    crate::slot::commit::before_fork();
    crate::quiesce::reclaimer::before_fork();
    #[cfg(patched)]
    crate::arena::shared::before_fork();
}

extern "C" fn parent() {
    #[cfg(patched)]
    crate::arena::shared::after_fork_in_parent();
    crate::quiesce::reclaimer::after_fork_in_parent();
    crate::slot::commit::after_fork_in_parent();
    crate::gated::after_fork();
}

extern "C" fn child() {
    crate::gated::after_fork_in_child();
    #[cfg(patched)]
    crate::arena::shared::after_fork_in_child();
    crate::quiesce::after_fork_in_child();
    crate::quiesce::reclaimer::after_fork_in_child();
    crate::slot::commit::after_fork_in_child();
    crate::gated::after_fork();
}

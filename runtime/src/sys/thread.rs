//! Threads, as the system numbers them. Nothing here locks, allocates, or changes `errno`.
#![allow(unsafe_code)]

use rustix::process::getpid;
use rustix::thread::gettid;

/// A thread of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) process: u32,
    pub(crate) number: u32,
}

/// The calling thread.
pub(crate) fn current() -> Thread {
    Thread { process: number(getpid()), number: number(gettid()) }
}

fn number(pid: rustix::process::Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

impl Thread {
    /// Whether there is no such thread any more. Only asked within the thread's own process, which is `here`: of others
    /// nothing is known. A system that does not answer has not said so.
    pub(crate) fn has_ended(self, here: u32) -> bool {
        if self.process != here {
            return false;
        }
        // SAFETY: `__errno_location` gives the place of the calling thread's.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let before = unsafe { *errno };
        // SAFETY: signal 0 is not sent: it is only asked whether it could be.
        let answer = unsafe { libc::syscall(libc::SYS_tgkill, self.process, self.number, 0) };
        // SAFETY: as above.
        let refusal = unsafe { *errno };
        // SAFETY: as above; a caller that is a signal handler leaves it as it was.
        unsafe { *errno = before };
        answer != 0 && refusal == libc::ESRCH
    }
}

//! Children, and what became of them.
#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long a child may take before it counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A forked child that is to be waited for.
#[derive(Debug)]
#[must_use = "it is to be waited for"]
pub struct Child(libc::pid_t);

/// Forks. In the child, `child` is run, and its answer or its panic is the child's end.
///
/// # Panics
///
/// Where the system refuses a child.
pub fn fork(child: impl FnOnce() -> bool) -> Child {
    // SAFETY: the child runs what the test gives it, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        let passed = catch_unwind(AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the process without running what belongs to its parent.
        unsafe { libc::_exit(i32::from(!passed)) };
    }
    Child(pid)
}

impl Child {
    /// One that was forked by hand.
    pub fn of(pid: i32) -> Self {
        Self(pid)
    }

    /// Waits for the child.
    ///
    /// # Errors
    ///
    /// What became of it, where it did not answer yes. One that hangs is killed.
    pub fn wait(self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut status = 0;
        loop {
            // SAFETY: `self` is a child of this process; `status` is a valid place.
            let done = unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) };
            match done {
                0 if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(200)),
                0 => {
                    // SAFETY: a child that has not been waited for yet.
                    unsafe { libc::kill(self.0, libc::SIGKILL) };
                    // SAFETY: as above.
                    unsafe { libc::waitpid(self.0, &raw mut status, 0) };
                    return Err("it hangs".to_owned());
                }
                pid if pid != self.0 => return Err(std::io::Error::last_os_error().to_string()),
                _ if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => return Ok(()),
                _ if libc::WIFEXITED(status) => {
                    return Err(format!("it exited with {}", libc::WEXITSTATUS(status)));
                }
                _ => return Err(format!("signal {} killed it", libc::WTERMSIG(status))),
            }
        }
    }
}

/// One process says "now", another waits for that.
#[derive(Debug)]
pub struct Rendezvous {
    reads: std::io::PipeReader,
    writes: std::io::PipeWriter,
}

impl Rendezvous {
    /// To be made before the fork.
    ///
    /// # Panics
    ///
    /// Where the system refuses a pipe.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it asks the system")]
    pub fn new() -> Self {
        let (reads, writes) = std::io::pipe().expect("a pipe");
        Self { reads, writes }
    }

    /// Says so, once.
    ///
    /// # Panics
    ///
    /// Where the other side is gone.
    pub fn tell(&self) {
        (&self.writes).write_all(&[1]).expect("somebody reads");
    }

    /// Waits for it, once.
    ///
    /// # Panics
    ///
    /// Where the other side is gone.
    pub fn wait(&self) {
        (&self.reads).read_exact(&mut [0]).expect("somebody writes");
    }
}

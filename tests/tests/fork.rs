//! A child that replaces does not change its parent, nor the other way round; and both go on.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hotcall::{dispatch, slot};

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

/// Runs `child` in a forked process; its exit status.
#[allow(unsafe_code)]
fn forked(child: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child calls nothing that needs threads it has not, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the process without running what belongs to its parent.
        unsafe { libc::_exit(if passed { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: `pid` is a child of this process; `status` is a valid place.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

#[test]
fn parent_and_child_each_have_their_own() {
    // Before anything was patched.
    assert_eq!(forked(|| NUMBER.replace(Of(7)).is_ok() && NUMBER.number() == 7), 0);
    assert_eq!(NUMBER.number(), 0);

    let retired = NUMBER.replace(Of(1)).unwrap();
    let stop = AtomicBool::new(false);
    /// Also where an assertion fails: the other thread would be waited for.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        // The parent goes on calling and replacing while it forks.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(OTHER.replace(Of(5)).unwrap());
                assert_eq!(OTHER.number(), 5);
            }
        });
        let _stop = Stop(&stop);
        for round in 0..20 {
            let status = forked(|| {
                let own = NUMBER.number() == 1;
                let replaced = NUMBER.replace(Of(100 + round)).unwrap();
                let seen = NUMBER.number() == 100 + round;
                // The child's own reclaimer gives the old one back, and settles.
                let old = replaced.wait_timeout(Duration::from_secs(20)).is_ok_and(|old| old.number() == 1);
                let again = NUMBER.replace(Of(200)).is_ok() && NUMBER.number() == 200;
                own && seen && old && again
            });
            assert_eq!(status, 0, "round {round}");
            assert_eq!(NUMBER.number(), 1, "round {round}: the child has changed its parent");
        }
    });
    assert_eq!(retired.wait().unwrap().number(), 0);

    // A guard held across the fork protects in the child, until it is dropped there.
    let guard = hotcall::pin();
    let bound = NUMBER.bind(&guard);
    let status = forked(|| {
        let retired = NUMBER.replace(Of(3)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        bound.number() == 3 && !retired.is_drained()
    });
    assert_eq!(status, 0);
    drop(guard);

    // The parent replaces while the child runs.
    let status = forked(|| {
        std::thread::sleep(Duration::from_millis(100));
        NUMBER.number() == 1
    });
    assert_eq!(status, 0);
    assert_eq!(NUMBER.number(), 1);
    assert!(NUMBER.replace(Of(2)).unwrap().wait().is_ok());
    assert_eq!(NUMBER.number(), 2);
}

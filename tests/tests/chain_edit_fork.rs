//! Forks while chains are edited: an edit keeps no fork waiting, and no child waits for a thread that it has not.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::sync::Barrier;
use std::time::{Duration, Instant};

use hotcall::{Chain, Error, Patched, WaitError, chain, dispatch};

#[dispatch]
trait Work: Send + Sync {
    #[chain(through)]
    fn run(&self, x: u64) -> u64;
}
struct Plus(u64);
impl Work for Plus {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
}

/// What `work` says in a child; it is killed where it hangs.
fn in_a_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child only works on chains and slots, and ends with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: it ends the process.
        unsafe { libc::_exit(i32::from(!right)) }
    }
    let (deadline, mut status) = (Instant::now() + Duration::from_secs(60), 0);
    // SAFETY: `status` is valid for the call.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if Instant::now() >= deadline {
            // SAFETY: a child that has not been waited for yet.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    status == 0
}

/// Held open: one thread is inside an edit, and waits there for a thread that replaces; another forks meanwhile.
#[test]
fn a_fork_waits_for_no_edit() {
    let chain: Chain<dyn Work> = chain![Plus(1)].unwrap();
    let handle: Patched<dyn Work> = Patched::new(Plus(1));
    let remote = handle.remote();
    let (inside, forked) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let edited = chain.edit(|list| {
                list.push(Plus(10));
                inside.wait();
                // The fork is over before the edit is.
                forked.wait();
                let refused = remote.replace(Plus(2)).unwrap().wait_timeout(Duration::from_secs(60));
                assert!(matches!(refused.map(drop), Err(WaitError::WouldDeadlock(_)) | Ok(())));
            });
            drop(edited.unwrap());
        });
        inside.wait();
        let right = in_a_child(|| {
            // Its editor is not here.
            chain.push(Plus(100)).is_ok() && chain.run(0) == 101 && chain.len() == 2
        });
        assert!(right);
        forked.wait();
    });
    assert_eq!((chain.run(0), handle.run(0)), (11, 2));
}

/// The thread that forks edits a chain itself, and goes on with it in both processes.
#[test]
fn an_editor_forks() {
    let (chain, other): (Chain<dyn Work>, Chain<dyn Work>) =
        (chain![Plus(1)].unwrap(), chain![Plus(1)].unwrap());
    let (inside, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Somebody else's, at the same time.
            let edited = other.edit(|_| {
                inside.wait();
                done.wait();
            });
            drop(edited.unwrap());
        });
        inside.wait();
        let edited = chain.edit(|list| {
            list.push(Plus(10));
            let mine = || matches!(chain.push(Plus(5)).unwrap_err().error(), Error::Reentrant);
            let right = in_a_child(|| {
                // And a child of the child, whose thread is another.
                let grandchild = || {
                    std::thread::scope(|scope| {
                        let forks =
                            || in_a_child(|| chain.push(Plus(1_000)).is_ok() && chain.run(0) == 1_001);
                        scope.spawn(forks).join().unwrap()
                    })
                };
                mine() && other.push(Plus(100)).is_ok() && other.run(0) == 101 && grandchild()
            });
            assert!(right && mine());
        });
        drop(edited.unwrap());
        done.wait();
    });
    assert_eq!((chain.run(0), other.run(0)), (11, 1));
    assert!(in_a_child(|| chain.push(Plus(5)).is_ok() && chain.run(0) == 16));
}

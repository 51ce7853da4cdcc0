//! Forks while chains are edited: an edit keeps no fork waiting, and no child waits for a thread that it has not.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use hotcall::{Chain, Error, Patched, WaitError, chain, dispatch};
use hotcall_tests::negative;

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

/// Where a mechanism is switched off nothing ends, and no time is enough; else no time is needed.
fn patience() -> Duration {
    Duration::from_secs(if negative::sabotaged().is_some() { 2 } else { 60 })
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
    let (deadline, mut status) = (Instant::now() + patience(), 0);
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

/// One thread is inside an edit; another forks meanwhile, and the edit ends when that is over. Whether the fork comes back and
/// the child edits the chain.
fn a_fork_inside_an_edit_ends() -> bool {
    let chain: Arc<Chain<dyn Work>> = Arc::new(chain![Plus(1)].unwrap());
    let inside = Arc::new(Barrier::new(2));
    let (say_forked, forked) = mpsc::channel();
    let (of_editor, at) = (Arc::clone(&chain), Arc::clone(&inside));
    // Not joined where it does not end.
    let editor = std::thread::spawn(move || {
        let edited = of_editor.edit(|list| {
            list.push(Plus(10));
            at.wait();
            forked.recv_timeout(patience()).unwrap_or(false)
        });
        edited.unwrap().0
    });
    inside.wait();
    // Its editor is not there.
    let right = in_a_child(|| chain.push(Plus(100)).is_ok() && chain.run(0) == 101 && chain.len() == 2);
    let _ = say_forked.send(right);
    editor.join().unwrap() && chain.run(0) == 11
}

#[test]
fn what_an_edit_and_a_fork_owe_each_other_is_missed_without_it() {
    // What it says is switched off from here on.
    let sabotaged = negative::sabotaged().is_some();
    let right = a_fork_inside_an_edit_ends();
    if sabotaged {
        std::process::exit(if right { 0 } else { negative::CAUGHT });
    }
    assert!(right);
    for sabotage in ["turns-left-behind", "edit-past-the-gate"] {
        let again = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([
                "--exact",
                "what_an_edit_and_a_fork_owe_each_other_is_missed_without_it",
                "--nocapture",
            ]);
            command
        };
        println!("{sabotage}: {}", negative::is_noticed(again, sabotage).unwrap());
    }
}

/// A wait inside an edit is refused, or has nothing to wait for, whoever forks meanwhile.
#[test]
fn a_wait_inside_an_edit_and_a_fork_elsewhere() {
    let chain: Chain<dyn Work> = chain![Plus(1)].unwrap();
    let handle: Patched<dyn Work> = Patched::new(Plus(1));
    let remote = handle.remote();
    let (inside, forked) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let edited = chain.edit(|_| {
                inside.wait();
                let answer = remote.replace(Plus(2)).unwrap().wait();
                forked.wait();
                matches!(answer.map(drop), Err(WaitError::WouldDeadlock(_)) | Ok(()))
            });
            assert!(edited.unwrap().0);
        });
        inside.wait();
        assert!(in_a_child(|| chain.push(Plus(100)).is_ok()));
        forked.wait();
    });
    assert_eq!((chain.run(0), handle.run(0)), (1, 2));
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

//! A forked child edits its copy of a chain, and its parent's stays as it was.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use hotcall::{Chain, Instance, dispatch};

#[dispatch]
trait Hook: Send + Sync {
    fn run(&self, sum: &mut u64);
}
struct Numbered(u64);
impl Hook for Numbered {
    fn run(&self, sum: &mut u64) {
        *sum += self.0;
    }
}

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(child: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

fn sum(chain: &Chain<dyn Hook>) -> u64 {
    let mut sum = 0;
    chain.run(&mut sum);
    sum
}

#[test]
fn parent_and_child_edit_apart() {
    let chain: Chain<dyn Hook> = Chain::new((0..10).map(|n| Instance::new(Numbered(n)))).unwrap();
    for round in 0..20 {
        // SAFETY: the child only edits a chain that no other thread edits, and ends with `_exit`.
        let child = unsafe { fork() };
        if child == 0 {
            let edited = chain.replace(0, Numbered(1_000)).is_ok()
                && chain.push(Numbered(5)).is_ok()
                && chain.remove(3).is_ok_and(|gone| gone.wait().is_ok());
            // SAFETY: it ends the process.
            unsafe { _exit(i32::from(!edited || sum(&chain) != 1_047)) }
        }
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
        assert_eq!((status, sum(&chain)), (0, 45), "round {round}");
        drop(chain.replace(1, Numbered(1)).unwrap());
    }
}

/// libgcc's lock is held for ever in a child that is forked while another thread unwinds: its chains are edited nevertheless.
#[test]
fn a_child_edits_whatever_its_parents_other_threads_did() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    let chain: Chain<dyn Hook> = Chain::new((0..6).map(|n| Instance::new(Numbered(n)))).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Without the hook, which would print.
                drop(std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(1_u8))));
            }
        });
        let mut failed = Vec::new();
        for _ in 0..100 {
            // SAFETY: the child only edits and calls a chain that no other thread edits, and ends with `_exit`.
            let child = unsafe { fork() };
            if child == 0 {
                let edited =
                    chain.push(Numbered(100)).is_ok() && chain.remove(0).is_ok() && sum(&chain) == 115;
                let shrunk = (0..5).all(|_| chain.remove(0).is_ok()) && sum(&chain) == 100;
                let grown = chain.push(Numbered(7)).is_ok() && sum(&chain) == 107;
                // SAFETY: it ends the process.
                unsafe { _exit(i32::from(!(edited && shrunk && grown))) }
            }
            let (deadline, mut status) = (Instant::now() + Duration::from_secs(20), 0);
            // SAFETY: `status` is valid for the call.
            while unsafe { waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
                if Instant::now() >= deadline {
                    // SAFETY: a child that has not been waited for yet.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            if status != 0 {
                failed.push(status);
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(failed.is_empty(), "children that hung, or were wrong: {failed:x?}");
    });
}

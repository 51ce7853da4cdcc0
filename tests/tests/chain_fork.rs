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

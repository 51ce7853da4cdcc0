//! Forks from wherever a thread may be, while others replace: no child hangs, dies, or stops freeing.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use hotcall::{Chain, chain, dispatch, slot};
use hotcall_tests::forking::fork;

#[dispatch]
pub trait Step: Send + Sync {
    #[chain(through)]
    fn run(&self, x: u64) -> u64;
}
struct Adds(u64);
impl Step for Adds {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
}
struct Idle;
impl Step for Idle {
    fn run(&self, x: u64) -> u64 {
        x
    }
}
/// Runs what it was given: when it is called, or when it is dropped.
struct Calls<F: Fn() + Send + Sync>(F);
impl<F: Fn() + Send + Sync> Step for Calls<F> {
    fn run(&self, x: u64) -> u64 {
        (self.0)();
        x
    }
}
struct AtDrop<F: Fn() + Send + Sync>(F);
impl<F: Fn() + Send + Sync> Step for AtDrop<F> {
    fn run(&self, x: u64) -> u64 {
        x
    }
}
impl<F: Fn() + Send + Sync> Drop for AtDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[slot]
static OWN: dyn Step = Idle;
#[slot]
static WAITED: dyn Step = Idle;
#[slot]
static FORKS: dyn Step = Idle;
#[slot]
static BUSY: dyn Step = Idle;

/// What every child does: call, replace, edit, wait for what it has replaced.
fn works(own: &Chain<dyn Step>) -> bool {
    let called = [0, 5, 6].contains(&BUSY.run(0)) && own.run(0) == 3;
    let Ok(retired) = BUSY.replace(Adds(9)) else { return false };
    let edited = own.replace(0, Adds(2)).is_ok() && own.push(Adds(4)).is_ok();
    let chain: Result<Chain<dyn Step>, _> = chain![Adds(1), Adds(2), Adds(3)];
    let fresh = chain.is_ok_and(|chain| chain.run(0) == 6);
    let freed = retired.wait_timeout(Duration::from_secs(30)).is_ok();
    called && BUSY.run(0) == 9 && edited && own.run(0) == 8 && fresh && freed
}

/// Runs `body` while other threads replace, edit, and make chains and let them go.
fn while_others_replace(body: impl FnOnce(&Chain<dyn Step>)) {
    let stop = AtomicBool::new(false);
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let own: Chain<dyn Step> = chain![Adds(1), Adds(2)].unwrap();
    let busy: Chain<dyn Step> = chain![Adds(1), Idle].unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(BUSY.replace(Adds(5)).unwrap());
                drop(BUSY.replace(Adds(6)).unwrap());
                // So that not more piles up than a child can free.
                drop(BUSY.replace(Idle).unwrap().wait());
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(busy.replace(0, Adds(2)).unwrap());
                busy.push(Adds(3)).unwrap();
                drop(busy.remove(2).unwrap().wait());
                let one: Chain<dyn Step> = chain![Adds(1), Adds(2), Adds(3)].unwrap();
                assert_eq!(one.run(0), 6);
            }
        });
        let _stop = Stop(&stop);
        body(&own);
    });
}

const ROUNDS: usize = 40;

#[test]
fn from_plain_code_and_by_grandchildren() {
    while_others_replace(|own| {
        for _ in 0..ROUNDS {
            let child = fork(|| {
                let grandchild = fork(|| works(own));
                works(own) && grandchild.wait().is_ok()
            });
            child.wait().unwrap();
        }
    });
}

#[test]
fn from_the_closure_of_a_replacement() {
    while_others_replace(|own| {
        for _ in 0..ROUNDS {
            let (mut child, mut passed) = (None, false);
            let outcome = OWN.replace_with(|_| {
                child = Some(fork_here());
                Adds(7)
            });
            if child == Some(None) {
                // The child comes out of the closure, and its replacement takes effect.
                passed = outcome.is_ok() && OWN.run(0) == 7 && works(own);
            } else {
                drop(outcome.unwrap());
            }
            finish(child.unwrap(), passed);
        }
    });
}

#[test]
fn from_the_closure_of_an_edit() {
    while_others_replace(|own| {
        for _ in 0..ROUNDS {
            let (mut child, mut passed) = (None, false);
            let outcome = own.edit(|list| {
                child = Some(fork_here());
                list.len()
            });
            if child == Some(None) {
                passed = outcome.is_ok() && works(own);
            } else {
                drop(outcome.unwrap());
            }
            finish(child.unwrap(), passed);
        }
    });
}

#[test]
fn from_a_method_and_a_destructor() {
    while_others_replace(|own| {
        for _ in 0..ROUNDS / 2 {
            std::thread::scope(|scope| {
                // From a method, inside a section: in the child nobody waits for the parent's other threads.
                let (told, tells) = mpsc::channel();
                let method = move || {
                    let child = fork(|| {
                        let called = [0, 5, 6].contains(&BUSY.run(0));
                        let replaced = BUSY.replace(Adds(9)).is_ok();
                        called && replaced && BUSY.run(0) == 9
                    });
                    told.send(child.wait()).unwrap();
                };
                drop(FORKS.replace(Calls(method)).unwrap());
                scope.spawn(|| FORKS.run(0)).join().unwrap();
                tells.recv().unwrap().unwrap();
            });
            // From a destructor that the runtime runs, on its own thread.
            let (told, tells) = mpsc::channel();
            let destructor = move || {
                let child = fork(|| {
                    let called = [0, 5, 6].contains(&BUSY.run(0));
                    called && BUSY.replace(Adds(9)).is_ok() && BUSY.run(0) == 9
                });
                let _ = told.send(child.wait());
            };
            drop(FORKS.replace(AtDrop(destructor)).unwrap());
            drop(FORKS.replace(Idle).unwrap());
            tells.recv().unwrap().unwrap();
            assert_eq!(own.run(0), 3);
        }
    });
}

#[test]
fn from_a_destructor_of_a_threads_storage() {
    struct AtEnd(bool, mpsc::Sender<Result<(), String>>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            let guard = self.0.then(hotcall::pin);
            let child = fork(|| {
                drop(guard);
                let retired = BUSY.replace(Adds(9)).unwrap();
                retired.wait_timeout(Duration::from_secs(30)).is_ok() && BUSY.run(0) == 9
            });
            self.1.send(child.wait()).unwrap();
        }
    }
    thread_local! { static AT_END: RefCell<Vec<AtEnd>> = const { RefCell::new(Vec::new()) }; }
    while_others_replace(|_| {
        for guarded in [false, true] {
            let (told, tells) = mpsc::channel();
            std::thread::spawn(move || {
                AT_END.with_borrow_mut(|all| {
                    all.extend([AtEnd(guarded, told.clone()), AtEnd(guarded, told)]);
                });
                // Registered after `AT_END`: ends before it.
                drop(hotcall::pin());
                fork(|| BUSY.replace(Adds(9)).is_ok()).wait().unwrap();
            })
            .join()
            .unwrap();
            assert_eq!(tells.iter().collect::<Vec<_>>(), [Ok(()), Ok(())], "guarded: {guarded}");
        }
    });
}

#[test]
fn from_several_threads_and_without_hotcalls_handlers() {
    let forked = AtomicU64::new(0);
    while_others_replace(|own| {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS / 2 {
                        fork(|| works(own)).wait().unwrap();
                        // No handlers are run, and none are needed.
                        assert!(std::process::Command::new("true").status().unwrap().success());
                        forked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
    });
    assert_eq!(forked.into_inner(), 3 * (ROUNDS as u64 / 2));
}

/// An edit waits, inside, for something that the runtime has to free first, and for another thread; a third thread forks.
#[test]
fn a_fork_ends_while_a_closure_waits() {
    let own: Chain<dyn Step> = chain![Adds(1), Adds(2)].unwrap();
    let (inside, is_inside) = mpsc::channel();
    let (forks, is_forked) = (&AtomicBool::new(false), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_inside.recv().is_ok() {
                forks.store(true, Ordering::SeqCst);
                fork(|| true).wait().unwrap();
                is_forked.store(true, Ordering::SeqCst);
            }
        });
        for _ in 0..ROUNDS {
            is_forked.store(false, Ordering::SeqCst);
            forks.store(false, Ordering::SeqCst);
            let edited = own.edit(|_| {
                inside.send(()).unwrap();
                while !forks.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                let retired = BUSY.replace(Adds(5)).unwrap();
                // Refused, or ended: not for ever.
                drop(retired.wait_timeout(Duration::from_secs(60)));
                std::thread::scope(|scope| drop(scope.spawn(|| WAITED.replace(Idle).map(drop).unwrap())));
            });
            drop(edited.unwrap());
            while !is_forked.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
        drop(inside);
    });
}

/// Forks; the child's process, and nothing in the child.
#[allow(unsafe_code)]
fn fork_here() -> Option<i32> {
    // SAFETY: the child leaves by `finish`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    (pid != 0).then_some(pid)
}

/// Ends the child; in the parent, waits for it.
#[allow(unsafe_code)]
fn finish(child: Option<i32>, passed: bool) {
    let Some(pid) = child else {
        // SAFETY: ends the child without running what belongs to its parent.
        unsafe { libc::_exit(i32::from(!passed)) };
    };
    hotcall_tests::forking::Child::of(pid).wait().unwrap();
}

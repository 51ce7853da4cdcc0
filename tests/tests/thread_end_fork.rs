//! Forks from destructors of thread storage, with guards and without, more than one, and in grandchildren: the child goes on,
//! and frees.
#![allow(missing_docs, unsafe_code)]
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::time::Duration;

use hotcall::{Guard, Sections, dispatch, sections, slot};

#[dispatch]
pub trait Work: Send + Sync {
    fn run(&self) -> u64;
}
struct Number(u64);
impl Work for Number {
    fn run(&self) -> u64 {
        self.0
    }
}
#[slot]
static SLOT: dyn Work = Number(0);

/// Long enough for the slowest machine.
const LONG: Duration = Duration::from_secs(30);

/// Whether `child` says so, in a process of its own.
fn forked(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls nothing that needs threads it has not, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the process without running what belongs to its parent.
        unsafe { libc::_exit(if passed { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: `pid` is a child of this process; `status` is a valid place.
    pid > 0 && unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid && status == 0
}

fn replaces_and_frees() -> bool {
    let old = SLOT.run();
    let retired = SLOT.replace(Number(old + 1)).unwrap();
    SLOT.run() == old + 1 && retired.wait_timeout(LONG).is_ok_and(|retired| retired.run() == old)
}

/// What is retired under a guard is not freed in a child, until it is dropped there.
fn frees_after(guard: Guard) -> bool {
    let old = SLOT.run();
    let bound = SLOT.get(&guard);
    let mut retired = SLOT.replace(Number(old + 1)).unwrap();
    // Others, on other threads: grace periods pass, or would.
    std::thread::spawn(|| drop(hotcall::pin())).join().unwrap();
    let waiting = std::thread::spawn(move || retired.wait_timeout(Duration::from_millis(100)));
    let Err(hotcall::WaitError::TimedOut(given_back)) = waiting.join().unwrap() else { return false };
    retired = given_back;
    let held = bound.run() == old;
    drop(guard);
    held && retired.wait_timeout(LONG).is_ok()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Once,
    /// Guards that were made in the destructor, and are held at the fork.
    Guard,
    /// A guard that the thread has held all along.
    OldGuard,
    /// The thread has forked before.
    Twice,
    /// The child forks, and its child.
    Grandchildren,
    /// The thread has never called anything.
    FirstCall,
}

/// What happens at the end of a thread.
struct AtEnd(Kind, Option<Guard>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let kind = self.0;
        let outcome = match kind {
            Kind::Once | Kind::Twice | Kind::FirstCall => {
                forked(replaces_and_frees) && forked(replaces_and_frees)
            }
            Kind::Guard => {
                let guards = (hotcall::pin(), hotcall::pin());
                forked(move || {
                    drop(guards.0);
                    frees_after(guards.1)
                })
            }
            Kind::OldGuard => {
                let guard = self.1.take().unwrap();
                forked(move || frees_after(guard))
            }
            Kind::Grandchildren => {
                let guard = hotcall::pin();
                forked(move || {
                    forked(|| forked(move || frees_after(guard) && replaces_and_frees()))
                        // This one's copy of the guard went with the closure that it gave away: held for ever.
                        && SLOT.replace(Number(9)).is_ok()
                })
            }
        };
        assert!(outcome, "{kind:?}, {:?}", sections());
    }
}

thread_local! {
    static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
}

#[test]
fn forks_from_destructors_of_thread_storage() {
    SLOT.replace(Number(1)).map(drop).unwrap();
    for kind in [Kind::Once, Kind::Guard, Kind::OldGuard, Kind::Twice, Kind::Grandchildren, Kind::FirstCall] {
        let thread = std::thread::spawn(move || {
            // Destroyed after all that is registered later.
            let guard = (kind == Kind::OldGuard).then(hotcall::pin);
            AT_END.set(Some(AtEnd(kind, guard)));
            if kind == Kind::FirstCall {
                return;
            }
            drop(hotcall::pin());
            if kind == Kind::Twice {
                assert!(forked(replaces_and_frees));
            }
        });
        assert!(thread.join().is_ok(), "{kind:?}");
    }
    // And the parent goes on.
    assert!(replaces_and_frees());
}

/// All of them again, where sections have fences.
#[test]
fn without_membarrier() {
    const VARIABLE: &str = "HOTCALL_NO_MEMBARRIER";
    if std::env::var_os(VARIABLE).is_some() {
        assert_eq!(sections(), Sections::Pinned);
        return;
    }
    let output =
        std::process::Command::new(std::env::current_exe().unwrap()).env(VARIABLE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A child that is refused the barrier that its parent had. What it has inherited is waited for.
#[test]
fn a_child_that_is_refused_the_barrier() {
    const VARIABLE: &str = "HOTCALL_TEST_REFUSED";
    if std::env::var_os(VARIABLE).is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command
            .args(["--exact", "a_child_that_is_refused_the_barrier", "--nocapture"])
            .env(VARIABLE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    SLOT.replace(Number(1)).map(drop).unwrap();
    let usual = sections();
    let guard = hotcall::pin();
    // SAFETY: no other thread of this process reads the environment: the test is alone in it.
    unsafe { std::env::set_var("HOTCALL_NO_MEMBARRIER", "1") };
    assert_eq!(sections(), usual, "the parent has asked already");
    assert!(forked(move || {
        sections() == Sections::Pinned
            && frees_after(guard)
            && replaces_and_frees()
            && forked(replaces_and_frees)
            && std::thread::spawn(|| SLOT.run()).join().is_ok()
    }));
}

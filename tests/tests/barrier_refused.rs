//! A filter of system calls that forbids `membarrier` to a process that had it: it replaces and frees as ever.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hotcall::{dispatch, slot};
use hotcall_tests::forking::fork;

#[dispatch]
trait Step: Send + Sync {
    fn run(&self, x: u64) -> u64;
}

struct Idle;
impl Step for Idle {
    fn run(&self, x: u64) -> u64 {
        x
    }
}

const ALIVE: u64 = 0x5eed_ab1e_0123_4567;
/// Few: on busy cores each barrier takes as long as the threads that run there let it wait.
const ROUNDS: usize = 10;
static FREED: AtomicUsize = AtomicUsize::new(0);

/// Knows whether it is alive.
struct Living<const TYPE: u64>(AtomicU64);

impl<const TYPE: u64> Living<TYPE> {
    fn new() -> Self {
        Self(AtomicU64::new(ALIVE))
    }
}

impl<const TYPE: u64> Step for Living<TYPE> {
    fn run(&self, x: u64) -> u64 {
        for _ in 0..16 {
            assert_eq!(self.0.load(Ordering::Relaxed), ALIVE, "it was freed while it was called");
        }
        x + TYPE
    }
}

impl<const TYPE: u64> Drop for Living<TYPE> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
        FREED.fetch_add(1, Ordering::Relaxed);
    }
}

#[slot]
static SLOT: dyn Step = Idle;

/// From now on the process's threads get `EPERM` from these system calls.
#[allow(unsafe_code)]
fn forbid(calls: &[libc::c_long]) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // The system call's number is the first word of what a filter looks at.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for call in calls {
        let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        program.push(libc::sock_filter { code, jt: 0, jf: 1, k: *call as u32 });
        program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let for_all = libc::SECCOMP_FILTER_FLAG_TSYNC;
    // SAFETY: `filter` describes `program`, which the system copies.
    let set = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, for_all, &raw const filter)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Replaces while threads call, which began before the barrier was refused, or after. Whether all is as ever.
fn goes_on(before: bool, after: bool) -> bool {
    let stop = AtomicBool::new(false);
    let begun = AtomicUsize::new(0);
    let freed = FREED.load(Ordering::Relaxed);
    let call = || {
        let mut first = true;
        while !stop.load(Ordering::Relaxed) {
            assert!(SLOT.run(1) < 4);
            if core::mem::take(&mut first) {
                begun.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let calling = |threads| {
        while begun.load(Ordering::Relaxed) < threads {
            std::thread::yield_now()
        }
    };
    std::thread::scope(|scope| {
        if before {
            (0..2).for_each(|_| drop(scope.spawn(call)));
            calling(2);
        }
        forbid(&[libc::SYS_membarrier]);
        if after {
            (0..2).for_each(|_| drop(scope.spawn(call)));
            calling(if before { 4 } else { 2 });
        }
        for _ in 0..ROUNDS {
            drop(SLOT.replace(Living::<1>::new()).unwrap());
            assert_eq!(SLOT.run(0), 1);
            drop(SLOT.replace(Living::<2>::new()).unwrap());
            assert_eq!(SLOT.run(0), 2);
            let retired = SLOT.replace(Living::<2>::new()).unwrap();
            drop(retired.wait_timeout(Duration::from_secs(30)).unwrap());
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(SLOT.restore().unwrap());
    hotcall::drain(Duration::from_secs(30)).is_ok() && FREED.load(Ordering::Relaxed) == freed + 3 * ROUNDS
}

/// The barrier was had: something was replaced.
fn begin() {
    drop(SLOT.replace(Idle).unwrap());
}

#[test]
fn a_child_that_forbids_itself_the_barrier_goes_on() {
    for (before, after) in [(false, false), (false, true), (true, false), (true, true)] {
        begin();
        assert_eq!(fork(|| goes_on(before, after)).wait(), Ok(()), "{before} {after}");
    }
}

/// A child that replaces before it is forbidden: it has asked the system itself, and has a thread of the runtime's.
#[test]
fn a_process_that_forbids_itself_the_barrier_goes_on() {
    let child = fork(|| {
        begin();
        drop(SLOT.replace(Living::<3>::new()).unwrap().wait());
        drop(SLOT.restore().unwrap().wait());
        goes_on(true, true)
    });
    assert_eq!(child.wait(), Ok(()));
}

/// Where the process may not go to other cores either, nothing is known of its threads any more.
#[test]
fn without_any_barrier_it_does_not_go_on() {
    begin();
    let child = fork(|| {
        forbid(&[libc::SYS_membarrier, libc::SYS_sched_setaffinity]);
        // The portable backend passes the barrier when what was replaced is waited for.
        drop(SLOT.replace(Living::<1>::new()).unwrap().wait());
        true
    });
    assert_eq!(child.wait(), Err(format!("signal {} killed it", libc::SIGABRT)));
}

//! Who holds what, and for how long: each rule in a process of its own, and again with the mechanism behind it switched off.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::process::{Command, exit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hotcall::{Guard, Retired, WaitError, dispatch, slot};
use hotcall_tests::negative;

#[dispatch]
pub trait Work: Send + Sync {
    fn run(&self) -> u64;
}

struct Idle;
impl Work for Idle {
    fn run(&self) -> u64 {
        0
    }
}

/// Its memory says whether it lives; its end is counted.
struct Owner(Vec<u64>, Arc<AtomicUsize>);
impl Owner {
    fn new(ended: &Arc<AtomicUsize>) -> Self {
        Self(vec![7; 1000], Arc::clone(ended))
    }
}
impl Work for Owner {
    fn run(&self) -> u64 {
        self.0.iter().sum()
    }
}
impl Drop for Owner {
    fn drop(&mut self) {
        self.0.fill(0);
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[slot]
static SLOT: dyn Work = Idle;

/// In a child: what `check` says of the rule. In the parent: the child is right; and, where there is a `control`, another
/// child in which that is switched off is not.
fn rule(test: &str, control: Option<&str>, check: impl FnOnce() -> bool) {
    const VARIABLE: &str = "HOTCALL_TEST_RULE";
    let command = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(VARIABLE, test);
        command
    };
    if std::env::var_os(VARIABLE).is_some() {
        let _ = negative::sabotaged();
        exit(if check() { 0 } else { negative::CAUGHT });
    }
    let output = command().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pinned = command().env("HOTCALL_NO_MEMBARRIER", "1").output().unwrap();
    assert!(pinned.status.success(), "without membarrier: {}", String::from_utf8_lossy(&pinned.stderr));
    if let Some(control) = control {
        println!("{control}: {}", negative::is_noticed(command, control).unwrap());
    }
}

fn drains(retired: Retired<dyn Work>, within: Duration) -> bool {
    retired.wait_timeout(within).is_ok()
}

const SHORT: Duration = Duration::from_millis(300);
/// Long enough for the slowest machine: a test that gets there has hung.
const LONG: Duration = Duration::from_secs(60);

/// What a leaked guard protects may have been lent to threads that go on when its own has ended.
#[test]
fn a_guard_outlives_its_thread() {
    rule("a_guard_outlives_its_thread", Some("dead-give-up"), || {
        let ended = Arc::new(AtomicUsize::new(0));
        SLOT.replace(Owner::new(&ended)).map(drop).unwrap();
        let held = std::thread::spawn(|| {
            let guard: &'static Guard = Box::leak(Box::new(hotcall::pin()));
            (SLOT.get(guard), SLOT.bind(guard))
        })
        .join()
        .unwrap();
        let drained = drains(SLOT.replace(Idle).unwrap(), SHORT);
        // Its record is not given to others, however many there are.
        let all = Barrier::new(100);
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    SLOT.run();
                    all.wait();
                });
            }
        });
        let again = drains(SLOT.replace(Idle).unwrap(), SHORT);
        !drained && !again && ended.load(Ordering::SeqCst) == 0 && held.0.run() == 7_000 && held.1.run() == 0
    });
}

/// A guard of a thread that goes on is not leaked by being dropped after others.
#[test]
fn guards_are_dropped_in_any_order() {
    rule("guards_are_dropped_in_any_order", Some("no-quiescence"), || {
        const ORDERS: [[usize; 4]; 6] =
            [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [0, 3, 1, 2], [3, 0, 2, 1]];
        ORDERS.iter().all(|order| {
            let ended = Arc::new(AtomicUsize::new(0));
            SLOT.replace(Owner::new(&ended)).map(drop).unwrap();
            let mut guards: [_; 4] = std::array::from_fn(|_| Some(hotcall::pin()));
            let retired = SLOT.replace(Idle).unwrap();
            // Those of after it take turns: each of them is waited for at most until it is over.
            let mut later = hotcall::pin();
            let mut held = true;
            for index in order {
                let refused = matches!(SLOT.replace(Idle).unwrap().wait(), Err(WaitError::WouldDeadlock(_)));
                std::thread::sleep(Duration::from_millis(5));
                held &= !retired.is_drained() && refused;
                guards[*index] = None;
            }
            let begun = Instant::now();
            while !retired.is_drained() && begun.elapsed() < LONG {
                let next = hotcall::pin();
                drop(std::mem::replace(&mut later, next));
                std::thread::sleep(Duration::from_millis(1));
            }
            held && retired.is_drained()
        })
    });
}

/// Guards of one thread that overlap without end hold nothing back but what each of them saw.
#[test]
fn guards_that_overlap_starve_nobody() {
    rule("guards_that_overlap_starve_nobody", None, || {
        let mut guard = hotcall::pin();
        let retired = SLOT.replace(Idle).unwrap();
        let begun = Instant::now();
        let mut rounds = 0_u64;
        while !retired.is_drained() && begun.elapsed() < LONG {
            let next = hotcall::pin();
            drop(std::mem::replace(&mut guard, next));
            rounds += 1;
            std::thread::yield_now();
        }
        retired.is_drained() && rounds > 0
    });
}

/// A record is one thread's, as long as that lives.
#[test]
fn a_record_is_one_threads() {
    rule("a_record_is_one_threads", Some("reaps-the-living"), || {
        let (all, done) = (Barrier::new(101), Barrier::new(101));
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    SLOT.run();
                    all.wait();
                    done.wait();
                });
            }
            all.wait();
            let counted = hotcall::stats().threads;
            done.wait();
            (100..110).contains(&counted)
        })
    });
}

/// The end of a thread gives its record to those that come.
#[test]
fn threads_come_and_go() {
    rule("threads_come_and_go", None, || {
        let ended = Arc::new(AtomicUsize::new(0));
        SLOT.replace(Owner::new(&ended)).map(drop).unwrap();
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
        };
        let churn = |times: usize| {
            (0..times).for_each(|_| assert_eq!(std::thread::spawn(|| SLOT.run()).join().unwrap(), 7_000));
        };
        churn(500);
        let before = resident();
        churn(10_000);
        let grown = resident().saturating_sub(before);
        let few = hotcall::stats().threads < 10;
        // 10,000 records are 320 pages and more.
        grown < 160 && few && drains(SLOT.replace(Idle).unwrap(), LONG)
    });
}

/// Where there is no memory for a record, nothing is freed any more, nothing hangs, and nothing is wrong.
#[test]
fn without_memory_for_records() {
    const VARIABLE: &str = "HOTCALL_TEST_RULE";
    if std::env::var_os(VARIABLE).is_some() {
        assert_eq!(negative::sabotaged(), Some("no-records"));
        let ended = Arc::new(AtomicUsize::new(0));
        SLOT.replace(Owner::new(&ended)).map(drop).unwrap();
        let right = SLOT.run() == 7_000 && std::thread::spawn(|| SLOT.run()).join().unwrap() == 7_000;
        let retired = SLOT.replace(Idle).unwrap();
        let refused = matches!(retired.wait(), Err(WaitError::WouldDeadlock(_)));
        std::thread::sleep(Duration::from_millis(50));
        exit(if right && refused && ended.load(Ordering::SeqCst) == 0 { 0 } else { 1 });
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "without_memory_for_records"])
        .env(VARIABLE, "1")
        .env("HOTCALL_SABOTAGE", "no-records");
    assert_eq!(command.status().unwrap().code(), Some(0));
}

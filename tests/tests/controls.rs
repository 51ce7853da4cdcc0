//! Each mechanism that keeps a slot's calls safe, and that it is noticed where it is switched off.
//!
//! Nothing here is left to chance: a reader stands inside a call, or holds a guard, until somebody has looked what was
//! done meanwhile. What only a processor's fetches could show is for the loom models.
#![allow(missing_docs)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hotcall::{Chain, Instance, Retired, dispatch, slot};
use hotcall_tests::negative;

#[dispatch]
pub trait Step: Send + Sync {
    #[chain(through)]
    fn run(&self, x: u64) -> u64;
}

struct Idle;
impl Step for Idle {
    fn run(&self, x: u64) -> u64 {
        x
    }
}

struct Adds(u64);
impl Step for Adds {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
}

struct Times(u64);
impl Step for Times {
    fn run(&self, x: u64) -> u64 {
        x * self.0
    }
}

/// Whoever calls it stays inside until it is told to leave.
struct Stays(&'static Meeting);

#[derive(Default)]
struct Meeting {
    inside: AtomicBool,
    leave: AtomicBool,
}

impl Meeting {
    fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    fn until_inside(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.inside.load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "nobody came");
            std::thread::yield_now();
        }
    }
}

impl Step for Stays {
    fn run(&self, x: u64) -> u64 {
        // Nothing of `self` is used once it may have been freed.
        let meeting = self.0;
        meeting.inside.store(true, Ordering::SeqCst);
        while !meeting.leave.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        x
    }
}

/// Whether what `replace` retires is given back while a call of `call` is inside it.
fn overtaken(
    meeting: &Meeting,
    call: impl FnOnce() + Send,
    replace: impl FnOnce() -> Retired<dyn Step>,
) -> bool {
    std::thread::scope(|scope| {
        let reader = scope.spawn(call);
        meeting.until_inside();
        let outcome = replace().wait_timeout(negative::limit());
        meeting.leave.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        negative::has_come(outcome)
    })
}

/// One test at a time: what they look at is the whole process's.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `workload`, which answers whether it saw something wrong; and again in children, with each of the mechanisms
/// switched off: then it must.
fn control(test: &str, mechanisms: &[&str], workload: impl FnOnce() -> bool) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Switched off from the beginning: a thread keeps the record that it was given.
    let sabotaged = negative::sabotaged().is_some();
    let wrong = workload();
    if sabotaged {
        std::process::exit(if wrong { negative::CAUGHT } else { 0 });
    }
    assert!(!wrong);
    for mechanism in mechanisms {
        let again = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", test, "--nocapture"]);
            command
        };
        println!("{mechanism}: {}", negative::is_noticed(again, mechanism).unwrap());
    }
}

/// What keeps sections waited for. Pinned ones are not listed anywhere.
fn of_sections() -> &'static [&'static str] {
    match hotcall::sections() {
        hotcall::Sections::Asymmetric => &["no-quiescence", "unlisted-sections"],
        _ => &["no-quiescence"],
    }
}

#[test]
fn a_plain_call_is_waited_for() {
    #[slot]
    static PLAIN: dyn Step = Idle;
    control("a_plain_call_is_waited_for", of_sections(), || {
        let meeting = Meeting::new();
        drop(PLAIN.replace(Stays(meeting)).unwrap());
        overtaken(meeting, || assert_eq!(PLAIN.run(5), 5), || PLAIN.replace(Adds(1)).unwrap())
    });
}

/// A call in a call: the outer one keeps what it is inside of when the inner one has ended.
#[test]
fn an_outer_call_is_waited_for() {
    #[slot]
    static OUTER: dyn Step = Idle;
    #[slot]
    static INNER: dyn Step = Idle;
    struct Nests(&'static Meeting);
    impl Step for Nests {
        fn run(&self, x: u64) -> u64 {
            let meeting = self.0;
            let x = INNER.run(x);
            Stays(meeting).run(x)
        }
    }
    control("an_outer_call_is_waited_for", of_sections(), || {
        let meeting = Meeting::new();
        drop(INNER.replace(Adds(1)).unwrap());
        drop(OUTER.replace(Nests(meeting)).unwrap());
        overtaken(meeting, || assert_eq!(OUTER.run(5), 6), || OUTER.replace(Adds(1)).unwrap())
    });
}

#[test]
fn a_call_under_a_guard_is_waited_for() {
    #[slot]
    static GUARDED: dyn Step = Idle;
    control("a_call_under_a_guard_is_waited_for", &["no-quiescence"], || {
        let meeting = Meeting::new();
        drop(GUARDED.replace(Stays(meeting)).unwrap());
        let call = || {
            let guard = hotcall::pin();
            assert_eq!(GUARDED.bind(&guard).run(5), 5);
        };
        overtaken(meeting, call, || GUARDED.replace(Adds(1)).unwrap())
    });
}

#[test]
fn a_call_of_a_chain_is_waited_for() {
    control("a_call_of_a_chain_is_waited_for", of_sections(), || {
        let meeting = Meeting::new();
        let elements = [Instance::new(Adds(1)), Instance::new(Stays(meeting)), Instance::new(Adds(2))];
        let chain: Chain<dyn Step> = Chain::new(elements).unwrap();
        overtaken(meeting, || assert_eq!(chain.run(5), 5 + 3), || chain.replace(1, Adds(1)).unwrap())
    });
}

/// Runs `work` while another thread holds a guard, which no grace period outlasts.
fn guarded<R>(work: impl FnOnce() -> R) -> R {
    std::thread::scope(|scope| {
        let (pinned, is_pinned) = channel();
        let (release, released) = channel::<()>();
        scope.spawn(move || {
            let _guard = hotcall::pin();
            pinned.send(()).unwrap();
            // Ends, too, where `work` panics and the other side goes.
            let _ = released.recv();
        });
        is_pinned.recv().unwrap();
        let result = work();
        drop(release);
        result
    })
}

/// Where the thunks of a slot are.
fn thunks(slot: &str) -> Vec<usize> {
    let emitted = hotcall::__private::emitted().unwrap();
    let thunks = emitted.iter().filter(|one| one.kind == "thunk" && one.slot.ends_with(slot));
    thunks.map(|one| one.address).collect()
}

/// A caller may have loaded the address of an instance of the last type, and be about to jump.
#[test]
fn a_slot_settles_after_a_grace_period() {
    #[slot]
    static SETTLING: dyn Step = Idle;
    if hotcall::backend() != hotcall::Backend::Patched {
        return;
    }
    // Without a barrier there is a stage more, and what is skipped is another one.
    let asymmetric = hotcall::sections() == hotcall::Sections::Asymmetric;
    let mechanisms: &[_] = if asymmetric { &["settle-at-once"] } else { &[] };
    control("a_slot_settles_after_a_grace_period", mechanisms, || {
        guarded(|| {
            let mut at_once = false;
            for number in 0..4 {
                drop(SETTLING.replace(Adds(number)).unwrap());
                at_once |= thunks("SETTLING").is_empty();
                drop(SETTLING.replace(Times(number)).unwrap());
                at_once |= thunks("SETTLING").is_empty();
            }
            at_once
        })
    });
}

/// A caller may be inside a thunk that nothing jumps to any more.
#[test]
fn code_memory_is_reused_after_a_grace_period() {
    #[slot]
    static REUSED: dyn Step = Idle;
    if hotcall::backend() != hotcall::Backend::Patched {
        return;
    }
    control("code_memory_is_reused_after_a_grace_period", &["reuse-at-once"], || {
        guarded(|| {
            let (mut seen, mut reused) = (Vec::new(), false);
            for number in 0..8 {
                drop(REUSED.replace(Adds(number)).unwrap());
                let now = thunks("REUSED");
                reused |= now.iter().any(|thunk| seen.contains(thunk));
                seen.extend(now);
            }
            assert!(seen.len() >= 8, "a thunk for each, under a guard");
            reused
        })
    });
}

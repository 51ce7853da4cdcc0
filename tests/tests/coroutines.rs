//! Sections that do not nest: those of stackful coroutines of one thread, which interleave as they like.
#![allow(missing_docs)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corosensei::{Coroutine, CoroutineResult, Yielder};
use hotcall::{Chain, Patched, WaitError, chain, dispatch, slot};
use hotcall_tests::{eventually, negative};

type Yields = Yielder<(), ()>;

#[dispatch]
pub trait Work: Send + Sync {
    #[chain(through)]
    fn run(&self, sum: u64, yielder: &Yields) -> u64;
}

struct Idle;
impl Work for Idle {
    fn run(&self, sum: u64, _: &Yields) -> u64 {
        sum
    }
}

/// Suspends in the middle of a call; then what it says is in memory that is still its own, or not.
struct Suspends {
    words: Vec<u64>,
    ended: Arc<AtomicUsize>,
}

impl Suspends {
    fn new(ended: &Arc<AtomicUsize>) -> Self {
        Self { words: vec![7; 1000], ended: Arc::clone(ended) }
    }
}

impl Work for Suspends {
    fn run(&self, sum: u64, yielder: &Yields) -> u64 {
        yielder.suspend(());
        assert_eq!(self.ended.load(Ordering::SeqCst), 0, "dropped while a call is inside");
        sum + self.words.iter().sum::<u64>()
    }
}

impl Drop for Suspends {
    fn drop(&mut self) {
        self.words.fill(0);
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

type Call<'a> = Coroutine<(), (), u64>;

fn finish(mut coroutine: Call<'_>) -> u64 {
    loop {
        if let CoroutineResult::Return(sum) = coroutine.resume(()) {
            return sum;
        }
    }
}

/// Waits for what was retired, on a thread that is outside: whether it has drained within a time in which it would.
fn drains(retired: hotcall::Retired<dyn Work>) -> Result<(), hotcall::Retired<dyn Work>> {
    let waiting = std::thread::spawn(move || retired.wait_timeout(Duration::from_millis(300)));
    match waiting.join().unwrap() {
        Ok(_) => Ok(()),
        Err(WaitError::TimedOut(retired)) => Err(retired),
        Err(other) => panic!("{other:?}"),
    }
}

#[slot]
static SLOT: dyn Work = Idle;

/// The outermost section ends first; the other goes on.
fn the_later_of_two_goes_on() -> u64 {
    let ended = Arc::new(AtomicUsize::new(0));
    SLOT.replace(Suspends::new(&ended)).map(drop).unwrap();
    let mut first = Call::new(|yielder, ()| SLOT.run(0, yielder));
    let mut second = Call::new(|yielder, ()| SLOT.run(0, yielder));
    first.resume(());
    second.resume(());
    assert_eq!(finish(first), 7_000);
    let Err(retired) = drains(SLOT.replace(Idle).unwrap()) else { return 0 };
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    let sum = finish(second);
    drop(retired);
    eventually("it is dropped", || ended.load(Ordering::SeqCst) == 1);
    sum
}

#[test]
fn interleaved_calls() {
    const NAME: &str = "interleaved_calls";
    if negative::sabotaged().is_some() {
        std::process::exit(if the_later_of_two_goes_on() == 7_000 { 0 } else { negative::CAUGHT });
    }
    assert_eq!(the_later_of_two_goes_on(), 7_000);
    every_order_of_many();
    calls_and_guards_of_all_kinds();
    one_that_is_dropped_inside_a_call();

    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture"]);
        command
    };
    for sabotage in ["no-quiescence", "unlisted-sections"] {
        println!("{sabotage}: {}", negative::is_noticed(again, sabotage).unwrap());
    }
}

/// More than a record has flags, and ended in an order that is neither that of their beginning nor its reverse.
fn every_order_of_many() {
    for count in [2_usize, 3, 7, 8, 30, 120] {
        for step in [1, count / 2 + 1, count - 1] {
            let ended = Arc::new(AtomicUsize::new(0));
            SLOT.replace(Suspends::new(&ended)).map(drop).unwrap();
            let mut calls: Vec<_> =
                (0..count).map(|_| Some(Call::new(|yielder, ()| SLOT.run(0, yielder)))).collect();
            calls
                .iter_mut()
                .flatten()
                .for_each(|call| assert!(matches!(call.resume(()), CoroutineResult::Yield(()))));
            let retired = SLOT.replace(Idle).unwrap();
            let mut at = 0;
            for _ in 0..count {
                while calls[at % count].is_none() {
                    at += 1;
                }
                let call = calls[at % count].take().unwrap();
                assert!(!retired.is_drained());
                assert_eq!(finish(call), 7_000);
                at += step;
            }
            assert!(retired.wait().is_ok(), "nothing is left behind");
            eventually("it is dropped", || ended.load(Ordering::SeqCst) == 1);
        }
    }
}

/// Plain calls, chains, handles and guards on coroutines of one thread.
fn calls_and_guards_of_all_kinds() {
    let ended: [_; 4] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
    SLOT.replace(Suspends::new(&ended[0])).map(drop).unwrap();
    let rack: Chain<dyn Work> = chain![Suspends::new(&ended[1])].unwrap();
    let rack = Arc::new(rack);
    let handle: Patched<dyn Work> = Patched::new(Suspends::new(&ended[2]));
    let remote = handle.remote();
    let rack_of_call = Arc::clone(&rack);
    let mut calls = vec![
        Call::new(|yielder, ()| SLOT.run(0, yielder)),
        Call::new(move |yielder, ()| rack_of_call.run(0, yielder)),
        Call::new(move |yielder, ()| handle.run(0, yielder)),
        Call::new(|yielder, ()| {
            let guard = hotcall::pin();
            let sum = SLOT.bind(&guard).run(0, yielder);
            // The guard outlives the call, in which another has begun and ended.
            yielder.suspend(());
            assert!(SLOT.get(&guard).type_name().contains("Suspends"));
            sum
        }),
        Call::new(|yielder, ()| {
            let outer = hotcall::pin();
            let inner = hotcall::pin();
            drop(outer);
            yielder.suspend(());
            let sum = SLOT.bind(&inner).run(0, yielder);
            drop(inner);
            sum
        }),
    ];
    calls.iter_mut().for_each(|call| assert!(matches!(call.resume(()), CoroutineResult::Yield(()))));
    // The last of them is not yet in the call, and runs what is there when it is.
    let retired = SLOT.replace(Suspends::new(&ended[3])).unwrap();
    let taken = remote.replace(Idle).unwrap();
    let removed = rack.remove(0).unwrap();
    for call in calls {
        assert!(!retired.is_drained() || ended[0].load(Ordering::SeqCst) == 0);
        assert_eq!(finish(call), 7_000);
    }
    assert!(retired.wait().is_ok() && taken.wait().is_ok() && removed.wait().is_ok());
    drop(SLOT.restore().unwrap().wait().unwrap());
    eventually("all are dropped", || ended.iter().all(|ended| ended.load(Ordering::SeqCst) == 1));
}

/// Its stack is unwound, and with it the section.
fn one_that_is_dropped_inside_a_call() {
    let ended = Arc::new(AtomicUsize::new(0));
    SLOT.replace(Suspends::new(&ended)).map(drop).unwrap();
    let mut call = Call::new(|yielder, ()| SLOT.run(0, yielder));
    call.resume(());
    let retired = SLOT.replace(Idle).unwrap();
    assert!(matches!(retired.wait(), Err(WaitError::WouldDeadlock(_))), "this thread is inside");
    drop(call);
    eventually("it is dropped", || ended.load(Ordering::SeqCst) == 1);
}

/// It never comes back to its call. Whatever that uses may be lent to threads that go on, so it is kept for ever; as is what is
/// retired later. Replacing goes on.
#[test]
fn one_that_is_leaked_inside_a_call() {
    const VARIABLE: &str = "HOTCALL_TEST_LEAKED_COROUTINE";
    if std::env::var_os(VARIABLE).is_none() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command
            .args(["--exact", "one_that_is_leaked_inside_a_call", "--nocapture"])
            .env(VARIABLE, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let ended = Arc::new(AtomicUsize::new(0));
    SLOT.replace(Suspends::new(&ended)).map(drop).unwrap();
    std::thread::spawn(|| {
        let mut call = Call::new(|yielder, ()| SLOT.run(0, yielder));
        call.resume(());
        std::mem::forget(call);
    })
    .join()
    .unwrap();
    assert!(drains(SLOT.replace(Idle).unwrap()).is_err());
    for _ in 0..1_000 {
        SLOT.replace(Idle).map(drop).unwrap();
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0);
}

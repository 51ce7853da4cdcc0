//! Leases: what is leased lives, whatever is installed meanwhile, on whichever thread; and who holds it back is told.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use hotcall::{DrainError, Holder, Lease, WaitError, dispatch, slot};
use hotcall_tests::negative::{CAUGHT, is_noticed, limit, sabotaged};
use hotcall_tests::{LONG, eventually};

#[dispatch]
#[async_trait]
pub trait Store: Send + Sync {
    /// Is ready at the second poll.
    async fn load(&self, key: &str) -> String;
    fn number(&self) -> u64;
    fn label(&self) -> &str;
}

/// Its memory says whether it lives; its end is counted.
struct Shelf {
    number: u64,
    label: String,
    alive: AtomicBool,
    ended: Arc<AtomicUsize>,
}

impl Shelf {
    fn new(number: u64, ended: &Arc<AtomicUsize>) -> Self {
        Self {
            number,
            label: format!("shelf {number}"),
            alive: AtomicBool::new(true),
            ended: Arc::clone(ended),
        }
    }
}

#[async_trait]
impl Store for Shelf {
    async fn load(&self, key: &str) -> String {
        Once::default().await;
        format!("{key} of {}", self.number())
    }
    fn number(&self) -> u64 {
        assert!(self.alive.load(Ordering::SeqCst), "a call on an instance that was dropped");
        self.number
    }
    fn label(&self) -> &str {
        &self.label
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

struct Nothing;
#[async_trait]
impl Store for Nothing {
    async fn load(&self, key: &str) -> String {
        format!("no {key}")
    }
    fn number(&self) -> u64 {
        0
    }
    fn label(&self) -> &str {
        "nothing"
    }
}

/// Is ready at the second poll, and asks for it.
#[derive(Default)]
struct Once(bool);
impl Future for Once {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// What is looked at is the whole process's: one test at a time.
fn alone() -> impl Drop {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an instance was given up although it was leased.
fn leased_is_given_up() -> bool {
    #[slot]
    static HELD: dyn Store = Nothing;
    let ended = Arc::new(AtomicUsize::new(0));
    drop(HELD.replace(Shelf::new(1, &ended)).unwrap());
    let lease = HELD.lease();
    let gone = has_come_while(&lease, HELD.replace(Shelf::new(2, &ended)).unwrap().wait_timeout(limit()));
    drop(HELD.restore().unwrap());
    gone
}

/// Whether the wait ended, of what comes when the lease is gone.
fn has_come_while(
    lease: &Lease<dyn Store>,
    outcome: Result<hotcall::Instance<dyn Store>, WaitError<dyn Store>>,
) -> bool {
    let Err(error) = outcome else { return true };
    assert!(matches!(error, WaitError::TimedOut(_)), "{error}");
    assert_eq!((lease.number(), lease.label()), (1, "shelf 1"));
    assert!(lease.downcast_ref::<Shelf>().is_some());
    false
}

#[test]
fn what_is_leased_is_kept() {
    let _alone = alone();
    let gone = leased_is_given_up();
    if sabotaged().is_some() {
        std::process::exit(if gone { CAUGHT } else { 0 });
    }
    assert!(!gone);
    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "what_is_leased_is_kept", "--nocapture"]);
        command
    };
    println!("{}", is_noticed(again, "leases-hold-nothing").unwrap());
}

#[test]
fn the_last_lease_lets_go() {
    #[slot]
    static LAST: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    drop(LAST.replace(Shelf::new(1, &ended)).unwrap());
    let first = LAST.lease();
    let second = first.clone();
    // Nobody waits for it: it is dropped by whoever gives the last lease back, on that thread.
    drop(LAST.restore().unwrap());
    eventually("it is held", || !hotcall::report().holding.is_empty());
    drop(first);
    assert_eq!(second.number(), 1);
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    std::thread::spawn(move || drop(second)).join().unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert!(hotcall::report().holding.is_empty());

    // Given back before the end of the grace period, it is as if it had not been.
    drop(LAST.replace(Shelf::new(2, &ended)).unwrap());
    let guard = hotcall::pin();
    let lease = LAST.lease();
    let retired = LAST.restore().unwrap();
    drop(lease);
    assert!(!retired.is_drained());
    drop(guard);
    drop(retired.wait().unwrap());
    assert_eq!(ended.load(Ordering::SeqCst), 2);
}

#[test]
fn who_waits_has_it_when_the_last_lease_is_gone() {
    #[slot]
    static WAITED: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    drop(WAITED.replace(Shelf::new(1, &ended)).unwrap());
    let lease = WAITED.lease();
    let retired = WAITED.restore().unwrap();
    let waiter = std::thread::spawn(move || retired.wait_timeout(LONG).unwrap());
    eventually("it is held", || !hotcall::report().holding.is_empty());
    assert!(!waiter.is_finished());
    drop(lease);
    let old = waiter.join().unwrap();
    assert_eq!(old.number(), 1);
    assert!(old.downcast::<Shelf>().is_ok());
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn the_end_of_a_program_waits_for_leases() {
    #[slot]
    static AT_END: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    drop(AT_END.replace(Shelf::new(1, &ended)).unwrap());
    let lease = AT_END.lease();
    drop(AT_END.restore().unwrap());
    let refused = hotcall::drain(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(refused, DrainError::TimedOut { left: 1.. }), "{refused}");
    drop(lease);
    hotcall::drain(LONG).unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn a_lease_says_whether_it_is_current() {
    #[slot]
    static CURRENT: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    let default = CURRENT.lease();
    assert!(default.is_current());
    drop(CURRENT.replace(Shelf::new(1, &ended)).unwrap());
    let lease = CURRENT.lease();
    assert!(lease.is_current() && lease.clone().is_current() && !default.is_current());
    // Of the same type, too: another instance is another.
    drop(CURRENT.replace(Shelf::new(1, &ended)).unwrap());
    assert!(!lease.is_current() && CURRENT.lease().is_current());
    drop(CURRENT.restore().unwrap());
    assert!(default.is_current() && CURRENT.lease().is_current());
    assert_eq!((default.number(), default.label()), (0, "nothing"));
}

/// It is what the trait's users take: as a reference, as a parameter's type, as a box.
#[test]
fn a_lease_has_the_trait() {
    fn takes(store: impl Store + Clone + 'static) -> u64 {
        let boxed: Box<dyn Store> = Box::new(store.clone());
        store.number() + boxed.number()
    }
    #[slot]
    static TRAIT: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    drop(TRAIT.replace(Shelf::new(4, &ended)).unwrap());
    assert_eq!(takes(TRAIT.lease()), 8);
    let lease: Lease<dyn Store> = TRAIT.lease();
    assert!(lease.type_name().ends_with("Shelf"));
    assert!(format!("{lease:?}").contains("TRAIT"));
    drop(TRAIT.restore().unwrap());
}

/// Polls a future on a thread of its own each time, and has `between` done after each poll.
fn on_a_thread_each<T: Send>(
    mut future: Pin<Box<dyn Future<Output = T> + Send + '_>>,
    mut between: impl FnMut(),
) -> T {
    loop {
        let polled = std::thread::scope(|scope| {
            let poll = || future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            scope.spawn(poll).join().unwrap()
        });
        between();
        if let Poll::Ready(value) = polled {
            return value;
        }
    }
}

/// Wakes by a message.
struct Told(Mutex<Sender<()>>);
impl Wake for Told {
    fn wake(self: Arc<Self>) {
        // Nobody listens once it is ready.
        let _ = self.0.lock().unwrap().send(());
    }
}

fn told() -> (Waker, Receiver<()>) {
    let (tell, heard) = channel();
    (Waker::from(Arc::new(Told(Mutex::new(tell)))), heard)
}

/// The least that an executor is.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (waker, heard) = told();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        heard.recv_timeout(LONG).expect("it is woken");
    }
}

/// The future borrows the implementor, which is replaced and otherwise forgotten between its polls.
#[test]
fn a_future_borrows_what_is_leased() {
    #[slot]
    static AWAITED: dyn Store = Nothing;
    async fn serve(keys: [&str; 2]) -> String {
        let store = AWAITED.lease();
        let first = store.load(keys[0]).await;
        first + " and " + &store.load(keys[1]).await
    }
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    assert_eq!(block_on(serve(["a", "b"])), "no a and no b");

    drop(AWAITED.replace(Shelf::new(1, &ended)).unwrap());
    let mut polls = 0;
    let served = on_a_thread_each(Box::pin(serve(["a", "b"])), || {
        polls += 1;
        drop(AWAITED.replace(Shelf::new(1 + polls, &ended)).unwrap());
    });
    assert_eq!((served.as_str(), polls), ("a of 1 and b of 1", 3));

    // A future that is dropped half-way gives its lease back.
    let mut future = Box::pin(serve(["a", "b"]));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(AWAITED.restore().unwrap());
    drop(future);
    hotcall::drain(LONG).unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 4);
}

/// Leases, clones, futures, on several threads, while every instance is replaced. Each is dropped once, in the end.
#[test]
fn leases_under_load() {
    const SWAPS: usize = 300;
    #[slot]
    static BUSY: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut kept = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    let lease = BUSY.lease();
                    let number = lease.number();
                    let loaded = block_on(lease.clone().load("x"));
                    assert!(
                        loaded == format!("x of {number}") || (number == 0 && loaded == "no x"),
                        "{loaded}"
                    );
                    kept.push(lease);
                    if kept.len() == 5 {
                        kept.remove(0);
                    }
                    served.fetch_add(1, Ordering::SeqCst);
                }
                kept.iter().for_each(|lease| assert_eq!(lease.number(), lease.number()));
            });
        }
        for number in 1..=SWAPS {
            drop(BUSY.replace(Shelf::new(number as u64, &ended)).unwrap());
            let before = served.load(Ordering::SeqCst);
            if number % 10 == 0 {
                eventually("somebody is served", || served.load(Ordering::SeqCst) > before);
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    drop(BUSY.restore().unwrap());
    hotcall::drain(LONG).unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), SWAPS);
    assert!(hotcall::report().holding.is_empty());
}

#[test]
fn the_report_names_who_leases() {
    #[slot]
    static NAMED: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    drop(NAMED.replace(Shelf::new(1, &ended)).unwrap());
    let line = line!() + 1;
    let leases = [NAMED.lease(), NAMED.lease()];
    let other = NAMED.lease();
    // What is installed is not held back by anybody.
    assert!(hotcall::report().holding.is_empty());
    drop(NAMED.restore().unwrap());
    eventually("it is held", || !hotcall::report().holding.is_empty());
    let report = hotcall::report();
    let [held] = report.holding.as_slice() else { panic!("{report}") };
    let Holder::Leases { type_name, count, places } = &held.by else { panic!("{report}") };
    assert!(type_name.ends_with("Shelf"));
    assert_eq!(*count, 3);
    let places: Vec<_> = places.iter().map(|(place, count)| (place.file(), place.line(), *count)).collect();
    // One line, two places: each is a call.
    assert_eq!(places, [(file!(), line, 1), (file!(), line, 1), (file!(), line + 1, 1)]);
    let said = report.to_string();
    assert!(said.contains("held back:\n") && said.contains(&format!("1 at {}:{line}:", file!())), "{said}");
    drop((leases, other));
    assert!(hotcall::report().holding.is_empty());
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

/// A thread that stays inside a call holds everything back, and is named.
#[test]
#[cfg(target_os = "linux")]
fn the_report_names_the_thread_inside() {
    struct Stays(Mutex<Receiver<()>>, Sender<()>);
    #[async_trait]
    impl Store for Stays {
        async fn load(&self, _: &str) -> String {
            String::new()
        }
        fn number(&self) -> u64 {
            self.1.send(()).unwrap();
            self.0.lock().unwrap().recv_timeout(LONG).unwrap();
            7
        }
        fn label(&self) -> &str {
            ""
        }
    }
    #[slot]
    static PARKED: dyn Store = Nothing;
    let _alone = alone();
    let (leave, left) = channel();
    let (enter, entered) = channel();
    drop(PARKED.replace(Stays(Mutex::new(left), enter)).unwrap());
    let thread = std::thread::Builder::new().name("parked".to_owned()).spawn(|| PARKED.number()).unwrap();
    entered.recv_timeout(LONG).unwrap();
    let retired = PARKED.restore().unwrap();
    let named = || {
        let report = hotcall::report();
        let is_it = |by: &Holder| matches!(by, Holder::Thread { name, number: 1.. } if name == "parked");
        let found = report.holding.iter().any(|holding| is_it(&holding.by));
        assert!(
            !found || report.to_string().contains("(parked): inside a call, or with a guard"),
            "{report}"
        );
        found
    };
    if hotcall::stats().threads != 0 {
        eventually("it is named", named);
    }
    leave.send(()).unwrap();
    assert_eq!(thread.join().unwrap(), 7);
    drop(retired.wait().unwrap());
    assert!(!named());
}

/// A retirement is awaited: it is pending while a guard keeps the instance, and the runtime wakes who waits.
#[test]
fn a_retirement_is_awaited() {
    #[slot]
    static AWAITED: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    drop(AWAITED.replace(Shelf::new(1, &ended)).unwrap());
    let (release, released) = channel::<()>();
    let (pinned, is_pinned) = channel();
    let guarding = std::thread::spawn(move || {
        let _guard = hotcall::pin();
        pinned.send(()).unwrap();
        released.recv_timeout(LONG).unwrap();
    });
    is_pinned.recv_timeout(LONG).unwrap();
    let mut drained = pin!(AWAITED.restore().unwrap().into_future());
    let (first, forgotten) = told();
    assert!(drained.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
    let (second, heard) = told();
    assert!(drained.as_mut().poll(&mut Context::from_waker(&second)).is_pending());
    release.send(()).unwrap();
    guarding.join().unwrap();
    heard.recv_timeout(LONG).expect("it is woken");
    let Poll::Ready(old) = drained.as_mut().poll(&mut Context::from_waker(&second)) else {
        panic!("woken before it is ready")
    };
    assert_eq!(old.number(), 1);
    // The waker of the last poll is the one that counts.
    drop(first);
    assert!(forgotten.recv().is_err());
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    drop(old);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn a_retirement_is_awaited_by_any_executor() {
    #[slot]
    static SWAPPED: dyn Store = Nothing;
    async fn swap(number: u64, ended: &Arc<AtomicUsize>) -> u64 {
        let retired = SWAPPED.replace(Shelf::new(number, ended)).unwrap();
        retired.await.number()
    }
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    for number in 1..=20 {
        assert_eq!(block_on(swap(number, &ended)), number - 1);
    }
    // One that leases hold back is woken by the last of them.
    let lease = SWAPPED.lease();
    let retired = SWAPPED.restore().unwrap();
    let future: Pin<Box<dyn Future<Output = u64> + Send>> = Box::pin(async { retired.await.number() });
    let waiter = std::thread::spawn(move || block_on(future));
    eventually("it is held", || !hotcall::report().holding.is_empty());
    drop(lease);
    assert_eq!(waiter.join().unwrap(), 20);

    // One that is dropped while it is pending is a retirement that is dropped.
    drop(SWAPPED.replace(Shelf::new(21, &ended)).unwrap());
    let guard = hotcall::pin();
    let mut drained = Box::pin(SWAPPED.restore().unwrap().into_future());
    let (waker, heard) = told();
    assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((drained, waker));
    assert!(heard.recv().is_err(), "its waker is gone, and was not called");
    drop(guard);
    hotcall::drain(LONG).unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 21);
}

/// A waker that panics ends nothing but itself.
#[test]
fn a_waker_may_panic() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    #[slot]
    static WOKEN: dyn Store = Nothing;
    let _alone = alone();
    let ended = Arc::new(AtomicUsize::new(0));
    drop(WOKEN.replace(Shelf::new(1, &ended)).unwrap());
    let guard = hotcall::pin();
    let mut drained = Box::pin(WOKEN.restore().unwrap().into_future());
    let waker = Waker::from(Arc::new(Panics));
    assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(guard);
    assert_eq!(block_on(drained).number(), 1);
    drop(WOKEN.replace(Shelf::new(2, &ended)).unwrap().wait().unwrap());
    drop(WOKEN.restore().unwrap());
    hotcall::drain(LONG).unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 2);
}

//! `Patched<dyn Trait>`: an owned handle in place of a `Box<dyn Trait>`, swapped by its owner and from elsewhere.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hotcall::{Error, Instance, Patched, Remote, dispatch};

#[dispatch]
pub trait Effect: Send {
    fn process(&mut self, sample: f32) -> f32;
    fn name(&self) -> String;
    fn delay(&self) -> usize {
        0
    }
}
struct Delay {
    last: f32,
    _alive: Arc<()>,
}
impl Delay {
    fn new(last: f32, alive: &Arc<()>) -> Self {
        Self { last, _alive: Arc::clone(alive) }
    }
}
impl Effect for Delay {
    fn process(&mut self, sample: f32) -> f32 {
        std::mem::replace(&mut self.last, sample)
    }
    fn name(&self) -> String {
        format!("delay {}", self.last)
    }
    fn delay(&self) -> usize {
        1
    }
}
struct Gain(f32);
impl Effect for Gain {
    fn process(&mut self, sample: f32) -> f32 {
        sample * self.0
    }
    fn name(&self) -> String {
        "gain".into()
    }
}

struct Track {
    effect: Patched<dyn Effect>,
}

fn run(effect: &mut impl Effect, sample: f32) -> f32 {
    effect.process(sample)
}

#[test]
fn it_stands_where_a_box_stood() {
    let alive = Arc::new(());
    let mut track = Track { effect: Patched::new(Delay::new(0.5, &alive)) };
    assert_eq!(track.effect.process(1.0), 0.5);
    assert_eq!(run(&mut track.effect, 2.0), 1.0);
    assert_eq!((track.effect.name(), track.effect.delay()), ("delay 2".into(), 1));
    let object: &mut dyn Effect = &mut track.effect;
    assert_eq!(object.process(3.0), 2.0);
    let old = track.effect.replace(Gain(2.0));
    assert_eq!(old.name(), "delay 3");
    assert_eq!(track.effect.process(3.0), 6.0);
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(old);
    assert_eq!(Arc::strong_count(&alive), 1);
    track.effect = Box::new(Delay::new(1.0, &alive)).into();
    assert!(format!("{:?}", track.effect).contains("Delay"));
    let inner = track.effect.into_inner().downcast::<Delay>().unwrap();
    assert_eq!(inner.last, 1.0);
    let again: Patched<dyn Effect> = Patched::from(Instance::new(*inner));
    assert!(again.target().type_name().ends_with("Delay"));
    drop(again);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_remote_swaps_from_another_thread() {
    let alive = Arc::new(());
    let mut effect: Patched<dyn Effect> = Patched::new(Delay::new(0.0, &alive));
    let remote = effect.remote();
    let thread = std::thread::spawn(move || {
        let old = remote.replace(Gain(3.0)).unwrap().wait().unwrap();
        (remote, old.name())
    });
    let (remote, name) = thread.join().unwrap();
    assert_eq!((name.as_str(), effect.process(2.0)), ("delay 0", 6.0));
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(!remote.is_orphaned());
    drop(effect);
    assert!(remote.is_orphaned());
    let error = remote.replace(Delay::new(9.0, &alive)).unwrap_err();
    assert!(matches!(error.error(), Error::HandleDropped), "{error}");
    assert_eq!(error.into_instance().unwrap().name(), "delay 9");
    assert_eq!(Arc::strong_count(&alive), 1);
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
struct Counted {
    magic: u64,
    number: u64,
}
impl Counted {
    fn new(number: u64) -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self { magic: 0x5afe, number }
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        self.magic = 0xdead;
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}
#[dispatch]
trait Count: Send + Sync {
    fn next(&mut self) -> (u64, u64);
    fn look(&self) -> u64;
}
impl Count for Counted {
    fn next(&mut self) -> (u64, u64) {
        assert_eq!(self.magic, 0x5afe);
        self.number += 1;
        (self.magic, self.number)
    }
    fn look(&self) -> u64 {
        self.magic
    }
}

#[test]
fn swapped_while_it_is_called() {
    let mut handle: Patched<dyn Count> = Patched::new(Counted::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let swappers: Vec<_> = (0..2)
        .map(|_| {
            let (remote, stop) = (handle.remote(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut swaps = 0;
                while !stop.load(Ordering::Relaxed) {
                    drop(remote.replace(Counted::new(swaps)).unwrap());
                    swaps += 1;
                    if swaps % 1024 == 0 {
                        std::thread::yield_now();
                    }
                }
                swaps
            })
        })
        .collect();
    for round in 0..300_000 {
        assert_eq!(handle.next().0, 0x5afe);
        if round % 1000 == 0 {
            assert_eq!(handle.replace(Counted::new(round)).look(), 0x5afe);
        }
    }
    let shared = &handle;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || (0..100_000).for_each(|_| assert_eq!(shared.look(), 0x5afe)));
        }
    });
    stop.store(true, Ordering::Relaxed);
    let swaps: u64 = swappers.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(swaps > 0);
    drop(handle);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while LIVE.load(Ordering::Relaxed) != 0 {
        assert!(std::time::Instant::now() < deadline, "{} never freed", LIVE.load(Ordering::Relaxed));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[dispatch]
trait Alone {
    fn count(&self) -> u32;
}
struct Local(Rc<Cell<u32>>);
impl Alone for Local {
    fn count(&self) -> u32 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

#[test]
fn send_and_sync_are_those_of_the_trait() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<Patched<dyn Effect>>();
    is_send::<Patched<dyn Count>>();
    is_sync::<Patched<dyn Count>>();
    is_send::<Remote<dyn Effect>>();
    is_sync::<Remote<dyn Effect>>();
    // Neither: the handle stays on its thread, and has no remote.
    let count = Rc::new(Cell::new(0));
    let mut alone: Patched<dyn Alone> = Patched::new(Local(Rc::clone(&count)));
    assert_eq!((alone.count(), alone.count()), (1, 2));
    drop(alone.replace(Local(Rc::clone(&count))));
    assert_eq!(Rc::strong_count(&count), 2);
    drop(alone);
    assert_eq!(Rc::strong_count(&count), 1);
}

#[dispatch]
trait Lender: Send + Sync {
    fn text(&self) -> &str;
}
impl Lender for String {
    fn text(&self) -> &str {
        self
    }
}

#[test]
fn results_that_borrow_are_got_under_a_guard() {
    let handle: Patched<dyn Lender> = Patched::new("lent".to_owned());
    let remote = handle.remote();
    let guard = hotcall::pin();
    let held = handle.get(&guard);
    let text = held.text();
    let retired = remote.replace("later".to_owned()).unwrap();
    assert_eq!((text, handle.get(&guard).text()), ("lent", "later"));
    drop(guard);
    assert_eq!(retired.wait().unwrap().text(), "lent");
}

#[test]
fn a_million_at_once() {
    let alive = Arc::new(());
    let mut handles: Vec<Patched<dyn Effect>> =
        (0..1_000_000).map(|n| Patched::new(Delay::new(n as f32, &alive))).collect();
    assert_eq!(Arc::strong_count(&alive), 1_000_001);
    let mut total = 0.0;
    for handle in &mut handles {
        total += f64::from(handle.process(1.0));
    }
    assert_eq!(total, 499_999_500_000.0);
    drop(handles);
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// A remote swaps meanwhile: who has bound the handle goes on with what it was, which is freed when the guard is gone.
#[test]
fn a_bound_handle_keeps_what_it_shows() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[dispatch]
    trait Counts: Send {
        fn count(&mut self) -> u64;
    }
    struct From(u64, Arc<AtomicUsize>);
    impl Counts for From {
        fn count(&mut self) -> u64 {
            self.0 += 1;
            self.0
        }
    }
    impl Drop for From {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut handle: Patched<dyn Counts> = Patched::new(From(0, Arc::clone(&dropped)));
    let remote = handle.remote();
    let guard = hotcall::pin();
    let mut bound = handle.bind(&guard);
    assert_eq!(bound.count(), 1);
    drop(remote.replace(From(100, Arc::clone(&dropped))).unwrap());
    assert_eq!((bound.count(), dropped.load(Ordering::SeqCst)), (2, 0));
    drop(guard);
    assert_eq!(handle.count(), 101);
    hotcall_tests::eventually("what was swapped out is freed", || dropped.load(Ordering::SeqCst) == 1);
}

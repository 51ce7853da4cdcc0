//! Panics and backtraces through emitted code.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hotcall::{Chain, Instance, chain, dispatch};

use crate::{Effect, Nothing};

#[test]
fn an_element_that_panics_leaves_everything_as_it_was() {
    struct Fragile(Arc<AtomicUsize>, bool);
    struct Local(Arc<AtomicUsize>);
    impl Drop for Local {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl Effect for Fragile {
        fn process(&self, sample: f32) -> f32 {
            let _local = Local(Arc::clone(&self.0));
            assert!(!self.1 || sample < 100.0, "the seventh");
            sample + 1.0
        }
        fn note(&self, log: &mut Vec<u32>) {
            let _local = Local(Arc::clone(&self.0));
            log.push(1);
            assert!(!self.1, "the seventh noted");
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let elements = (0..16).map(|number| Instance::new(Fragile(Arc::clone(&dropped), number == 6)));
    let rack: Chain<dyn Effect> = Chain::new(elements).unwrap();
    for round in 1..=3 {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _passed = Local(Arc::clone(&dropped));
            rack.process(200.0)
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the seventh");
        assert_eq!(
            dropped.swap(0, Ordering::Relaxed),
            8,
            "round {round}: seven elements' locals and the caller's"
        );
        assert_eq!(rack.process(0.0), 16.0);
        assert_eq!(dropped.swap(0, Ordering::Relaxed), 16);
        let mut log = Vec::new();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rack.note(&mut log)));
        assert!(caught.is_err() && log.len() == 7);
        dropped.store(0, Ordering::Relaxed);
    }
    // The panicking calls' sections are over.
    drop(rack.remove(6).unwrap().wait().unwrap());
    assert_eq!(rack.process(200.0), 215.0);
}

#[test]
fn a_backtrace_inside_an_element_shows_the_caller() {
    struct Looks(Mutex<String>);
    impl Effect for Looks {
        fn process(&self, sample: f32) -> f32 {
            *self.0.lock().unwrap() = std::backtrace::Backtrace::force_capture().to_string();
            sample
        }
        fn note(&self, _: &mut Vec<u32>) {
            panic!("{}", self.0.lock().unwrap());
        }
    }
    #[inline(never)]
    fn the_caller_of_the_chain(rack: &Chain<dyn Effect>) -> f32 {
        std::hint::black_box(rack.process(1.0)) + 1.0
    }
    let rack: Chain<dyn Effect> = chain![Nothing, Looks(Mutex::default()), Nothing].unwrap();
    assert_eq!(the_caller_of_the_chain(&rack), 2.0);
    let seen = rack.remove(1).unwrap().wait().unwrap().downcast::<Looks>().unwrap().0.into_inner().unwrap();
    let element = seen.find("Looks").unwrap_or_else(|| panic!("no element in {seen}"));
    let caller = seen.find("the_caller_of_the_chain").unwrap_or_else(|| panic!("no caller in {seen}"));
    assert!(element < caller, "{seen}");
}

/// Short chains end with a jump, long ones with a return: the frame is right wherever an element panics.
#[test]
fn every_element_of_short_and_long_chains_panics() {
    #[dispatch]
    trait Fragile: Send + Sync {
        #[chain(through = x)]
        fn mixed(&self, a: u64, x: u32, scale: f64, b: &u64) -> u32;
    }
    struct At(u32);
    impl Fragile for At {
        fn mixed(&self, a: u64, x: u32, scale: f64, b: &u64) -> u32 {
            assert!(a != u64::from(self.0), "{}", std::backtrace::Backtrace::force_capture());
            x * 3 + self.0 + scale as u32 + *b as u32
        }
    }
    #[inline(never)]
    fn the_caller_of_the_chain(chain: &Chain<dyn Fragile>, a: u64) -> u32 {
        std::hint::black_box(chain.mixed(a, 1, 2.0, &5)) + 1
    }
    for len in 1..=7 {
        let chain: Chain<dyn Fragile> = Chain::new((0..len).map(|n| Instance::new(At(n)))).unwrap();
        for at in 0..len {
            // In registers that the chain saves: they must come back.
            let kept = std::hint::black_box([len, at, len + at, len * at]);
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                the_caller_of_the_chain(&chain, u64::from(at)) + kept[2]
            }));
            let seen = *caught.unwrap_err().downcast::<String>().unwrap();
            assert!(seen.contains("the_caller_of_the_chain"), "element {at} of {len}: {seen}");
            assert_eq!(kept, [len, at, len + at, len * at]);
        }
        let wanted = (0..len).fold(1, |x, n| x * 3 + n + 7) + 1;
        assert_eq!(the_caller_of_the_chain(&chain, 99), wanted, "{len} elements");
    }
}

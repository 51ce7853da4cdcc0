//! Panics and backtraces through emitted code.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hotcall::{Chain, Instance, chain};

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

//! Methods that are loops, while the list goes from one element to several and back: between a loop and a jump.

use std::sync::atomic::{AtomicBool, Ordering};

use hotcall::{Chain, dispatch};

#[dispatch]
trait Hook: Send + Sync {
    /// A loop: the first argument may travel anywhere.
    #[chain(all)]
    fn by_value(&self, of: (u64, u64), count: &mut u64);
    /// Straight-line code.
    fn plain(&self, count: &mut u64);
}

struct One;
impl Hook for One {
    fn by_value(&self, (step, _): (u64, u64), count: &mut u64) {
        *count += step;
    }
    fn plain(&self, count: &mut u64) {
        *count += 1;
    }
}

#[test]
fn a_call_never_sees_fewer_elements_than_there_were() {
    let chain: Chain<dyn Hook> = Chain::EMPTY;
    chain.push(One).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (mut looped, mut plain) = (0, 0);
                    chain.by_value((1, 0), &mut looped);
                    chain.plain(&mut plain);
                    assert!((1..=2).contains(&looped) && (1..=2).contains(&plain), "{looped}, {plain}");
                }
            });
        }
        for _ in 0..20_000 {
            chain.push(One).unwrap();
            drop(chain.remove(0).unwrap());
        }
        stop.store(true, Ordering::Relaxed);
    });
}

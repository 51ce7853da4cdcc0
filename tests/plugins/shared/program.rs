//! A program that links a Rust dylib with slots calls and retargets them, and has slots of the dylib's traits itself.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use hotcall::slot;
use hotcall_shared::{Add, FILTER, Filter, OWN, SCALE, call, call_inline, call_through, handle, install};

struct Multiply(u32);
impl Filter for Multiply {
    fn run(&self, x: u32) -> u32 {
        x * self.0
    }
}

/// The program's, of the dylib's trait.
#[slot]
static MINE: dyn Filter = Multiply(3);

fn main() {
    slots_of_a_dylib_are_called_and_retargeted_from_both_sides();
    println!("both sides agree");
}

fn slots_of_a_dylib_are_called_and_retargeted_from_both_sides() {
    let both = |x| {
        let here = [FILTER.run(x), OWN.run(x), SCALE(x)];
        assert_eq!((call(x), call_inline(x)), (here, here));
        here
    };
    assert_eq!(both(1), [1, 1, 2]);
    install(5).unwrap();
    assert_eq!(both(1), [6, 6, 2]);
    assert_eq!(FILTER.name(), "add 5");
    drop(FILTER.replace(Multiply(7)).unwrap());
    drop(SCALE.replace(|x: u32| x * 3).unwrap());
    assert_eq!(both(2), [14, 7, 6]);
    assert_eq!(FILTER.name(), "unnamed");

    assert_eq!((MINE.run(2), call_through(&MINE, 2)), (6, 6));
    drop(MINE.replace(Add(1)).unwrap());
    assert_eq!((MINE.run(2), call_through(&MINE, 2)), (3, 3));
    let all = hotcall::batch(|b| {
        b.replace(&MINE, Add(10));
        b.replace(&FILTER, Add(20));
    });
    drop(all.unwrap());
    assert_eq!((MINE.run(2), call(2)[0]), (12, 22));

    // Swapped by the program while both call: what was replaced is freed only when neither is inside.
    struct Checked(u32);
    impl Filter for Checked {
        fn run(&self, x: u32) -> u32 {
            assert_eq!(self.0, 0x600d, "a call on an instance that has been freed");
            x
        }
    }
    impl Drop for Checked {
        fn drop(&mut self) {
            self.0 = 0xdead;
        }
    }
    let stop = AtomicBool::new(false);
    drop(FILTER.replace(Checked(0x600d)).unwrap());
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(call(4)[0], 4);
            }
        });
        let outside = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(FILTER.run(4), 4);
            }
        });
        for _ in 0..2_000 {
            drop(FILTER.replace(Checked(0x600d)).unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        inside.join().unwrap();
        outside.join().unwrap();
    });
    // There is one runtime: a guard of the program's holds back what the dylib retires, and no longer.
    let guard = hotcall::pin();
    let held = FILTER.get(&guard);
    install(9).unwrap();
    assert_eq!(held.run(4), 4);
    drop(guard);
    let retired = FILTER.replace(Add(0)).unwrap();
    assert!(retired.wait().is_ok());

    let mut owned = handle(4);
    assert_eq!(owned.run(1), 5);
    drop(owned.replace(Multiply(8)));
    assert_eq!(owned.run(1), 8);
}

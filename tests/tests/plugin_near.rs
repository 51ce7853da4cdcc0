//! A library is loaded so near that calls go straight into it; or, if told so, wherever the system puts it.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::time::{Duration, Instant};

use hotcall::{slot, stats};
use hotcall_examples::plugins;
use hotcall_probe::Probe;

struct Zero;
impl Probe for Zero {
    fn count(&self) -> u32 {
        0
    }
}

#[slot]
static PROBE: dyn Probe = Zero;

/// The trampolines that the slot needs for a plugin of a library that is loaded now, once it has settled.
fn trampolines_to_a_plugin(near: bool) -> usize {
    hotcall::load_libraries_near(near);
    let path = plugins::build(&["hotcall-probe-good"]).unwrap().remove(0);
    let library = plugins::open(&path).unwrap();
    let instance = library.instantiate::<dyn Probe>("").unwrap();
    drop(PROBE.replace(instance).unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    while stats().thunks != 0 || stats().freed != stats().retired {
        assert!(Instant::now() < deadline, "never settled: {:?}", stats());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((PROBE.count(), PROBE.count()), (1, 2));
    stats().trampolines
}

#[test]
fn near_by_default_and_far_if_told() {
    assert_eq!(trampolines_to_a_plugin(true), 0, "near: calls go straight there");
    let far = trampolines_to_a_plugin(false);
    assert!(far != 0, "far: they need trampolines");
}

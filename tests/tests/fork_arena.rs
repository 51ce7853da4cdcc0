//! A site of an arena is retargeted while its program forks: parent and child each have their own.
#![allow(missing_docs, unsafe_code)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::sync::atomic::{AtomicBool, Ordering};

use hotcall::Arena;
use hotcall_tests::forking::{Rendezvous, fork};

type F = unsafe extern "C-unwind" fn(u64) -> u64;
unsafe extern "C-unwind" fn one(x: u64) -> u64 {
    x + 1
}
unsafe extern "C-unwind" fn two(x: u64) -> u64 {
    x + 2
}
unsafe extern "C-unwind" fn three(x: u64) -> u64 {
    x + 3
}

#[test]
fn each_has_its_own_sites() {
    let arena = Arena::near(one as *const u8).unwrap();
    // SAFETY: functions that may be called there.
    let site = unsafe { arena.site::<F>(one) }.unwrap();
    let call = |x| {
        // SAFETY: the code is one jump to a function of this type.
        unsafe { site.code().call::<F>((x,)) }
    };
    let retarget = |to: F| {
        // SAFETY: functions that may be called there.
        unsafe { site.retarget(to) }.unwrap();
    };
    // The parent retargets, and writes and frees code, while the child stands between the fork and its first call.
    let retargeted = Rendezvous::new();
    let child = fork(|| {
        retargeted.wait();
        let inherited = call(0) == 1;
        retarget(three);
        // SAFETY: a function that may be called there.
        let fresh = unsafe { arena.site::<F>(two) }.unwrap();
        // SAFETY: the code is one jump to a function of this type.
        inherited && call(0) == 3 && unsafe { fresh.code().call::<F>((0,)) } == 2
    });
    retarget(two);
    // SAFETY: as above.
    drop(unsafe { arena.site::<F>(three) }.unwrap());
    retargeted.tell();
    child.wait().unwrap();
    assert_eq!(call(0), 2);

    // And under fire.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                retarget(one);
                retarget(two);
            }
        });
        for _ in 0..100 {
            let child = fork(|| {
                let called = [1, 2].contains(&call(0));
                retarget(three);
                called && call(0) == 3
            });
            let outcome = child.wait();
            if outcome.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            outcome.unwrap();
            assert!([1, 2].contains(&call(0)));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

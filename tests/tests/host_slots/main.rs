//! A plugin in a shared library calls slots of its host, which are replaced meanwhile; and replaces slots of its own.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

mod joining;
mod keys;
mod leasing;
mod own;
mod waiting;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use hotcall::{Instance, Library, WaitError};
use hotcall_examples::plugins;
use hotcall_host_slots::{Caller, TALLY, Tally, UNTOUCHED, named};
use hotcall_tests::eventually;

/// The slots are those of the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TESTS: Mutex<()> = Mutex::new(());
    TESTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The libraries that call the slots, built once.
fn path(package: &str) -> PathBuf {
    static PATHS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let packages = ["hotcall-calls-host", "hotcall-early-caller"];
    let paths = PATHS.get_or_init(|| plugins::build(&packages).unwrap());
    let number = packages.iter().position(|known| *known == package).unwrap();
    paths[number].clone()
}

fn opened(package: &str) -> Library {
    plugins::open(&path(package)).unwrap()
}

/// A plugin of a library that nobody else has.
fn plugin() -> Instance<dyn Caller> {
    opened("hotcall-calls-host").instantiate::<dyn Caller>("").unwrap()
}

/// What was emitted of one kind for a slot.
fn emitted(kind: &str, slot: &str) -> usize {
    let emitted = hotcall::__private::emitted().unwrap();
    emitted.iter().filter(|one| one.kind == kind && one.slot.ends_with(slot)).count()
}

/// Adds.
struct Adds(u64);

impl Tally for Adds {
    fn tally(&self, x: u64, _: u32) -> u64 {
        x + self.0
    }
    fn calls(&self) -> u64 {
        0
    }
}

/// Replaces itself, and waits for itself.
struct Waits;

impl Tally for Waits {
    fn tally(&self, _: u64, _: u32) -> u64 {
        match TALLY.replace(Waits).map(hotcall::Retired::wait) {
            Ok(Err(WaitError::WouldDeadlock(_))) => 1,
            _ => 0,
        }
    }
    fn calls(&self) -> u64 {
        0
    }
}

#[test]
fn a_plugin_calls_a_slot_of_its_host() {
    let _alone = alone();
    drop(TALLY.restore().unwrap());
    let plugin = plugin();

    // The default: the program's, not the plugin's copy of it.
    let before = TALLY.calls();
    assert_eq!((plugin.call(3, 1), TALLY.calls()), (3, before + 1));

    // Replaced: at once, and after it has settled.
    let retired = TALLY.replace(Adds(10)).unwrap();
    assert_eq!((plugin.call(3, 1), TALLY.tally(3, 1)), (13, 13));
    retired.wait().unwrap();
    assert_eq!((plugin.call(3, 1), TALLY.tally(3, 1)), (13, 13));
    eventually("it settles", || emitted("thunk", "TALLY") == 0);
    assert_eq!((plugin.call(3, 1), TALLY.tally(3, 1)), (13, 13));
    assert!(plugin.target().ends_with("Adds"), "{}", plugin.target());
    assert!(plugin.call_guarded(3, 10));

    // A library that is loaded later, from the same file, begins with what is installed; this one lies far away.
    hotcall::load_libraries_near(false);
    let second = self::plugin();
    hotcall::load_libraries_near(true);
    let both = || (plugin.call(4, 1), second.call(4, 1), TALLY.tally(4, 1));
    assert_eq!(both(), (14, 14, 14));
    eventually("it settles again", || emitted("thunk", "TALLY") == 0);
    assert_eq!(both(), (14, 14, 14));

    // In place, in all three.
    let before = hotcall::stats().in_place;
    for number in 1..100 {
        drop(TALLY.replace(Adds(number)).unwrap());
        assert_eq!(both(), (4 + number, 4 + number, 4 + number));
    }
    assert!(hotcall::stats().in_place >= before + 99, "{:?}", hotcall::stats());

    // Only the program replaces.
    let refusals = plugin.replace();
    assert_eq!(refusals.matches("`hotcall_host_slots::TALLY` is the program's").count(), 3, "{refusals}");
    assert_eq!(both(), (103, 103, 103));

    // A wait that would never end, because this very thread is in a call of the plugin's.
    drop(TALLY.replace(Waits).unwrap());
    assert_eq!(plugin.call(0, 0), 1);

    let calls = TALLY.restore().map(drop).map(|()| TALLY.calls()).unwrap();
    assert_eq!((plugin.call(3, 1), second.call(4, 1), TALLY.calls()), (3, 4, calls + 2));
    eventually("the default settles", || emitted("thunk", "TALLY") == 0);
    assert_eq!((plugin.call(3, 1), second.call(4, 1), TALLY.calls()), (3, 4, calls + 4));
}

/// A slot that was never replaced: the library's stubs lead to the program's default all the same, and without a thunk.
#[test]
fn a_default_that_nobody_replaced() {
    let _alone = alone();
    let before = UNTOUCHED.calls();
    let (one, two) = (plugin(), plugin());
    UNTOUCHED.tally(1, 1);
    assert_eq!(one.call_untouched(5), [5, before + 2]);
    assert_eq!(two.call_untouched(6), [6, before + 3]);
    assert_eq!((UNTOUCHED.calls(), emitted("thunk", "UNTOUCHED")), (before + 3, 0));
}

#[test]
fn slots_are_told_apart_by_their_declarations() {
    let _alone = alone();
    let plugin = plugin();
    assert_eq!(plugin.numbers(), [1; 6]);
    named::first(Some(11));
    named::second(Some(12));
    named::in_block(true, Some(13));
    named::in_block(false, Some(14));
    assert_eq!(named::all(), [11, 12, 13, 14, 1, 1]);
    assert_eq!(plugin.numbers(), [11, 12, 13, 14, 1, 1]);
    // What cannot be told apart stays the library's own.
    named::twin(true, Some(15));
    named::twin(false, Some(16));
    assert_eq!(named::all(), [11, 12, 13, 14, 15, 16]);
    assert_eq!(plugin.numbers(), [11, 12, 13, 14, 1, 1]);
    // So for a library that comes when all is done; and both go on.
    let late = self::plugin();
    assert_eq!(late.numbers(), [11, 12, 13, 14, 1, 1]);
    named::second(Some(22));
    for each in [&plugin, &late] {
        assert_eq!(each.numbers(), [11, 22, 13, 14, 1, 1]);
    }
    for which in [true, false] {
        named::in_block(which, Some(1));
        named::twin(which, Some(1));
    }
    named::first(Some(1));
    named::second(Some(1));
}

/// A batch over slots that several libraries follow: all of them, in all images.
#[test]
fn a_batch_over_slots_that_are_followed() {
    let _alone = alone();
    let (one, two) = (plugin(), plugin());
    for number in [5, 6] {
        drop(TALLY.replace(Adds(number)).unwrap());
        let batch = hotcall::batch(|batch| {
            batch.replace(&TALLY, Adds(number + 100)).replace(&TALLY, Adds(number + 1));
        });
        drop(batch.unwrap());
        assert_eq!([one.call(0, 1), two.call(0, 1), TALLY.tally(0, 1)], [number + 1; 3]);
    }
    drop(TALLY.restore().unwrap());
}

/// Libraries are linked while four threads call and two replace.
#[test]
fn linked_while_others_call_and_replace() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let _alone = alone();
    drop(TALLY.replace(Adds(1)).unwrap());
    let plugins = [plugin(), plugin()];
    let (stop, wrong, swaps) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let is_right = |sum: u64| (1..=2).contains(&sum);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (stop, wrong, plugins) = (&stop, &wrong, &plugins);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..100 {
                        let sum = match plugins.get(number) {
                            Some(plugin) => plugin.call(0, 1),
                            None => TALLY.tally(0, 1),
                        };
                        wrong.fetch_add(u64::from(!is_right(sum)), Ordering::Relaxed);
                    }
                    if let Some(plugin) = plugins.get(number) {
                        wrong.fetch_add(u64::from(!plugin.call_guarded(0, 20)), Ordering::Relaxed);
                    }
                }
            });
        }
        for add in 1..=2 {
            let (stop, swaps, plugins) = (&stop, &swaps, &plugins);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    drop(TALLY.replace(Adds(add)).unwrap());
                    let other = move |x: u64| x + add;
                    // Of another type, so that thunks come and go.
                    drop(TALLY.replace(Does(other)).unwrap());
                    plugins[add as usize - 1].replace_own(add, add == 1).unwrap();
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            let linked = plugin();
            let before = swaps.load(Ordering::Relaxed);
            for _ in 0..1_000 {
                let sum = linked.call(0, 1);
                wrong.fetch_add(u64::from(!is_right(sum)), Ordering::Relaxed);
            }
            eventually("writers go on", || swaps.load(Ordering::Relaxed) >= before + 20);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(wrong.load(Ordering::Relaxed), 0);
    drop(TALLY.restore().unwrap());
    eventually("all is freed", || hotcall::stats().freed == hotcall::stats().retired);
}

struct Does<F>(F);

impl<F: Fn(u64) -> u64 + Send + Sync> Tally for Does<F> {
    fn tally(&self, x: u64, _: u32) -> u64 {
        (self.0)(x)
    }
    fn calls(&self) -> u64 {
        0
    }
}

/// A child that replaces does not change its parent, in the library either.
#[test]
#[allow(unsafe_code)]
fn parent_and_child_each_have_their_own() {
    let _alone = alone();
    let plugin = plugin();
    drop(TALLY.replace(Adds(1)).unwrap());
    plugin.replace_own(50, false).unwrap();
    let both = || (plugin.call(0, 1), plugin.own());
    assert_eq!(both(), (1, 50));
    let child = || {
        let inherited = both() == (1, 50);
        drop(TALLY.replace(Does(|x| x + 7)).unwrap());
        let own = plugin.replace_own(60, true);
        let replaced = both() == (7, 60) && own == Ok(Some(50));
        // And a library that the child loads.
        inherited && replaced && self::plugin().call(0, 1) == 7
    };
    // SAFETY: the child leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the process without running what belongs to its parent.
        unsafe { libc::_exit(i32::from(!passed)) };
    }
    drop(TALLY.replace(Does(|x| x + 2)).unwrap());
    let mut status = 0;
    // SAFETY: `pid` is a child of this process; `status` is a valid place.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "the child");
    assert_eq!(both(), (2, 50));
    drop(TALLY.restore().unwrap());
}

/// A linked library stays, whatever it was told.
#[test]
#[allow(unsafe_code)]
fn a_linked_library_stays() {
    let _alone = alone();
    let count = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("calls_host").count();
    let library = opened("hotcall-calls-host");
    // SAFETY: nothing of it is left when the instance is gone.
    unsafe { library.unload_when_drained() };
    drop(library.instantiate::<dyn Caller>("").unwrap());
    let before = count();
    drop(library);
    assert_eq!(count(), before);
    // Its copy is told of changes: where it had been unmapped, these would crash.
    drop(TALLY.replace(Adds(1)).unwrap());
    drop(TALLY.restore().unwrap());
}

//! What a caller's thread does beside the call: no allocation ever, and no system call after its first section, while others
//! replace what it calls. `docs/REALTIME.md` says it in words.
//!
//! The thread is put where the kernel ends it at its first system call but `read`, `write` and its own end (`seccomp`), and its
//! allocations are counted. Each case is a process of its own.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hotcall::{Chain, Instance, Patched, dispatch, slot};
use hotcall_tests::eventually;

/// Counts what each thread allocates and frees.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator; the count is a cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[dispatch]
pub trait Effect: Send + Sync {
    #[chain(through)]
    fn process(&self, sample: f32) -> f32;
}

struct Bypass;
impl Effect for Bypass {
    fn process(&self, sample: f32) -> f32 {
        sample
    }
}
struct Gain(f32);
impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.0
    }
}
struct Shift(f32);
impl Effect for Shift {
    fn process(&self, sample: f32) -> f32 {
        sample + self.0
    }
}

#[slot]
static EFFECT: dyn Effect = Bypass;
#[slot]
static SHAPE: fn(f32) -> f32 = |sample: f32| sample;

/// The calls that the thread makes; a batch of them.
fn calls(handle: &Patched<dyn Effect>, chain: &Chain<dyn Effect>) {
    for _ in 0..100 {
        black_box(EFFECT.process(black_box(0.5)));
        black_box(SHAPE(black_box(0.5)));
        black_box(handle.process(black_box(0.5)));
        black_box(chain.process(black_box(0.5)));
        let guard = hotcall::pin();
        let bound = EFFECT.bind(&guard);
        black_box(bound.process(black_box(0.5)));
        black_box(EFFECT.get(&guard).process(black_box(0.5)));
        // Guards and calls in one another, as many as a record holds.
        let more = [hotcall::pin(), hotcall::pin(), hotcall::pin()];
        black_box(EFFECT.process(black_box(0.5)));
        drop((more, guard));
    }
}

const CASE: &str = "HOTCALL_REALTIME_CASE";
static ENTERED: AtomicU32 = AtomicU32::new(0);
static ALLOCATED: AtomicBool = AtomicBool::new(false);
static DONE: AtomicBool = AtomicBool::new(false);

fn this_thread() -> u32 {
    // SAFETY: it asks for a number.
    let number = unsafe { libc::gettid() };
    number.cast_unsigned()
}

/// From now on the calling thread is ended by any system call but `read`, `write` and `exit`.
fn no_more_system_calls() {
    // SAFETY: it takes rights from the calling thread alone.
    let refused = unsafe { libc::prctl(libc::PR_SET_SECCOMP, 1) };
    assert_eq!(refused, 0, "the kernel has no seccomp: {}", std::io::Error::last_os_error());
}

/// The thread whose calls must not wait.
fn realtime(case: &str) -> ! {
    if case == "first section" {
        ENTERED.store(this_thread(), Ordering::SeqCst);
        no_more_system_calls();
        black_box(EFFECT.process(black_box(0.5)));
        end();
    }
    // What `docs/REALTIME.md` says a thread does first.
    drop(hotcall::pin());
    let handle = Patched::new(Gain(2.0));
    let chain: Chain<dyn Effect> = Chain::new([Instance::new(Gain(2.0)), Instance::new(Shift(1.0))]).unwrap();
    // Leases are taken of what is installed, and are not the last ones.
    let lease = EFFECT.lease();
    ENTERED.store(this_thread(), Ordering::SeqCst);
    no_more_system_calls();
    let before = COUNT.get();
    for batch in 0..2_000_u32 {
        calls(&handle, &chain);
        let again = lease.clone();
        black_box(again.process(black_box(0.5)));
        drop(again);
        if batch == 1_000 {
            match case {
                "yields" => std::thread::yield_now(),
                "allocates" => drop(black_box(Box::new(batch))),
                _ => {}
            }
        }
    }
    ALLOCATED.store(COUNT.get() != before, Ordering::SeqCst);
    end();
}

/// Ends the thread as one that has done all of it.
fn end() -> ! {
    DONE.store(true, Ordering::SeqCst);
    // SAFETY: the thread ends here: what it has is the process's until that ends, at once.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

/// Not a test: what the tests run in other processes.
#[test]
#[ignore = "run by the others"]
fn the_program() {
    let Ok(case) = std::env::var(CASE) else { return };
    if case == "first call" || case == "first pin" {
        let count = std::thread::spawn(move || {
            let before = COUNT.get();
            if case == "first call" {
                black_box(EFFECT.process(black_box(0.5)));
            } else {
                drop(hotcall::pin());
            }
            COUNT.get() - before
        });
        println!("allocations: {}", count.join().unwrap());
        return;
    }
    std::thread::spawn(move || realtime(&case));
    eventually("the thread has begun", || ENTERED.load(Ordering::SeqCst) != 0);
    let thread = format!("/proc/self/task/{}", ENTERED.load(Ordering::SeqCst));
    let mut swaps = 0_u32;
    while Path::new(&thread).exists() {
        // Of another type, and of the same one.
        drop(EFFECT.replace(Gain(swaps as f32)).unwrap());
        drop(EFFECT.replace(Gain(1.0)).unwrap());
        drop(EFFECT.replace(Shift(1.0)).unwrap());
        drop(SHAPE.replace(|sample: f32| sample + 1.0).unwrap());
        swaps += 1;
    }
    let done = DONE.load(Ordering::SeqCst);
    println!("{}", if done { "it did all of it" } else { "it was ended" });
    println!("{}", if ALLOCATED.load(Ordering::SeqCst) { "it allocated" } else { "it allocated nothing" });
    assert!(swaps != 0 || !done, "something was replaced meanwhile");
    std::io::Write::flush(&mut std::io::stdout()).unwrap();
    // SAFETY: nothing is to be run at the end: what the thread had is still its own.
    unsafe { libc::_exit(0) };
}

fn run(case: &str) -> (String, Output) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_program", "--ignored", "--nocapture"]).env(CASE, case);
    let output = command.output().unwrap();
    let said = format!("{case}: {}\n{output:?}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    (said, output)
}

#[test]
fn calls_allocate_nothing_and_ask_the_system_nothing() {
    let (said, _) = run("later sections");
    assert!(said.contains("it did all of it") && said.contains("it allocated nothing"), "{said}");
}

#[test]
fn a_first_section_allocates_nothing() {
    for case in ["first call", "first pin"] {
        let (said, _) = run(case);
        assert!(said.contains("allocations: 0"), "{said}");
    }
}

/// The first section of a thread asks which thread it is.
#[test]
fn what_is_forbidden_is_noticed() {
    let asks = if cfg!(hotcall_epoch) { "" } else { "first section" };
    for case in [asks, "yields"].into_iter().filter(|case| !case.is_empty()) {
        let (said, _) = run(case);
        assert!(said.contains("it was ended"), "{said}");
    }
    let (said, _) = run("allocates");
    assert!(said.contains("it did all of it") && said.contains("it allocated\n"), "{said}");
}

//! The other kind of section: forced on one thread, or on all by the lack of `membarrier`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hotcall::{Sections, WaitError, force_pinned_sections, sections, slot};

use crate::{Adds, Does, Idle, Step, eventually};

#[test]
fn threads_of_both_kinds_at_once() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let usual = sections();
    let ended = Arc::new(AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    drop(SLOT.replace(Adds::new(1, &ended)).unwrap());
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let stop = &stop;
            scope.spawn(move || {
                let mut force = caller != 0;
                while !stop.load(Ordering::Relaxed) {
                    force_pinned_sections(force);
                    assert_eq!(sections(), if force { Sections::Pinned } else { usual });
                    assert!((0..100).all(|x| SLOT.run(x) > x));
                    // One of them goes to and fro.
                    force = if caller == 2 { !force } else { force };
                }
            });
        }
        for number in 1..2_000 {
            let retired = SLOT.replace(Adds::new(number, &ended)).unwrap();
            if number % 50 == 0 {
                assert!(retired.wait().is_ok());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(SLOT.restore().unwrap());
    eventually("all are freed", || ended.load(Ordering::SeqCst) == 2_000);
}

#[test]
fn a_pinned_call_is_a_call_like_any_other() {
    #[slot]
    static SLOT: dyn Step = Idle;
    std::thread::spawn(|| {
        force_pinned_sections(true);
        drop(SLOT.replace(Does::new(|x| {
            let refusal =
                SLOT.replace(Does::new(|x| if x > 5 { panic!("above five") } else { x })).unwrap().wait();
            assert!(matches!(refusal, Err(WaitError::WouldDeadlock(_))));
            SLOT.run(x) + 1
        })));
        assert_eq!(SLOT.run(3), 4);
        assert!(std::panic::catch_unwind(|| SLOT.run(6)).is_err());
        assert!(SLOT.replace(Idle).unwrap().wait().is_ok(), "no pin is left behind");
    })
    .join()
    .unwrap();
}

/// A thread that has chosen the other kind keeps its record: nobody else is given it, and its end ends nothing of another's.
#[test]
fn a_thread_that_changes_its_mind_and_ends() {
    #[slot]
    static SLOT: dyn Step = Idle;
    let [entered, go, changed, end] = [(); 4].map(|()| std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        let (changed, end, entered, go) = (&changed, &end, &entered, &go);
        let changes = scope.spawn(move || {
            SLOT.run(1);
            force_pinned_sections(true);
            changed.wait();
            end.wait();
        });
        changed.wait();
        let (inside, let_go) = (Arc::new(std::sync::Barrier::new(2)), Arc::new(std::sync::Barrier::new(2)));
        let (told, waits) = (Arc::clone(&inside), Arc::clone(&let_go));
        let owner = vec![7_u64; 1000];
        drop(SLOT.replace(Does::new(move |_| {
            told.wait();
            waits.wait();
            owner.iter().sum()
        })));
        let inside_call = scope.spawn(move || {
            entered.wait();
            let sum = SLOT.run(0);
            go.wait();
            sum
        });
        entered.wait();
        inside.wait();
        end.wait();
        changes.join().unwrap();
        let retired = SLOT.replace(Idle).unwrap();
        let outcome = retired.wait_timeout(std::time::Duration::from_millis(300));
        assert!(matches!(outcome, Err(WaitError::TimedOut(_))), "drained, while another thread is inside");
        let_go.wait();
        go.wait();
        assert_eq!(inside_call.join().unwrap(), 7_000);
    });
}

/// Inside a call, under guards, and to and fro.
#[test]
fn a_thread_changes_its_mind_inside_a_call() {
    #[slot]
    static SLOT: dyn Step = Idle;
    std::thread::spawn(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        for pattern in 0..16_u32 {
            drop(SLOT.replace(Adds::new(1, &ended)));
            let mut guards = Vec::new();
            for bit in 0..4 {
                force_pinned_sections(pattern & 1 << bit != 0);
                guards.push(hotcall::pin());
                assert_eq!(SLOT.run(1), 2);
            }
            let retired = SLOT.replace(Idle).unwrap();
            for nth in [2, 0, 1] {
                force_pinned_sections(pattern & 1 << nth == 0);
                drop(guards.swap_remove(nth));
            }
            let refusal = retired.wait();
            let Err(WaitError::WouldDeadlock(retired)) = refusal else { panic!("a guard is held") };
            guards.clear();
            assert!(retired.wait().is_ok());
        }
        force_pinned_sections(false);
    })
    .join()
    .unwrap();
}

/// All of this binary's tests again, in a process that may not use `membarrier`.
#[test]
#[cfg(target_os = "linux")]
fn without_membarrier() {
    const VARIABLE: &str = "HOTCALL_NO_MEMBARRIER";
    if std::env::var_os(VARIABLE).is_some() {
        assert_eq!(sections(), Sections::Pinned);
        return;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.env(VARIABLE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

//! A library's sites join slots in whatever stage they are, wholly or not at all.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::mpsc::channel;

use hotcall::__private::{fail_at_step, grace_periods_so_far, rehearse};
use hotcall::slot;
use hotcall_host_slots::early::{EARLY, Early, LATE, Late, REPLACES};
use hotcall_host_slots::named::{self, Number};
use hotcall_host_slots::{Caller, TALLY, Tally};
use hotcall_tests::negative;

use crate::{Adds, alone, emitted, eventually, opened, plugin};

struct One(#[allow(dead_code, reason = "so that it has bytes")] u8);
impl Late for One {
    fn run(&self) -> u64 {
        1
    }
}
struct Two(#[allow(dead_code, reason = "so that it has bytes")] u8);
impl Late for Two {
    fn run(&self) -> u64 {
        2
    }
}

/// Waits until nothing is left to be done of what was replaced before.
fn idle() {
    #[slot]
    static NOTHING: dyn Number = Empty;
    struct Empty;
    impl Number for Empty {
        fn number(&self) -> u64 {
            0
        }
    }
    // A slot settles in two grace periods after the first, and what was released is reused after another.
    for _ in 0..6 {
        NOTHING.replace(Empty).unwrap().wait().unwrap();
    }
}

/// The library's reader has loaded its own default's address, and is about to jump. Its slot is linked when the grace period
/// that the slot waits for has ended without it, and what that brings about has not come yet.
#[test]
#[allow(unsafe_code)]
fn what_joins_waits_for_its_own_readers() {
    let _alone = alone();
    let sabotaged = negative::sabotaged().is_some();
    let socket = std::env::temp_dir().join(format!("hotcall-early-{}", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    // SAFETY: no other thread of this test program looks at the environment, see `alone`.
    unsafe { std::env::set_var(EARLY, &socket) };

    // The program's calls go through stubs too.
    drop(LATE.replace(One(0)).unwrap());
    idle();
    idle();
    assert_eq!(emitted("thunk", "LATE"), 0);

    let (pinned, is_pinned) = channel();
    let (release, released) = channel::<()>();
    let guard = std::thread::spawn(move || {
        let _guard = hotcall::pin();
        pinned.send(()).unwrap();
        released.recv().unwrap();
    });
    is_pinned.recv().unwrap();
    let before = grace_periods_so_far();
    let retired = LATE.replace(Two(0)).unwrap();
    let (meet, met) = channel();
    rehearse(move |_| {
        let (mut reader, _) = listener.accept().unwrap();
        reader.read_exact(&mut [0]).unwrap();
        meet.send(reader).unwrap();
        let _ = release.send(());
        while grace_periods_so_far() == before {
            std::thread::yield_now();
        }
    });
    let early = opened("hotcall-early-caller").instantiate::<dyn Early>("").unwrap();
    rehearse(|_| {});
    guard.join().unwrap();
    eventually("what that grace period brings about", || retired.is_drained());

    // It stands before the program's stubs as well: the slot has one stage.
    let through_thunks = emitted("thunk", "LATE");
    assert!(through_thunks != 0, "the library's stub went straight while its reader was inside");
    assert_eq!(early.late(), 2);

    let mut reader = met.recv().unwrap();
    reader.write_all(b"o").unwrap();
    eventually("it settles when the reader has left", || emitted("thunk", "LATE") == 0);
    assert_eq!((early.late(), LATE.run()), (2, 2));
    let _ = std::fs::remove_file(&socket);
    if sabotaged {
        return;
    }

    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "joining::what_joins_waits_for_its_own_readers", "--nocapture"]);
        command
    };
    // Without a barrier what that grace period brings about is another stage, in which there are thunks anyway.
    if hotcall::sections() == hotcall::Sections::Asymmetric {
        println!("joins-stage: {}", negative::is_noticed(again, "joins-stage").unwrap());
    }
    // SAFETY: as above.
    unsafe { std::env::remove_var(EARLY) };
}

/// Each step of linking fails once; then none does.
#[test]
fn a_library_is_linked_wholly_or_not_at_all() {
    let _alone = alone();
    drop(TALLY.replace(Adds(1)).unwrap());
    let listed = || {
        let emitted = hotcall::__private::emitted().unwrap();
        let sites = emitted.iter().filter(|one| ["cell", "call"].contains(&one.kind));
        let mut sites: Vec<_> = sites.map(|one| (one.slot, one.address)).collect();
        sites.sort_unstable();
        sites
    };
    // What is registered when it is first looked for stays so.
    let first = plugin();
    assert_eq!(first.call(0, 1), 1);
    let before = listed();
    let mut failed = 0;
    let linked = loop {
        fail_at_step(failed + 1);
        let outcome = opened("hotcall-calls-host").instantiate::<dyn Caller>("");
        if fail_at_step(0) != 0 {
            break outcome.unwrap();
        }
        let error = outcome.map(drop).unwrap_err().to_string();
        assert!(error.contains("it was told to fail"), "{error}");
        failed += 1;

        // Nobody is told of what has failed, and everybody else of everything.
        assert_eq!(listed(), before, "step {failed}");
        drop(TALLY.replace(Adds(failed as u64)).unwrap());
        named::first(Some(failed as u64));
        assert_eq!((first.call(0, 1), TALLY.tally(0, 1)), (failed as u64, failed as u64));
        assert_eq!(first.numbers()[0], failed as u64);
    };
    // Several for each of the slots' methods.
    assert!(failed > 20, "{failed} steps");
    assert_eq!((linked.call(0, 1), linked.numbers()), (failed as u64, first.numbers()));
    assert!(listed().len() > before.len());
    drop(TALLY.restore().unwrap());
    named::first(Some(1));
}

/// What replaces slots before it can be linked has a writer of its own: two writers of one page would overwrite each other.
#[test]
#[allow(unsafe_code)]
fn a_library_that_has_begun_to_replace_is_refused() {
    let _alone = alone();
    // SAFETY: no other thread of this test program looks at the environment, see `alone`.
    unsafe { std::env::set_var(EARLY, REPLACES) };
    let outcome = opened("hotcall-early-caller").instantiate::<dyn Early>("");
    // SAFETY: as above.
    unsafe { std::env::remove_var(EARLY) };
    let error = outcome.map(drop).unwrap_err().to_string();
    assert!(error.contains("it replaced slots while it was loaded"), "{error}");
    drop(LATE.replace(One(0)).unwrap());
    assert_eq!(LATE.run(), 1);
}

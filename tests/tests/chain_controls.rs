//! What an edit is kept from, and what would be if it were not: each refusal is switched off in a child, and missed.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use hotcall::{Chain, Error, WaitError, chain, dispatch, slot};
use hotcall_tests::negative;

#[dispatch]
trait Work: Send + Sync {
    #[chain(through)]
    fn run(&self, x: u64) -> u64;
}
struct Counted(Arc<AtomicUsize>);
impl Work for Counted {
    fn run(&self, x: u64) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst);
        x + 1
    }
}

struct Nothing;
impl Work for Nothing {
    fn run(&self, x: u64) -> u64 {
        x
    }
}

/// A destructor that edits a chain, on the runtime's thread.
struct Edits(Arc<Chain<dyn Work>>);
impl Drop for Edits {
    fn drop(&mut self) {
        drop(self.0.push(Counted(Arc::default())));
    }
}
impl Work for Edits {
    fn run(&self, x: u64) -> u64 {
        x
    }
}

/// An edit waits for what drains after a destructor that waits for the edit. Whether that is refused.
fn waits_are_refused() -> bool {
    let chain: Arc<Chain<dyn Work>> = Arc::default();
    let others: Chain<dyn Work> = chain![Edits(Arc::clone(&chain)), Counted(Arc::default())].unwrap();
    let edited = chain.edit(|_| {
        drop(others.remove(0).unwrap());
        match others.remove(0).unwrap().wait_timeout(Duration::from_secs(2)) {
            Err(WaitError::WouldDeadlock(_)) => true,
            Err(WaitError::TimedOut(_)) => false,
            // The destructor was not yet running.
            Ok(_) => false,
        }
    });
    edited.unwrap().0
}

/// Two threads, each inside an edit of one chain, ask for the other's. Whether both come back.
fn circles_are_refused() -> bool {
    let chains: Arc<[Chain<dyn Work>; 2]> = Arc::new([Chain::EMPTY, Chain::EMPTY]);
    let inside = Arc::new(Barrier::new(2));
    let (ended, ends) = std::sync::mpsc::channel();
    for number in 0..2 {
        let (chains, inside, ended) = (Arc::clone(&chains), Arc::clone(&inside), ended.clone());
        // Not joined: without the refusal it never ends.
        std::thread::spawn(move || {
            let edited = chains[number].edit(|_| {
                inside.wait();
                chains[1 - number].push(Counted(Arc::default())).map_err(Error::from)
            });
            ended.send(edited.is_ok()).unwrap();
        });
    }
    // Where nothing is refused, no time is enough; where it is, it is refused at once.
    let patience = if negative::sabotaged().is_some() { 2 } else { 60 };
    (0..2).all(|_| ends.recv_timeout(Duration::from_secs(patience)) == Ok(true))
}

/// A handover is held open until another thread has replaced in its slot, or has been kept waiting. Whether it was.
fn handovers_are_waited_for() -> bool {
    #[slot]
    static SLOT: dyn Work = Nothing;
    let (replaced, told) = std::sync::mpsc::channel();
    let mut was_kept = false;
    let made = SLOT.replace_with(|_| {
        std::thread::spawn(move || {
            drop(SLOT.replace(Counted(Arc::default())).unwrap());
            replaced.send(()).unwrap();
        });
        was_kept = told.recv_timeout(negative::limit()).is_err();
        Counted(Arc::default())
    });
    drop(made.unwrap());
    was_kept
}

#[test]
fn each_refusal_is_missed_without_it() {
    let sound = match negative::sabotaged() {
        Some("wait-inside-edit") => waits_are_refused(),
        Some("turns-not-asked") => handovers_are_waited_for(),
        Some(_) => circles_are_refused(),
        None => {
            assert!(waits_are_refused() && circles_are_refused() && handovers_are_waited_for());
            true
        }
    };
    if negative::sabotaged().is_some() {
        std::process::exit(if sound { 0 } else { negative::CAUGHT });
    }
    for sabotage in ["wait-inside-edit", "turns-in-circles", "turns-not-asked"] {
        let again = || {
            let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
            command.args(["--exact", "each_refusal_is_missed_without_it", "--nocapture"]);
            command
        };
        println!("{sabotage}: {}", negative::is_noticed(again, sabotage).unwrap());
    }
}

/// Two edits that change places, which the compiler refuses (`ui/refused/edit_exchanged.rs`): with what tests have in place
/// of that, an element drains that is still called. So the refusal is needed.
#[test]
fn exchanged_edits_would_drain_what_is_called() {
    let calls = Arc::new(AtomicUsize::new(0));
    let a: Chain<dyn Work> = chain![Counted(Arc::clone(&calls))].unwrap();
    let b: Chain<dyn Work> = chain![Counted(Arc::default())].unwrap();
    let edited = a.edit(|of_a| {
        let change = |of_b: &mut hotcall::Edit<dyn Work>| {
            of_a.__exchange(of_b);
            of_b.clear();
        };
        let ((), gone) = b.edit(change).unwrap();
        while !gone.is_drained() {
            std::thread::yield_now();
        }
        // Whoever drops `gone` now frees it; it is kept, so that this test does nothing that is not defined.
        assert_eq!((a.run(0), calls.load(Ordering::SeqCst)), (1, 1));
        gone
    });
    drop(edited.unwrap());
}

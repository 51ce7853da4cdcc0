//! Who drops what was replaced may be chosen. One test: it is the whole process's.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use hotcall::{Reclaimer, dispatch, slot};
use hotcall_tests::LONG;

#[dispatch]
pub trait Step: Send + Sync {
    fn run(&self, x: u64) -> u64;
}

struct Idle;
impl Step for Idle {
    fn run(&self, x: u64) -> u64 {
        x
    }
}

/// Says on which thread it is dropped.
struct Tells(Mutex<Sender<Option<String>>>);
impl Step for Tells {
    fn run(&self, x: u64) -> u64 {
        x + 1
    }
}
impl Drop for Tells {
    fn drop(&mut self) {
        let name = std::thread::current().name().map(str::to_owned);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).send(name).unwrap();
    }
}

#[slot]
static STEP: dyn Step = Idle;

#[test]
fn the_thread_is_the_users_choice() {
    // Claimed, and left to hotcall again.
    drop(Reclaimer::claim().unwrap());
    let reclaimer = Reclaimer::claim().unwrap();
    assert!(Reclaimer::claim().is_err());
    let (tell, told) = channel();
    let tells = || Tells(Mutex::new(tell.clone()));
    // What is replaced before it runs waits for it.
    drop(STEP.replace(tells()).unwrap());
    drop(STEP.restore().unwrap());
    assert!(told.try_recv().is_err());
    std::thread::Builder::new().name("housekeeping".to_owned()).spawn(|| reclaimer.run()).unwrap();
    assert_eq!(told.recv_timeout(LONG).unwrap().as_deref(), Some("housekeeping"));
    for _ in 0..20 {
        drop(STEP.replace(tells()).unwrap());
        assert_eq!(STEP.run(1), 2);
        let guard = hotcall::pin();
        let retired = STEP.restore().unwrap();
        drop(guard);
        drop(retired);
        // Where it has drained by then, this thread drops it.
        let name = told.recv_timeout(LONG).unwrap();
        assert!(
            matches!(name.as_deref(), Some("housekeeping" | "the_thread_is_the_users_choice")),
            "{name:?}"
        );
    }
    let refused = Reclaimer::claim().unwrap_err();
    assert!(refused.to_string().contains("before the first replacement"), "{refused}");
    hotcall::drain(LONG).unwrap();
}

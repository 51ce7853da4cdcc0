//! A plugin leases what slots hold: the program's, and its own.

use hotcall::{Holder, WaitError};
use hotcall_host_slots::{TALLY, Tally};
use hotcall_tests::negative::limit;
use hotcall_tests::{LONG, eventually};

use super::{Adds, alone, plugin};

#[test]
fn a_plugin_leases_what_its_host_installs() {
    let _alone = alone();
    drop(TALLY.replace(Adds(1)).unwrap());
    let plugin = plugin();
    plugin.lease(false);
    let retired = TALLY.replace(Adds(2)).unwrap();
    let Err(WaitError::TimedOut(retired)) = retired.wait_timeout(limit()) else { panic!("it was given up") };
    assert_eq!((plugin.call(5, 1), plugin.leased(5)), (7, 6));
    let report = hotcall::report();
    let leased = |by: &Holder| match by {
        Holder::Leases { count: 1, places, .. } => places[0].0.file().ends_with("calls-host/src/lib.rs"),
        _ => false,
    };
    assert!(report.holding.iter().any(|holding| leased(&holding.by)), "{report}");

    let waiter = std::thread::spawn(move || retired.wait_timeout(LONG).unwrap().tally(0, 1));
    plugin.give_back();
    assert_eq!(waiter.join().unwrap(), 1);
    assert!(hotcall::report().holding.is_empty());
    drop(TALLY.restore().unwrap());
}

#[test]
fn a_plugin_leases_what_it_installs() {
    let _alone = alone();
    let plugin = plugin();
    assert_eq!(plugin.replace_own(5, false), Ok(None));
    plugin.lease(true);
    assert_eq!(plugin.replace_own(6, false), Ok(None));
    eventually("it is held", || !hotcall::report().holding.is_empty());
    assert_eq!((plugin.leased(1), plugin.own(), plugin.dropped()), (6, 6, 0));
    plugin.give_back();
    assert_eq!(plugin.dropped(), 1);
    assert!(hotcall::report().holding.is_empty());
}

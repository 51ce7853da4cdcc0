//! A key of a crate that the program and a plugin contain is one key; a plugin's own is its own.

use std::process::Command;

use hotcall_host_slots::keys::{self, SHARED};
use hotcall_tests::negative;

use crate::{alone, emitted, plugin};

fn here() -> [bool; 3] {
    [keys::asked(), keys::asked_generic::<u8>(), SHARED.is_on()]
}

#[test]
fn a_shared_key_is_one() {
    let _alone = alone();
    let (one, two) = (plugin(), plugin());
    let shared = |on: bool| {
        assert_eq!(here(), [on; 3]);
        for plugin in [&one, &two] {
            assert_eq!(plugin.keys()[..3], [on; 3]);
        }
    };
    shared(false);
    // Turned by the program, and by a plugin: for all.
    SHARED.set(true).unwrap();
    shared(true);
    SHARED.set(false).unwrap();
    shared(false);
    one.turn(true, true).unwrap();
    shared(true);
    assert_eq!((one.keys()[3], two.keys()[3]), (true, false), "each library has its own");
    two.turn(false, true).unwrap();
    shared(false);
    one.turn(false, false).unwrap();
    assert_eq!((one.keys()[3], two.keys()[3]), (false, true));
    // Held by one, and by another.
    let guard = SHARED.hold().unwrap();
    one.hold(&|| {
        two.hold(&|| shared(true)).unwrap();
        shared(true);
    })
    .unwrap();
    shared(true);
    drop(guard);
    shared(false);
    one.hold(&|| shared(true)).unwrap();
    shared(false);
    if hotcall::sections() == hotcall::Sections::Asymmetric {
        // Three of each plugin's and three of the program's at least; and the plugins' own.
        assert!(emitted("branch", "SHARED") >= 9);
        assert!(emitted("branch", "OWN_KEY") >= 2);
    }
}

/// What is found late takes part in what the key is by then.
#[test]
fn a_library_that_is_linked_when_the_key_is_on() {
    let sabotaged = negative::sabotaged().is_some();
    let _alone = alone();
    SHARED.set(true).unwrap();
    let plugin = plugin();
    let found = plugin.keys();
    if sabotaged {
        std::process::exit(if found[..3] == [true; 3] { 0 } else { negative::CAUGHT });
    }
    assert_eq!(found[..3], [true; 3]);
    SHARED.set(false).unwrap();
    assert_eq!(plugin.keys()[..3], [false; 3]);
    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "keys::a_library_that_is_linked_when_the_key_is_on", "--nocapture"]);
        command
    };
    // Without a barrier no branch is patched.
    if hotcall::sections() == hotcall::Sections::Asymmetric {
        println!("branches-join-off: {}", negative::is_noticed(again, "branches-join-off").unwrap());
    }
}

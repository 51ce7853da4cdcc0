//! A library that is linked replaces slots of its own, through the program's writer.

use hotcall_host_slots::Caller;

use crate::{alone, eventually, plugin};

#[test]
fn a_linked_library_replaces_its_own() {
    let _alone = alone();
    let (plugin, other) = (plugin(), plugin());
    assert_eq!((plugin.own(), other.own()), (100, 100));

    assert_eq!(plugin.replace_own(1, true), Ok(Some(100)));
    assert_eq!((plugin.own(), other.own()), (1, 100), "each library has its own");
    assert_eq!(plugin.replace_own(2, true), Ok(Some(1)));
    eventually("the first is dropped", || plugin.dropped() == 1);
    for number in 3..100 {
        assert_eq!(plugin.replace_own(number, false), Ok(None));
        assert_eq!(plugin.own(), number);
    }
    assert_eq!(other.replace_own(5, true), Ok(Some(100)));
    assert_eq!((plugin.own(), other.own()), (99, 5));

    assert_eq!(plugin.replace_own_otherwise(), Ok(vec![100, 7, 8, 100, 200]));
    assert_eq!((plugin.own(), other.own()), (100, 5));
    // 1 to 99, the one made of the last, and two of the batch.
    eventually("all are dropped", || plugin.dropped() == 102);
    assert_eq!(other.dropped(), 0);

    // All or nothing.
    let (own, refusal) = plugin.replace_own_and_shared();
    assert_eq!(own, 100);
    assert!(refusal.contains("`hotcall_host_slots::TALLY` is the program's"), "{refusal}");
    eventually("what was refused is dropped", || plugin.dropped() == 103);
}

//! Who turns a key, with what, and what comes of it.

use hotcall::{Error, dispatch, key, slot};

use crate::{alone, patches, reported};

mod owner {
    use hotcall::{Error, KeyGuard, Switch, key};

    #[key(control = CONTROL)]
    pub static CONTROLLED: bool = false;
    #[key(control = pub(crate) LENT)]
    pub static LENDS: bool = false;

    pub fn set(on: bool) -> Result<(), Error> {
        CONTROL.set(on)
    }
    pub fn hold() -> Result<KeyGuard<impl hotcall::KeyDefinition>, Error> {
        CONTROL.hold()
    }
    pub fn with<R>(run: impl FnOnce() -> R) -> Result<R, Error> {
        CONTROL.with(run)
    }
    pub fn switch() -> &'static impl Switch {
        &CONTROL
    }
}

#[test]
fn only_the_control_turns() {
    let _alone = alone();
    use owner::CONTROLLED;
    assert!(!CONTROLLED.is_on());
    owner::set(true).unwrap();
    assert!(CONTROLLED.is_on());
    owner::set(false).unwrap();
    let guard = owner::hold().unwrap();
    assert!(CONTROLLED.is_on());
    drop(guard);
    assert!(owner::with(|| CONTROLLED.is_on()).unwrap());
    assert!(!CONTROLLED.is_on());
    let turned = hotcall::batch(|batch| {
        batch.set(owner::switch(), true);
    });
    assert!(turned.unwrap().is_empty());
    assert!(CONTROLLED.is_on());

    let lent = owner::LENT;
    std::thread::spawn(move || lent.set(true).unwrap()).join().unwrap();
    assert!(lent.key().is_on() && owner::LENDS.is_on());
}

#[key]
static HELD: bool = false;

#[test]
fn it_is_on_while_anybody_holds_it() {
    let _alone = alone();
    assert!(!HELD.is_on());
    let first = HELD.hold().unwrap();
    let second = HELD.hold().unwrap();
    assert!(HELD.is_on());
    assert_eq!(reported("HELD").unwrap().holders, 2);
    drop(first);
    assert!(HELD.is_on());
    // What it is set to counts when nobody holds it any more.
    HELD.set(true).unwrap();
    drop(second);
    assert!(HELD.is_on());
    HELD.set(false).unwrap();
    assert!(!HELD.is_on());
    let third = HELD.hold().unwrap();
    HELD.set(false).unwrap();
    assert!(HELD.is_on());
    drop(third);
    assert!(!HELD.is_on());

    assert!(HELD.with(|| HELD.is_on() && HELD.with(|| HELD.is_on()).unwrap() && HELD.is_on()).unwrap());
    assert!(!HELD.is_on());
    let panicked = std::panic::catch_unwind(|| HELD.with(|| panic!("while it is held")));
    assert!(panicked.is_err() && !HELD.is_on());
}

#[dispatch]
trait Number: Send + Sync {
    fn number(&self) -> u64;
}
struct Of(u64);
impl Number for Of {
    fn number(&self) -> u64 {
        self.0
    }
}
#[slot]
static NUMBER: dyn Number = Of(0);
#[key]
static ONE: bool = false;
#[key]
static OTHER: bool = true;

fn state() -> (u64, bool, bool) {
    (NUMBER.number(), ONE.is_on(), OTHER.is_on())
}

#[test]
fn a_batch_with_slots_is_all_or_nothing() {
    let _alone = alone();
    assert_eq!(state(), (0, false, true));
    let changed = hotcall::batch(|batch| {
        batch.set(&ONE, true).replace(&NUMBER, Of(1)).set(&OTHER, false);
        assert_eq!(batch.len(), 3);
    });
    assert_eq!(changed.unwrap().len(), 1);
    assert_eq!(state(), (1, true, false));
    // The last of a key counts.
    let turned = hotcall::batch(|batch| {
        batch.set(&ONE, false).set(&ONE, true).set(&ONE, false);
    });
    assert!(turned.unwrap().is_empty());
    assert_eq!(state(), (1, false, false));

    // Refused, it changes nothing, and is there to be tried again. Keys alone may be turned there.
    let mut kept = None;
    drop(
        NUMBER
            .replace_with(|old| {
                let mut batch = hotcall::Batch::new();
                batch.set(&ONE, true).replace(&NUMBER, Of(3)).set(&OTHER, true);
                let (error, batch) = batch.commit().map(|_| ()).unwrap_err();
                assert!(matches!(error, Error::Reentrant), "{error}");
                assert_eq!((old.number(), ONE.is_on(), OTHER.is_on()), (1, false, false));
                assert!(ONE.with(|| ONE.is_on()).unwrap());
                OTHER.set(true).unwrap();
                assert_eq!((ONE.is_on(), OTHER.is_on()), (false, true));
                OTHER.set(false).unwrap();
                hotcall::prepare().unwrap();
                kept = Some(batch);
                Of(2)
            })
            .unwrap(),
    );
    assert_eq!(state(), (2, false, false));
    let batch = kept.unwrap();
    assert_eq!(batch.len(), 3);
    drop(batch.commit().unwrap());
    assert_eq!(state(), (3, true, true));
}

/// Another test than that of the batch replaces it.
#[slot]
static ANOTHER: dyn Number = Of(0);
#[key]
static LATE: bool = false;

/// Where it cannot be taken in at once, a guard's end is with the next change.
#[test]
fn a_guard_that_ends_inside_replace_with() {
    let _alone = alone();
    let guard = LATE.hold().unwrap();
    assert!(LATE.is_on());
    let before = ANOTHER.number();
    drop(
        ANOTHER
            .replace_with(|old| {
                drop(guard);
                Of(old.number() + 1)
            })
            .unwrap(),
    );
    // By then or with the next change of anything.
    hotcall::prepare().unwrap();
    assert!(!LATE.is_on());
    assert_eq!(reported("LATE").unwrap().holders, 0);
    assert_eq!(ANOTHER.number(), before + 1);
    assert!(LATE.with(|| LATE.is_on()).unwrap());
    assert!(!LATE.is_on());
}

#[key]
static PREPARED: bool = false;

#[inline(never)]
fn prepared() -> bool {
    PREPARED.is_on()
}

#[test]
fn prepared_before_anything_changes() {
    let _alone = alone();
    assert!(!prepared());
    hotcall::prepare().unwrap();
    hotcall::prepare().unwrap();
    assert!(!prepared());
    if patches() {
        let key = reported("PREPARED").unwrap();
        assert!(!key.on && key.branches >= 1 && key.holders == 0, "{key:?}");
        let report = hotcall::report().to_string();
        assert!(report.contains("branches of keys: ") && report.contains("patched"), "{report}");
        assert!(hotcall::stats().branches > 10);
    }
    PREPARED.set(true).unwrap();
    assert!(prepared());
    let report = hotcall::report().to_string();
    assert!(report.contains("changes::PREPARED: on, 0 holders"), "{report}");
    PREPARED.set(false).unwrap();
}

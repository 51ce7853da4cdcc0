//! From the moment of a fork, parent and child share no code memory that either writes.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::process::Command;

use hotcall::{Backend, Chain, Error, MemoryError, backend, chain, dispatch, slot};
use hotcall_tests::forking::{Rendezvous, fork};
use hotcall_tests::negative;

#[dispatch]
pub trait Number: Send + Sync {
    fn number(&self) -> u64;
}
struct Zero;
struct One;
struct Two;
struct Of(u64);
impl Number for Zero {
    fn number(&self) -> u64 {
        0
    }
}
impl Number for One {
    fn number(&self) -> u64 {
        1
    }
}
impl Number for Two {
    fn number(&self) -> u64 {
        2
    }
}
impl Number for Of {
    fn number(&self) -> u64 {
        self.0
    }
}
#[dispatch]
pub trait Adds: Send + Sync {
    #[chain(through)]
    fn add(&self, x: u64) -> u64;
}
impl Adds for One {
    fn add(&self, x: u64) -> u64 {
        x + 1
    }
}
impl Adds for Two {
    fn add(&self, x: u64) -> u64 {
        x + 2
    }
}
impl Adds for Of {
    fn add(&self, x: u64) -> u64 {
        x + self.0
    }
}
#[slot]
static NUMBER: dyn Number = Zero;
#[slot]
static STATEFUL: dyn Number = Zero;

/// The parent replaces while the child stands between the fork and its first call; and the child while its parent does.
fn each_its_own() -> bool {
    drop(NUMBER.replace(One).unwrap());
    drop(STATEFUL.replace(Of(1)).unwrap());
    let numbers: Chain<dyn Adds> = chain![One, Of(10)].unwrap();
    let (replaced, seen) = (Rendezvous::new(), Rendezvous::new());
    let child = fork(|| {
        replaced.wait();
        // What the parent has replaced since is its own affair. The slot of a type without bytes goes straight to the code:
        // were the stub shared, this would run the parent's.
        let inherited = NUMBER.number() == 1 && STATEFUL.number() == 1 && numbers.add(0) == 11;
        let own = NUMBER.replace(Zero).is_ok()
            && STATEFUL.replace(Of(7)).is_ok()
            && numbers.replace(1, Of(20)).is_ok()
            && (NUMBER.number(), STATEFUL.number(), numbers.add(0)) == (0, 7, 21);
        seen.tell();
        inherited && own
    });
    drop(NUMBER.replace(Two).unwrap());
    drop(STATEFUL.replace(Of(2)).unwrap());
    drop(numbers.replace(1, Of(30)).unwrap());
    replaced.tell();
    seen.wait();
    let parents = (NUMBER.number(), STATEFUL.number(), numbers.add(0)) == (2, 2, 31);
    let childs = child.wait();
    println!("parent {parents}, child {childs:?}");
    parents && childs.is_ok()
}

fn is_after_fork<T>(outcome: Result<T, impl Into<Error>>) -> bool {
    matches!(outcome.map_err(Into::into), Err(Error::Memory(MemoryError::AfterFork { .. })))
}

/// Where memory cannot be copied, a replacement is refused: in the child and in its parent. What ran goes on.
fn refused() -> bool {
    let settled = || {
        drop(NUMBER.replace(One).unwrap().wait());
        drop(STATEFUL.replace(Of(1)).unwrap().wait());
    };
    settled();
    let numbers: Chain<dyn Adds> = chain![One, Of(10)].unwrap();
    // Nothing has been refused so far: there was no fork.
    let now = || (NUMBER.number(), STATEFUL.number(), numbers.add(0));
    let refuses = || {
        is_after_fork(NUMBER.replace(Two))
            && is_after_fork(NUMBER.replace_with(|_| Two))
            && is_after_fork(NUMBER.restore())
            && is_after_fork(hotcall::batch(|batch| {
                batch.replace(&NUMBER, Two);
                batch.replace(&STATEFUL, Zero);
            }))
            && now() == (1, 1, 11)
            // A chain needs no code memory: it becomes a loop.
            && numbers.push(One).is_ok()
            && numbers.replace(0, Two).is_ok()
            && numbers.edit(|list| list.reverse()).is_ok()
            && now() == (1, 1, 13)
    };
    let told = Rendezvous::new();
    let child = fork(|| {
        let right = refuses();
        told.tell();
        right
    });
    told.wait();
    let parents = refuses();
    let childs = child.wait();
    println!("parent {parents}, child {childs:?}");
    parents && childs.is_ok()
}

#[test]
fn neither_writes_what_the_other_can_see() {
    match negative::sabotaged() {
        Some("no-memory-of-its-own") => std::process::exit(if refused() { 0 } else { negative::CAUGHT }),
        Some(_) => std::process::exit(if each_its_own() { 0 } else { negative::CAUGHT }),
        None => {}
    }
    assert!(each_its_own());
    if backend() != Backend::Patched {
        return;
    }
    let again = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "neither_writes_what_the_other_can_see", "--nocapture"]);
        command
    };
    println!("shared-after-fork: {}", negative::is_noticed(again, "shared-after-fork").unwrap());
    // This one is to be survived.
    let survived = negative::is_noticed(again, "no-memory-of-its-own");
    assert!(survived.is_err(), "{survived:?}");
}

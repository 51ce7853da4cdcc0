//! What a user of hotcall does: slots, batches, chains, handles, forks, with every answer checked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hotcall::{Chain, Instance, Patched, dispatch, slot};
use hotcall_tests::forking;

#[dispatch]
pub trait Stage: Send + Sync {
    fn run(&self, x: u64) -> u64;
    fn name(&self) -> String;
}

#[dispatch]
pub trait Hook: Send + Sync {
    fn hook(&self, sum: &mut u64);
}

pub struct Same;
impl Stage for Same {
    fn run(&self, x: u64) -> u64 {
        x
    }
    fn name(&self) -> String {
        "same".to_owned()
    }
}

pub struct Twice;
impl Stage for Twice {
    fn run(&self, x: u64) -> u64 {
        2 * x
    }
    fn name(&self) -> String {
        "twice".to_owned()
    }
}

pub struct Add(pub u64);
impl Stage for Add {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
    fn name(&self) -> String {
        format!("add {}", self.0)
    }
}
impl Hook for Add {
    fn hook(&self, sum: &mut u64) {
        *sum += self.0;
    }
}

pub struct Times(pub u64);
impl Stage for Times {
    fn run(&self, x: u64) -> u64 {
        x * self.0
    }
    fn name(&self) -> String {
        format!("times {}", self.0)
    }
}

#[slot]
pub static FIRST: dyn Stage = Same;
#[slot]
pub static SECOND: dyn Stage = Same;

/// What the job found out.
type Found = Result<(), String>;

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, is: T, wanted: T) -> Found {
    if is == wanted { Ok(()) } else { Err(format!("{what} is {is:?}, not {wanted:?}")) }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A call of its own, outside any loop.
#[inline(never)]
pub fn first(x: u64) -> u64 {
    FIRST.run(x)
}

/// Everything, on this thread and, where `threads`, while others call.
pub fn all(threads: bool) -> Found {
    if threads {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let seen = first(3);
                        assert!([3, 4, 6, 8, 21].contains(&seen), "{seen}");
                    }
                });
            }
            let done = slots();
            stop.store(true, Ordering::Relaxed);
            done
        })?;
    }
    slots()?;
    chains()?;
    handles()
}

/// Replacements of every kind.
pub fn slots() -> Found {
    for _ in 0..3 {
        let old = FIRST.replace(Add(1)).map_err(said)?;
        equal("one added", (first(3), FIRST.name()), (4, "add 1".to_owned()))?;
        drop(old.wait().map_err(said)?);
        // Once it has settled, in place.
        let old = FIRST.replace(Add(5)).map_err(said)?;
        equal("five added", (first(3), FIRST.name()), (8, "add 5".to_owned()))?;
        equal("the old one", old.wait().map_err(said)?.run(3), 4)?;
        drop(FIRST.replace(Times(7)).map_err(said)?);
        equal("seven times", (first(3), FIRST.name()), (21, "times 7".to_owned()))?;
        drop(FIRST.replace(Twice).map_err(said)?);
        equal("twice", (first(3), FIRST.name()), (6, "twice".to_owned()))?;
        let both = hotcall::batch(|batch| {
            batch.replace(&FIRST, Times(2)).replace(&SECOND, Add(2));
        });
        drop(both.map_err(said)?);
        equal("both", (first(3), SECOND.run(3)), (6, 5))?;
        drop(FIRST.replace_with(|old| Add(old.run(1) - 1)).map_err(said)?);
        equal("made of the old one", first(3), 4)?;
        drop(FIRST.restore().map_err(said)?);
        drop(SECOND.restore().map_err(said)?);
        equal("the default", (first(3), SECOND.name()), (3, "same".to_owned()))?;
    }
    hotcall::drain(Duration::from_secs(60)).map_err(said)
}

fn sum(chain: &Chain<dyn Hook>) -> u64 {
    let mut sum = 0;
    chain.hook(&mut sum);
    sum
}

fn chains() -> Found {
    let chain: Chain<dyn Hook> = Chain::new((1..5).map(|n| Instance::new(Add(n)))).map_err(said)?;
    equal("a chain", sum(&chain), 10)?;
    chain.push(Add(100)).map_err(said)?;
    equal("with another", sum(&chain), 110)?;
    drop(chain.replace(0, Add(11)).map_err(said)?);
    drop(chain.remove(1).map_err(said)?.wait().map_err(said)?);
    equal("with one less", sum(&chain), 118)
}

fn handles() -> Found {
    let handle: Patched<dyn Stage> = Patched::new(Add(1));
    let remote = handle.remote();
    equal("a handle", handle.run(1), 2)?;
    drop(remote.replace(Times(9)).map_err(said)?.wait().map_err(said)?);
    equal("a handle, replaced", handle.run(1), 9)
}

/// A child replaces, and its parent does not see it.
pub fn forks() -> Found {
    drop(FIRST.replace(Add(1)).map_err(said)?);
    forking::fork(|| {
        FIRST.replace(Times(10)).is_ok() && first(3) == 30 && FIRST.restore().is_ok() && all(true).is_ok()
    })
    .wait()?;
    equal("the parent's", first(3), 4)?;
    drop(FIRST.restore().map_err(said)?);
    Ok(())
}

/// How calls go by now.
pub fn seen() -> String {
    let report = hotcall::report();
    let kept = report.stats.kept;
    let calls = match (report.stats.callers, kept.page, kept.changed) {
        (0, 0, 0) => "no call patched".to_owned(),
        (0, ..) => "calls go through stubs".to_owned(),
        (_, 0, 0) => "calls are patched".to_owned(),
        _ => "some calls are patched".to_owned(),
    };
    match report.refused {
        None => calls,
        Some(reason) => format!("{calls}; {}", short(&reason)),
    }
}

/// What was refused, and the system's word for it, without addresses and sizes.
pub fn short(reason: &str) -> String {
    let (operation, rest) = reason.split_once(" (").unwrap_or((reason, ""));
    let answer = rest.split_once("was refused: ").map_or("", |(_, answer)| answer);
    let answer = answer.split(['(', ';']).next().unwrap_or_default().trim();
    format!("{operation}: {answer}")
}

//! Many threads, changes, libraries, handles: nothing piles up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hotcall::{Instance, Patched};

use super::job::{self, FIRST, SECOND, Stage};
use super::plugins;

type Seen = Result<String, String>;

/// What `name` sees; nothing where there is no such setting. The number behind `:` is how many there are.
pub fn run(name: &str) -> Option<Seen> {
    let (what, count) = name.split_once(':')?;
    let count = count.parse().ok()?;
    Some(match what {
        "threads" => threads(count),
        "births" => births(count),
        "batch" => batch(count),
        "libraries" => libraries(count),
        "handles" => handles(count),
        _ => return None,
    })
}

/// In KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count()
}

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// So many threads call while a slot is replaced; each has seen several of what was installed before it ends.
fn threads(count: usize) -> Seen {
    let stop = Arc::new(AtomicBool::new(false));
    let spawn = |_| {
        let stop = Arc::clone(&stop);
        let calls = move || {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                let seen = job::first(0);
                assert!(seen >= last, "{seen} after {last}");
                last = seen;
                // There are more of them than processors, and one thread that replaces.
                std::thread::sleep(Duration::from_millis(1));
            }
            last
        };
        std::thread::Builder::new().stack_size(64 << 10).spawn(calls).map_err(said)
    };
    let threads = (0..count).map(spawn).collect::<Result<Vec<_>, _>>()?;
    hotcall_tests::eventually("each has called", || hotcall::stats().threads >= count);
    for generation in 1..=50 {
        // Of another type each time, so that code is written.
        if generation % 2 == 0 {
            drop(FIRST.replace(job::Add(generation)).map_err(said)?);
        } else {
            drop(FIRST.replace(Plus(generation)).map_err(said)?);
        }
    }
    hotcall::drain(Duration::from_secs(60)).map_err(said)?;
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a thread saw an old one after a new one".to_owned())?;
    }
    Ok("in order, each".to_owned())
}

struct Plus(u64);
impl Stage for Plus {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
    fn name(&self) -> String {
        format!("plus {}", self.0)
    }
}

/// So many threads are born, call, and end, fifty at a time, while a slot is replaced.
fn births(count: usize) -> Seen {
    let (mut most, mut memory) = (0, 0);
    for round in 0..count / 50 {
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| job::first(0));
            }
            FIRST.replace(Plus(round as u64)).map(drop).map_err(said)
        })?;
        if round == 10 {
            memory = resident();
        }
        most = most.max(hotcall::stats().threads);
    }
    let grown = resident().saturating_sub(memory);
    // Records are had by the page, and those of threads that have ended are given to others.
    if most > 1_000 || grown > 4 << 10 {
        return Err(format!("{most} records, {grown} KiB more"));
    }
    Ok("records and memory flat".to_owned())
}

/// One batch of so many changes.
fn batch(count: usize) -> Seen {
    for _ in 0..2 {
        let retired = hotcall::batch(|batch| {
            for number in 0..count as u64 / 2 {
                batch.replace(&FIRST, Plus(number)).replace(&SECOND, job::Add(number));
            }
        });
        drop(retired.map_err(said)?);
        let last = count as u64 / 2 - 1;
        if (job::first(0), SECOND.run(0)) != (last, last) {
            return Err("not the last of each".to_owned());
        }
    }
    hotcall::drain(Duration::from_secs(60)).map_err(said)?;
    let stats = hotcall::stats();
    if stats.retired != stats.freed {
        return Err(format!("{} of {} are not freed", stats.retired - stats.freed, stats.retired));
    }
    Ok("all or nothing, all freed".to_owned())
}

/// So many libraries are loaded, called and unloaded, one after the other.
#[allow(unsafe_code)]
fn libraries(count: usize) -> Seen {
    let path = plugins::path()?;
    let mut first = None;
    for number in 0..count {
        let (library, instance) = plugins::load(&path)?;
        // SAFETY: it passes numbers, and starts no thread.
        unsafe { library.unload_when_drained() };
        let counted = plugins::count_with(instance)?;
        drop(library);
        plugins::restore()?;
        if counted != 1 {
            return Err(format!("the library of number {number} counts {counted}"));
        }
        if number == count / 4 {
            first = Some((mappings(), files(), resident()));
        }
    }
    hotcall::drain(Duration::from_secs(60)).map_err(said)?;
    let Some((maps, open, memory)) = first else { return Err("too few".to_owned()) };
    let (maps_now, open_now) = (mappings(), files());
    let grown = resident().saturating_sub(memory);
    if maps_now > maps + 8 || open_now > open + 2 || grown > 8 << 10 {
        return Err(format!(
            "{maps_now} mappings after {maps}, {open_now} descriptors after {open}, {grown} KiB more"
        ));
    }
    Ok("mappings, descriptors and memory flat".to_owned())
}

/// So many handles at once, each called and swapped; then none.
fn handles(count: usize) -> Seen {
    let make =
        |number: usize| Patched::<dyn Stage>::from(Instance::<dyn Stage>::new(job::Add(number as u64)));
    let round = || -> Seen {
        let handles: Vec<_> = (0..count).map(make).collect();
        for (number, handle) in handles.iter().enumerate() {
            if handle.run(1) != number as u64 + 1 {
                return Err(format!("handle {number} answers {}", handle.run(1)));
            }
            if number % 8 == 0 {
                drop(handle.remote().replace(Plus(7)).map_err(said)?);
            }
        }
        if handles.iter().step_by(8).any(|handle| handle.run(0) != 7) {
            return Err("an old one ran".to_owned());
        }
        drop(handles);
        hotcall::drain(Duration::from_secs(60)).map_err(said)?;
        Ok(String::new())
    };
    round()?;
    let memory = resident();
    round()?;
    let grown = resident().saturating_sub(memory);
    if grown > memory / 4 + (4 << 10) {
        Err(format!("{grown} KiB more"))
    } else {
        Ok("memory flat".to_owned())
    }
}

//! All threads of a run, and its end: everything is freed, and nothing is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use hotcall::stats;
use hotcall_work::LIVING;

use super::chains;
#[cfg(target_os = "linux")]
use super::edges::Edges;
use super::report::Memory;
use super::slots::{SLOTS, with_slot};
use super::tally::{TALLY, count};
use super::{callers, coroutines, keys, writers};
use hotcall_tests::random::Random;

/// Libraries that panic and are unloaded are for Linux.
#[cfg(not(target_os = "linux"))]
pub type Edges = ();

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seconds: u64,
    pub callers: u64,
    pub writers: u64,
    pub seed: u64,
    pub signals: bool,
    pub forks: bool,
}

/// Runs until the time is up. `progress` is called ten times a second.
pub fn run(plan: Plan, edges: Option<&Edges>, mut progress: impl FnMut(Duration)) -> Memory {
    let stop = AtomicBool::new(false);
    let stop = &stop;
    let began = Instant::now();
    let time = Duration::from_secs(plan.seconds);
    let mut memory = Memory::default();
    std::thread::scope(|scope| {
        start(scope, plan, edges, stop);
        while began.elapsed() < time {
            std::thread::sleep(Duration::from_millis(100));
            memory.look(began.elapsed() * 4 > time);
            progress(began.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
    });
    memory
}

#[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    plan: Plan,
    edges: Option<&'scope Edges>,
    stop: &'scope AtomicBool,
) {
    let stopped = || stop.load(Ordering::Relaxed);
    for number in 0..plan.callers {
        scope.spawn(move || {
            enlist(plan);
            callers::run(&mut Random::new(plan.seed ^ number), false, stopped);
        });
    }
    for number in 0..plan.writers {
        scope.spawn(move || {
            enlist(plan);
            writers::run(&mut Random::new(plan.seed ^ (1_000 + number)), stopped);
        });
    }
    for number in 0..2 {
        scope.spawn(move || {
            enlist(plan);
            keys::ask(&mut Random::new(plan.seed ^ (6_000 + number)), stopped);
        });
        scope.spawn(move || keys::turn(&mut Random::new(plan.seed ^ (7_000 + number)), stopped));
    }
    // Threads that are born and die, some of them in pinned sections.
    scope.spawn(move || {
        let mut random = Random::new(plan.seed ^ 2_000);
        while !stopped() {
            let (seed, pinned) = (random.next(), random.one_in(3));
            let until = Instant::now() + Duration::from_micros(random.below(5_000));
            let short = std::thread::spawn(move || {
                callers::run(&mut Random::new(seed), pinned, || Instant::now() >= until);
            });
            if short.join().is_err() {
                count(&TALLY.failed);
            }
            count(&TALLY.threads);
        }
    });
    scope.spawn(move || coroutines::crowds(&mut Random::new(plan.seed ^ 2_500), stop));
    scope.spawn(move || coroutines::replace(&mut Random::new(plan.seed ^ 2_600), stopped));
    scope.spawn(move || coroutines::run(&mut Random::new(plan.seed ^ 2_700), stopped));
    // A guard that is held for long: swaps go on, nothing is freed meanwhile.
    scope.spawn(move || {
        let mut random = Random::new(plan.seed ^ 3_000);
        while !stopped() {
            let guard = hotcall::pin();
            let until = Instant::now() + Duration::from_millis(random.below(30));
            while Instant::now() < until && !stopped() {
                callers::bound(random.below(SLOTS as u64) as usize, random.next(), 8, &guard);
                std::thread::sleep(Duration::from_micros(100));
            }
            drop(guard);
            std::thread::sleep(Duration::from_millis(random.below(60)));
        }
    });
    #[cfg(target_os = "linux")]
    {
        if let Some(edges) = edges {
            scope.spawn(move || edges.replace(&mut Random::new(plan.seed ^ 3_100), plan.forks, stopped));
            scope.spawn(move || edges.reload(&mut Random::new(plan.seed ^ 3_200), stopped));
            scope.spawn(move || super::edges::call(&mut Random::new(plan.seed ^ 3_300), stopped));
        }
        if plan.signals {
            scope.spawn(move || super::signals::run(&mut Random::new(plan.seed ^ 4_000), stopped));
        }
        if plan.forks {
            scope.spawn(move || super::forks::run(&mut Random::new(plan.seed ^ 5_000), stopped));
        }
    }
}

#[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
fn enlist(plan: Plan) {
    #[cfg(target_os = "linux")]
    if plan.signals {
        super::signals::enlist();
    }
}

/// After the last call: puts the defaults back, and waits until everything else is freed.
pub fn drain() {
    for slot in 0..SLOTS {
        with_slot!(slot, slot => {
            if slot.restore().is_err() {
                count(&TALLY.failed);
            }
        });
    }
    chains::clear();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let stats = stats();
        let of_slots = LIVING.load(Ordering::Relaxed) + (stats.thunks + stats.trampolines) as u64;
        let of_chains =
            chains::living() + (stats.chain_programs + stats.chain_sites + stats.chain_thunks) as u64;
        let of_both = stats.retired - stats.freed + stats.code_bytes_used as u64;
        if of_slots + of_chains + of_both == 0 {
            return;
        }
        if Instant::now() >= deadline {
            eprintln!(
                "left after draining: {stats:?}, {} canaries, {} elements",
                LIVING.load(Ordering::Relaxed),
                chains::living()
            );
            TALLY.leaked.fetch_add(of_slots.max(stats.retired - stats.freed), Ordering::Relaxed);
            TALLY.chain_leaked.fetch_add(of_chains, Ordering::Relaxed);
            // Code memory alone: nobody can tell whose.
            if of_slots + of_chains == 0 {
                count(&TALLY.leaked);
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

//! A caller's section against the retirement of what it runs: the argument of `record.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, Freeable, heavy_barrier, wait_until_passed};
use crate::record::{FIRST_PHASE, Flag, OUTSIDE, Phases};

const PHASE: u64 = FIRST_PHASE + 1;

/// What a writer does between W1 and W5.
#[derive(Clone, Copy)]
enum Writer {
    /// W2, W3, W4.
    Right,
    /// No W2: a caller that was seen outside may still find the old target.
    WithoutBarrier,
    /// W3 before W2: a caller may announce the new phase and still run the old jump that its core has fetched.
    PhaseBeforeBarrier,
    /// No W4.
    WithoutWait,
}

/// What a caller does around its use of the target.
#[derive(Clone, Copy)]
enum Caller {
    /// C1, C2, C3, so many times.
    Calls(usize),
    /// A call inside a call, which finds the flag taken and takes the other (invariant 2).
    Nests,
    /// Two coroutines: the section that began first ends first, and the other goes on.
    Overlaps,
    /// C2 without C1 and C3: the section that is a no-op.
    Unannounced,
    /// What the call found at C2, it goes on using after C3.
    LeavesEarly,
    /// Overlapping sections in one flag: the one that ends first ends the other's.
    Shares,
}

struct Shared {
    /// A record of two.
    flags: [Flag; 2],
    phases: Phases,
    core: Core,
    /// The stub's displacement: which of the two.
    target: AtomicUsize,
    targets: [Freeable; 2],
}

impl Shared {
    /// `Section::enter`, with `registry::free_flag`.
    fn enter(&self) -> &Flag {
        let flag = self.flags.iter().find(|flag| flag.is_free()).unwrap();
        flag.enter();
        flag
    }

    /// C2, so far as it finds what to run.
    fn find(&self) -> &Freeable {
        &self.targets[self.core.run(0, &self.target)]
    }

    fn calls(&self, caller: Caller) {
        match caller {
            Caller::Calls(times) => (0..times).for_each(|_| {
                let flag = self.enter();
                self.find().run();
                flag.leave();
            }),
            Caller::Nests => {
                let outer = self.enter();
                let found = self.find();
                let inner = self.enter();
                self.find().run();
                inner.leave();
                found.run();
                outer.leave();
            }
            Caller::Overlaps => {
                let first = self.enter();
                self.find().run();
                let second = self.enter();
                let found = self.find();
                first.leave();
                found.run();
                second.leave();
            }
            Caller::Unannounced => self.find().run(),
            Caller::LeavesEarly => {
                let flag = self.enter();
                let found = self.find();
                flag.leave();
                found.run();
            }
            Caller::Shares => {
                let flag = self.enter();
                flag.enter();
                let found = self.find();
                flag.leave();
                found.run();
                flag.leave();
            }
        }
    }

    /// W3 and W4: `section::wait_for_readers`.
    fn wait(&self) {
        let phase = self.phases.next();
        let waiting: Vec<_> = self.flags.iter().filter(|flag| !flag.has_passed(phase)).collect();
        waiting.iter().for_each(|flag| flag.raise(phase));
        waiting.iter().for_each(|flag| wait_until_passed(flag, phase));
    }

    fn retires(&self, writer: Writer) {
        // W1.
        self.target.store(1, Ordering::Release);
        match writer {
            Writer::Right => {
                heavy_barrier(&[&self.core]);
                self.wait();
            }
            Writer::WithoutBarrier => self.wait(),
            Writer::PhaseBeforeBarrier => {
                self.flags.iter().for_each(|flag| flag.raise(PHASE));
                heavy_barrier(&[&self.core]);
                self.flags.iter().for_each(|flag| wait_until_passed(flag, PHASE));
            }
            Writer::WithoutWait => heavy_barrier(&[&self.core]),
        }
        // W5.
        self.targets[0].free();
    }
}

fn model(writer: Writer, caller: Caller) {
    loom::model(move || {
        let shared = Arc::new(Shared {
            flags: [Flag::new(), Flag::new()],
            phases: Phases::new(),
            core: Core::default(),
            target: AtomicUsize::new(0),
            targets: [Freeable::new(), Freeable::new()],
        });
        let calling = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.calls(caller)
        });
        shared.retires(writer);
        calling.join().unwrap();
    });
}

#[test]
fn a_call_keeps_what_it_runs() {
    model(Writer::Right, Caller::Calls(1));
}

#[test]
fn calls_in_a_row_keep_what_they_run() {
    model(Writer::Right, Caller::Calls(3));
}

/// `record.rs` with a C1 that is relaxed, as it once was: who sees the second call's phase has not seen the
/// first call end.
#[test]
#[should_panic = "Causality violation"]
fn broken_announcement_without_release() {
    announcements(Ordering::Relaxed);
}

#[test]
fn an_announcement_says_that_earlier_calls_are_over() {
    announcements(Ordering::Release);
}

fn announcements(announce: Ordering) {
    loom::model(move || {
        let state = Arc::new(AtomicU64::new(OUTSIDE));
        let old = Arc::new(Freeable::new());
        let calling = thread::spawn({
            let (state, old) = (Arc::clone(&state), Arc::clone(&old));
            move || {
                state.store(FIRST_PHASE, announce);
                old.run();
                state.store(OUTSIDE, Ordering::Release);
                // The next call has read the new phase, and runs something else.
                state.store(PHASE, announce);
            }
        });
        if state.load(Ordering::Acquire) == PHASE {
            old.free();
        }
        calling.join().unwrap();
    });
}

#[test]
fn nested_calls_keep_what_the_outer_one_runs() {
    model(Writer::Right, Caller::Nests);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_barrier() {
    model(Writer::WithoutBarrier, Caller::Calls(1));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_phase_before_barrier() {
    model(Writer::PhaseBeforeBarrier, Caller::Calls(2));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_wait() {
    model(Writer::WithoutWait, Caller::Calls(1));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_section_that_is_a_no_op() {
    model(Writer::Right, Caller::Unannounced);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_call_that_leaves_early() {
    model(Writer::Right, Caller::LeavesEarly);
}

#[test]
fn calls_that_overlap_keep_what_the_later_one_runs() {
    model(Writer::Right, Caller::Overlaps);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_flag_that_two_sections_share() {
    model(Writer::Right, Caller::Shares);
}

/// A thread that calls in a hot loop is inside some call whenever the reclaimer looks: a call that began after
/// the phase must not be waited for.
fn hot_loop(raise: impl Fn(&Flag) + Send + Sync + Copy + 'static) {
    loom::model(move || {
        let flag = Arc::new(Flag::new());
        let begun = Arc::new(AtomicUsize::new(0));
        let calling = thread::spawn({
            let (flag, begun) = (Arc::clone(&flag), Arc::clone(&begun));
            move || {
                for _ in 0..2 {
                    let after = begun.load(Ordering::Acquire) == 1;
                    flag.enter();
                    assert!(!after || flag.has_passed(PHASE), "starved: a later call is waited for");
                    flag.leave();
                }
            }
        });
        raise(&flag);
        begun.store(1, Ordering::Release);
        calling.join().unwrap();
    });
}

#[test]
fn a_hot_loop_does_not_starve_the_reclaimer() {
    hot_loop(|flag| flag.raise(PHASE));
}

/// Without phases, the flag says no more than a depth counter: inside, or outside.
#[test]
#[should_panic = "starved"]
fn broken_depth_counter() {
    hot_loop(|_| {});
}

/// Guards that overlap without end, on one thread, which takes turns with a reclaimer.
#[test]
fn guards_that_overlap_do_not_starve_the_reclaimer() {
    loom::model(|| {
        let flags = [Flag::new(), Flag::new()];
        let take = || {
            let flag = flags.iter().find(|flag| flag.is_free()).unwrap();
            flag.enter();
            flag
        };
        let mut held = take();
        let phase = Phases::new().next();
        flags.iter().filter(|flag| !flag.has_passed(phase)).for_each(|flag| flag.raise(phase));
        let mut waiting: Vec<_> = flags.iter().collect();
        for _ in 0..3 {
            waiting.retain(|flag| !flag.has_passed(phase));
            let next = take();
            std::mem::replace(&mut held, next).leave();
        }
        assert!(waiting.is_empty(), "starved: guards that began later are waited for");
        held.leave();
    });
}

/// Two reclaimers, one of which takes its phase before the other, and is slower to raise it. A reader that announces the later
/// phase is taken by the earlier for one that began after its own barrier (invariant 3).
fn two_reclaimers(order: Ordering) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        struct Two {
            flag: Flag,
            phases: AtomicU64,
            replaced: AtomicUsize,
            old: Freeable,
        }
        let two = Arc::new(Two {
            flag: Flag::new(),
            phases: AtomicU64::new(FIRST_PHASE),
            replaced: AtomicUsize::new(0),
            old: Freeable::new(),
        });
        // Frees something else.
        let other = thread::spawn({
            let two = Arc::clone(&two);
            move || {
                let phase = two.phases.fetch_add(1, order) + 1;
                two.flag.raise(phase);
            }
        });
        let calling = thread::spawn({
            let two = Arc::clone(&two);
            move || {
                two.flag.enter();
                if two.replaced.load(Ordering::Acquire) == 0 {
                    two.old.run();
                }
                two.flag.leave();
            }
        });
        two.replaced.store(1, Ordering::Release);
        heavy_barrier(&[]);
        let phase = two.phases.fetch_add(1, order) + 1;
        two.flag.raise(phase);
        wait_until_passed(&two.flag, phase);
        two.old.free();
        calling.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn phases_of_two_reclaimers_are_in_order() {
    two_reclaimers(Ordering::AcqRel);
}

/// What an announced phase says, when the barrier is not modelled as one that orders everything: phases that are taken without
/// order say nothing of the earlier reclaimer.
fn later_phase(order: Ordering) {
    loom::model(move || {
        let phases = Arc::new(AtomicU64::new(FIRST_PHASE));
        let flag = Arc::new(Flag::new());
        let replaced = Arc::new(AtomicUsize::new(0));
        let earlier = thread::spawn({
            let (phases, replaced) = (Arc::clone(&phases), Arc::clone(&replaced));
            move || {
                replaced.store(1, Ordering::Relaxed);
                phases.fetch_add(1, order) + 1
            }
        });
        let later = thread::spawn({
            let (phases, flag) = (Arc::clone(&phases), Arc::clone(&flag));
            move || {
                let phase = phases.fetch_add(1, order) + 1;
                flag.raise(phase);
            }
        });
        flag.enter();
        // The later one's, so that the earlier takes it for one of after its own.
        let passes = flag.has_passed(FIRST_PHASE + 2);
        let old = replaced.load(Ordering::Relaxed) == 0;
        flag.leave();
        later.join().unwrap();
        let phase = earlier.join().unwrap();
        assert!(!(passes && old && phase == FIRST_PHASE + 1), "the old target under the new phase");
    });
}

#[test]
fn a_later_phase_says_that_earlier_barriers_were_passed() {
    later_phase(Ordering::AcqRel);
}

#[test]
#[should_panic = "the old target under the new phase"]
fn broken_phases_without_order() {
    later_phase(Ordering::Relaxed);
}

/// Flags are in the list before they are used.
fn claimed(linked_first: bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        struct List {
            flags: [Flag; 2],
            len: AtomicUsize,
            replaced: AtomicUsize,
            old: Freeable,
        }
        let list = Arc::new(List {
            flags: [Flag::new(), Flag::new()],
            len: AtomicUsize::new(1),
            replaced: AtomicUsize::new(0),
            old: Freeable::new(),
        });
        let new = thread::spawn({
            let list = Arc::clone(&list);
            move || {
                if linked_first {
                    // `registry::grow`.
                    list.len.store(2, Ordering::Release);
                }
                list.flags[1].enter();
                if list.replaced.load(Ordering::Acquire) == 0 {
                    list.old.run();
                }
                list.flags[1].leave();
                list.len.store(2, Ordering::Release);
            }
        });
        list.replaced.store(1, Ordering::Release);
        heavy_barrier(&[]);
        for flag in &list.flags[..list.len.load(Ordering::Acquire)] {
            if !flag.has_passed(PHASE) {
                flag.raise(PHASE);
                wait_until_passed(flag, PHASE);
            }
        }
        list.old.free();
        new.join().unwrap();
    });
}

#[test]
fn a_record_claimed_while_the_list_is_walked() {
    claimed(true);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_record_that_is_not_in_the_list() {
    claimed(false);
}

/// A section of a signal handler between two steps of the one that it interrupts changes nothing.
#[test]
fn a_handler_between_two_steps() {
    loom::model(|| {
        let flags = [Flag::new(), Flag::new()];
        let handler = || {
            let flag = flags.iter().find(|flag| flag.is_free()).unwrap();
            flag.enter();
            flag.leave();
        };
        assert!(flags[0].is_free());
        handler();
        flags[0].enter();
        handler();
        assert!(!flags[0].is_free() && flags[1].is_free());
        flags[0].leave();
        assert!(flags[0].is_free());
    });
}

//! Batches.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use hotcall::Batch;

use super::actor::{At, serve};
use super::edits::{Building, Level};
use super::instance::{SLOTS, with_slot};
use super::ledger::{self, Place, lock};
use super::world::{KEPT, Pending, Turn, Uncommitted, World, leak, make};

/// One more builds a batch, as long as this lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn add(batch: &mut Batch, changes: &mut Vec<(usize, usize)>, slot: usize, b: u8) {
    let (value, id) = make(b);
    with_slot!(slot, _of, control => {
        batch.replace(control, value);
    });
    changes.push((slot, id));
}

/// A batch was committed: what is where now.
fn committed(world: &World, retired: hotcall::RetiredBatch, changes: &[(usize, usize)]) {
    if retired.len() != changes.len() {
        ledger::report(format!("a batch of {} replaced {}", changes.len(), retired.len()));
    }
    let mut slots = lock(&world.slots);
    let mut gone = Vec::new();
    let mut never = Vec::new();
    for (number, (slot, id)) in changes.iter().enumerate() {
        let last = !changes[number + 1..].iter().any(|(later, _)| later == slot);
        if last {
            gone.push(std::mem::replace(&mut slots[*slot], *id));
        } else {
            never.push(*id);
        }
    }
    changes
        .iter()
        .filter(|(slot, id)| slots[*slot] == *id)
        .for_each(|(_, id)| ledger::put(*id, Place::Installed));
    drop(slots);
    gone.iter().for_each(|id| ledger::put(*id, Place::Retired));
    gone.extend(never);
    world.keep(Pending::Batch(retired, gone));
}

/// A batch is made, added to, committed, dropped, leaked; or built by a closure, in which the program goes on.
pub fn step(at: &At<'_>, level: &mut dyn Level, a: u8, b: u8) {
    let world = &*at.actor.world;
    let slot = usize::from(a) % SLOTS;
    let turn = |slot: usize| world.turn(slot, at.actor.thread);
    if turn(slot) == Turn::Anothers {
        return;
    }
    if let Some((batch, changes)) = level.batch()
        && b & 1 == 0
    {
        return add(batch, changes, slot, b >> 1);
    }
    let mut kept = lock(&world.batches);
    match b >> 1 & 7 {
        0 | 1 if kept.len() < KEPT => kept.push((Batch::new(), Vec::new())),
        2..5 => {
            if let Some((batch, changes)) = kept.last_mut() {
                add(batch, changes, slot, b >> 4);
            }
        }
        5 => {
            // It would wait.
            let waits = |one: &Uncommitted| one.1.iter().any(|(slot, _)| turn(*slot) == Turn::Anothers);
            let one = kept.pop_if(|one| !waits(one));
            drop(kept);
            if let Some((batch, changes)) = one {
                let refused = changes.iter().any(|(slot, _)| turn(*slot) == Turn::Mine);
                match batch.commit() {
                    Ok(retired) => committed(world, retired, &changes),
                    Err((_, batch)) => {
                        if !refused {
                            ledger::report("a batch was refused");
                        }
                        drop(batch);
                    }
                }
            }
        }
        6 => {
            let one = kept.pop();
            drop(kept);
            match one {
                Some((batch, changes)) if b & 16 != 0 => {
                    leak(changes.iter().map(|(_, id)| *id));
                    std::mem::forget(batch);
                }
                one => drop(one),
            }
        }
        _ => {
            drop(kept);
            let mut changes = Vec::new();
            let building = &mut changes;
            let _counted = Counted::new(&world.building);
            let made = hotcall::batch(|batch| {
                add(batch, building, slot, b >> 4);
                serve(at, &mut Building { batch, changes: building });
            });
            // Another of this thread's coroutines may be inside a handover by now.
            match made {
                Ok(retired) => committed(world, retired, &changes),
                Err(_) if changes.iter().any(|(slot, _)| turn(*slot) == Turn::Mine) => {}
                Err(error) => ledger::report(format!("a batch was refused: {error}")),
            }
        }
    }
}

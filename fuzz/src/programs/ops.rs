//! What an actor does at each operation, and what must come of it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use hotcall::{Instance, Interface, Retired};

use super::actor::{self, At, Planned, serve};
use super::edits::{self, Bottom, Level};
use super::instance::{FUNCTION, Poisoned, SLOTS, Step, answer, answer_of, with_slot};
use super::ledger::{self, Open, Place, lock};
use super::world::{ChainCell, Pending, Turn, World, had_back, leak, make};
use super::{Op, What, batches, handles};

/// Does it.
pub fn step(at: &At<'_>, level: &mut dyn Level, op: Op) {
    let world = &*at.actor.world;
    let slot = usize::from(op.a) % SLOTS;
    let turn = world.turn(slot, at.actor.thread);
    match op.what() {
        What::Call => call(at, slot, op.b),
        What::Peek => peek(world, slot),
        // It would wait.
        What::Replace | What::Reuse | What::Restore | What::HandOver if turn == Turn::Anothers => {}
        What::Replace => replace(at, slot, op.b),
        What::Reuse => reuse(at, slot, op.b),
        What::Restore => restore(world, slot, op.b, turn == Turn::Mine),
        What::HandOver => hand_over(at, slot, op.b),
        What::Pin => pin(at, slot, op.b),
        What::Guard => guard(at, op.a),
        What::CallChain => call_chain(at, op.a, op.b),
        What::Chain => chain(world, at, op.a, op.b),
        What::Edit => {
            let cell = chain_of(world, op.a);
            edits::edit(at, level, &cell);
        }
        What::InEdit => {
            if !level.step(op.b, op.a, op.b >> 4) && op.b & 1 == 0 {
                chain(world, at, op.a, op.b);
            }
        }
        What::Exchange => {
            if let Some(exchange) = world.settings.exchange {
                level.exchange(exchange);
            }
        }
        What::NewChain => new_chain(world, op.a, op.b),
        What::Handle => handles::step(world, op.a, op.b),
        What::CallHandle => handles::call(at, op.a, op.b),
        What::Remote => handles::remote(world, op.a, op.b),
        What::Pending => pending(world, op.a, op.b),
        What::Batch => batches::step(at, level, op.a, op.b),
        What::Function => function(at, op.a, op.b),
        What::Panic => resume_unwind(Box::new(Planned(op.a % 3 + 1))),
        What::Settle => settle(world),
        What::Force => {
            peek(world, slot);
            hotcall::force_pinned_sections(!op.b.is_multiple_of(4));
        }
        // For the program's own thread.
        What::Leave | What::Spawn | What::End | What::Unwind => {}
    }
}

/// The next call of the actor goes on with the program in its element of this number.
fn parked(at: &At<'_>, element: u8, call: impl FnOnce() -> u64) -> u64 {
    struct Reset<'a>(&'a std::cell::Cell<Option<u8>>);
    impl Drop for Reset<'_> {
        fn drop(&mut self) {
            self.0.set(None);
        }
    }
    at.actor.park.set(Some(element));
    let _reset = Reset(&at.actor.park);
    call()
}

fn expect(what: &str, right: u64, seen: u64) {
    if right != seen {
        ledger::report(format!("{what} answers {seen:#x}, not {right:#x}"));
    }
}

fn call(at: &At<'_>, slot: usize, b: u8) {
    let id = lock(&at.actor.world.slots)[slot];
    let x = u64::from(b);
    let seen = with_slot!(slot, of, _control => parked(at, 0, || of.run(x, at)));
    expect("a slot", answer(x, id), seen);
}

fn peek(world: &World, slot: usize) {
    let id = lock(&world.slots)[slot];
    expect("a slot", answer(3, id), with_slot!(slot, of, _control => of.peek(3)));
}

/// What was retired is dropped, kept, leaked, or waited for.
pub fn dispose(world: &World, retired: Retired<dyn Step>, id: usize, how: u8) {
    ledger::put(id, Place::Retired);
    if retired.is_drained()
        && let Some(why) = ledger::must_live(id)
    {
        ledger::report(format!("drained: {why}"));
    }
    match how % 8 {
        0..4 => drop(retired),
        4 => {
            leak([id]);
            std::mem::forget(retired);
        }
        5 => wait(world, retired, id),
        _ => world.keep(Pending::One(retired, id)),
    }
}

fn wait(world: &World, retired: Retired<dyn Step>, id: usize) {
    let outside = world.is_outside();
    match retired.wait_timeout(world.patience()) {
        Ok(instance) => {
            had_back(&instance, id);
            world.keep_instance(instance, id);
        }
        Err(error) if outside => ledger::report(format!("nobody is inside: {error}")),
        Err(error) => world.keep(Pending::One(error.into_retired(), id)),
    }
}

fn install<T: Send + Sync + 'static>(at: &At<'_>, slot: usize, value: T, id: usize, how: u8)
where
    dyn Step: hotcall::__private::Implements<T>,
{
    let world = &*at.actor.world;
    let refused = world.turn(slot, at.actor.thread) == Turn::Mine;
    match with_slot!(slot, _of, control => control.replace(value)) {
        Ok(retired) => {
            if refused {
                ledger::report("a replacement inside `replace_with` of the same slot was made");
            }
            ledger::put(id, Place::Installed);
            let old = std::mem::replace(&mut lock(&world.slots)[slot], id);
            dispose(world, retired, old, how);
        }
        Err(error) => {
            if !refused {
                ledger::report(format!("a replacement was refused: {error}"));
            }
            match error.into_instance() {
                Some(instance) => world.keep_instance(instance, id),
                None => ledger::report("a refused replacement keeps the instance"),
            }
        }
    }
}

fn replace(at: &At<'_>, slot: usize, b: u8) {
    let (value, id) = make(b);
    install(at, slot, value, id, b >> 3);
}

/// Installs what was had back.
fn reuse(at: &At<'_>, slot: usize, b: u8) {
    let Some((instance, id)) = lock(&at.actor.world.instances).pop() else { return };
    install(at, slot, instance, id, b);
}

pub fn restore(world: &World, slot: usize, how: u8, refused: bool) {
    match with_slot!(slot, _of, control => control.restore()) {
        Ok(retired) => {
            let old = std::mem::replace(&mut lock(&world.slots)[slot], ledger::DEFAULT);
            // The default cannot be had back twice.
            let how = if old == ledger::DEFAULT { 0 } else { how };
            dispose(world, retired, old, how);
        }
        Err(error) if !refused => ledger::report(format!("a restoration was refused: {error}")),
        Err(_) => {}
    }
}

fn hand_over(at: &At<'_>, slot: usize, b: u8) {
    struct InTurn<'a>(&'a World, usize);
    impl Drop for InTurn<'_> {
        fn drop(&mut self) {
            lock(&self.0.turns)[self.1] = None;
        }
    }
    let world = &*at.actor.world;
    let refused = world.turn(slot, at.actor.thread) == Turn::Mine;
    // Who builds a batch would wait for this at the end.
    if !refused && world.building.load(SeqCst) != 0 {
        return;
    }
    let before = lock(&world.slots)[slot];
    let mut id = ledger::DEFAULT;
    let new = &mut id;
    let made = {
        let mut turn = None;
        let turn = &mut turn;
        with_slot!(slot, _of, control => control.replace_with(move |old| {
            if refused {
                ledger::report("`replace_with` inside `replace_with` runs its closure");
            }
            expect("the old one", answer(5, before), old.peek(5));
            lock(&world.turns)[slot] = Some(at.actor.thread);
            *turn = Some(InTurn(world, slot));
            serve(at, &mut Bottom);
            expect("the old one", answer(6, before), old.peek(6));
            // Not before: a value that panics as it is dropped is not to be among what unwinds.
            let (value, made) = make(b);
            *new = made;
            value
        }))
    };
    match made {
        Ok(retired) => {
            ledger::put(id, Place::Installed);
            let old = std::mem::replace(&mut lock(&world.slots)[slot], id);
            dispose(world, retired, old, b >> 3);
        }
        Err(error) => {
            if !refused {
                ledger::report(format!("a handover was refused: {error}"));
            }
            drop(error);
        }
    }
}

/// Goes on under a guard, to which everything is bound.
fn pin(at: &At<'_>, slot: usize, b: u8) {
    let world = &*at.actor.world;
    let cell = chain_of(world, b);
    let guard = hotcall::pin();
    let _open = Open::new();
    let of_chain = cell.chain.bind(&guard);
    with_slot!(slot, of, _control => {
        let held_id = lock(&world.slots)[slot];
        let (held, bound) = (of.get(&guard), of.bind(&guard));
        serve(at, &mut Bottom);
        expect("what is held", answer(1, held_id), held.peek(1));
        let now = lock(&world.slots)[slot];
        expect("what is bound", answer(2, now), bound.peek(2));
        if b & 64 != 0 {
            serve(at, &mut Bottom);
            expect("what is held", answer(1, held_id), held.run(1, at));
            let now = lock(&world.slots)[slot];
            expect("what is bound", answer(2, now), parked(at, 0, || bound.run(2, at)));
        }
    });
    let ids = cell.list();
    expect("a bound chain", answer_of(4, ids), of_chain.peek(4));
}

/// One guard more, or one less.
fn guard(at: &At<'_>, a: u8) {
    let mut guards = at.actor.guards.borrow_mut();
    if guards.is_empty() || (a & 1 == 0 && guards.len() < 12) {
        let guard = hotcall::pin();
        guards.push((Open::new(), guard));
    } else {
        let which = usize::from(a >> 1) % guards.len();
        let (open, guard) = guards.remove(which);
        drop(open);
        drop(guard);
    }
}

pub fn chain_of(world: &World, a: u8) -> Arc<ChainCell> {
    let chains = lock(&world.chains);
    Arc::clone(&chains[usize::from(a) % chains.len()])
}

fn call_chain(at: &At<'_>, a: u8, b: u8) {
    let cell = chain_of(&at.actor.world, a);
    let ids = cell.list();
    let element = if ids.is_empty() { 0 } else { b % ids.len() as u8 };
    let (x, changes) = (u64::from(b), cell.changes());
    let seen = parked(at, element, || cell.chain.run(x, at));
    // One of the lists that it had during the call, as a whole.
    let lists = cell.since(changes);
    if !lists.iter().any(|list| answer_of(x, list.iter().copied()) == seen) {
        ledger::report(format!("a chain that was one of {lists:?} answers {seen:#x}"));
    }
    let ids = cell.list();
    expect("a chain", answer_of(9, ids), cell.chain.peek(9));
}

/// An edit of one operation.
fn chain(world: &World, at: &At<'_>, a: u8, b: u8) {
    let cell = chain_of(world, a);
    let editor = *lock(&cell.editor);
    if editor.is_some_and(|thread| thread != at.actor.thread) {
        return;
    }
    let len = cell.list().len();
    let index = usize::from(a >> 2) % (len + 1);
    let other = usize::from(b >> 4) % (len + 1);
    match b % 8 {
        0..3 if len < 8 => {
            let (value, id) = make(b >> 3);
            let done = if b & 1 == 0 { cell.chain.push(value) } else { cell.chain.insert(index, value) };
            match done {
                Ok(()) => {
                    ledger::put(id, Place::Installed);
                    let place = if b & 1 == 0 { len } else { index };
                    cell.change(|list| list.insert(place, id));
                }
                Err(error) => refused(editor.is_none(), &error),
            }
        }
        3 | 4 => match cell.chain.remove(index) {
            Ok(retired) => {
                let id = cell.change(|list| list.remove(index));
                dispose(world, retired, id, b >> 3);
            }
            Err(error) => refused(editor.is_none() && index < len, &error),
        },
        5 => {
            let (value, id) = make(b >> 3);
            match cell.chain.replace(index, value) {
                Ok(retired) => {
                    ledger::put(id, Place::Installed);
                    let old = cell.change(|list| std::mem::replace(&mut list[index], id));
                    dispose(world, retired, old, b >> 3);
                }
                Err(error) => refused(editor.is_none() && index < len, &error),
            }
        }
        6 => match cell.chain.swap(index, other) {
            Ok(()) => cell.change(|list| list.swap(index, other)),
            Err(error) => refused(editor.is_none() && index < len && other < len, &error),
        },
        7 => match cell.chain.clear() {
            Ok(gone) => {
                let ids = cell.change(std::mem::take);
                ids.iter().for_each(|id| ledger::put(*id, Place::Retired));
                world.keep(Pending::Elements(gone, ids));
            }
            Err(error) => refused(editor.is_none(), &error),
        },
        _ => {}
    }
}

fn refused(wrongly: bool, error: &dyn std::fmt::Display) {
    if wrongly {
        ledger::report(format!("an edit was refused: {error}"));
    }
}

/// A chain is dropped, or changes places with another, or is made.
fn new_chain(world: &World, a: u8, b: u8) {
    if b.is_multiple_of(4) {
        let mut chains = lock(&world.chains);
        let (left, right) = (usize::from(a) % chains.len(), usize::from(b >> 2) % chains.len());
        chains.swap(left, right);
        return;
    }
    let made: Vec<_> = (0..b % 6).map(|number| make(b.wrapping_add(number))).collect();
    let ids: Vec<_> = made.iter().map(|(_, id)| *id).collect();
    let chain = match hotcall::Chain::new(made.into_iter().map(|(value, _)| Instance::new(value))) {
        Ok(chain) => chain,
        Err(error) => return ledger::report(format!("a chain was not made: {error}")),
    };
    ids.iter().for_each(|id| ledger::put(*id, Place::Installed));
    let cell = Arc::new(ChainCell::new(chain, ids));
    let mut chains = lock(&world.chains);
    let index = usize::from(a) % chains.len();
    let old = std::mem::replace(&mut chains[index], cell);
    drop(chains);
    // Whoever is inside has it, too.
    drop(old);
}

/// Does something with what was retired and kept.
fn pending(world: &World, a: u8, b: u8) {
    let mut kept = lock(&world.pending);
    if kept.is_empty() {
        return;
    }
    let which = usize::from(a) % kept.len();
    let one = kept.remove(which);
    drop(kept);
    let outside = world.is_outside();
    match (b % 5, one) {
        (0, one) => drop(one),
        (1, one) => {
            let (Pending::One(_, _) | Pending::Elements(_, _) | Pending::Batch(_, _)) = &one;
            match &one {
                Pending::One(_, id) => leak([*id]),
                Pending::Elements(_, ids) | Pending::Batch(_, ids) => leak(ids.iter().copied()),
            }
            std::mem::forget(one);
        }
        (_, Pending::One(retired, id)) => wait(world, retired, id),
        (2, Pending::Elements(gone, ids)) => {
            for (retired, id) in gone.into_vec().into_iter().zip(ids) {
                actor::framed(|| world.keep(Pending::One(retired, id)));
            }
        }
        (_, Pending::Elements(gone, ids)) => {
            if !outside && !gone.is_drained() {
                return world.keep(Pending::Elements(gone, ids));
            }
            match gone.wait() {
                // One by one: of two that panic as they are dropped, the second would abort.
                Ok(instances) => instances.into_iter().zip(ids).for_each(|(instance, id)| {
                    had_back(&instance, id);
                    actor::framed(|| world.keep_instance(instance, id));
                }),
                Err(_) => ledger::report("nobody is inside, and a wait for elements is refused"),
            }
        }
        (_, Pending::Batch(gone, ids)) => {
            if !outside && !gone.is_drained() {
                return world.keep(Pending::Batch(gone, ids));
            }
            if gone.wait().is_err() {
                ledger::report("nobody is inside, and a wait for a batch is refused");
            } else if let Some(id) = ids.iter().find(|id| **id != ledger::DEFAULT && !ledger::is_dead(**id)) {
                ledger::report(format!("a batch was waited for, and instance {id} lives"));
            }
        }
    }
}

fn function(at: &At<'_>, a: u8, b: u8) {
    let world = &*at.actor.world;
    let id = *lock(&world.function);
    if a % 4 < 2 {
        return expect("a function", answer(8, id), parked(at, a % 4, || FUNCTION(8, at)));
    }
    let new = if a % 4 == 2 {
        let (value, new) = make(b);
        let value: Poisoned = value;
        match FUNCTION.replace(move |x: u64, at: &At<'_>| value.run(x, at)) {
            Ok(retired) => gone(world, retired, id, b >> 3, new),
            Err(error) => ledger::report(format!("a replacement was refused: {error}")),
        }
        return;
    } else {
        ledger::DEFAULT
    };
    match FUNCTION.restore() {
        Ok(retired) => gone(world, retired, id, b >> 3, new),
        Err(error) => ledger::report(format!("a restoration was refused: {error}")),
    }
}

/// A function was replaced.
pub fn gone<I: ?Sized + Interface>(world: &World, retired: Retired<I>, old: usize, how: u8, new: usize) {
    ledger::put(new, Place::Installed);
    *lock(&world.function) = new;
    ledger::put(old, Place::Retired);
    let outside = world.is_outside();
    match how % 4 {
        0 => {
            leak([old]);
            std::mem::forget(retired);
        }
        1 => match retired.wait_timeout(world.patience()) {
            Ok(instance) => {
                if let Some(why) = ledger::must_live(old) {
                    ledger::report(format!("had back: {why}"));
                }
                ledger::put(old, Place::Owned);
                drop(instance);
            }
            Err(error) if outside => ledger::report(format!("nobody is inside: {error}")),
            Err(error) => drop(error),
        },
        _ => drop(retired),
    }
}

/// Stands still, so that the runtime can free what it may; and what it must not, if there is a hole.
fn settle(world: &World) {
    if world.is_outside() {
        if let Err(error) = hotcall::drain(super::world::FOR_EVER) {
            ledger::report(format!("nobody is inside: {error}"));
        }
        return;
    }
    let until = std::time::Instant::now() + world.settings.patience;
    while std::time::Instant::now() < until && ledger::found().is_none() {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}

/// Keeps `value` where `work` has no use for it, also when that panics.
pub fn lending<T, R>(value: T, work: impl FnOnce(&T) -> R, back: impl FnOnce(T)) -> R {
    let done = catch_unwind(AssertUnwindSafe(|| work(&value)));
    back(value);
    done.unwrap_or_else(|payload| resume_unwind(payload))
}

//! `Patched` handles and their remotes.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use hotcall::{Error, Patched};

use super::actor::At;
use super::instance::{Step, answer};
use super::ledger::{self, Place, lock};
use super::ops::{dispose, lending};
use super::world::{HANDLES, HandleCell, KEPT, Owned, World, had_back, leak, make};

fn index(a: u8) -> usize {
    usize::from(a) % HANDLES
}

/// What `old` holds is its owner's, who drops it, or leaks it.
fn gone((handle, cell): Owned, how: u8, world: &World) {
    let id = cell.id.load(SeqCst);
    match how % 4 {
        0 => {
            leak([id]);
            cell.leaked.store(true, SeqCst);
            std::mem::forget(handle);
        }
        1 => {
            let instance = handle.into_inner();
            cell.gone.store(true, SeqCst);
            ledger::put(id, Place::Owned);
            had_back(&instance, id);
            world.keep_instance(instance, id);
        }
        _ => {
            ledger::put(id, Place::Owned);
            cell.gone.store(true, SeqCst);
            drop(handle);
        }
    }
}

/// A handle is made, or goes; or its instance does.
pub fn step(world: &World, a: u8, b: u8) {
    let mut handles = lock(&world.handles);
    match b % 8 {
        0 | 1 => {
            let (value, id) = make(b >> 3);
            let handle: Patched<dyn Step> =
                if b & 1 == 0 { Patched::new(value) } else { Box::new(value).into() };
            ledger::put(id, Place::Installed);
            let cell = Arc::new(HandleCell { id: id.into(), leaked: false.into(), gone: false.into() });
            let mut remotes = lock(&world.remotes);
            remotes.push((handle.remote(), Arc::clone(&cell)));
            let forgotten = (remotes.len() > KEPT).then(|| remotes.remove(0));
            drop(remotes);
            let old = handles[index(a)].replace((handle, cell));
            drop(handles);
            drop(forgotten);
            if let Some(old) = old {
                gone(old, b >> 3, world);
            }
        }
        2 => handles.swap(index(a), index(b >> 3)),
        3 | 4 => {
            let Some((mut handle, cell)) = handles[index(a)].take() else { return };
            drop(handles);
            // Its destructor may panic: the handle is whole then.
            let (value, id) = make(b >> 3);
            let old_id = cell.id.load(SeqCst);
            ledger::put(old_id, Place::Owned);
            let old = handle.replace(value);
            cell.id.store(id, SeqCst);
            ledger::put(id, Place::Installed);
            lock(&world.handles)[index(a)] = Some((handle, cell));
            had_back(&old, old_id);
            drop(old);
        }
        5 => {
            let old = handles[index(a)].take();
            drop(handles);
            if let Some(old) = old {
                gone(old, b >> 3, world);
            }
        }
        6 => {
            let mut remotes = lock(&world.remotes);
            if let Some((remote, cell)) = remotes.pop() {
                let twin = (remote.clone(), Arc::clone(&cell));
                drop(remote);
                remotes.insert(0, twin);
            }
        }
        _ => {
            let Some((instance, id)) = lock(&world.instances).pop() else { return };
            let handle = Patched::from(instance);
            ledger::put(id, Place::Installed);
            let cell = Arc::new(HandleCell { id: id.into(), leaked: false.into(), gone: false.into() });
            let old = handles[index(a)].replace((handle, cell));
            drop(handles);
            if let Some(old) = old {
                gone(old, b >> 3, world);
            }
        }
    }
}

/// Calls one; the program goes on inside.
pub fn call(at: &At<'_>, a: u8, b: u8) {
    let world = &*at.actor.world;
    let Some(owned) = lock(&world.handles)[index(a)].take() else { return };
    let back = |owned: Owned| {
        let mut handles = lock(&world.handles);
        let in_place = handles[index(a)].replace(owned);
        drop(handles);
        // Another was made meanwhile.
        if let Some(other) = in_place {
            gone(other, 2, world);
        }
    };
    let call = |(handle, cell): &Owned| {
        let id = cell.id.load(SeqCst);
        at.actor.park.set((b & 1 == 0).then_some(0));
        let seen = handle.run(u64::from(b), at);
        at.actor.park.set(None);
        if seen != answer(u64::from(b), id) {
            ledger::report(format!("a handle with instance {id} answers {seen:#x}"));
        }
        let guard = hotcall::pin();
        let id = cell.id.load(SeqCst);
        if handle.get(&guard).peek(1) != answer(1, id) {
            ledger::report(format!("a handle does not hold instance {id}"));
        }
    };
    lending(owned, call, back);
}

/// A remote swaps what its handle holds.
pub fn remote(world: &World, a: u8, b: u8) {
    let remotes = lock(&world.remotes);
    if remotes.is_empty() {
        return;
    }
    let (remote, cell) = &remotes[usize::from(a) % remotes.len()];
    let (remote, cell) = (remote.clone(), Arc::clone(cell));
    drop(remotes);
    let (value, id) = make(b);
    let is_gone = cell.gone.load(SeqCst);
    match remote.replace(value) {
        Ok(retired) => {
            if is_gone {
                ledger::report("a remote has replaced in a handle that is gone");
            }
            let leaked = cell.leaked.load(SeqCst);
            ledger::put(id, if leaked { Place::Leaked } else { Place::Installed });
            let old = cell.id.swap(id, SeqCst);
            dispose(world, retired, old, b >> 3);
        }
        Err(error) => {
            if !is_gone || !matches!(error.error(), Error::HandleDropped) {
                ledger::report(format!("a remote was refused: {error}"));
            }
            match error.into_instance() {
                Some(instance) => world.keep_instance(instance, id),
                None => ledger::report("a refused replacement keeps the instance"),
            }
        }
    }
}

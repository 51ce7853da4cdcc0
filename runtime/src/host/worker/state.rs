//! Handing the state of one version of a plugin to the next.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::super::event::{Fallback, What};
use super::super::gate::Closed;
use super::super::keep::HandOver;
use super::super::owner::Owner;
use super::super::supervise::Installation;
use super::{Worker, guarded};

impl Worker {
    /// Installs `new` with the state of `old`. Whether the state is still to come.
    pub(super) fn hand_over(
        &mut self,
        id: usize,
        path: &Path,
        how: HandOver,
        old: &Installation,
        new: &Installation,
    ) -> Result<bool, String> {
        let Some(plugin) = self.plugins.get(&id) else { return Ok(false) };
        let (supervised, stand_in) = (Arc::clone(&plugin.supervised), plugin.wish.stand_in);
        let bytes = match how {
            HandOver::Merged => {
                supervised.install(new.clone()).map_err(|error| error.to_string())?;
                return Ok(true);
            }
            HandOver::Running => {
                let bytes = pass_state(&old.owner, &new.owner)?;
                supervised.install(new.clone()).map_err(|error| error.to_string())?;
                bytes
            }
            HandOver::Queued { patience } => {
                let Some(stand_in) = stand_in else { return Ok(false) };
                let closed = Closed::new(Arc::clone(&old.owner));
                let waits =
                    supervised.stand_in(stand_in(closed.gate())).map_err(|error| error.to_string())?;
                let deadline = Instant::now().checked_add(patience);
                drop(waits);
                let passed = match closed.close(deadline) {
                    Ok(()) => pass_state(&old.owner, &new.owner),
                    Err(Some(reason)) => Err(format!("calls cannot be made to wait here: {reason}")),
                    Err(None) => Err(format!(
                        "a call or a guard kept the old version for more than {patience:?}: its state was not handed over"
                    )),
                };
                let installed = passed.and_then(|bytes| {
                    supervised.install(new.clone()).map_err(|error| error.to_string())?;
                    Ok(bytes)
                });
                match installed {
                    Ok(bytes) => {
                        closed.open(Arc::clone(&new.owner));
                        bytes
                    }
                    Err(reason) => {
                        // Where it cannot be put back either, the gate stays, and is open to it.
                        let back = supervised.stand_in(supervised.lease(old));
                        drop(closed);
                        drop(back);
                        return Err(reason);
                    }
                }
            }
        };
        self.emit(id, path, new.generation, What::HandedOver { bytes });
        Ok(false)
    }

    pub(super) fn drained(&mut self, id: usize, generation: u64) {
        let Some(plugin) = self.plugins.get_mut(&id) else { return };
        let path = self.source.expected(&plugin.wish.plugin);
        let is_back =
            plugin.supervised.hold().current.as_ref().is_some_and(|now| now.generation == generation);
        if is_back {
            return;
        }
        self.emit(id, &path, generation, What::Drained);
        self.merge(id, generation);
    }

    /// Restores the state of the old instance in the new one, which has been installed without.
    pub(super) fn merge(&mut self, id: usize, generation: u64) {
        let Some(plugin) = self.plugins.get_mut(&id) else { return };
        if plugin.merging.as_ref().is_none_or(|(old, _)| old.generation != generation) {
            return;
        }
        let (Some((old, before)), Some(installed)) = (plugin.merging.take(), &plugin.installed) else {
            return;
        };
        let supervised = Arc::clone(&plugin.supervised);
        let (path, new) = (installed.path.clone(), supervised.hold().current.clone());
        if core::mem::take(&mut plugin.changed_meanwhile) {
            plugin.look_at(Instant::now());
        }
        let Some(new) = new else { return };
        match pass_state(&old.owner, &new.owner) {
            Ok(bytes) => {
                plugin.previous = before.filter(|_| supervised.keeps_the_previous());
                self.emit(id, &path, new.generation, What::HandedOver { bytes });
            }
            Err(reason) => match supervised.put_back(&old) {
                Ok(out) => {
                    drop(out);
                    plugin.installed = before;
                    plugin.previous = None;
                    plugin.tell_status(&reason);
                    let to = Fallback::Previous(old.generation);
                    self.emit(id, &path, new.generation, What::RolledBack { to, reason });
                }
                Err(error) => {
                    self.refuse(
                        id,
                        &path,
                        new.generation,
                        format!("{reason}; and the old version cannot be put back: {error}"),
                    );
                }
            },
        }
    }
}

/// Restores the state of one instance in another. How many bytes it is.
fn pass_state(old: &Owner, new: &Owner) -> Result<usize, String> {
    let state = guarded(|| old.save()).and_then(|saved| saved);
    let state = state.map_err(|reason| format!("the old version does not save its state: {reason}"))?;
    let restored = guarded(|| new.restore(&state)).and_then(|restored| restored);
    restored.map_err(|reason| format!("it does not restore the old version's state: {reason}"))?;
    Ok(state.len())
}

//! What becomes of a plugin that has panicked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::event::{Fallback, What};
use super::super::owner::Owner;
use super::super::supervise::{Installation, OnPanic};
use super::{Loaded, Worker, guarded};
use crate::error::Error;

impl Worker {
    pub(super) fn panicked(
        &mut self,
        id: usize,
        generation: u64,
        message: String,
        fallback: Option<Result<Option<Fallback>, Error>>,
    ) {
        let Some(plugin) = self.plugins.get_mut(&id) else { return };
        let supervised = Arc::clone(&plugin.supervised);
        let loaded = [&plugin.installed, &plugin.previous].into_iter().flatten();
        let path = loaded
            .into_iter()
            .find(|loaded| loaded.generation == generation)
            .map(|loaded| loaded.path.clone());
        let path = path.unwrap_or_else(|| self.source.expected(&plugin.wish.plugin));
        let fallback = fallback.or_else(|| supervised.fall_back(generation, false)).unwrap_or(Ok(None));
        self.emit(id, &path, generation, What::Panicked { message });
        let to = match fallback {
            Ok(None) => return,
            Ok(Some(to)) => to,
            Err(error) => {
                let reason =
                    format!("it panicked, and what is to take its place cannot be installed: {error}");
                self.refuse(id, &path, generation, reason);
                return;
            }
        };
        let Some(plugin) = self.plugins.get_mut(&id) else { return };
        if plugin.merging.take().is_some() && core::mem::take(&mut plugin.changed_meanwhile) {
            plugin.look_at(Instant::now());
        }
        let fallen = core::mem::replace(&mut plugin.installed, plugin.previous.take());
        if to == Fallback::Default {
            plugin.installed = None;
        }
        plugin.tell_status("it panicked");
        self.emit(id, &path, generation, What::RolledBack { to, reason: "it panicked".to_owned() });
        let Some(fallen) = fallen else { return };
        match supervised.on_panic {
            OnPanic::Quarantine => self.quarantine(id, &fallen),
            OnPanic::Again { times, within } => self.try_again(id, fallen, times, within),
            _ => {}
        }
    }

    pub(super) fn quarantine(&mut self, id: usize, fallen: &Loaded) {
        self.quarantine.insert(fallen.content);
        self.emit(id, &fallen.path, fallen.generation, What::Quarantined);
    }

    /// Makes another instance of a library that panicked, unless it has done so too often.
    pub(super) fn try_again(&mut self, id: usize, fallen: Loaded, times: u32, within: Duration) {
        let Some(plugin) = self.plugins.get_mut(&id) else { return };
        let now = Instant::now();
        plugin.panics.push_back(now);
        while plugin.panics.front().is_some_and(|first| now.duration_since(*first) > within) {
            plugin.panics.pop_front();
        }
        if plugin.panics.len() > times as usize {
            self.quarantine(id, &fallen);
            return;
        }
        let wish = &plugin.wish;
        let made = guarded(|| fallen.library.make_raw(&wish.wanted, wish.export.as_deref(), &wish.config));
        let made = made.and_then(|made| made.map_err(|error| error.to_string()));
        let (generation, path) = (fallen.generation, fallen.path.clone());
        let installed = made.and_then(|made| {
            let again = Installation { generation, owner: Owner::new(made) };
            plugin.supervised.install(again).map_err(|error| error.to_string())
        });
        match installed {
            Ok(out) => {
                drop(out);
                plugin.installed = Some(fallen);
                plugin.tell_status("");
                let reason = "it panicked".to_owned();
                self.emit(id, &path, generation, What::RolledBack { to: Fallback::Again, reason });
            }
            Err(reason) => {
                self.refuse(id, &path, generation, reason);
            }
        }
    }
}

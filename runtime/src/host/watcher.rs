//! What the system tells of files: which of them may be looked at.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::PluginsError;
use super::worker::{Change, Message};

/// Tells as long as it lives.
pub(super) struct Watcher(#[allow(dead_code, reason = "held for its drop")] RecommendedWatcher);

impl Watcher {
    pub(super) fn new(folder: &Path, tell: Sender<Message>) -> Result<Self, PluginsError> {
        let refused =
            |error: notify::Error| PluginsError::Watch { path: folder.to_owned(), reason: error.to_string() };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let message = match event {
                Ok(event) if event.need_rescan() => Message::Rescan,
                Ok(event) => Message::Changes(changes(event)),
                // Something was lost: all may have changed.
                Err(_) => Message::Rescan,
            };
            let _ = tell.send(message);
        })
        .map_err(refused)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(refused)?;
        Ok(Self(watcher))
    }
}

/// What an event says of each file that it names.
fn changes(event: notify::Event) -> Vec<(PathBuf, Change)> {
    let change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Written,
        EventKind::Modify(ModifyKind::Data(_)) => Change::Writing,
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            let mut paths = event.paths.into_iter();
            return match (paths.next(), paths.next()) {
                (Some(from), Some(to)) => vec![(from, Change::Renamed(to))],
                _ => Vec::new(),
            };
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Change::Gone,
        // Links, renames from elsewhere, permissions: what is there, is there at once.
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => Change::There,
        EventKind::Access(_) => return Vec::new(),
    };
    event.paths.into_iter().map(|path| (path, change.clone())).collect()
}

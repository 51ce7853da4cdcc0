//! Holding a key on for a while.

use core::fmt;
use core::marker::PhantomData;

use super::control::change;
use super::{KeyCore, KeyDefinition, Want};
use crate::error::Error;

/// Keeps a [`Key`](crate::Key) on. When the last is dropped, the key is what it was [`set`](crate::Key::set) to.
///
/// See [`Key::hold`](crate::Key::hold).
#[must_use = "the key is held for as long as this lives"]
pub struct KeyGuard<D: KeyDefinition> {
    core: &'static KeyCore,
    definition: PhantomData<fn() -> D>,
}

impl<D: KeyDefinition> KeyGuard<D> {
    pub(super) fn new(core: &'static KeyCore) -> Result<Self, Error> {
        change(core, Want::Hold)?;
        Ok(Self { core, definition: PhantomData })
    }
}

impl<D: KeyDefinition> Drop for KeyGuard<D> {
    /// Where that cannot be done now (in a fork's handler, or where a fork left no memory to write to), the key stays on until the
    /// next change of any key or slot.
    fn drop(&mut self) {
        // Refused, it is done later: see `commit_here`.
        drop(change(self.core, Want::Release));
    }
}

impl<D: KeyDefinition> fmt::Debug for KeyGuard<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyGuard").field("key", &D::NAME).finish()
    }
}

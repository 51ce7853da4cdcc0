//! What the libraries in this process were opened as: the dynamic linker knows them by the names of their copies.

use std::path::{Path, PathBuf};

use crate::gated::Gated;

/// The copy's name, and that of the file.
static OPENED: Gated<Vec<(PathBuf, PathBuf)>> = Gated::new(Vec::new());

/// The copy has been loaded, of this file.
pub(super) fn add(copy: PathBuf, file: PathBuf) {
    OPENED.lock().push((copy, file));
}

/// The copy is loaded no more: another may get its name.
pub(super) fn remove(copy: &Path) {
    let mut opened = OPENED.lock();
    opened.retain(|known| known.0 != copy);
}

/// The file that was opened, for the copy's name; `None` for what is no copy.
pub(crate) fn file_of(copy: &Path) -> Option<PathBuf> {
    let opened = OPENED.lock();
    opened.iter().find(|known| known.0 == copy).map(|known| known.1.clone())
}

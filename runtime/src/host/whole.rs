//! Whether a file is whole: a library that is still being written is waited for, and not refused.
//!
//! A linker, `cp` and `rsync` write from the front, and an ELF file says at its front how much is to follow. So a file that ends before
//! what it announces is not whole, and neither is an empty one. What this cannot tell, a file of the right length whose middle is
//! still to come, is for the watcher to know: it hears of every write, and of the end of writing.

use object::read::elf::NativeElfFile;
use object::{Object, ObjectSection, ObjectSegment};

/// What is missing. `None` where nothing is, or where it is no ELF file: to say that is not for this module.
pub(super) fn missing(bytes: &[u8]) -> Option<String> {
    const MAGIC: &[u8] = b"\x7fELF";
    if bytes.is_empty() {
        return Some("the file is empty".to_owned());
    }
    let front = bytes.len().min(MAGIC.len());
    if bytes[..front] != MAGIC[..front] {
        return None;
    }
    let length = bytes.len();
    let file = match NativeElfFile::parse(bytes) {
        Ok(file) => file,
        // Of another machine, perhaps: then its other headers are where they should be, and it is whole.
        Err(_) if is_of_another_kind(bytes) => return None,
        Err(error) => return Some(format!("it is half-written: {length} bytes, {error}")),
    };
    let sections = file.sections().filter_map(|section| section.file_range());
    let segments = file.segments().map(|segment| segment.file_range());
    let end = sections.chain(segments).map(|(start, size)| start.saturating_add(size)).max().unwrap_or(0);
    (end > length as u64).then(|| format!("it is half-written: {length} bytes of at least {end}"))
}

/// Whether the front, which is there, says that it is no library of this machine's word length and byte order.
fn is_of_another_kind(bytes: &[u8]) -> bool {
    let word = if cfg!(target_pointer_width = "64") { 2 } else { 1 };
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    bytes.len() >= 16 && (bytes[4] != word || bytes[5] != order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_front_of_a_library_is_half() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(missing(&whole), None);
        assert_eq!(missing(&[]).unwrap(), "the file is empty");
        for part in [1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 4096, whole.len() / 2, whole.len() - 1] {
            let said = missing(&whole[..part]);
            assert!(said.as_deref().is_some_and(|said| said.contains("half-written")), "{part}: {said:?}");
        }
    }

    #[test]
    fn what_is_no_library_is_not_waited_for() {
        assert_eq!(missing(b"#!/bin/sh\n"), None);
        let mut other = std::fs::read("/proc/self/exe").unwrap();
        other[4] ^= 3;
        assert_eq!(missing(&other), None);
    }
}

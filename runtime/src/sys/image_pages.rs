//! Pages of an image, before they are mapped over: whether they are code, and still their file's.
//!
//! A breakpoint is an instruction that a debugger, or the kernel for a probe, writes into a copy of the page that is this
//! process's own. A page that is mapped anew would take it along, where nobody can take it out again, and who meets it is killed.
//! The kernel says of each page whether it is the file's or such a copy.

use core::ops::Range;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::gap::{self, Area};
use super::memory::{NAME, no_maps};
use crate::error::MemoryError;
use crate::sabotage::{self, Sabotage};

/// In a word of `/proc/self/pagemap`: the page is in memory; in swap; of a file, or shared.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;

/// This process's pages, as they are now.
#[derive(Debug)]
pub(crate) struct ImagePages {
    areas: Vec<Area>,
    /// Nothing where the system does not say.
    map: Option<File>,
}

impl ImagePages {
    /// # Errors
    ///
    /// What the system refused.
    pub(crate) fn look() -> Result<Self, MemoryError> {
        let areas = gap::areas().map_err(no_maps)?;
        Ok(Self { areas, map: File::open("/proc/self/pagemap").ok() })
    }

    /// Whether these are whole pages of an image's code, and not yet mapped over.
    ///
    /// # Errors
    ///
    /// What they are instead.
    pub(crate) fn check(&self, range: &Range<usize>) -> Result<(), MemoryError> {
        let page = rustix::param::page_size();
        if range.is_empty() || !range.start.is_multiple_of(page) || !range.len().is_multiple_of(page) {
            return Err(wrong(range, "they are not whole pages"));
        }
        let mut covered = range.start;
        for area in &self.areas {
            if covered < range.end && area.range.contains(&covered) {
                if !area.permissions.starts_with(b"r-x") {
                    return Err(wrong(range, "they are not read-and-execute"));
                }
                if area.name.strip_prefix("/memfd:").is_some_and(|name| name.starts_with(NAME)) {
                    return Err(wrong(range, "they have been mapped over before"));
                }
                covered = area.range.end;
            }
        }
        if covered < range.end { Err(wrong(range, "they are not mapped")) } else { Ok(()) }
    }

    /// The pages of `range` that differ from their file, or did: a copy of each was made. None where the system does not say, and
    /// none of memory that is no file's. Asked anew each time.
    pub(crate) fn changed(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let page = rustix::param::page_size();
        let mut words = vec![0; range.len() / page * 8];
        let offset = (range.start / page * 8) as u64;
        if sabotage::is(Sabotage::MapsOverBreakpoints) {
            return Vec::new();
        }
        if self.map.as_ref().is_none_or(|map| map.read_exact_at(&mut words, offset).is_err()) {
            return Vec::new();
        }
        let is_copy = |word: &[u8]| {
            let word = word.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
            word & SWAPPED != 0 || (word & PRESENT != 0 && word & OF_FILE == 0)
        };
        let is_of_file =
            |at: &usize| self.areas.iter().any(|area| area.range.contains(at) && area.name.starts_with('/'));
        let pages = (range.start..range.end).step_by(page).zip(words.chunks_exact(8));
        let changed = pages.filter(|(start, word)| is_copy(word) && is_of_file(start));
        changed.map(|(start, _)| start..start + page).collect()
    }
}

/// The pages cannot be mapped over.
pub(super) fn wrong(range: &Range<usize>, reason: &str) -> MemoryError {
    MemoryError::System {
        operation: "check of the pages to be mapped over",
        detail: format!("{:#x}..{:#x}", range.start, range.end),
        source: io::Error::new(io::ErrorKind::InvalidInput, reason),
        hint: "link the program's code into segments that are read and executed, and not written",
    }
}

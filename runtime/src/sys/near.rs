//! Loading a library near the code that will call it.
//!
//! # Problem
//!
//! The system maps libraries at the top of the address space and programs far below. From one to the other no `call`
//! reaches, so a call goes through a trampoline; and a branch to code that far costs some processors cycles of its own,
//! however it is written (on Zen 4 a `call` through memory takes 2.2 ns there and 1.4 ns nearby). The dynamic linker
//! takes no wish for an address.
//!
//! # Idea
//!
//! It asks the system for room anywhere, and the system gives the highest gap in which the library fits. So for the moment
//! of the load all gaps are reserved that are more than 1 GiB above the program:
//!
//! ```text
//!  0                    program  heap               1 GiB             libraries          stack
//!  ├────────── free ────┤▓▓▓▓▓│ ▓▓▓ │ free, library │▒▒▒▒ reserved ▒▒▒▒│▓▓▓▓▓▓▓▓▓│   free   │▓▓▓│
//! ```
//!
//! A reservation is an address range and no memory. Other threads that map something meanwhile get room beside the library
//! or below the program, where there must be plenty; the room that heap and stack grow into stays. Where anything is not as
//! it should be, the library is loaded wherever it comes to lie: that is slower, and right.
#![allow(unsafe_code)]

use core::ops::Range;
use core::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::gap::{self, Area};
use crate::gated::{self, Gated};

/// How far above the program a library may come to lie: half of what a branch reaches leaves the other half for the code
/// memory beside either.
const NEAR: usize = 1 << 30;
/// What must be free below the program, for other threads.
const PLENTY: usize = 1 << 40;

/// One at a time: a second would find the first's reservations.
static LOADING: Gated<()> = Gated::new(());

/// Runs `load`, so that what it maps comes to lie within reach of `program` where that can be had.
pub(crate) fn load_near<R>(program: &Range<usize>, load: impl FnOnce() -> R) -> R {
    let _one = LOADING.lock();
    let _reserved = reserve_above(program);
    // It runs constructors.
    gated::rest(load)
}

/// Address ranges that nothing is mapped into as long as this lives.
#[derive(Debug, Default)]
struct Reserved(Vec<Range<usize>>);

impl Drop for Reserved {
    fn drop(&mut self) {
        for range in &self.0 {
            let start = ptr::without_provenance_mut(range.start);
            // SAFETY: `reserve` mapped exactly this, and nobody else knows of it.
            let unmapped = unsafe { munmap(start, range.len()) };
            debug_assert!(unmapped.is_ok(), "{range:#x?} is a mapping of ours");
        }
    }
}

impl Reserved {
    fn reserve(&mut self, range: Range<usize>) -> rustix::io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
        let start = ptr::without_provenance_mut(range.start);
        // SAFETY: with FIXED_NOREPLACE the mapping replaces nothing, and nobody reads or writes it.
        let got = unsafe { mmap_anonymous(start, range.len(), ProtFlags::empty(), flags) }?;
        // A kernel before 4.17 takes the address as a wish.
        self.0.push(got.addr()..got.addr() + range.len());
        if got.addr() == range.start { Ok(()) } else { Err(rustix::io::Errno::EXIST) }
    }
}

fn reserve_above(program: &Range<usize>) -> Reserved {
    let mut reserved = Reserved::default();
    let Ok(areas) = gap::areas() else { return reserved };
    for gap in gaps_above(&areas, program).unwrap_or_default() {
        if reserved.reserve(gap).is_err() {
            // Another thread has mapped something, or there is a limit: then the library is loaded as ever.
            return Reserved::default();
        }
    }
    reserved
}

/// The gaps that are too far above the program, but that below the stack, which the system keeps for the stack itself.
/// `None` where there is too little room below the program.
fn gaps_above(areas: &[Area], program: &Range<usize>) -> Option<Vec<Range<usize>>> {
    let free_below = |index: usize| {
        let below = index.checked_sub(1).map_or(0, |below| areas[below].range.end);
        areas[index].range.start - below
    };
    let plenty = (0..areas.len())
        .take_while(|index| areas[*index].range.start <= program.start)
        .any(|index| free_below(index) >= PLENTY);
    if !plenty {
        return None;
    }
    let stack = areas.iter().find(|area| area.name == "[stack]")?.range.start;
    let mut from = program.start.checked_add(NEAR)?.next_multiple_of(rustix::param::page_size());
    let mut gaps = Vec::new();
    for area in areas.iter().filter(|area| area.range.start < stack) {
        if area.range.start > from {
            gaps.push(from..area.range.start);
        }
        from = from.max(area.range.end);
    }
    Some(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: usize = 0x5555_0000_0000;
    const LIBRARIES: usize = 0x7fff_0000_0000;

    fn area(start: usize, length: usize, name: &str) -> Area {
        Area { range: start..start + length, permissions: *b"r-xp", name: name.to_owned() }
    }

    fn areas() -> Vec<Area> {
        vec![
            area(PROGRAM, 0x10_0000, "program"),
            area(PROGRAM + 0x20_0000, 0x2_0000, "[heap]"),
            area(LIBRARIES, 0x10_0000, "libc"),
            area(LIBRARIES + 0x30_0000, 0x10_0000, "ld"),
            area(LIBRARIES + 0x1000_0000, 0x2_0000, "[stack]"),
        ]
    }

    #[test]
    fn what_is_far_above_is_reserved_up_to_the_libraries() {
        let gaps = gaps_above(&areas(), &(PROGRAM..PROGRAM + 0x10_0000)).unwrap();
        assert_eq!(gaps, [PROGRAM + NEAR..LIBRARIES, LIBRARIES + 0x10_0000..LIBRARIES + 0x30_0000]);
    }

    #[test]
    fn a_mapping_across_the_limit_is_left_alone() {
        let mut areas = areas();
        areas.insert(2, area(PROGRAM + NEAR - 0x1000, 0x3000, "large"));
        let gaps = gaps_above(&areas, &(PROGRAM..PROGRAM + 0x10_0000)).unwrap();
        assert_eq!(gaps[0], PROGRAM + NEAR + 0x2000..LIBRARIES);
    }

    #[test]
    fn without_room_for_others_nothing_is_reserved() {
        let low = [area(0x40_0000, 0x10_0000, "program"), area(LIBRARIES, 0x1000, "[stack]")];
        assert_eq!(gaps_above(&low, &(0x40_0000..0x50_0000)), None);
    }

    #[test]
    fn a_mapping_comes_to_lie_near_and_the_reservations_go() {
        let here = gaps_above as *const () as usize;
        let length = 1 << 20;
        // In a child, which has one thread: where another unmaps something meanwhile, there is room again.
        let came_near = crate::sys::fork::in_child(|| {
            // SAFETY: a fresh mapping, of which nobody knows.
            let map =
                || unsafe { mmap_anonymous(ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE) };
            let near = load_near(&(here..here + 1), map).unwrap();
            let left = gap::areas().unwrap().iter().filter(|area| area.range.len() > PLENTY).count();
            near.addr().abs_diff(here) <= NEAR && left == 0
        });
        assert!(came_near);
    }
}

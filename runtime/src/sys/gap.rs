//! Finding room near code that must be reached.
//!
//! A branch reaches 2 GiB either way, so a mapping is of use only where every byte of it is within that of every
//! byte it serves:
//!
//! ```text
//!                  ├──────────── limit ────────────┤ of the last byte
//!   ├──────────── limit ────────────┤ of the first byte
//!                  ▓▓▓▓▓▓▓▓▓│ reach │▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓        ▓: the window
//! ```
//!
//! In the window, the gap nearest to `reach` is best: a jump 64 MiB away was measured to cost more than one nearby.
//! What grows by itself, the heap and the stack, is given room as long as there is a gap elsewhere.

use core::ops::Range;
use std::io;

/// No mapping below this: the default of `vm.mmap_min_addr`.
const LOWEST: usize = 1 << 16;
/// No mapping from here on: the end of 47 bits, less the page that the kernel keeps.
const HIGHEST: usize = (1 << 47) - (1 << 12);
/// What the heap may still grow by, upwards.
const HEAP_GROWTH: usize = 256 << 20;
/// What a stack may still grow by, downwards.
const STACK_GROWTH: usize = 64 << 20;

/// A mapping of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) range: Range<usize>,
    /// As in `r-xp`.
    pub(crate) permissions: [u8; 4],
    pub(crate) name: String,
}

/// All mappings of this process, in the order of their addresses.
pub(crate) fn areas() -> io::Result<Vec<Area>> {
    let maps = std::fs::read("/proc/self/maps")?;
    Ok(String::from_utf8_lossy(&maps).lines().filter_map(parse).collect())
}

/// `start-end perms offset device inode   name`
fn parse(line: &str) -> Option<Area> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let permissions = rest.as_bytes().get(..4)?.try_into().ok()?;
    let name = rest.splitn(5, ' ').nth(4).unwrap_or_default().trim_start().to_owned();
    Some(Area { range, permissions, name })
}

/// Where `length` bytes lie nearest to `reach`, each within `limit` of each byte of it.
///
/// `length` is a multiple of `page`, as is the answer. `None` where there is no gap.
pub(crate) fn nearest(
    areas: &[Area],
    reach: &Range<usize>,
    length: usize,
    limit: usize,
    page: usize,
) -> Option<usize> {
    let lowest = reach.end.saturating_sub(limit).max(LOWEST).next_multiple_of(page);
    let highest = reach.start.saturating_add(limit).min(HIGHEST);
    let window = lowest..highest - highest % page;
    let growing = |area: &Area| {
        let Range { start, end } = area.range;
        match area.name.as_str() {
            "[heap]" => start..end.saturating_add(HEAP_GROWTH),
            "[stack]" => start.saturating_sub(STACK_GROWTH)..end,
            _ => start..end,
        }
    };
    best(areas.iter().map(growing), reach, length, &window, page)
        .or_else(|| best(areas.iter().map(|area| area.range.clone()), reach, length, &window, page))
}

fn best(
    occupied: impl Iterator<Item = Range<usize>>,
    reach: &Range<usize>,
    length: usize,
    window: &Range<usize>,
    page: usize,
) -> Option<usize> {
    let mut free_from = window.start;
    let mut best: Option<(usize, usize)> = None;
    for area in occupied.chain(core::iter::once(window.end..usize::MAX)) {
        let gap = free_from..area.start.min(window.end);
        free_from = free_from.max(area.end);
        let Some(last) = gap.end.checked_sub(length).filter(|last| *last >= gap.start) else { continue };
        // Just below `reach`, or as near to that as the gap allows.
        let start = reach.start.saturating_sub(length).clamp(gap.start, last);
        let start = start - start % page;
        let distance = start.saturating_sub(reach.end).max(reach.start.saturating_sub(start + length));
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, start));
        }
    }
    best.map(|(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;
    const LIMIT: usize = 1 << 20;

    fn area(start: usize, end: usize, name: &str) -> Area {
        Area { range: start..end, permissions: *b"r-xp", name: name.to_owned() }
    }

    #[test]
    fn a_line_is_read() {
        let line = "55d0c8a00000-55d0c8a21000 r-xp 00002000 fe:01 393 /opt/some where/program";
        let wanted = Area {
            range: 0x55d0_c8a0_0000..0x55d0_c8a2_1000,
            permissions: *b"r-xp",
            name: "/opt/some where/program".to_owned(),
        };
        assert_eq!(parse(line), Some(wanted));
        assert_eq!(parse("7f00-8f00 rw-p 00000000 00:00 0 ").map(|area| area.name), Some(String::new()));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn the_nearest_gap_is_just_below() {
        let areas = [area(0x40_0000, 0x50_0000, "a"), area(0x60_0000, 0x61_0000, "image")];
        let start = nearest(&areas, &(0x60_0000..0x61_0000), 0x4000, LIMIT, PAGE);
        assert_eq!(start, Some(0x60_0000 - 0x4000));
    }

    #[test]
    fn a_full_side_leaves_the_other() {
        let areas = [area(0x1_0000, 0x61_0000, "image"), area(0x61_3000, 0x62_0000, "b")];
        let start = nearest(&areas, &(0x60_0000..0x61_0000), 0x4000, LIMIT, PAGE);
        assert_eq!(start, Some(0x62_0000));
        assert_eq!(nearest(&areas, &(0x60_0000..0x61_0000), 0x3000, LIMIT, PAGE), Some(0x61_0000));
    }

    #[test]
    fn every_byte_is_within_the_limit_of_every_byte() {
        let reach = 0x60_0000..0x61_0000;
        let areas = [area(0x51_4000, 0x6f_d000, "all but the edges")];
        assert_eq!(nearest(&areas, &reach, 0x4000, LIMIT, PAGE), Some(0x51_0000));
        assert_eq!(nearest(&areas, &reach, 0x3000, LIMIT, PAGE), Some(0x51_1000));
        assert_eq!(nearest(&areas, &reach, 0x5000, LIMIT, PAGE), None);
    }

    #[test]
    fn the_heap_keeps_room_to_grow_while_there_is_room_elsewhere() {
        let reach = 0x1000_0000..0x1000_1000;
        let limit = 1 << 30;
        let heap = area(0x1000_1000, 0x1000_2000, "[heap]");
        let below = area(0x1_0000, 0x1000_1000, "image");
        let start = nearest(&[below.clone(), heap.clone()], &reach, PAGE, limit, PAGE);
        assert_eq!(start, Some(0x1000_2000 + HEAP_GROWTH));
        let far = area(0x1000_4000, 1 << 40, "the rest");
        let start = nearest(&[below, heap, far], &reach, PAGE, limit, PAGE);
        assert_eq!(start, Some(0x1000_2000));
    }

    #[test]
    fn nothing_fits_what_is_longer_than_the_window() {
        assert_eq!(nearest(&[], &(0x60_0000..0x61_0000), 4 * LIMIT, LIMIT, PAGE), None);
    }

    #[test]
    fn this_process_has_areas_in_order() {
        let areas = areas().unwrap();
        assert!(areas.len() > 3);
        assert!(areas.is_sorted_by_key(|area| area.range.start));
        let here = this_process_has_areas_in_order as *const () as usize;
        let area = areas.iter().find(|area| area.range.contains(&here)).unwrap();
        assert_eq!(area.permissions[2], b'x');
    }
}

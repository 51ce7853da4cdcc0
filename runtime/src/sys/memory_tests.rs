//! What the two views are, where they lie, and what a fork makes of them.

use rustix::fs::{fcntl_get_seals, fstat};

use super::*;
use crate::sys::fork::in_child;
use crate::sys::gap::areas;

fn over_image(start: ExecAddr, len: usize) -> Result<DualMap, MemoryError> {
    DualMap::over_image(&ImagePages::look()?, start, len)
}

fn permissions(at: usize) -> [u8; 4] {
    let areas = areas().unwrap();
    areas.iter().find(|area| area.range.contains(&at)).map_or(*b"none", |area| area.permissions)
}

fn read(at: usize) -> u8 {
    let at: *const u8 = ptr::with_exposed_provenance(at);
    // SAFETY: the tests map it first.
    unsafe { at.read_volatile() }
}

#[test]
fn one_view_executes_and_the_other_writes() {
    let mut map = DualMap::anywhere(3 * 4096).unwrap();
    let exec = map.exec_range();
    let start = ExecAddr::new(exec.start);
    let write = map.write_addr(start).unwrap().get();
    assert_eq!(permissions(exec.start), *b"r-xs");
    assert_eq!(permissions(write), *b"rw-s");
    assert_eq!(permissions(exec.start - 1), *b"---p");
    assert_eq!(permissions(exec.end), *b"---p");
    assert!(exec.clone().all(|at| read(at) == TRAP));
    map.write(start.add(4095), &[1, 2]).unwrap();
    assert_eq!((read(exec.start + 4095), read(exec.start + 4096)), (1, 2));
    map.erase(start.add(4095), 2).unwrap();
    assert!(exec.clone().all(|at| read(at) == TRAP));
    assert_eq!(map.write_addr(start.add(3 * 4096)), None);
    assert_eq!(map.write_addr(ExecAddr::new(exec.start - 1)), None);
}

#[test]
fn nothing_is_writable_and_executable() {
    let here = nothing_is_writable_and_executable as *const () as usize;
    let _maps = (DualMap::anywhere(1 << 16).unwrap(), DualMap::near(here..here + 1, 1 << 16).unwrap());
    for area in areas().unwrap() {
        assert!(!(area.permissions[1] == b'w' && area.permissions[2] == b'x'), "{area:?}");
    }
}

#[test]
fn the_memory_is_sealed() {
    let memory = sealed_memory(4096).unwrap();
    assert_eq!(fcntl_get_seals(&memory).unwrap(), SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL);
    assert!(ftruncate(&memory, 0).is_err());
    assert!(ftruncate(&memory, 8192).is_err());
    let status = fstat(&memory).unwrap();
    assert_eq!(status.st_size, 4096);
    assert_ne!(status.st_mode & 0o111, 0, "asked for with MFD_EXEC");
}

#[test]
fn near_is_near() {
    let here = near_is_near as *const () as usize;
    let reach = here - here % 4096..here - here % 4096 + 4096;
    let maps: Vec<_> = (0..16).map(|_| DualMap::near(reach.clone(), 1 << 20).unwrap()).collect();
    for map in &maps {
        let exec = map.exec_range();
        assert!(exec.end.abs_diff(reach.start) < REACH && exec.start.abs_diff(reach.end) < REACH);
        assert!(
            exec.end.abs_diff(reach.start) < 1 << 28,
            "there is room closer than {exec:x?} to {reach:x?}"
        );
    }
}

#[test]
fn what_is_longer_than_the_reach_has_no_room() {
    let here = near_is_near as *const () as usize;
    for len in [REACH, 2 << 30, 5 << 30, usize::MAX] {
        let error = DualMap::near(here..here + 1, len).unwrap_err();
        assert!(matches!(error, MemoryError::NoRoom { length, .. } if length == len), "{error}");
    }
    let error = DualMap::near(0x1000..0x7fff_ffff_f000, 4096).unwrap_err();
    assert!(matches!(error, MemoryError::NoRoom { near: 0x1000, .. }), "{error}");
}

#[test]
fn a_refusal_says_what_and_what_to_do() {
    for len in [usize::MAX, 1 << 62] {
        let text = DualMap::anywhere(len).unwrap_err().to_string();
        assert!(text.contains("mmap of a gap") && text.contains("ulimit -v"), "{text}");
    }
    assert!(hint(Some(Errno::ACCESS)).contains("memfd_noexec"));
    assert!(hint(Some(Errno::PERM)).contains("execmem"));
}

#[test]
fn a_dropped_map_is_unmapped() {
    let map = DualMap::anywhere(1 << 20).unwrap();
    let (exec, write) = (map.exec_range(), map.write.as_ptr().addr());
    drop(map);
    // Another thread may have mapped something there since, but not code memory of that place and length.
    let ours = |start| areas().unwrap().iter().any(|area| area.range == (start..start + (1 << 20)));
    assert!(!ours(exec.start) && !ours(write));
}

#[test]
fn many_threads_find_room_at_once() {
    let here = near_is_near as *const () as usize;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let maps: Vec<_> = (0..32).map(|_| DualMap::near(here..here + 1, 4096).unwrap()).collect();
                let mut starts: Vec<_> = maps.iter().map(|map| map.exec_range().start).collect();
                starts.sort_unstable();
                starts.dedup();
                assert_eq!(starts.len(), 32);
            });
        }
    });
}

/// A page of this test's own image, to be mapped over: two functions that nothing else calls.
mod own_page {
    core::arch::global_asm!(
        ".pushsection .text.hotcall_own_page, \"ax\", @progbits",
        ".balign 4096",
        ".globl hotcall_test_own_page",
        ".hidden hotcall_test_own_page",
        "hotcall_test_own_page:",
        "mov eax, 1",
        "ret",
        ".balign 16, 0x90",
        ".balign 4096, 0x90",
        ".popsection",
    );
    unsafe extern "C" {
        pub(super) fn hotcall_test_own_page() -> u32;
    }
}

fn call_own_page() -> u32 {
    // SAFETY: a function without conditions.
    unsafe { own_page::hotcall_test_own_page() }
}

#[test]
fn a_page_of_the_image_is_mapped_over_while_it_runs() {
    use core::sync::atomic::{AtomicU64, Ordering};

    let start = ExecAddr::new(own_page::hotcall_test_own_page as *const () as usize);
    assert_eq!((call_own_page(), permissions(start.get())), (1, *b"r-xp"));
    let calls = AtomicU64::new(0);
    let two = AtomicU64::new(0);
    let map = std::thread::scope(|scope| {
        scope.spawn(|| {
            while two.load(Ordering::Relaxed) < 1000 {
                match call_own_page() {
                    1 => calls.fetch_add(1, Ordering::Relaxed),
                    2 => two.fetch_add(1, Ordering::Relaxed),
                    other => panic!("{other}"),
                };
            }
        });
        while calls.load(Ordering::Relaxed) < 1000 {}
        let mut map = over_image(start, 4096).unwrap();
        assert_eq!(permissions(start.get()), *b"r-xs");
        let before = calls.load(Ordering::Relaxed);
        while calls.load(Ordering::Relaxed) < before + 1000 {}
        // One byte: the immediate of the `mov`.
        map.write(start.add(1), &[2]).unwrap();
        map
    });
    drop(map);
    assert_eq!((call_own_page(), permissions(start.get())), (2, *b"r-xs"));
    let text = over_image(start, 4096).unwrap_err().to_string();
    assert!(text.contains("mapped over before"), "{text}");
}

#[test]
fn only_whole_pages_of_code_are_mapped_over() {
    static DATA: u64 = 0;
    let code = near_is_near as *const () as usize;
    let page = |at: usize| ExecAddr::new(at - at % 4096);
    let refused = |start, len| over_image(start, len).unwrap_err().to_string();
    assert!(refused(ExecAddr::new(code | 1), 4096).contains("whole pages"));
    assert!(refused(page(code), 100).contains("whole pages"));
    assert!(refused(page(code), 0).contains("whole pages"));
    assert!(refused(page(&raw const DATA as usize), 4096).contains("read-and-execute"));
    assert!(refused(ExecAddr::new(0x1000), 4096).contains("not mapped"));
    assert!(refused(page(code), 1 << 40).contains("to be mapped over"));
}

/// The device and the inode of what is mapped there: which memory it is.
fn memory_at(at: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let is_there = |line: &&str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        (usize::from_str_radix(start, 16).unwrap()..usize::from_str_radix(end, 16).unwrap()).contains(&at)
    };
    maps.lines().find(is_there).map(|line| line.split_whitespace().nth(4).unwrap().to_owned()).unwrap()
}

#[test]
fn after_a_fork_neither_writes_what_the_other_can_see() {
    fork::register_handlers();
    let map = core::cell::RefCell::new(DualMap::anywhere(8192).unwrap());
    let exec = map.borrow().exec_range();
    let start = ExecAddr::new(exec.start);
    map.borrow_mut().write(start, &[1, 2, 3]).unwrap();
    let write = map.borrow().write_addr(start).unwrap();
    let before = memory_at(exec.start);
    assert!(in_child(|| {
        let mut map = map.borrow_mut();
        let shared = memory_at(exec.start) == before;
        let written = map.write(start, &[9]).is_ok();
        let same =
            map.write_addr(start) == Some(write) && (read(exec.start + 2), read(exec.end - 1)) == (3, TRAP);
        let views = (permissions(exec.start), permissions(write.get())) == (*b"r-xs", *b"rw-s");
        let guards = (permissions(exec.start - 1), permissions(exec.end)) == (*b"---p", *b"---p");
        let own = memory_at(exec.start) != before && memory_at(exec.start) == memory_at(write.get());
        shared && written && same && read(exec.start) == 9 && views && guards && own
    }));
    assert_eq!(read(exec.start), 1);
    // The parent, too: the child may still run.
    assert_eq!(memory_at(exec.start), before);
    map.borrow_mut().write(start, &[4]).unwrap();
    let own = memory_at(exec.start);
    assert_ne!(own, before);
    assert_eq!((read(exec.start), read(exec.start + 1)), (4, 2));
    // Once for each fork: another test of this program may have forked, so not more than looked at.
    let epoch = fork::epoch();
    map.borrow_mut().write(start, &[5]).unwrap();
    assert!(memory_at(exec.start) == own || fork::epoch() != epoch);
}

/// In a child: with so many bytes as the longest file, or so many open files at most.
fn limit(which: Resource, to: u64) {
    let limit = rustix::process::Rlimit { current: Some(to), maximum: getrlimit(which).maximum };
    rustix::process::setrlimit(which, limit).unwrap();
}

#[test]
fn what_cannot_be_copied_is_not_written() {
    fork::register_handlers();
    let map = core::cell::RefCell::new(DualMap::anywhere(8192).unwrap());
    let exec = map.borrow().exec_range();
    let start = ExecAddr::new(exec.start);
    map.borrow_mut().write(start, &[1]).unwrap();
    for (which, says) in [(Resource::Nofile, "ulimit -n"), (Resource::Fsize, "ulimit -f")] {
        assert!(in_child(|| {
            let mut map = map.borrow_mut();
            let before = getrlimit(which).current.unwrap_or(u64::MAX);
            limit(which, 0);
            let refused = map.write(start, &[9]).and_then(|()| map.erase(start, 1)).unwrap_err();
            let text = refused.to_string();
            let right = matches!(refused, MemoryError::AfterFork { .. }) && text.contains(says);
            let untouched = read(exec.start) == 1;
            if before != u64::MAX {
                limit(which, before);
            } else {
                let limit = rustix::process::Rlimit { current: None, maximum: getrlimit(which).maximum };
                rustix::process::setrlimit(which, limit).unwrap();
            }
            // The next attempt tries again.
            right && untouched && map.write(start, &[9]).is_ok() && read(exec.start) == 9
        }));
        assert_eq!(read(exec.start), 1);
    }
}

#[test]
fn a_limit_on_files_is_an_error_and_no_signal() {
    assert!(in_child(|| {
        limit(Resource::Fsize, 4096);
        let text = DualMap::anywhere(8192).unwrap_err().to_string();
        text.contains("ulimit -f") && text.contains("8192") && DualMap::anywhere(4096).is_ok()
    }));
    assert!(in_child(|| {
        limit(Resource::Nofile, 0);
        let here = near_is_near as *const () as usize;
        let near = DualMap::near(here..here + 1, 4096).unwrap_err().to_string();
        let anywhere = DualMap::anywhere(4096).unwrap_err().to_string();
        near.contains("ulimit -n") && !near.contains("mount /proc") && anywhere.contains("ulimit -n")
    }));
}

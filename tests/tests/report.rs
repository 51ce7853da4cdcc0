//! What `hotcall::report` says of a process. One test: it counts a whole process.
#![allow(missing_docs)]
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use hotcall::{Backend, dispatch, report, slot};

#[dispatch]
pub trait Stage: Send + Sync {
    fn run(&self, x: u64) -> u64;
    fn name(&self) -> String;
}

struct Add(u64);
impl Stage for Add {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
    fn name(&self) -> String {
        format!("add {}", self.0)
    }
}
struct Other;
impl Stage for Other {
    fn run(&self, x: u64) -> u64 {
        x
    }
    fn name(&self) -> String {
        "other".into()
    }
}

#[slot]
static REPLACED: dyn Stage = Other;
#[slot]
static UNTOUCHED: dyn Stage = Other;

fn calls() -> (u64, String, u64, String) {
    (REPLACED.run(1), REPLACED.name(), UNTOUCHED.run(1), UNTOUCHED.name())
}

#[test]
fn what_is_patched_is_said() {
    assert_eq!(calls(), (1, "other".into(), 1, "other".into()));
    drop(REPLACED.replace(Add(1)).unwrap());
    assert_eq!(calls(), (2, "add 1".into(), 1, "other".into()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while report().stats.thunks != 0 || report().stats.freed != 1 {
        assert!(Instant::now() < deadline, "never settled: {}", report());
        std::thread::yield_now();
    }
    let report = report();
    let text = report.to_string();
    println!("{text}");
    assert!(text.contains("1 replaced (0 in place), 1 freed"), "{text}");
    assert!(format!("{report:?}").contains("stats: Stats"));
    let stats = report.stats;
    assert_eq!((stats.retired, stats.in_place, stats.thunks), (1, 0, 0));
    if report.backend == Backend::Portable {
        assert!(report.slots.is_empty() && report.images.is_empty());
        return;
    }
    assert_eq!((stats.slots, stats.sites), (1, 2), "a cell a method");
    // In the report a slot, in it the program's calls; those of the other slot wait.
    let [slot] = &report.slots[..] else { panic!("one slot was replaced: {text}") };
    assert!(slot.name.ends_with("REPLACED"));
    assert_eq!((slot.calls, slot.cells, slot.thunks), (stats.callers, 2, 0));
    let [image] = &report.images[..] else { panic!("one image: {text}") };
    assert_eq!((image.file.as_deref(), image.calls), (None, stats.callers));
    assert_eq!(image.bytes_remapped, stats.bytes_remapped);
    assert!(stats.callers >= 1 && stats.waiting >= 1 && stats.pages_remapped >= 1, "{text}");
    assert_eq!((stats.kept.page, stats.kept.unwanted), (0, 0));
    assert_eq!(stats.kept.total(), stats.kept.no_call + stats.kept.crosses);
    let recorded = stats.callers + stats.waiting + stats.kept.total();
    assert!(text.contains(&format!("calls: {recorded} recorded, {} patched", stats.callers)), "{text}");
}

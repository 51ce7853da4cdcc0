//! `log::Log`, whose crate knows nothing of hotcall, behind a slot; and a crate that logs, unmodified.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hotcall::slot;

hotcall::foreign! {
    /// Loggers.
    pub trait log::Log {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool;
        fn log(&self, record: &log::Record<'_>);
        fn flush(&self);
    }
}

struct Nop;
impl log::Log for Nop {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

#[slot]
static LOGGER: dyn Log = Nop;

struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
}
impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.lines.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
    }
    fn flush(&self) {}
}

static BAD: AtomicUsize = AtomicUsize::new(0);
struct Counting {
    count: Arc<AtomicUsize>,
    magic: u64,
}
impl log::Log for Counting {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, _: &log::Record<'_>) {
        if self.magic != 0x600d {
            BAD.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }
    fn flush(&self) {}
}
impl Drop for Counting {
    fn drop(&mut self) {
        self.magic = 0xdead;
    }
}

#[test]
fn every_library_that_logs_goes_through_the_slot() {
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    // The trait itself is still an ordinary trait.
    let boxed: Box<dyn log::Log> = Box::new(Nop);
    boxed.flush();
    let local: &dyn Log = &Nop;
    local.flush();

    // `globset` was not written here: it logs what it makes of a pattern.
    let matches = |pattern: &str, path: &str| {
        let mut set = globset::GlobSetBuilder::new();
        set.add(globset::Glob::new(pattern).unwrap());
        set.build().unwrap().is_match(path)
    };
    assert!(matches("src/**/*.rs", "src/slot/mod.rs"));
    let lines = Arc::new(Mutex::new(Vec::new()));
    drop(LOGGER.replace(Lines { lines: Arc::clone(&lines) }).unwrap());
    assert!(matches("src/**/[a-m]*.rs", "src/slot/mod.rs"));
    assert!(!matches("src/**/[a-m]*.rs", "src/slot/stub.rs"));
    let seen = lines.lock().unwrap().clone();
    assert!(seen.iter().any(|line| line.starts_with("globset")), "{seen:?}");

    // Swapped under load.
    let (stop, count) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
    let replace = || drop(LOGGER.replace(Counting { count: Arc::clone(&count), magic: 0x600d }).unwrap());
    replace();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut sent = 0;
                    while !stop.load(Ordering::Relaxed) {
                        log::info!("{sent}");
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        for _ in 0..2_000 {
            replace();
        }
        stop.store(true, Ordering::Relaxed);
        let sent: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        // Both other tests of this program and hotcall itself may log; none is lost.
        assert!(count.load(Ordering::Relaxed) >= sent);
    });
    assert_eq!(BAD.load(Ordering::Relaxed), 0);
    hotcall::batch(|b| {
        b.replace(&LOGGER, Nop);
    })
    .map(drop)
    .unwrap();
    assert!(LOGGER.target().type_name().ends_with("Nop"));
}

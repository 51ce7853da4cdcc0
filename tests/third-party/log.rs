//! Stands in for `log` with the crates of the test `third_party`: the whole of it, but that the logger which somebody
//! installs goes behind a slot, and is swapped: by each record that it gets, and by a thread all the time.
#![forbid(unsafe_code)]

mod journal;

use std::sync::{Arc, OnceLock};

pub use real_log::*;

hotcall::foreign! {
    trait real_log::Log as Logger {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool;
        fn log(&self, record: &Record<'_>);
        fn flush(&self);
    }
}

#[hotcall::slot]
static LOGGER: dyn Logger = Nobody;

struct Nobody;
impl Log for Nobody {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }
    fn log(&self, _: &Record<'_>) {}
    fn flush(&self) {}
}

static INSTALLED: OnceLock<Arc<dyn Log>> = OnceLock::new();

/// Brings the calls to the logger that was installed.
struct Carrier {
    logger: Arc<dyn Log>,
    number: journal::Number,
}

impl Log for Carrier {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }
    fn log(&self, record: &Record<'_>) {
        self.number.note("log");
        swap();
        self.logger.log(record);
        self.number.note("logged");
    }
    fn flush(&self) {
        self.logger.flush();
    }
}

fn swap() {
    let logger = Arc::clone(INSTALLED.get().expect("there is a logger"));
    drop(
        LOGGER.replace(Carrier { logger, number: journal::Number::next() }).expect("the slot is retargeted"),
    );
}

/// As the original: the second is refused.
pub fn set_boxed_logger(logger: Box<dyn Log>) -> Result<(), SetLoggerError> {
    real_log::set_logger(&LOGGER)?;
    assert!(INSTALLED.set(Arc::from(logger)).is_ok(), "there was no logger");
    swap();
    std::thread::spawn(|| {
        loop {
            swap();
        }
    });
    Ok(())
}

/// As the original: the second is refused.
pub fn set_logger(logger: &'static dyn Log) -> Result<(), SetLoggerError> {
    set_boxed_logger(Box::new(logger))
}

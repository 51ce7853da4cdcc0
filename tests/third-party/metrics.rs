//! Stands in for `metrics` with the example of the test `third_party`: the whole of it, but that the recorder which
//! somebody installs goes behind a slot, and is swapped: by each call that it gets, and by a thread all the time.
#![forbid(unsafe_code)]

mod journal;

use std::sync::{Arc, OnceLock};

pub use real_metrics::*;

hotcall::foreign! {
    trait real_metrics::Recorder as Recording {
        fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString);
        fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString);
        fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString);
        fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter;
        fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge;
        fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram;
    }
}

#[hotcall::slot]
static RECORDER: dyn Recording = NoopRecorder;

type Shared = Arc<dyn Recorder + Send + Sync>;
static INSTALLED: OnceLock<Shared> = OnceLock::new();

/// Brings the calls to the recorder that was installed.
struct Carrier {
    recorder: Shared,
    number: journal::Number,
}

impl Carrier {
    fn called(&self) -> &Shared {
        self.number.note("metrics");
        swap();
        &self.recorder
    }
}

impl Recorder for Carrier {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.called().describe_counter(key, unit, description);
    }
    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.called().describe_gauge(key, unit, description);
    }
    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.called().describe_histogram(key, unit, description);
    }
    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.called().register_counter(key, metadata)
    }
    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.called().register_gauge(key, metadata)
    }
    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.called().register_histogram(key, metadata)
    }
}

fn swap() {
    let recorder = Arc::clone(INSTALLED.get().expect("there is a recorder"));
    drop(
        RECORDER
            .replace(Carrier { recorder, number: journal::Number::next() })
            .expect("the slot is retargeted"),
    );
}

/// As the original: the second is refused.
pub fn set_global_recorder<R>(recorder: R) -> Result<(), SetRecorderError<R>>
where
    R: Recorder + Send + Sync + 'static,
{
    if real_metrics::set_global_recorder(&RECORDER).is_err() {
        return Err(SetRecorderError(recorder));
    }
    assert!(INSTALLED.set(Arc::new(recorder)).is_ok(), "there was no recorder");
    swap();
    std::thread::spawn(|| {
        loop {
            swap();
        }
    });
    Ok(())
}

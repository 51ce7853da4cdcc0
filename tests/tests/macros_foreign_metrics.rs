//! `metrics::Recorder` behind a slot: the macros of `metrics`, unmodified, record through it.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hotcall::slot;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, NoopRecorder, SharedString, Unit,
};

hotcall::foreign! {
    trait metrics::Recorder as Recording {
        fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString);
        fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString);
        fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString);
        fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter;
        fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge;
        fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram;
    }
}

#[slot]
static RECORDER: dyn Recording = NoopRecorder;

#[derive(Default)]
struct Sum(AtomicU64);
impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }
    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

struct Counters {
    sum: Arc<Sum>,
}
impl metrics::Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(&self.sum))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn what_is_measured_goes_through_the_slot() {
    metrics::set_global_recorder(&RECORDER).unwrap();
    metrics::counter!("requests").increment(1);
    let sums = [Arc::new(Sum::default()), Arc::new(Sum::default())];
    let stop = AtomicBool::new(false);
    let install = |n: usize| drop(RECORDER.replace(Counters { sum: Arc::clone(&sums[n % 2]) }).unwrap());
    install(0);
    metrics::counter!("requests", "path" => "/").increment(2);
    assert_eq!(sums[0].0.load(Ordering::Relaxed), 2);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut sent = 2;
            while !stop.load(Ordering::Relaxed) {
                metrics::counter!("requests").increment(1);
                metrics::histogram!("latency").record(1.0);
                metrics::describe_counter!("requests", Unit::Count, "how many");
                sent += 1;
            }
            sent
        });
        (1..2_000).for_each(install);
        stop.store(true, Ordering::Relaxed);
        let sent: u64 = worker.join().unwrap();
        assert_eq!(sums.iter().map(|sum| sum.0.load(Ordering::Relaxed)).sum::<u64>(), sent);
    });
}

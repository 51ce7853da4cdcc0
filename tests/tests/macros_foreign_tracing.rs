//! `tracing::Subscriber` behind a slot, with subscribers of `tracing-subscriber` in it.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hotcall::slot;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata};

hotcall::foreign! {
    trait tracing::Subscriber as Subscriber {
        fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest;
        fn enabled(&self, metadata: &Metadata<'_>) -> bool;
        fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter>;
        fn new_span(&self, span: &Attributes<'_>) -> Id;
        fn record(&self, span: &Id, values: &Record<'_>);
        fn record_follows_from(&self, span: &Id, follows: &Id);
        fn event_enabled(&self, event: &Event<'_>) -> bool;
        fn event(&self, event: &Event<'_>);
        fn enter(&self, span: &Id);
        fn exit(&self, span: &Id);
        fn clone_span(&self, id: &Id) -> Id;
        fn try_close(&self, id: Id) -> bool;
    }
}

#[slot]
static SUBSCRIBER: dyn Subscriber = Silent;

struct Silent;
impl tracing::Subscriber for Silent {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Counting {
    events: Arc<AtomicU64>,
}
impl tracing::Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("macros_foreign")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);
impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn events_go_through_the_slot() {
    tracing::dispatcher::set_global_default(Dispatch::new(SUBSCRIBER.handle())).unwrap();
    tracing::info!("nobody listens");
    let events = Arc::new(AtomicU64::new(0));
    let install = || {
        drop(SUBSCRIBER.replace(Counting { events: Arc::clone(&events) }).unwrap());
    };
    install();
    // What was cached of the old subscriber's interest is asked for again.
    tracing::callsite::rebuild_interest_cache();
    tracing::info!("heard");
    assert_eq!(events.load(Ordering::Relaxed), 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut sent = 1;
            while !stop.load(Ordering::Relaxed) {
                tracing::info!(sent, "under load");
                sent += 1;
            }
            sent
        });
        (0..1_000).for_each(|_| install());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(worker.join().unwrap(), events.load(Ordering::Relaxed));
    });
    // A subscriber that was not written here.
    let lines = Lines::default();
    let writer = lines.clone();
    let format = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    drop(SUBSCRIBER.replace(format).unwrap());
    tracing::callsite::rebuild_interest_cache();
    tracing::info_span!("outer", id = 7).in_scope(|| tracing::info!("formatted"));
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("outer{id=7}: macros_foreign_tracing: formatted"), "{text}");
}

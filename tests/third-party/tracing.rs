//! Stands in for `tracing` with the tests that the test `third_party` runs: the whole of it, but that the subscriber
//! which a test makes the default goes behind a slot, and is swapped: by each call that it gets, and by a thread all
//! the time. One slot: the tests run one after the other.
#![forbid(unsafe_code)]

mod journal;

use std::sync::{Arc, Mutex, Once};

use real_tracing::dispatcher::Dispatch;
use real_tracing::level_filters::LevelFilter;
use real_tracing::span::{Attributes, Id, Record};
use real_tracing::subscriber::Interest;
pub use real_tracing::*;

hotcall::foreign! {
    trait real_tracing::Subscriber as Subscribing {
        fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest;
        fn enabled(&self, metadata: &Metadata<'_>) -> bool;
        fn max_level_hint(&self) -> Option<LevelFilter>;
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

#[hotcall::slot]
static SUBSCRIBER: dyn Subscribing = subscriber::NoSubscriber::new();

type Shared = Arc<dyn Subscriber + Send + Sync>;
static INSTALLED: Mutex<Option<Shared>> = Mutex::new(None);

/// Brings the calls to the subscriber that was installed.
struct Carrier {
    subscriber: Shared,
    number: journal::Number,
}

impl Carrier {
    fn called(&self) -> &Shared {
        self.number.note("tracing");
        swap();
        &self.subscriber
    }
}

impl Subscriber for Carrier {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_of_a_swap(metadata) { Interest::never() } else { self.subscriber.register_callsite(metadata) }
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_of_a_swap(metadata) && self.subscriber.enabled(metadata)
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.subscriber.max_level_hint()
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.called().new_span(span)
    }
    fn record(&self, span: &Id, values: &Record<'_>) {
        self.called().record(span, values);
    }
    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.called().record_follows_from(span, follows);
    }
    fn event_enabled(&self, event: &Event<'_>) -> bool {
        self.subscriber.event_enabled(event)
    }
    fn event(&self, event: &Event<'_>) {
        self.called().event(event);
    }
    fn enter(&self, span: &Id) {
        self.called().enter(span);
    }
    fn exit(&self, span: &Id) {
        self.called().exit(span);
    }
    fn clone_span(&self, id: &Id) -> Id {
        self.called().clone_span(id)
    }
    fn try_close(&self, id: Id) -> bool {
        self.called().try_close(id)
    }
}

/// Under the lock, so that no subscriber comes back after the next has been installed.
fn swap() {
    let installed = INSTALLED.lock().expect("nobody panicked");
    let Some(subscriber) = installed.clone() else { return };
    let carrier = Carrier { subscriber, number: journal::Number::next() };
    drop(SUBSCRIBER.replace(carrier).expect("the slot is retargeted"));
}

/// Whether an event is hotcall's own, of a swap: the subscribers under test expect theirs, and no others.
fn is_of_a_swap(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("hotcall")
}

pub mod subscriber {
    pub use real_tracing::subscriber::*;

    use super::{Arc, Dispatch, INSTALLED, Once, SUBSCRIBER, swap};

    /// As the original, but over the slot.
    pub fn with_default<T, S>(subscriber: S, f: impl FnOnce() -> T) -> T
    where
        S: Subscriber + Send + Sync + 'static,
    {
        static SWAPPING: Once = Once::new();
        *INSTALLED.lock().expect("nobody panicked") = Some(Arc::new(subscriber));
        swap();
        SWAPPING.call_once(|| {
            std::thread::spawn(|| {
                loop {
                    swap();
                }
            });
        });
        real_tracing::dispatcher::with_default(&Dispatch::new(SUBSCRIBER.handle()), f)
    }
}

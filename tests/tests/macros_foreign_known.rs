//! Traits of other crates by their path alone.
#![deny(unsafe_code)]
#![allow(missing_docs)]

use std::alloc::System;
use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hotcall::{Patched, foreign, slot};

foreign!(log::Log);
foreign! {
    /// With attributes, a visibility and another name.
    pub metrics::Recorder as Recording,
    trait tracing::Subscriber as Spans;
    ::std::io::Read as Source;
    std::io::BufRead as Lines;
    std::io::Write as Sink;
    trait std::io::Seek as Places;
    std::fmt::Write as Text;
    std::iter::Iterator as Samples: Send;
    std::alloc::GlobalAlloc as Allocator;
    tower_service::Service<u32> as Service: Send
}

struct Nop;
impl log::Log for Nop {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}
impl Iterator for Nop {
    type Item = f32;
    fn next(&mut self) -> Option<f32> {
        Some(0.5)
    }
}
type Answer = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;
impl tower_service::Service<u32> for Nop {
    type Response = u64;
    type Error = String;
    type Future = Answer;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: u32) -> Answer {
        Box::pin(async move { Ok(u64::from(request) + 1) })
    }
}

#[slot]
static LOGGER: dyn Log = Nop;
#[slot]
static RECORDER: dyn Recording = metrics::NoopRecorder;
#[slot]
static SPANS: dyn Spans = tracing::subscriber::NoSubscriber::new() as tracing::subscriber::NoSubscriber;
#[slot]
static SOURCE: dyn Source = Cursor::new(b"one") as Cursor<&'static [u8; 3]>;
#[slot]
static LINES: dyn Lines = Cursor::new(b"one\ntwo") as Cursor<&'static [u8; 7]>;
#[slot]
static SINK: dyn Sink = Vec::new() as Vec<u8>;
#[slot]
static PLACES: dyn Places = Cursor::new(b"one") as Cursor<&'static [u8; 3]>;
#[slot]
static TEXT: dyn Text = String::new();
#[slot]
static SAMPLES: dyn Samples<Item = f32> = Nop;
#[slot]
static ALLOCATOR: dyn Allocator = System;
#[slot]
static SERVICE: dyn Service<Response = u64, Error = String, Future = Answer> = Nop;

fn logs(logger: &impl log::Log) -> bool {
    logger.enabled(&log::Metadata::builder().level(log::Level::Error).build())
}

#[test]
fn shared_ones_go_where_the_trait_is_wanted() {
    fn is<T: ?Sized + metrics::Recorder>(_: &T) {}
    fn subscribes<T: ?Sized + tracing::Subscriber>(_: &T) {}
    fn allocates<T: ?Sized + std::alloc::GlobalAlloc>(_: &T) {}
    is(&RECORDER);
    subscribes(&SPANS);
    allocates(&ALLOCATOR);
    assert!(logs(&LOGGER) && logs(&LOGGER.handle()));
}

#[test]
fn those_with_mut_go_there_by_their_lock() {
    let mut read = String::new();
    SOURCE.lock().read_to_string(&mut read).unwrap();
    (&mut *PLACES.lock() as &mut dyn std::io::Seek).seek(SeekFrom::End(0)).unwrap();
    assert_eq!((&*read, PLACES.lock().stream_position().unwrap()), ("one", 3));
    drop(SOURCE.replace(Cursor::new("two")).unwrap());
    drop(SINK.replace(Vec::<u8>::new()).unwrap());
    std::io::copy(&mut *SOURCE.lock(), &mut *SINK.lock()).unwrap();
    let sunk = SINK.restore().unwrap().wait().unwrap();
    assert_eq!(*sunk.downcast::<Vec<u8>>().ok().unwrap(), b"two");

    let mut line = String::new();
    LINES.lock().read_line(&mut line).unwrap();
    assert_eq!((&*line, LINES.lock().fill_buf().unwrap()), ("one\n", &b"two"[..]));
    write!(TEXT.lock(), "{}", 5).unwrap();
    let samples: Vec<f32> = (&mut *SAMPLES.lock()).take(2).collect();
    assert_eq!(samples, [0.5, 0.5]);

    let mut handle: Patched<dyn Service<Response = u64, Error = String, Future = Answer>> = Patched::new(Nop);
    assert_eq!((call(&mut *handle), call(&mut *SERVICE.lock())), (6, 6));
}

fn call(mut service: impl tower_service::Service<u32, Response = u64, Future = Answer>) -> u64 {
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let Poll::Ready(answer) = service.call(5).as_mut().poll(&mut context) else { panic!() };
    answer.unwrap()
}

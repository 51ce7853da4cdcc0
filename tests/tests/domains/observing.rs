//! Logs, layers of subscribers, propagators, metrics.

use std::error::Error;
use std::fmt::{self, Debug};

use hotcall::{dispatch, slot};

pub struct Record<'a>(&'a str);
pub struct Arguments<'a, 'b>(&'a str, &'b str);
/// An appender; the lifetimes of its arguments are not written.
#[allow(elided_lifetimes_in_paths)]
#[dispatch]
pub trait Appender: Debug + Send + Sync + 'static {
    fn append(&self, record: &Record) -> Result<usize, Box<dyn Error + Send + Sync>>;
    fn with(&self, record: Record, arguments: Arguments) -> usize;
    fn flush(&self);
}
#[derive(Debug)]
struct Lines(usize);
impl Appender for Lines {
    fn append(&self, record: &Record<'_>) -> Result<usize, Box<dyn Error + Send + Sync>> {
        if record.0.is_empty() {
            return Err("an empty line".into());
        }
        Ok(record.0.len() + self.0)
    }
    fn with(&self, record: Record<'_>, arguments: Arguments<'_, '_>) -> usize {
        record.0.len() + arguments.0.len() + arguments.1.len()
    }
    fn flush(&self) {}
}
#[slot]
static APPENDER: dyn Appender = Lines(0);

#[test]
fn an_appender() {
    shared!(APPENDER: dyn Appender = Lines(1);
        |appender| {
            appender.flush();
            (
                appender.append(&Record("line")).ok(),
                appender.append(&Record("")).map_err(|error| error.to_string()).err(),
                appender.with(Record("a"), Arguments("bc", "def")),
            )
        };
        lends |appender| format!("{appender:?}"));
}

pub trait Subscriber: 'static {}
impl Subscriber for u8 {}
pub struct Context<'a, S>(&'a S);
/// A layer of a subscriber, with a `where` clause that says `Self: 'static`.
#[dispatch]
pub trait Layer<S>
where
    S: Subscriber,
    Self: 'static,
{
    fn on_layer(&mut self, subscriber: &mut S) {
        let _ = subscriber;
    }
    fn enabled(&self, target: &str, context: Context<'_, S>) -> bool;
    fn and_then<L>(self, layer: L) -> (L, Self)
    where
        L: Layer<S>,
        Self: Sized,
    {
        (layer, self)
    }
    fn boxed(self) -> Box<dyn Layer<S> + Send + Sync + 'static>
    where
        Self: Sized + Send + Sync,
    {
        Box::new(self)
    }
}
#[derive(Clone)]
struct Above(u8);
impl Layer<u8> for Above {
    fn on_layer(&mut self, subscriber: &mut u8) {
        self.0 += *subscriber;
    }
    fn enabled(&self, target: &str, context: Context<'_, u8>) -> bool {
        target.len() + usize::from(*context.0) > usize::from(self.0)
    }
}
#[slot]
static LAYER: dyn Layer<u8> = Above(0);

#[test]
fn a_layer() {
    locked!(LAYER: dyn Layer<u8> = Above(1);
        |layer| {
            let before = layer.enabled("a", Context(&1));
            layer.on_layer(&mut 9);
            (before, layer.enabled("a", Context(&1)))
        };
        lends |layer| layer.enabled("aaaaaaaaaaaaaaaaaaaa", Context(&1)));
    assert!(!Above(9).and_then(Above(1)).1.boxed().enabled("", Context(&0)));
}

pub trait Injector {
    fn set(&mut self, key: &str, value: String);
}
pub trait Extractor {
    fn find(&self, key: &str) -> Option<&str>;
}
impl Injector for Vec<String> {
    fn set(&mut self, key: &str, value: String) {
        self.push(format!("{key}={value}"));
    }
}
impl Extractor for Vec<String> {
    fn find(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='))
    }
}
pub struct Fields<'a>(std::slice::Iter<'a, String>);
/// A propagator, with default methods that call others.
#[dispatch]
pub trait Propagator: Debug + Send + Sync {
    fn inject(&self, injector: &mut dyn Injector) {
        self.inject_context(7, injector);
    }
    fn inject_context(&self, context: u8, injector: &mut dyn Injector);
    fn extract(&self, extractor: &dyn Extractor) -> Option<u8>;
    fn fields(&self) -> Fields<'_>;
}
struct Header(Vec<String>);
impl Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("header")
    }
}
impl Propagator for Header {
    fn inject_context(&self, context: u8, injector: &mut dyn Injector) {
        injector.set(&self.0[0], context.to_string());
    }
    fn extract(&self, extractor: &dyn Extractor) -> Option<u8> {
        extractor.find(&self.0[0])?.parse().ok()
    }
    fn fields(&self) -> Fields<'_> {
        Fields(self.0.iter())
    }
}
#[slot]
static PROPAGATOR: dyn Propagator = Header(Vec::new());

#[test]
fn a_propagator() {
    shared!(PROPAGATOR: dyn Propagator = Header(vec!["trace".into()]);
        |propagator| {
            let mut carried: Vec<String> = Vec::new();
            propagator.inject(&mut carried);
            (propagator.extract(&carried), carried)
        };
        lends |propagator| (propagator.fields().0.cloned().collect::<Vec<_>>(), format!("{propagator:?}")));
}

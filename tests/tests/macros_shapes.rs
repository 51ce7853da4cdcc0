//! Traits of the shapes that real systems dispatch on, each in a slot: plain, bound, locked, as the trait object that it is.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![allow(clippy::non_minimal_cfg, clippy::needless_arbitrary_self_type, reason = "the forms are the point")]

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hotcall::{Instance, Patched, dispatch, pin, slot};

// A query engine's plan: supertraits that everything has, results that borrow, itself as `Any`.

#[dispatch]
pub trait Plan: Debug + Display + Send + Sync {
    fn name(&self) -> &str;
    fn rows(&self) -> u64;
    fn children(&self) -> Vec<&Arc<dyn Plan>>;
    fn as_any(&self) -> &dyn Any;
}
#[derive(Debug)]
struct Scan(u64);
impl Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scan of {}", self.0)
    }
}
impl Plan for Scan {
    fn name(&self) -> &str {
        "scan"
    }
    fn rows(&self) -> u64 {
        self.0
    }
    fn children(&self) -> Vec<&Arc<dyn Plan>> {
        Vec::new()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
#[slot]
static PLAN: dyn Plan = Scan(1);

#[test]
fn a_plan() {
    drop(PLAN.replace(Scan(7)).unwrap());
    assert_eq!((PLAN.rows(), format!("{PLAN} {PLAN:?}")), (7, "scan of 7 Scan(7)".to_owned()));
    let guard = pin();
    let bound = PLAN.bind(&guard);
    assert_eq!((bound.name(), bound.rows(), format!("{bound:?}")), ("scan", 7, "Scan(7)".to_owned()));
    let held = PLAN.get(&guard);
    assert_eq!(format!("{held} {}", held.name()), "scan of 7 scan");
    assert_eq!(held.as_any().downcast_ref::<Scan>().unwrap().0, 7);
    // Upcasting.
    let shown: &dyn Display = &*held;
    assert_eq!(shown.to_string(), "scan of 7");
    let handle: Patched<dyn Plan> = Patched::new(Scan(8));
    assert_eq!((handle.rows(), format!("{handle} {handle:?}")), (8, "scan of 8 Scan(8)".to_owned()));
    let instance: Instance<dyn Plan> = Instance::new(Scan(9));
    assert_eq!(format!("{instance:?} {}", instance.name()), "Scan(9) scan");
}

// Supertraits that are conversions, functions and references; one that holds for every lifetime; a result that is opaque.

pub trait Parses<'a> {
    fn parse(&self, text: &'a str) -> &'a str;
}
#[dispatch]
pub trait Token: AsRef<str> + std::ops::Deref<Target = str> + for<'a> Parses<'a> + Send + Sync {
    fn kind(&self) -> u8;
    fn chars(&self) -> impl Iterator<Item = char>
    where
        Self: Sized;
}
struct Word(&'static str);
impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        self.0
    }
}
impl std::ops::Deref for Word {
    type Target = str;
    fn deref(&self) -> &str {
        self.0
    }
}
impl<'a> Parses<'a> for Word {
    fn parse(&self, text: &'a str) -> &'a str {
        text.strip_prefix(self.0).unwrap_or(text)
    }
}
impl Token for Word {
    fn kind(&self) -> u8 {
        1
    }
    fn chars(&self) -> impl Iterator<Item = char> {
        self.0.chars()
    }
}
#[dispatch]
pub trait Callback: Fn(&str) -> usize + Send + Sync {
    fn twice(&self, text: &str) -> usize {
        self(text) * 2
    }
}
impl<F: Fn(&str) -> usize + Send + Sync> Callback for F {}
#[dispatch(blanket)]
pub trait ReadSeek: std::io::Read + std::io::Seek + Send {
    fn length(&mut self) -> u64 {
        self.seek(std::io::SeekFrom::End(0)).unwrap()
    }
}
impl<T: std::io::Read + std::io::Seek + Send> ReadSeek for T {}
#[slot]
static FILE: dyn ReadSeek = std::io::Cursor::new(*b"12345") as std::io::Cursor<[u8; 5]>;
#[slot]
static TOKEN: dyn Token = Word("a");
#[slot]
static CALLBACK: dyn Callback = str::len as fn(&str) -> usize;

#[test]
fn supertraits_of_the_standard_library() {
    assert_eq!((TOKEN.kind(), CALLBACK.twice("abc"), Word("ab").chars().count()), (1, 6, 2));
    let guard = pin();
    let token = TOKEN.get(&guard);
    assert_eq!((token.as_ref().len(), token.parse("ab"), token.kind()), (1, "b", 1));
    assert_eq!(CALLBACK.get(&guard)("four"), 4);
    assert_eq!(FILE.lock().length(), 5);
    let mut handle: Patched<dyn ReadSeek> = Patched::new(std::io::Cursor::new(vec![1, 2]));
    assert_eq!(handle.length(), 2);
}

// An error of a provider's own.

#[dispatch]
pub trait Failure: Error + Send + Sync + 'static {
    fn status(&self) -> u16;
}
#[derive(Debug)]
struct NotFound(fmt::Error);
impl Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not found")
    }
}
impl Error for NotFound {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
impl Failure for NotFound {
    fn status(&self) -> u16 {
        404
    }
}
#[slot]
static FAILURE: dyn Failure = NotFound(fmt::Error);

#[test]
fn an_error() {
    fn take(failure: &(impl Failure + ?Sized)) -> (u16, String) {
        (failure.status(), failure.to_string())
    }
    assert_eq!(take(&FAILURE), (404, "not found".into()));
    let error: &dyn Error = &FAILURE;
    assert_eq!(error.to_string(), "not found");
    let guard = pin();
    assert!(FAILURE.get(&guard).source().is_some() && FAILURE.bind(&guard).source().is_some());
    let handle: Patched<dyn Failure> = Patched::new(NotFound(fmt::Error));
    assert_eq!(take(&handle), (404, "not found".into()));
    let boxed: Box<dyn Error> = Box::new(Instance::<dyn Failure>::new(NotFound(fmt::Error)));
    assert!(boxed.source().is_some());
}

// Supertraits of the program's own, dispatched themselves or not.

#[dispatch]
pub trait Named: Send + Sync {
    fn id(&self) -> u32;
}
pub trait Versioned {
    fn version(&self) -> (u8, u8);
}
#[dispatch]
pub trait Codec: Named + Versioned {
    fn encode(&self, bytes: &[u8]) -> Vec<u8>;
}
struct Rle(u32);
impl Named for Rle {
    fn id(&self) -> u32 {
        self.0
    }
}
impl Versioned for Rle {
    fn version(&self) -> (u8, u8) {
        (1, 2)
    }
}
impl Codec for Rle {
    fn encode(&self, bytes: &[u8]) -> Vec<u8> {
        vec![bytes.len() as u8]
    }
}
#[slot]
static CODEC: dyn Codec = Rle(1);

#[test]
fn supertraits_of_its_own() {
    drop(CODEC.replace(Rle(2)).unwrap());
    assert_eq!(CODEC.encode(&[7; 3]), [3]);
    let guard = pin();
    let bound = CODEC.bind(&guard);
    assert_eq!((bound.encode(&[]), bound.id(), bound.version()), (vec![0], 2, (1, 2)));
    let named: &dyn Named = &*CODEC.get(&guard);
    assert_eq!(named.id(), 2);
    let mut handle: Patched<dyn Codec> = Patched::new(Rle(3));
    assert_eq!(handle.encode(&[1]), [1]);
    assert_eq!(handle.get(&guard).id(), 3);
    assert_eq!(handle.replace_instance_of(Rle(4)), 3);
    let instance: Instance<dyn Codec> = Instance::new(Rle(5));
    assert_eq!((instance.version(), instance.encode(&[])), ((1, 2), vec![0]));
    drop(CODEC.replace_instance(instance).unwrap());
    assert_eq!(CODEC.get(&guard).id(), 5);
}
trait Swaps {
    fn replace_instance_of(&mut self, codec: Rle) -> u32;
}
impl Swaps for Patched<dyn Codec> {
    fn replace_instance_of(&mut self, codec: Rle) -> u32 {
        self.replace(codec).id()
    }
}

// A web service: associated types, `&mut self`, a future that is boxed; and one that borrows from the service.

type Answer<'a> = Pin<Box<dyn Future<Output = Result<String, u16>> + Send + 'a>>;

#[dispatch]
pub trait Service<Request>: Send {
    type Response;
    type Future: Future<Output = Self::Response>;
    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), u16>>;
    fn call(&mut self, request: Request) -> Self::Future;
}
struct Echo;
impl Service<u32> for Echo {
    type Response = Result<String, u16>;
    type Future = Answer<'static>;
    fn ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), u16>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: u32) -> Answer<'static> {
        Box::pin(async move { Ok(request.to_string()) })
    }
}
#[slot]
static SERVICE: dyn Service<u32, Response = Result<String, u16>, Future = Answer<'static>> = Echo;

#[dispatch]
pub trait Handler: Send + Sync + 'static {
    fn handle<'life, 'request, 'answer>(&'life self, request: &'request mut String) -> Answer<'answer>
    where
        'life: 'answer,
        'request: 'answer,
        Self: Sync + 'answer;
    fn path(&self) -> String;
}
struct Greeter(String);
impl Greeter {
    const fn new() -> Self {
        Self(String::new())
    }
}
impl Handler for Greeter {
    fn handle<'life, 'request, 'answer>(&'life self, request: &'request mut String) -> Answer<'answer>
    where
        'life: 'answer,
        'request: 'answer,
        Self: Sync + 'answer,
    {
        Box::pin(async move { Ok(format!("{} {request}", self.0)) })
    }
    fn path(&self) -> String {
        "/".into()
    }
}
#[slot]
static HANDLER: dyn Handler = Greeter::new();

fn answer<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("these are ready at once"),
    }
}

#[test]
fn a_service() {
    let mut service = SERVICE.lock();
    assert!(service.ready(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(answer(service.call(7)), Ok("7".into()));
    drop(HANDLER.replace(Greeter("hello".into())).unwrap());
    let guard = pin();
    let handler = HANDLER.bind(&guard);
    let mut request = "you".to_owned();
    let future = handler.handle(&mut request);
    drop(HANDLER.replace(Greeter("later".into())).unwrap());
    assert_eq!((answer(future), HANDLER.path()), (Ok("hello you".into()), "/".into()));
}

// An embedded bus: an associated type of a supertrait, and one that a parameter has a default for.

pub trait ErrorType {
    type Error: Debug;
}
#[dispatch]
pub trait Bus<Word: Copy + 'static = u8>: ErrorType {
    fn transfer(&mut self, read: &mut [Word], write: &[Word]) -> Result<(), Self::Error>;
    fn last(&self) -> Option<&Self::Error>;
}
struct Loopback(Option<u8>);
impl ErrorType for Loopback {
    type Error = u8;
}
impl Bus for Loopback {
    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), u8> {
        if read.len() != write.len() {
            self.0 = Some(9);
            return Err(9);
        }
        read.copy_from_slice(write);
        Ok(())
    }
    fn last(&self) -> Option<&u8> {
        self.0.as_ref()
    }
}
#[slot]
static BUS: dyn Bus<u8, Error = u8> = Loopback(None);

#[test]
fn a_bus() {
    let mut bus = BUS.lock();
    let mut read = [0; 2];
    assert_eq!((bus.transfer(&mut read, &[1, 2]), bus.transfer(&mut read, &[])), (Ok(()), Err(9)));
    assert_eq!((read, bus.last()), ([1, 2], Some(&9)));
    let mut handle: Patched<dyn Bus<u8, Error = u8>> = Patched::new(Loopback(None));
    assert_eq!(handle.transfer(&mut read, &[]), Err(9));
}

// A store with keys and values, one that lends; and its methods that only some configurations have.

#[dispatch]
pub trait Store<K: Ord + 'static, V: 'static = String>: Send + Sync {
    fn get(&self, key: &K) -> Option<&V>;
    fn put(&mut self, key: K, value: V) -> Option<V>;
    fn keys(&self) -> Box<dyn Iterator<Item = &K> + '_>;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    #[cfg(any())]
    fn absent(&mut self) -> Option<&mut V>;
}
#[dispatch]
pub trait Clock: Send + Sync {
    fn now(&self) -> u64;
    #[cfg(any())]
    fn set(&mut self, to: u64) -> &mut u64;
    #[cfg(all())]
    fn zone(&self) -> &str;
}
struct Memory(BTreeMap<u32, String>);
impl Memory {
    const fn empty() -> Self {
        Self(BTreeMap::new())
    }
}
impl Store<u32> for Memory {
    fn get(&self, key: &u32) -> Option<&String> {
        self.0.get(key)
    }
    fn put(&mut self, key: u32, value: String) -> Option<String> {
        self.0.insert(key, value)
    }
    fn keys(&self) -> Box<dyn Iterator<Item = &u32> + '_> {
        Box::new(self.0.keys())
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}
impl Clock for Memory {
    fn now(&self) -> u64 {
        5
    }
    fn zone(&self) -> &str {
        "UTC"
    }
}
#[slot]
static STORE: dyn Store<u32, String> = Memory::empty();
#[slot]
static CLOCK: dyn Clock = Memory::empty();

#[test]
fn a_store() {
    let mut store = STORE.lock();
    assert!(store.is_empty());
    assert_eq!((store.put(1, "one".into()), store.put(1, "two".into())), (None, Some("one".into())));
    assert_eq!((store.get(&1).unwrap().as_str(), store.keys().count(), store.len()), ("two", 1, 1));
    drop(store);
    assert_eq!(STORE.read().get(&1).unwrap(), "two");
    // What is configured out is no reason for anything: the clock is called plainly.
    assert_eq!(CLOCK.now(), 5);
    assert_eq!(CLOCK.bind(&pin()).zone(), "UTC");
}

// Receivers of other kinds, generic methods, generic associated types: kept, and the rest is dispatched.

#[dispatch]
pub trait Exchange: Send + Sync {
    type Parts<'a>
    where
        Self: Sized + 'a;
    fn parts(&self) -> Self::Parts<'_>
    where
        Self: Sized;
    fn complete(self: Box<Self>, peer: &[u8]) -> Vec<u8>;
    fn share(self: Arc<Self>) -> usize;
    fn poll(self: Pin<&mut Self>) -> Poll<u8>;
    fn each<T: Into<u32>>(&self, value: T) -> u32
    where
        Self: Sized;
    fn group(&self) -> u16;
    fn public(&self) -> &[u8];
    fn clone_box(&self) -> Box<dyn Exchange>;
    fn twice(&self) -> Self
    where
        Self: Sized + Clone,
    {
        self.clone()
    }
    fn same(&self, other: &Self) -> bool
    where
        Self: Sized + PartialEq,
    {
        self == other
    }
}
#[derive(Clone, PartialEq)]
struct Curve(u16);
impl Exchange for Curve {
    type Parts<'a> = &'a u16;
    fn parts(&self) -> &u16 {
        &self.0
    }
    fn complete(self: Box<Self>, peer: &[u8]) -> Vec<u8> {
        vec![self.0 as u8, peer.len() as u8]
    }
    fn share(self: Arc<Self>) -> usize {
        Arc::strong_count(&self)
    }
    fn poll(self: Pin<&mut Self>) -> Poll<u8> {
        Poll::Ready(self.0 as u8)
    }
    fn each<T: Into<u32>>(&self, value: T) -> u32 {
        value.into()
    }
    fn group(&self) -> u16 {
        self.0
    }
    fn public(&self) -> &[u8] {
        &[1]
    }
    fn clone_box(&self) -> Box<dyn Exchange> {
        Box::new(self.clone())
    }
}
#[slot]
static EXCHANGE: dyn Exchange = Curve(1);

#[test]
fn other_receivers() {
    drop(EXCHANGE.replace(Curve(7)).unwrap());
    assert_eq!((EXCHANGE.group(), EXCHANGE.clone_box().group()), (7, 7));
    let guard = pin();
    assert_eq!((EXCHANGE.bind(&guard).public(), EXCHANGE.get(&guard).public()), (&[1][..], &[1][..]));
    let handle: Patched<dyn Exchange> = Patched::new(Curve(8));
    assert_eq!(handle.group(), 8);
    let boxed: Box<dyn Exchange> = handle.into_inner().into_box().unwrap();
    assert_eq!(boxed.complete(&[0; 3]), [8, 3]);
    let mut pinned: Pin<Box<dyn Exchange>> =
        Instance::<dyn Exchange>::new(Curve(9)).into_box().unwrap().into();
    assert_eq!(pinned.as_mut().poll(), Poll::Ready(9));
    let shared: Arc<dyn Exchange> = Instance::<dyn Exchange>::new(Curve(9)).into_box().unwrap().into();
    assert_eq!(shared.share(), 1);
    assert_eq!((Curve(1).each(2_u8), Curve(1).parts(), Curve(1).twice().same(&Curve(1))), (2, &1, true));
}

/// `self: Box<Self>` alone takes nothing from what owns an instance.
#[dispatch]
pub trait Session: Send + Sync {
    fn id(&self) -> u32;
    fn close(self: Box<Self>) -> u32;
}
impl Session for Curve {
    fn id(&self) -> u32 {
        u32::from(self.0)
    }
    fn close(self: Box<Self>) -> u32 {
        u32::from(self.0) + 1
    }
}
#[slot]
static SESSION: dyn Session = Curve(3);

#[test]
fn sessions_end() {
    fn end(session: impl Session) -> u32 {
        Box::new(session).close()
    }
    let instance: Instance<dyn Session> = Instance::new(Curve(4));
    assert_eq!(end(instance), 5);
    assert_eq!(end(Patched::<dyn Session>::new(Curve(5))), 6);
    let old = SESSION.replace(Instance::<dyn Session>::new(Curve(6))).unwrap();
    let through: &dyn Session = &SESSION;
    assert_eq!(through.id(), 6);
    drop(old);
    assert_eq!(SESSION.replace(Curve(7)).unwrap().wait().unwrap().into_box().ok().unwrap().close(), 7);
}

// A lifetime of the trait; a receiver that is written out; bounds on `Self`; lending that hides.

pub struct Request<'r>(&'r str);
#[dispatch]
pub trait Route<'r>: Send + Sync {
    type Out;
    fn route(&self, request: Request<'r>) -> Option<&'r str>;
    fn hit(self: &Self, out: &mut Vec<&'r str>, request: &Request<'r>) -> Self::Out;
}
struct Prefix(&'static str);
impl<'r> Route<'r> for Prefix {
    type Out = usize;
    fn route(&self, request: Request<'r>) -> Option<&'r str> {
        request.0.strip_prefix(self.0)
    }
    fn hit(self: &Self, out: &mut Vec<&'r str>, request: &Request<'r>) -> usize {
        out.push(request.0);
        out.len()
    }
}
#[slot]
static ROUTE: dyn for<'r> Route<'r, Out = usize> = Prefix("/");

#[test]
fn a_lifetime_of_the_trait() {
    let text = "/home".to_owned();
    let mut out = Vec::new();
    assert_eq!((ROUTE.route(Request(&text)), ROUTE.hit(&mut out, &Request(&text))), (Some("home"), 1));
    drop(ROUTE.replace(Prefix("/h")).unwrap());
    assert_eq!((ROUTE.bind(&pin()).route(Request(&text)), out), (Some("ome"), vec!["/home"]));
    let handle: Patched<dyn for<'r> Route<'r, Out = usize>> = Patched::new(Prefix("x"));
    assert_eq!(handle.route(Request(&text)), None);
}

#[dispatch]
pub trait Tuned: Send {
    fn level(&self) -> u8
    where
        Self: Sync,
    {
        1
    }
    fn copies(&self) -> Box<dyn Tuned>
    where
        Self: Clone + 'static;
    fn count(&self) -> u8
    where
        Self: 'static;
    fn forever(&'static self) -> &'static str;
    fn named<'a, 'b: 'a>(&'a self, one: &'a str, other: &'b str) -> usize {
        one.len() + other.len()
    }
    fn buffers<'a>(&'a self, to: &mut [Option<&'a str>]) -> usize;
}
impl Tuned for Prefix {
    fn copies(&self) -> Box<dyn Tuned> {
        unreachable!()
    }
    fn count(&self) -> u8 {
        self.0.len() as u8
    }
    fn forever(&'static self) -> &'static str {
        self.0
    }
    fn buffers<'a>(&'a self, to: &mut [Option<&'a str>]) -> usize {
        to.iter_mut().for_each(|one| *one = Some(self.0));
        to.len()
    }
}
#[slot]
static TUNED: dyn Tuned = Prefix("tuned");

#[test]
fn bounds_and_lending_that_hides() {
    assert_eq!((TUNED.count(), TUNED.named("a", "bc")), (5, 3));
    let guard = pin();
    let bound = TUNED.bind(&guard);
    let mut to = [None; 2];
    assert_eq!((bound.buffers(&mut to), to, bound.count()), (2, [Some("tuned"); 2], 5));
}

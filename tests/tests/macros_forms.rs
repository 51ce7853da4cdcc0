//! Every form a `#[dispatch]` trait may have, each called through a slot, a bound slot, a held instance and a
//! plain implementation.
#![forbid(unsafe_code)]
#![allow(clippy::non_minimal_cfg, clippy::too_many_arguments, reason = "the forms are the point")]
#![allow(missing_docs)]

use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicUsize, Ordering};

use hotcall::{Instance, dispatch, slot};

// Generic, with associated types and a where clause.

#[dispatch]
pub trait Codec<T, const N: usize>: Send + Sync
where
    T: Debug + Copy,
{
    type Error: Debug + Send;
    type Output;
    fn encode(&self, value: T, times: [u8; N]) -> Result<Self::Output, Self::Error>;
    fn last(&self, values: &[T]) -> Option<T> {
        values.last().copied()
    }
}

struct Text;
impl Codec<u16, 2> for Text {
    type Error = String;
    type Output = String;
    fn encode(&self, value: u16, times: [u8; 2]) -> Result<String, String> {
        if value == 0 { Err("zero".into()) } else { Ok(format!("{value}{times:?}")) }
    }
}
struct Suffixed(String);
impl Codec<u16, 2> for Suffixed {
    type Error = String;
    type Output = String;
    fn encode(&self, value: u16, _: [u8; 2]) -> Result<String, String> {
        Ok(format!("{value}{}", self.0))
    }
    fn last(&self, _: &[u16]) -> Option<u16> {
        None
    }
}

#[slot]
static CODEC: dyn Codec<u16, 2, Error = String, Output = String> = Text;

fn encode<C: Codec<u16, 2, Output = String>>(codec: &C, value: u16) -> Result<String, C::Error> {
    codec.encode(value, [1, 2])
}

#[test]
fn generic_traits_with_associated_types() {
    assert_eq!(encode(&CODEC, 7).unwrap(), "7[1, 2]");
    assert_eq!(encode(&CODEC, 0).unwrap_err(), "zero");
    assert_eq!(CODEC.last(&[1, 2]), Some(2));
    let retired = CODEC.replace(Suffixed("!".into())).unwrap();
    assert_eq!(encode(&CODEC, 7).unwrap(), "7!");
    assert_eq!(CODEC.last(&[1, 2]), None);
    assert_eq!(encode(&retired.wait().unwrap(), 7).unwrap(), "7[1, 2]");
    let boxed: Box<dyn Codec<u16, 2, Error = String, Output = String>> = Box::new(Text);
    assert_eq!(boxed.encode(1, [0; 2]).unwrap(), "1[0, 0]");
}

// A result that borrows: on `bind` and `get`, and on an instance.

#[dispatch]
pub trait Lender: Send + Sync {
    fn text(&self) -> &str;
    fn longest<'a>(&'a self, other: &'a str) -> &'a str;
    fn length(&self) -> usize;
}
struct Owner(String);
impl Owner {
    const fn new() -> Self {
        Self(String::new())
    }
}
impl Lender for Owner {
    fn text(&self) -> &str {
        &self.0
    }
    fn longest<'a>(&'a self, other: &'a str) -> &'a str {
        if other.len() > self.0.len() { other } else { &self.0 }
    }
    fn length(&self) -> usize {
        self.0.len()
    }
}
#[slot]
static LENDER: dyn Lender = Owner::new();

#[test]
fn results_that_borrow() {
    drop(LENDER.replace(Owner("lent".into())).unwrap());
    let guard = hotcall::pin();
    let bound = LENDER.bind(&guard);
    let text = bound.text();
    let retired = LENDER.replace(Owner("later".into())).unwrap();
    assert_eq!(text, "lent");
    assert_eq!(bound.length(), 5);
    assert_eq!(LENDER.get(&guard).longest("a longer one"), "a longer one");
    drop(guard);
    assert_eq!(retired.wait().unwrap().text(), "lent");
}

// Lifetimes in arguments, elided, named, higher-ranked.

pub struct View<'a> {
    bytes: &'a [u8],
}

#[dispatch]
pub trait Borrower: Send + Sync {
    fn view<'a>(&self, view: &View<'a>, from: usize) -> View<'a>;
    fn split<'a, 'b: 'a>(&self, left: &'a str, right: &'b str) -> (&'a str, &'b str);
    fn hidden(&self, view: View) -> usize;
    fn visit(&self, f: &mut dyn for<'x> FnMut(&'x str) -> &'x str) -> usize;
    fn pointer(&self, f: fn(&str) -> &str) -> usize;
}
struct Plain;
impl Borrower for Plain {
    fn view<'a>(&self, view: &View<'a>, from: usize) -> View<'a> {
        View { bytes: &view.bytes[from..] }
    }
    fn split<'a, 'b: 'a>(&self, left: &'a str, right: &'b str) -> (&'a str, &'b str) {
        if left.is_empty() { (right, right) } else { (left, right) }
    }
    fn hidden(&self, view: View) -> usize {
        view.bytes.len()
    }
    fn visit(&self, f: &mut dyn for<'x> FnMut(&'x str) -> &'x str) -> usize {
        f("abc").len()
    }
    fn pointer(&self, f: fn(&str) -> &str) -> usize {
        f("abcd").len()
    }
}
#[slot]
static BORROWER: dyn Borrower = Plain;

#[test]
fn lifetimes_of_arguments() {
    let bytes = vec![1, 2, 3];
    let view = BORROWER.view(&View { bytes: &bytes }, 1);
    assert_eq!(view.bytes, [2, 3]);
    assert_eq!(BORROWER.split("", "r"), ("r", "r"));
    assert_eq!(BORROWER.hidden(view), 2);
    assert_eq!(BORROWER.visit(&mut |text| &text[1..]), 2);
    assert_eq!(BORROWER.pointer(|text| &text[2..]), 2);
}

// Supertraits: the slot must have them too, so they are markers, or hold for every type.

pub trait Marker: Send + Sync {}
impl<T: ?Sized + Send + Sync> Marker for T {}

#[dispatch]
pub trait Marked: Marker + 'static {
    fn id(&self) -> u32;
}
impl Marked for Plain {
    fn id(&self) -> u32 {
        1
    }
}
#[slot]
static MARKED: dyn Marked = Plain;

#[test]
fn supertraits() {
    fn is_marker(_: &impl Marker) {}
    is_marker(&MARKED);
    assert_eq!(MARKED.id(), 1);
    let object: &'static dyn Marked = &MARKED;
    assert_eq!(object.id(), 1);
}

// `where Self: Sized`: kept, not dispatched.

#[dispatch]
pub trait Kept: Send + Sync {
    fn base(&self) -> u32;
    fn generic<T: Into<u32>>(&self, x: T) -> u32
    where
        Self: Sized,
    {
        self.base() + x.into()
    }
    fn show(&self, x: impl Display) -> String
    where
        Self: Sized,
    {
        format!("{x}{}", self.base())
    }
    fn make() -> u32
    where
        Self: Sized,
    {
        7
    }
    fn consume(self) -> u32
    where
        Self: Sized,
    {
        self.base()
    }
}
impl Kept for Plain {
    fn base(&self) -> u32 {
        10
    }
}
struct Base(u32);
impl Kept for Base {
    fn base(&self) -> u32 {
        self.0
    }
    fn make() -> u32 {
        8
    }
}
#[slot]
static KEPT: dyn Kept = Plain;

#[test]
fn sized_methods_are_kept() {
    assert_eq!(KEPT.generic(2_u8), 12);
    drop(KEPT.replace(Base(20)).unwrap());
    assert_eq!(KEPT.generic(2_u8), 22);
    assert_eq!(KEPT.show("x"), "x20");
    assert_eq!((Plain::make(), Base::make(), Plain.consume()), (7, 8, 10));
}

// `&mut self`: on instances and boxes.

#[dispatch]
pub trait Counter: Send {
    fn add(&mut self, n: u32) -> &mut Self
    where
        Self: Sized;
    fn bump(&mut self) -> u32;
}
impl Counter for Base {
    fn add(&mut self, n: u32) -> &mut Self {
        self.0 += n;
        self
    }
    fn bump(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

#[test]
fn mutable_receivers() {
    let mut counter: Instance<dyn Counter> = Instance::new(Base(1));
    assert_eq!((counter.bump(), counter.bump()), (2, 3));
    let mut boxed: Box<dyn Counter> = Box::new(Base(5));
    assert_eq!(boxed.bump(), 6);
}

// `#[cfg]`, docs and other attributes; patterns; bounds on methods; foreign ABIs; raw identifiers.

#[dispatch]
pub trait Attributed: Send + Sync {
    /// Documented.
    #[must_use]
    fn documented(&self) -> u32;
    #[cfg(any())]
    fn absent(&self, x: NoSuchType) -> NoSuchType;
    #[cfg(all())]
    #[cfg(not(any()))]
    fn present(&self, #[allow(unused)] x: u32) -> u32;
    #[cfg_attr(all(), allow(clippy::too_many_arguments))]
    fn r#match(&self, r#type: u32, _: u32, mut_: &mut u32) -> u32 {
        *mut_ += r#type;
        r#type
    }
    fn patterns(&self, (a, b): (u32, u32), [c, ..]: [u32; 3]) -> u32 {
        a + b + c
    }
    fn mutable(&self, mut x: u32) -> u32 {
        x += 1;
        x
    }
    extern "C" fn foreign(&self, x: u32) -> u32 {
        x
    }
    fn bounded<'a>(&self, x: &'a str) -> usize
    where
        Self: 'a,
        &'a str: Into<String>,
    {
        x.len()
    }
    #[deprecated = "for the test"]
    fn old(&self) -> u32 {
        3
    }
    fn never(&self) -> ! {
        panic!("never")
    }
}
impl Attributed for Base {
    fn documented(&self) -> u32 {
        self.0
    }
    fn present(&self, x: u32) -> u32 {
        self.0 + x
    }
}
impl Base {
    const fn new(x: u32) -> Self {
        Self(x)
    }
}
#[slot]
static ATTRIBUTED: dyn Attributed = Base::new(1);

#[test]
#[allow(deprecated)]
fn attributes_and_patterns() {
    for base in 1..3 {
        assert_eq!(ATTRIBUTED.documented(), base);
        assert_eq!(ATTRIBUTED.present(2), base + 2);
        let mut x = 5;
        assert_eq!(ATTRIBUTED.r#match(2, 0, &mut x), 2);
        assert_eq!(x, 7);
        assert_eq!(ATTRIBUTED.patterns((1, 2), [3, 4, 5]), 6);
        assert_eq!(ATTRIBUTED.mutable(1), 2);
        assert_eq!(ATTRIBUTED.foreign(9), 9);
        assert_eq!(ATTRIBUTED.bounded("four"), 4);
        assert_eq!(ATTRIBUTED.old(), 3);
        assert!(std::panic::catch_unwind(|| ATTRIBUTED.never()).is_err());
        drop(ATTRIBUTED.replace(Base(2)).unwrap());
    }
}

// Written by `macro_rules!`.

macro_rules! plugin {
    ($(#[$attr:meta])* $vis:vis trait $name:ident { $(fn $method:ident(&self $(, $arg:ident: $ty:ty)*) -> $ret:ty;)* }
     slot $slot:ident = $default:ident;) => {
        $(#[$attr])*
        #[dispatch]
        $vis trait $name: Send + Sync {
            $(fn $method(&self $(, $arg: $ty)*) -> $ret;)*
        }
        pub struct $default;
        impl $name for $default {
            $(fn $method(&self $(, $arg: $ty)*) -> $ret { $(let _ = $arg;)* Default::default() })*
        }
        #[slot]
        $vis static $slot: dyn $name = $default;
    };
}
plugin! {
    /// By macro.
    pub(crate) trait Generated {
        fn first(&self, x: &[u8]) -> String;
        fn second(&self, this: u8, out: Vec<u8>) -> u32;
        fn third(&self) -> f64;
    }
    slot GENERATED = Nothing;
}

#[test]
fn traits_from_macro_rules() {
    assert_eq!(GENERATED.first(b"x"), "");
    assert_eq!(GENERATED.second(1, vec![2]), 0);
    assert_eq!(GENERATED.third(), 0.0);
}

// Visibility, modules, and a slot inside a function.

mod outer {
    pub mod inner {
        #[hotcall::dispatch]
        pub(in crate::outer) trait Restricted: Send + Sync {
            fn x(&self) -> Private;
        }
        #[derive(PartialEq, Debug)]
        pub(super) struct Private(pub(super) u8);
        struct Hidden;
        impl Restricted for Hidden {
            fn x(&self) -> Private {
                Private(3)
            }
        }
        #[hotcall::slot]
        pub(super) static RESTRICTED: dyn Restricted = Hidden;
    }
    pub fn call() -> u8 {
        use inner::Restricted;
        inner::RESTRICTED.x().0
    }
}

#[test]
fn visibility() {
    assert_eq!(outer::call(), 3);
    #[dispatch]
    trait Local: Send + Sync {
        fn x(&self) -> usize;
    }
    struct Here;
    impl Local for Here {
        fn x(&self) -> usize {
            4
        }
    }
    #[slot]
    static LOCAL: dyn Local = Here;
    assert_eq!(LOCAL.x(), 4);
}

// The default's type, read off or written.

#[derive(Clone, Copy)]
enum Mode {
    Plain,
    Level(u32),
}
impl Marked for Mode {
    fn id(&self) -> u32 {
        match self {
            Self::Plain => 2,
            Self::Level(level) => *level,
        }
    }
}
struct Named {
    id: u32,
}
impl Marked for Named {
    fn id(&self) -> u32 {
        self.id
    }
}
const fn make() -> Named {
    Named { id: 6 }
}
static CALLS: AtomicUsize = AtomicUsize::new(0);
struct Atomic(AtomicUsize);
impl Marked for Atomic {
    fn id(&self) -> u32 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        self.0.fetch_add(1, Ordering::Relaxed) as u32
    }
}
#[slot]
static UNIT_VARIANT: dyn Marked + Send + Sync + 'static = Mode::Plain;
#[slot]
static TUPLE_VARIANT: (dyn Marked) = Mode::Level(5);
#[slot]
static LITERAL: dyn Marked = Named { id: 4 };
#[slot]
static WRITTEN: dyn Marked = make() as Named;
#[slot]
static INTERIOR: dyn Marked = Atomic(AtomicUsize::new(0));

#[test]
fn defaults() {
    assert_eq!((UNIT_VARIANT.id(), TUPLE_VARIANT.id(), LITERAL.id(), WRITTEN.id()), (2, 5, 4, 6));
    assert_eq!((INTERIOR.id(), INTERIOR.id()), (0, 1));
    drop(INTERIOR.replace(Plain).unwrap());
    drop(INTERIOR.restore().unwrap());
    assert_eq!(INTERIOR.id(), 2);
}

#[test]
fn slots_go_where_the_trait_goes() {
    fn takes_impl(marked: impl Marked) -> u32 {
        marked.id()
    }
    assert_eq!(takes_impl(Plain), 1);
    let objects: [&dyn Marked; 2] = [&MARKED, &Plain];
    assert_eq!(objects.map(Marked::id), [1, 1]);
    let instance: Instance<dyn Marked> = Instance::new(Plain);
    assert_eq!(takes_impl(instance), 1);
}

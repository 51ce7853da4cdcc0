//! Function slots: called like the function, swapped like a slot; those that may be empty.
#![forbid(unsafe_code)]
#![allow(clippy::non_minimal_cfg, clippy::too_many_arguments, reason = "the forms are the point")]
#![allow(missing_docs)]

use std::sync::atomic::{AtomicU32, Ordering};

use hotcall::slot;

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| u32::from(*byte)).sum()
}
fn length(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

#[slot]
pub static CHECKSUM: fn(&[u8]) -> u32 = sum;

#[test]
fn a_function_slot_is_called_like_a_function() {
    assert_eq!(CHECKSUM(b"\x01\x02"), 3);
    assert!(CHECKSUM.target().type_name().ends_with("sum"), "{}", CHECKSUM.target());
    drop(CHECKSUM.replace(length).unwrap());
    assert_eq!(CHECKSUM(b"\x01\x02"), 2);
    let salt = 40_u32;
    let retired = CHECKSUM.replace(move |bytes: &[u8]| length(bytes) + salt).unwrap();
    assert_eq!(CHECKSUM(b"\x01\x02"), 42);
    drop(retired);
    // As a value: a pointer to a function that calls the slot, whatever it holds by then.
    let pointer: fn(&[u8]) -> u32 = *CHECKSUM;
    drop(CHECKSUM.restore().unwrap());
    assert_eq!(pointer(b"\x04"), 4);
    let from_pointer: fn(&[u8]) -> u32 = length;
    drop(CHECKSUM.replace(from_pointer).unwrap());
    assert_eq!([b"a".as_slice(), b"bc"].map(*CHECKSUM), [1, 2]);
    hotcall::batch(|b| {
        b.replace(&CHECKSUM, sum);
    })
    .map(drop)
    .unwrap();
    assert_eq!(CHECKSUM(b"\x09"), 9);
}

static SEEN: AtomicU32 = AtomicU32::new(0);

#[slot]
static ON_PACKET: Option<fn(&[u8], u32)> = None;
#[slot]
static LABEL: Option<fn(u32) -> String> = None;
#[slot]
static FULL: Option<fn(u32) -> u32> = Some(double);
fn double(x: u32) -> u32 {
    x * 2
}

#[test]
fn an_empty_slot_does_nothing() {
    assert!(ON_PACKET.is_empty());
    ON_PACKET(b"x", 1);
    drop(
        ON_PACKET
            .replace(|_: &[u8], n: u32| {
                SEEN.fetch_add(n, Ordering::Relaxed);
            })
            .unwrap(),
    );
    assert!(!ON_PACKET.is_empty());
    ON_PACKET(b"x", 5);
    assert_eq!(SEEN.load(Ordering::Relaxed), 5);
    drop(ON_PACKET.clear().unwrap());
    assert!(ON_PACKET.is_empty());
    ON_PACKET(b"x", 5);
    assert_eq!(SEEN.load(Ordering::Relaxed), 5);
}

#[test]
fn an_empty_slot_returns_the_default() {
    assert_eq!(LABEL(7), "");
    drop(LABEL.replace(|x: u32| format!("<{x}>")).unwrap());
    assert_eq!(LABEL(7), "<7>");
    assert_eq!((FULL(4), FULL.is_empty()), (8, false));
    drop(FULL.clear().unwrap());
    assert_eq!((FULL(4), FULL.is_empty()), (0, true));
}

// Signatures.

pub struct View<'a>(&'a str);
fn first<'a>(left: &'a str, _: &str) -> &'a str {
    left
}
fn second<'a>(_: &'a str, right: &str) -> &'a str {
    if right.is_empty() { "none" } else { "some" }
}
fn word(view: &View<'_>) -> usize {
    view.0.len()
}
fn trim(text: &str) -> &str {
    text.trim()
}

#[slot]
static NAMED: for<'a> fn(&'a str, &str) -> &'a str = first;
#[slot]
static ELIDED: fn(&str) -> &str = trim;
#[slot]
static VIEW: fn(view: &View<'_>) -> usize = word;
#[slot]
static NOTHING: fn() = nothing;
#[slot]
static MANY: fn(u8, u16, u32, u64, f32, f64, [u64; 4], String) -> [u64; 5] = many;
#[slot]
static HIGHER: fn(&mut dyn FnMut(u32) -> u32, fn(&str) -> &str) -> u32 = higher;
#[slot]
static CLOSURE: fn(u32) -> u32 = |x| x + 1;
fn nothing() {}
fn many(a: u8, b: u16, c: u32, d: u64, e: f32, f: f64, mut g: [u64; 4], h: String) -> [u64; 5] {
    g[0] += u64::from(a) + u64::from(b) + u64::from(c) + d;
    [g[0], g[1], g[2], e as u64 + f as u64, h.len() as u64]
}
fn higher(f: &mut dyn FnMut(u32) -> u32, g: fn(&str) -> &str) -> u32 {
    f(g(" x ").len() as u32)
}

#[test]
fn any_signature() {
    let left = "left".to_owned();
    assert_eq!(NAMED(&left, "right"), "left");
    drop(NAMED.replace(second).unwrap());
    assert_eq!(NAMED(&left, ""), "none");
    assert_eq!(ELIDED(" x "), "x");
    assert_eq!(VIEW(&View("abc")), 3);
    NOTHING();
    assert_eq!(MANY(1, 2, 3, 4, 5.0, 6.0, [1; 4], "ab".into()), [11, 1, 1, 11, 2]);
    assert_eq!(HIGHER(&mut |x| x + 1, trim), 2);
    assert_eq!(CLOSURE(1), 2);
    drop(CLOSURE.replace(|x: u32| x + 5).unwrap());
    assert_eq!(CLOSURE(1), 6);
}

mod elsewhere {
    #[hotcall::slot(control = CONTROL)]
    pub static GREETING: Option<fn(u32) -> u32> = None;
    pub fn install() {
        drop(CONTROL.replace(|x: u32| x + 10).unwrap());
    }
    pub fn empty() {
        drop(CONTROL.clear().unwrap());
    }
}

#[test]
fn a_function_slot_with_a_control() {
    assert_eq!(elsewhere::GREETING(1), 0);
    elsewhere::install();
    assert_eq!(elsewhere::GREETING(1), 11);
    elsewhere::empty();
    assert_eq!(elsewhere::GREETING(1), 0);
}

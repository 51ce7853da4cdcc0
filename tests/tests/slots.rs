//! Slots from the outside: any signature, swapped, given back, panicking.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};

use hotcall::{dispatch, slot};

#[dispatch]
pub trait Effect: Send + Sync {
    fn process(&self, sample: f32) -> f32;
    fn name(&self) -> String {
        "unnamed".into()
    }
}

#[derive(Debug)]
struct Bypass;
impl Effect for Bypass {
    fn process(&self, sample: f32) -> f32 {
        sample
    }
}

struct Gain(f32);
impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.0
    }
    fn name(&self) -> String {
        format!("gain {}", self.0)
    }
}

#[slot]
pub static EFFECT: dyn Effect = Bypass;

#[test]
fn a_slot_calls_its_default_then_whatever_replaced_it() {
    assert_eq!(EFFECT.process(0.5), 0.5);
    assert_eq!(EFFECT.name(), "unnamed");
    let retired = EFFECT.replace(Gain(2.0)).unwrap();
    assert_eq!(EFFECT.process(0.5), 1.0);
    assert_eq!(EFFECT.name(), "gain 2");
    assert!(retired.type_name().ends_with("Bypass"));
    let old = retired.wait().unwrap();
    assert_eq!(old.process(0.5), 0.5);
    // Settled by now, or not: the same.
    for gain in 0..100 {
        let retired = EFFECT.replace(Gain(gain as f32)).unwrap();
        assert_eq!(EFFECT.process(1.0), gain as f32);
        if gain % 10 == 0 {
            let old = retired.wait().unwrap().downcast::<Gain>().ok();
            assert!(gain == 0 || old.is_some_and(|old| old.0 == (gain - 1) as f32));
        }
    }
    let old = EFFECT.restore().unwrap().wait().unwrap();
    assert!(old.downcast::<Gain>().is_ok_and(|gain| gain.0 == 99.0));
    assert_eq!(EFFECT.process(0.25), 0.25);
}

#[derive(Clone, Debug, PartialEq)]
pub struct Big {
    words: [u64; 5],
}

pub struct Pair<A, B>(A, B);

#[derive(Debug, PartialEq)]
pub enum Refused {
    Negative(i64),
}

#[dispatch]
pub trait Everything: Send + Sync {
    #[allow(clippy::too_many_arguments)]
    fn nine(&self, a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64, i: usize) -> u64;
    fn floats(&self, a: f32, b: f64, c: f32) -> f64;
    fn slices(&self, bytes: &[u8], text: &str, out: &mut Vec<u8>) -> usize;
    fn by_value(&self, big: Big, pair: (u8, u32), option: Option<Box<str>>) -> Big;
    fn generic_arguments(&self, pair: Pair<Vec<u8>, [u16; 3]>, nested: Option<Result<u8, String>>) -> usize;
    fn result(&self, number: i64) -> Result<String, Refused>;
    fn wide(&self, seed: u64) -> [u64; 9];
    fn pair(&self, seed: u32) -> (u32, f32);
    fn fat<'a>(&self, text: &'a str, skip: usize) -> &'a str;
    fn object<'a>(&self, object: &'a dyn Debug) -> &'a dyn Debug;
    fn nothing(&self);
    fn callback(&self, f: &mut dyn FnMut(u32) -> u32) -> u32;
    fn wide_int(&self, x: u128) -> u128;
    fn unit_argument(&self, nothing: (), x: bool) -> char;
}

macro_rules! everything {
    ($ty:ident, $($this:ident)?, $salt:expr) => {
        impl Everything for $ty {
            fn nine(&self, a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64, i: usize) -> u64 {
                let sum =
                    a as i64 + b as i64 + c as i64 + d as i64 + e as i64 + f as i64 + g as i64 + h + i as i64;
                (sum * 10) as u64 + $salt(self)
            }
            fn floats(&self, a: f32, b: f64, c: f32) -> f64 {
                a as f64 - b * c as f64 + $salt(self) as f64
            }
            fn slices(&self, bytes: &[u8], text: &str, out: &mut Vec<u8>) -> usize {
                out.extend(bytes);
                out.extend(text.bytes());
                out.len() + $salt(self) as usize
            }
            fn by_value(&self, mut big: Big, pair: (u8, u32), option: Option<Box<str>>) -> Big {
                big.words[4] +=
                    pair.0 as u64 + pair.1 as u64 + option.map_or(0, |s| s.len() as u64) + $salt(self);
                big
            }
            fn generic_arguments(
                &self,
                pair: Pair<Vec<u8>, [u16; 3]>,
                nested: Option<Result<u8, String>>,
            ) -> usize {
                pair.0.len() + pair.1[2] as usize + nested.unwrap().unwrap_err().len() + $salt(self) as usize
            }
            fn result(&self, number: i64) -> Result<String, Refused> {
                if number < 0 {
                    Err(Refused::Negative(number))
                } else {
                    Ok(format!("{}", number + $salt(self) as i64))
                }
            }
            fn wide(&self, seed: u64) -> [u64; 9] {
                core::array::from_fn(|i| seed + i as u64 + $salt(self))
            }
            fn pair(&self, seed: u32) -> (u32, f32) {
                (seed + $salt(self) as u32, 0.5)
            }
            fn fat<'a>(&self, text: &'a str, skip: usize) -> &'a str {
                &text[skip..]
            }
            fn object<'a>(&self, object: &'a dyn Debug) -> &'a dyn Debug {
                object
            }
            fn nothing(&self) {
                CALLS.fetch_add($salt(self) as u32, Ordering::Relaxed);
            }
            fn callback(&self, f: &mut dyn FnMut(u32) -> u32) -> u32 {
                f(20) + f($salt(self) as u32)
            }
            fn wide_int(&self, x: u128) -> u128 {
                x + $salt(self) as u128
            }
            fn unit_argument(&self, (): (), x: bool) -> char {
                if x { 'y' } else { 'n' }
            }
        }
    };
}

static CALLS: AtomicU32 = AtomicU32::new(0);
struct Stateless;
struct Stateful {
    salt: Box<u64>,
}
everything!(Stateless,, |_: &Stateless| 1_u64);
everything!(Stateful,, |s: &Stateful| *s.salt);

#[slot]
static EVERYTHING: dyn Everything = Stateless;

fn check_everything(of: &impl Everything, salt: u64) {
    assert_eq!(of.nine(1, 2, 3, 4, -5, 6, 7, 8, 9), 350 + salt);
    assert_eq!(of.floats(1.5, 2.0, 0.25), 1.0 + salt as f64);
    let mut out = vec![0];
    assert_eq!(of.slices(b"abc", "de", &mut out), 6 + salt as usize);
    assert_eq!(out, b"\0abcde");
    let big = of.by_value(Big { words: [1, 2, 3, 4, 5] }, (1, 2), Some("xyz".into()));
    assert_eq!(big, Big { words: [1, 2, 3, 4, 11 + salt] });
    assert_eq!(of.generic_arguments(Pair(vec![0; 4], [0, 0, 3]), Some(Err("ab".into()))), 9 + salt as usize);
    assert_eq!(of.result(-7), Err(Refused::Negative(-7)));
    assert_eq!(of.result(7), Ok((7 + salt).to_string()));
    assert_eq!(of.wide(100)[8], 108 + salt);
    assert_eq!(of.pair(3), (3 + salt as u32, 0.5));
    assert_eq!(of.fat("hello", 2), "llo");
    assert_eq!(format!("{:?}", of.object(&Some(1))), "Some(1)");
    let before = CALLS.load(Ordering::Relaxed);
    of.nothing();
    assert_eq!(CALLS.load(Ordering::Relaxed), before + salt as u32);
    let mut seen = Vec::new();
    assert_eq!(
        of.callback(&mut |x| {
            seen.push(x);
            x + 1
        }),
        22 + salt as u32
    );
    assert_eq!(seen, [20, salt as u32]);
    assert_eq!(of.wide_int(1 << 100), (1 << 100) + u128::from(salt));
    assert_eq!(of.unit_argument((), true), 'y');
}

#[test]
fn any_arguments_and_any_result() {
    check_everything(&EVERYTHING, 1);
    for salt in 2..50 {
        let retired = EVERYTHING.replace(Stateful { salt: Box::new(salt) }).unwrap();
        check_everything(&EVERYTHING, salt);
        let guard = hotcall::pin();
        check_everything(&EVERYTHING.bind(&guard), salt);
        check_everything(&EVERYTHING.get(&guard), salt);
        drop(guard);
        if salt % 8 == 0 {
            let old = retired.wait().unwrap();
            check_everything(&old, salt - 1);
            check_everything(&EVERYTHING, salt);
        }
    }
}

#[dispatch]
trait Fragile: Send + Sync {
    fn run(&self, big: [u64; 6], fail: bool) -> String;
}
struct Calm;
impl Fragile for Calm {
    fn run(&self, _: [u64; 6], fail: bool) -> String {
        assert!(!fail, "calm panicked");
        "calm".into()
    }
}
struct Nervous(String);
impl Fragile for Nervous {
    fn run(&self, big: [u64; 6], fail: bool) -> String {
        let local = self.0.clone();
        assert!(!fail, "{local} panicked");
        format!("{local}{}", big[5])
    }
}
#[slot]
static FRAGILE: dyn Fragile = Calm;

#[test]
fn a_panic_unwinds_through_and_leaves_the_slot_as_it_was() {
    let fails = || {
        let caught = std::panic::catch_unwind(|| FRAGILE.run([1; 6], true)).unwrap_err();
        caught
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| caught.downcast_ref::<&str>().unwrap().to_string())
    };
    assert_eq!(fails(), "calm panicked");
    drop(FRAGILE.replace(Nervous("nervous".into())).unwrap());
    assert_eq!(fails(), "nervous panicked");
    assert_eq!(FRAGILE.run([7; 6], false), "nervous7");
    // The panicking calls' sections are over: a grace period ends.
    let retired = FRAGILE.replace(Calm).unwrap();
    assert!(retired.wait().is_ok());
}

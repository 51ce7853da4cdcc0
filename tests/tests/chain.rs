//! Chains from the outside: rules, edits, panics, re-entrance, many elements.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hotcall::{Chain, Error, Instance, chain, dispatch};

#[dispatch]
pub trait Effect: Send + Sync {
    #[chain(through)]
    fn process(&self, sample: f32) -> f32;
    fn note(&self, log: &mut Vec<u32>);
    fn name(&self) -> String {
        "a chain".into()
    }
}

struct Gain(f32);
impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.0
    }
    fn note(&self, log: &mut Vec<u32>) {
        log.push(self.0 as u32);
    }
}
struct Add(f32);
impl Effect for Add {
    fn process(&self, sample: f32) -> f32 {
        sample + self.0
    }
    fn note(&self, log: &mut Vec<u32>) {
        log.push(100 + self.0 as u32);
    }
    fn name(&self) -> String {
        "never asked".into()
    }
}
struct Nothing;
impl Effect for Nothing {
    fn process(&self, sample: f32) -> f32 {
        sample
    }
    fn note(&self, _: &mut Vec<u32>) {}
}

fn notes(of: &dyn Effect) -> Vec<u32> {
    let mut log = Vec::new();
    of.note(&mut log);
    log
}

#[test]
fn a_value_goes_through_and_all_are_called() {
    let rack: Chain<dyn Effect> = Chain::EMPTY;
    assert_eq!((rack.process(0.5), notes(&rack)), (0.5, vec![]));
    rack.push(Gain(2.0)).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (1.0, vec![2]));
    rack.push(Add(3.0)).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (4.0, vec![2, 103]));
    rack.insert(1, Nothing).unwrap();
    rack.insert(0, Add(1.0)).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (6.0, vec![101, 2, 103]));
    rack.swap(0, 3).unwrap();
    assert_eq!((rack.process(0.5), notes(&rack)), (8.0, vec![103, 2, 101]));
    let old = rack.replace(1, Gain(10.0)).unwrap().wait().unwrap();
    assert_eq!(old.process(1.0), 2.0);
    assert_eq!((rack.process(0.5), rack.len()), (36.0, 4));
    assert!(rack.type_names()[1].ends_with("Gain"));
    let removed = rack.remove(3).unwrap();
    assert!(removed.type_name().ends_with("Add"));
    assert_eq!(rack.process(0.5), 35.0);
    assert_eq!(rack.name(), "a chain");
    assert_eq!(rack.clear().unwrap().wait().unwrap().len(), 3);
    assert_eq!((rack.process(0.5), rack.is_empty()), (0.5, true));
}

#[test]
fn elements_are_dropped_once() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl Effect for Counted {
        fn process(&self, sample: f32) -> f32 {
            sample
        }
        fn note(&self, _: &mut Vec<u32>) {}
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let make = || Counted(Arc::clone(&dropped));
    let rack: Chain<dyn Effect> = chain![make(), make(), make()].unwrap();
    drop(rack.remove(0).unwrap().wait().unwrap());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    let refused = rack.insert(9, make()).unwrap_err();
    assert!(matches!(refused.error(), Error::NoElement { index: 9, len: 2 }));
    drop(refused.into_instance().unwrap());
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    let ((), _retired) = rack
        .edit(|list| {
            list.push(make());
            list.remove(2);
            assert_eq!(list.len(), 2);
        })
        .unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 3, "added and removed by one edit: never published");
    for _ in 0..10 {
        drop(rack.replace(1, make()).unwrap().wait().unwrap());
    }
    assert_eq!(dropped.load(Ordering::Relaxed), 13);
    drop(rack);
    assert_eq!(dropped.load(Ordering::Relaxed), 15);
}

#[dispatch]
pub trait Many: Send + Sync {
    #[chain(through = word)]
    fn word(&self, other: u16, word: i16, scale: f64) -> i16;
    #[chain(through)]
    fn byte(&self, x: u8) -> u8;
    #[chain(through)]
    fn signed(&self, x: i8, y: &u8) -> i8;
    #[chain(through)]
    fn wide(&self, x: u128) -> u128;
    #[chain(through = b)]
    fn floats(&self, a: f64, b: f64, c: f32) -> f64;
    #[chain(through)]
    fn owned(&self, text: String, n: &usize) -> String;
    #[chain(first)]
    fn flag(&self, x: u64, log: &mut Vec<u32>) -> bool;
    #[chain(first)]
    fn find(&self, x: u64, text: &str) -> Option<String>;
    #[chain(first)]
    fn check(&self, x: u64) -> Result<String, u32>;
    #[chain(first)]
    fn flow(&self, x: &mut u64) -> ControlFlow<u64, u8>;
    fn six(&self, a: &[u8], b: &[u8], c: &mut u64);
    fn stack(&self, a: &[u8], b: &[u8], c: &[u8], d: &mut u64);
    fn by_value(&self, a: (u8, u64), b: Option<u32>, sum: &mut u64);
    #[chain(own)]
    fn borrowed(&self) -> &str {
        "the chain's"
    }
}

#[derive(Clone, Copy)]
struct Step(u64);
impl Many for Step {
    fn word(&self, other: u16, word: i16, scale: f64) -> i16 {
        word.wrapping_mul(3).wrapping_add(other as i16).wrapping_sub((self.0 as f64 * scale) as i16)
    }
    fn byte(&self, x: u8) -> u8 {
        x.wrapping_mul(7).wrapping_add(self.0 as u8)
    }
    fn signed(&self, x: i8, y: &u8) -> i8 {
        x.wrapping_mul(5).wrapping_sub((*y).wrapping_mul(self.0 as u8) as i8)
    }
    fn wide(&self, x: u128) -> u128 {
        x.wrapping_mul(3) + u128::from(self.0)
    }
    fn floats(&self, a: f64, b: f64, c: f32) -> f64 {
        b * 0.5 + a * self.0 as f64 + f64::from(c)
    }
    fn owned(&self, text: String, n: &usize) -> String {
        format!("{text},{}", self.0 as usize + n)
    }
    fn flag(&self, x: u64, log: &mut Vec<u32>) -> bool {
        log.push(self.0 as u32);
        self.0 == x
    }
    fn find(&self, x: u64, text: &str) -> Option<String> {
        (self.0 == x).then(|| format!("{text}{x}"))
    }
    fn check(&self, x: u64) -> Result<String, u32> {
        if self.0 == x { Err(x as u32) } else { Ok(format!("passed {}", self.0)) }
    }
    fn flow(&self, x: &mut u64) -> ControlFlow<u64, u8> {
        *x = x.wrapping_sub(self.0);
        if *x == 0 { ControlFlow::Break(self.0) } else { ControlFlow::Continue(self.0 as u8) }
    }
    fn six(&self, a: &[u8], b: &[u8], c: &mut u64) {
        *c = c.wrapping_mul(31) + a.len() as u64 * self.0 + b.len() as u64;
    }
    fn stack(&self, a: &[u8], b: &[u8], c: &[u8], d: &mut u64) {
        *d = d.wrapping_mul(31) + (a.len() * 2 + b.len() * 3 + c.len()) as u64 * self.0;
    }
    fn by_value(&self, a: (u8, u64), b: Option<u32>, sum: &mut u64) {
        *sum += u64::from(a.0) + a.1 * self.0 + u64::from(b.unwrap_or(9));
    }
}

/// What a loop over the elements gives: the meaning of a chain.
struct Model<'a>(&'a [Step]);
impl Many for Model<'_> {
    fn word(&self, other: u16, word: i16, scale: f64) -> i16 {
        self.0.iter().fold(word, |word, step| step.word(other, word, scale))
    }
    fn byte(&self, x: u8) -> u8 {
        self.0.iter().fold(x, |x, step| step.byte(x))
    }
    fn signed(&self, x: i8, y: &u8) -> i8 {
        self.0.iter().fold(x, |x, step| step.signed(x, y))
    }
    fn wide(&self, x: u128) -> u128 {
        self.0.iter().fold(x, |x, step| step.wide(x))
    }
    fn floats(&self, a: f64, b: f64, c: f32) -> f64 {
        self.0.iter().fold(b, |b, step| step.floats(a, b, c))
    }
    fn owned(&self, text: String, n: &usize) -> String {
        self.0.iter().fold(text, |text, step| step.owned(text, n))
    }
    fn flag(&self, x: u64, log: &mut Vec<u32>) -> bool {
        self.0.iter().any(|step| step.flag(x, log))
    }
    fn find(&self, x: u64, text: &str) -> Option<String> {
        self.0.iter().find_map(|step| step.find(x, text))
    }
    fn check(&self, x: u64) -> Result<String, u32> {
        self.0.iter().try_fold(String::new(), |_, step| step.check(x))
    }
    fn flow(&self, x: &mut u64) -> ControlFlow<u64, u8> {
        self.0.iter().try_fold(0, |_, step| step.flow(x))
    }
    fn six(&self, a: &[u8], b: &[u8], c: &mut u64) {
        self.0.iter().for_each(|step| step.six(a, b, c));
    }
    fn stack(&self, a: &[u8], b: &[u8], c: &[u8], d: &mut u64) {
        self.0.iter().for_each(|step| step.stack(a, b, c, d));
    }
    fn by_value(&self, a: (u8, u64), b: Option<u32>, sum: &mut u64) {
        self.0.iter().for_each(|step| step.by_value(a, b, sum));
    }
}

fn answers(of: &impl Many, seed: u64) -> String {
    let (mut log, mut a, mut b, mut c) = (Vec::new(), 1, 2, 3);
    of.six(b"abc", b"de", &mut a);
    of.stack(b"abc", b"de", b"f", &mut b);
    of.by_value((seed as u8, seed), seed.is_multiple_of(2).then_some(5), &mut c);
    let mut left = seed * 3;
    let flow = of.flow(&mut left);
    let all = (
        (
            of.word(seed as u16, -(seed as i16), 1.5),
            of.byte(seed as u8),
            of.signed(seed as i8, &3),
            of.wide(1 << 90),
        ),
        (
            of.floats(0.5, seed as f64, 0.25),
            of.owned("x".into(), &2),
            of.flag(seed, &mut log),
            of.find(seed, "found "),
        ),
        (of.check(seed), flow, left, a, b, c, log),
    );
    format!("{all:?}")
}

/// A generator whose seed is all there is to know.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

#[test]
fn random_edits_do_what_a_vec_does() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let many: Chain<dyn Many> = Chain::EMPTY;
        let mut model: Vec<Step> = Vec::new();
        for _ in 0..120 {
            let new = Step(random.below(12) as u64);
            let (at, other) = (random.below(model.len()), random.below(model.len()));
            match random.below(9) {
                0 | 1 => {
                    many.push(new).unwrap();
                    model.push(new);
                }
                2 | 3 => {
                    many.insert(at, new).unwrap();
                    model.insert(at, new);
                }
                4 if !model.is_empty() => {
                    drop(many.remove(at).unwrap());
                    model.remove(at);
                }
                5 | 6 if !model.is_empty() => {
                    let old = many.replace(at, new).unwrap();
                    // Sometimes the next one finds the last still busy.
                    if random.below(2) == 0 {
                        drop(old.wait().unwrap());
                    }
                    model[at] = new;
                }
                7 if !model.is_empty() => {
                    many.swap(at, other).unwrap();
                    model.swap(at, other);
                }
                8 => {
                    let reverse = |list: &mut hotcall::Edit<dyn Many>| {
                        list.reverse();
                        list.push(new);
                        if list.len() > 20 {
                            list.clear();
                        }
                    };
                    drop(many.edit(reverse).unwrap());
                    model.reverse();
                    model.push(new);
                    if model.len() > 20 {
                        model.clear();
                    }
                }
                _ => assert!(matches!(many.remove(model.len()), Err(Error::NoElement { .. }))),
            }
            let guard = hotcall::pin();
            for question in [0, 3, 11] {
                let wanted = answers(&Model(&model), question);
                assert_eq!(answers(&many, question), wanted, "seed {seed}, {} elements", model.len());
                assert_eq!(answers(&many.bind(&guard), question), wanted);
            }
        }
        assert_eq!(many.borrowed(), "the chain's");
    }
}

#[test]
fn an_element_that_panics_leaves_everything_as_it_was() {
    struct Fragile(Arc<AtomicUsize>, bool);
    struct Local(Arc<AtomicUsize>);
    impl Drop for Local {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl Effect for Fragile {
        fn process(&self, sample: f32) -> f32 {
            let _local = Local(Arc::clone(&self.0));
            assert!(!self.1 || sample < 100.0, "the seventh");
            sample + 1.0
        }
        fn note(&self, log: &mut Vec<u32>) {
            let _local = Local(Arc::clone(&self.0));
            log.push(1);
            assert!(!self.1, "the seventh noted");
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let elements = (0..16).map(|number| Instance::new(Fragile(Arc::clone(&dropped), number == 6)));
    let rack: Chain<dyn Effect> = Chain::new(elements).unwrap();
    for round in 1..=3 {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _passed = Local(Arc::clone(&dropped));
            rack.process(200.0)
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the seventh");
        assert_eq!(
            dropped.swap(0, Ordering::Relaxed),
            8,
            "round {round}: seven elements' locals and the caller's"
        );
        assert_eq!(rack.process(0.0), 16.0);
        assert_eq!(dropped.swap(0, Ordering::Relaxed), 16);
        let mut log = Vec::new();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rack.note(&mut log)));
        assert!(caught.is_err() && log.len() == 7);
        dropped.store(0, Ordering::Relaxed);
    }
    // The panicking calls' sections are over.
    drop(rack.remove(6).unwrap().wait().unwrap());
    assert_eq!(rack.process(200.0), 215.0);
}

#[test]
fn a_backtrace_inside_an_element_shows_the_caller() {
    struct Looks(Mutex<String>);
    impl Effect for Looks {
        fn process(&self, sample: f32) -> f32 {
            *self.0.lock().unwrap() = std::backtrace::Backtrace::force_capture().to_string();
            sample
        }
        fn note(&self, _: &mut Vec<u32>) {
            panic!("{}", self.0.lock().unwrap());
        }
    }
    #[inline(never)]
    fn the_caller_of_the_chain(rack: &Chain<dyn Effect>) -> f32 {
        std::hint::black_box(rack.process(1.0)) + 1.0
    }
    let rack: Chain<dyn Effect> = chain![Nothing, Looks(Mutex::default()), Nothing].unwrap();
    assert_eq!(the_caller_of_the_chain(&rack), 2.0);
    let seen = rack.remove(1).unwrap().wait().unwrap().downcast::<Looks>().unwrap().0.into_inner().unwrap();
    let element = seen.find("Looks").unwrap_or_else(|| panic!("no element in {seen}"));
    let caller = seen.find("the_caller_of_the_chain").unwrap_or_else(|| panic!("no caller in {seen}"));
    assert!(element < caller, "{seen}");
}

#[test]
fn an_element_edits_the_chain_that_calls_it() {
    static RACK: Chain<dyn Effect> = Chain::EMPTY;
    struct Edits;
    impl Effect for Edits {
        fn process(&self, sample: f32) -> f32 {
            RACK.push(Gain(2.0)).unwrap();
            let gone = RACK.remove(0).unwrap();
            // This very call keeps it.
            let refused = gone.wait().unwrap_err();
            assert!(matches!(refused, hotcall::WaitError::WouldDeadlock(_)));
            // A call from inside sees the new list.
            assert_eq!(RACK.process(sample), sample * 2.0);
            sample
        }
        fn note(&self, _: &mut Vec<u32>) {}
    }
    RACK.push(Edits).unwrap();
    RACK.push(Nothing).unwrap();
    assert_eq!(RACK.process(3.0), 3.0, "the call goes on over the list with which it began");
    assert_eq!(RACK.process(3.0), 6.0);
    let inner = RACK.edit(|list| {
        list.push(Nothing);
        let refused = RACK.push(Nothing).unwrap_err();
        assert!(matches!(refused.error(), Error::Reentrant));
        RACK.len()
    });
    assert_eq!((inner.unwrap().0, RACK.len()), (0, 3));
    let caught = std::panic::catch_unwind(|| {
        RACK.edit(|list| {
            list.clear();
            panic!("inside an edit");
        })
    });
    assert!(caught.is_err());
    assert_eq!((RACK.len(), RACK.process(3.0)), (3, 6.0), "an edit that panics changes nothing");
    drop(RACK.clear().unwrap());
}

#[test]
fn two_threads_edit_while_two_call() {
    static RACK: Chain<dyn Effect> = Chain::EMPTY;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Pairs of +1 and -1 only, whatever the list.
                    assert_eq!(RACK.process(7.0), 7.0);
                }
            });
        }
        let editors = [1_u64, 2].map(|seed| {
            scope.spawn(move || {
                let mut random = Random(seed);
                for _ in 0..300 {
                    let change = |list: &mut hotcall::Edit<dyn Effect>| {
                        if list.len() > 30 || (!list.is_empty() && random.below(3) == 0) {
                            let pair = random.below(list.len() / 2) * 2;
                            list.remove(pair);
                            list.remove(pair);
                        } else {
                            let pair = random.below(list.len() / 2 + 1) * 2;
                            list.insert(pair, Add(-1.0));
                            list.insert(pair, Add(1.0));
                        }
                    };
                    drop(RACK.edit(change).unwrap());
                    let (len, at) = (RACK.len(), random.below(32));
                    // In place, where it can be: each call sees one of two equal lists.
                    if at < len {
                        let same = |list: &mut hotcall::Edit<dyn Effect>| {
                            if at < list.len() {
                                list.replace(at, Add(if at % 2 == 0 { 1.0 } else { -1.0 }));
                            }
                        };
                        drop(RACK.edit(same).unwrap());
                    }
                }
            })
        });
        for editor in editors {
            editor.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(RACK.clear().unwrap());
}

/// Replaced in place, one element after another: a call never sees a later replacement without an earlier one.
#[test]
fn replacements_in_place_are_seen_in_order() {
    #[dispatch]
    trait Stamp: Send + Sync {
        fn stamp(&self, log: &mut Vec<u64>);
    }
    struct At(u64);
    impl Stamp for At {
        fn stamp(&self, log: &mut Vec<u64>) {
            log.push(self.0);
        }
    }
    let stamps: Chain<dyn Stamp> = Chain::new((0..8).map(|_| Instance::new(At(0)))).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                log.clear();
                stamps.stamp(&mut log);
                // Replacement n is of element n % 8: what is there is the last eight, or a list that never was.
                let last = *log.iter().max().unwrap();
                for (index, stamp) in log.iter().enumerate() {
                    let wanted = (0..=last).rev().find(|n| *n as usize % 8 == index).unwrap_or(0);
                    assert!(*stamp == wanted, "{log:?}");
                }
            }
        });
        for number in 1..3_000_u64 {
            drop(stamps.replace(number as usize % 8, At(number)).unwrap());
            if number % 7 == 0 {
                std::thread::sleep(std::time::Duration::from_micros(number % 300));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[dispatch]
trait Counter: Send + Sync {
    fn bump(&self, count: &mut u64);
}
struct One(u64);
impl Counter for One {
    fn bump(&self, count: &mut u64) {
        *count += self.0;
    }
}

#[test]
fn a_hundred_thousand_elements() {
    const COUNT: usize = 100_000;
    let counter: Chain<dyn Counter> = Chain::new((0..COUNT).map(|_| Instance::new(One(1)))).unwrap();
    let count = |counter: &Chain<dyn Counter>| {
        let mut count = 0;
        counter.bump(&mut count);
        count
    };
    assert_eq!(count(&counter), 100_000);
    counter.push(One(5)).unwrap();
    drop(counter.replace(50_000, One(11)).unwrap());
    assert_eq!(count(&counter), 100_015);
    assert_eq!(counter.clear().unwrap().len(), COUNT + 1);
    assert_eq!(count(&counter), 0);
}

#[test]
fn a_chain_is_an_element_and_fills_a_slot() {
    #[hotcall::slot]
    static SLOT: dyn Effect = Nothing;
    let inner: Chain<dyn Effect> = chain![Gain(2.0), Add(1.0)].unwrap();
    let outer: Chain<dyn Effect> = chain![inner, Gain(10.0), Instance::<dyn Effect>::new(Nothing)].unwrap();
    drop(SLOT.replace(outer).unwrap());
    assert_eq!(SLOT.process(1.0), 30.0);
    drop(SLOT.restore().unwrap());
}

#[hotcall::slot]
static ON_PACKET: Chain<dyn Counter> = Chain::EMPTY;

#[test]
fn a_static_chain_is_declared_like_a_slot() {
    let mut count = 0;
    ON_PACKET.bump(&mut count);
    assert_eq!(count, 0);
    ON_PACKET.push(One(3)).unwrap();
    ON_PACKET.push(One(4)).unwrap();
    ON_PACKET.bump(&mut count);
    assert_eq!(count, 7);
    drop(ON_PACKET.clear().unwrap());
}

#[dispatch]
trait Exclusive: Send + Sync {
    fn step(&mut self, x: &mut u32);
}
struct Grows(u32);
impl Exclusive for Grows {
    fn step(&mut self, x: &mut u32) {
        self.0 += 1;
        *x += self.0;
    }
}

#[test]
fn methods_that_take_the_chain_exclusively() {
    let mut chain: Chain<dyn Exclusive> = chain![Grows(0), Grows(10)].unwrap();
    let mut x = 0;
    chain.step(&mut x);
    chain.step(&mut x);
    assert_eq!(x, 1 + 11 + 2 + 12);
}

//! How the results of the elements combine: what a loop over a `Vec` gives.

use std::ops::ControlFlow;

use hotcall::{Chain, Error, dispatch};

use crate::Random;

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

//! A trait with arguments and results of all kinds, and callers of all shapes: `tests/sites.rs` builds programs of them.
#![forbid(unsafe_code)]

use hotcall::dispatch;

/// Passed in one word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Small {
    /// A field.
    pub a: u8,
    /// Another.
    pub b: u16,
}

/// Passed by its address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Large(pub [u64; 8]);

/// All kinds.
#[dispatch]
pub trait Shapes: Send + Sync {
    fn none(&self) -> u64;
    fn unit(&self, out: &mut u64);
    fn one(&self, x: u64) -> u64;
    fn bytes(&self, a: u8, b: i8, c: u16, d: i16, e: bool) -> i64;
    fn wide(&self, a: u32, b: i32, c: i64, d: usize) -> i32;
    fn huge(&self, a: u128, b: i128) -> u128;
    fn floats(&self, a: f32, b: f64, c: f64) -> f64;
    fn mixed(&self, a: u64, b: f32, c: &str, d: f64) -> f32;
    fn text(&self, a: &str, b: &str) -> usize;
    fn slices(&self, a: &[u8], b: &mut [u64]) -> bool;
    fn object(&self, a: &dyn Fn(u64) -> u64) -> u64;
    fn small(&self, a: Small) -> Small;
    fn large(&self, a: Large) -> Large;
    fn option(&self, a: Option<u32>, b: Option<&str>) -> Option<u64>;
    fn tuple(&self, a: (u8, u64), b: (f32, f32)) -> (u64, u8);
    #[allow(clippy::too_many_arguments)]
    fn nine(&self, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64) -> u64;
    #[allow(clippy::too_many_arguments)]
    fn eleven(&self, a: u8, b: f64, c: &str, d: f32, e: &[u8], f: u32, g: f64, h: i64, i: f64, j: bool, k: f32) -> f64;
    fn array(&self, a: [u8; 3], b: [u64; 4]) -> [u32; 2];
    fn owned(&self, a: String, b: Vec<u8>) -> String;
    fn result(&self, a: Result<u32, u8>) -> Result<String, u8>;
    fn refs(&self, a: &Large, b: &mut Small) -> char;
}

/// What the implementors have in common: each works with a number.
macro_rules! implement {
    ($ty:ty, $number:expr) => {
        impl Shapes for $ty {
            fn none(&self) -> u64 {
                $number(self)
            }
            fn unit(&self, out: &mut u64) {
                *out = out.wrapping_mul(3).wrapping_add($number(self));
            }
            fn one(&self, x: u64) -> u64 {
                x.wrapping_add($number(self))
            }
            fn bytes(&self, a: u8, b: i8, c: u16, d: i16, e: bool) -> i64 {
                i64::from(a) * 3 + i64::from(b) * 5 + i64::from(c) * 7 + i64::from(d) * 11 + i64::from(e)
                    + $number(self) as i64
            }
            fn wide(&self, a: u32, b: i32, c: i64, d: usize) -> i32 {
                (a as i32).wrapping_mul(3).wrapping_add(b).wrapping_sub(c as i32).wrapping_add(d as i32 * 5)
                    .wrapping_add($number(self) as i32)
            }
            fn huge(&self, a: u128, b: i128) -> u128 {
                a.wrapping_mul(3).wrapping_add(b as u128).wrapping_add(u128::from($number(self)))
            }
            fn floats(&self, a: f32, b: f64, c: f64) -> f64 {
                f64::from(a) * 2.0 + b * 3.0 - c + $number(self) as f64
            }
            fn mixed(&self, a: u64, b: f32, c: &str, d: f64) -> f32 {
                a as f32 + b * 2.0 + c.len() as f32 + d as f32 + $number(self) as f32
            }
            fn text(&self, a: &str, b: &str) -> usize {
                a.len() * 3 + b.len() + $number(self) as usize
            }
            fn slices(&self, a: &[u8], b: &mut [u64]) -> bool {
                b[0] = a.len() as u64 + $number(self);
                a[0] as u64 > $number(self)
            }
            fn object(&self, a: &dyn Fn(u64) -> u64) -> u64 {
                a($number(self))
            }
            fn small(&self, a: Small) -> Small {
                Small { a: a.a.wrapping_add($number(self) as u8), b: a.b ^ 5 }
            }
            fn large(&self, a: Large) -> Large {
                Large(a.0.map(|one| one.wrapping_mul(3) ^ $number(self)))
            }
            fn option(&self, a: Option<u32>, b: Option<&str>) -> Option<u64> {
                Some(u64::from(a?) + b?.len() as u64 + $number(self))
            }
            fn tuple(&self, a: (u8, u64), b: (f32, f32)) -> (u64, u8) {
                (a.1.wrapping_add(b.0 as u64).wrapping_add($number(self)), a.0 ^ (b.1 as u8))
            }
            fn nine(&self, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64) -> u64 {
                [a, b, c, d, e, f, g, h, i].iter().fold($number(self), |sum, one| sum.wrapping_mul(31).wrapping_add(*one))
            }
            fn eleven(&self, a: u8, b: f64, c: &str, d: f32, e: &[u8], f: u32, g: f64, h: i64, i: f64, j: bool, k: f32) -> f64 {
                f64::from(a) + b * 2.0 + c.len() as f64 * 3.0 + f64::from(d) * 4.0 + e.len() as f64 * 5.0
                    + f64::from(f % 100) + g + h as f64 + i + f64::from(u8::from(j)) + f64::from(k) + $number(self) as f64
            }
            fn array(&self, a: [u8; 3], b: [u64; 4]) -> [u32; 2] {
                [u32::from(a[2]).wrapping_add(b[3] as u32), (b[0] as u32) ^ ($number(self) as u32)]
            }
            fn owned(&self, a: String, b: Vec<u8>) -> String {
                format!("{a}{}{}", b.len(), $number(self))
            }
            fn result(&self, a: Result<u32, u8>) -> Result<String, u8> {
                a.map(|one| format!("{one}{}", $number(self)))
            }
            fn refs(&self, a: &Large, b: &mut Small) -> char {
                b.a = b.a.wrapping_add(a.0[7] as u8).wrapping_add($number(self) as u8);
                char::from(b.a % 64 + 32)
            }
        }
    };
}

/// The default: nothing to load.
pub struct Nothing;
/// With a field.
pub struct One(pub u64);
/// With two.
pub struct Two(pub u64, pub u64);

implement!(Nothing, |_: &Nothing| 0_u64);
implement!(One, |one: &One| one.0);
implement!(Two, |two: &Two| two.0 * two.1);

/// Something of a result, for a sum.
pub fn mix<T: core::fmt::Debug>(sum: u64, value: T) -> u64 {
    format!("{value:?}").bytes().fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// Calls of every method, one after the other.
#[macro_export]
macro_rules! line {
    ($shapes:expr, $x:expr) => {{
        let shapes = $shapes;
        let x: u64 = ::core::hint::black_box($x);
        let large = $crate::Large([x; 8]);
        let mut small = $crate::Small { a: x as u8, b: 7 };
        let mut out = x;
        let mut numbers = [x; 3];
        let mut sum = $crate::mix(0, shapes.none());
        shapes.unit(&mut out);
        sum = $crate::mix(sum, shapes.one(x));
        sum = $crate::mix(sum, shapes.bytes(x as u8, -3, 9, x as i16, x & 1 == 0));
        sum = $crate::mix(sum, shapes.wide(x as u32, -9, x as i64, 4));
        sum = $crate::mix(sum, shapes.huge(u128::from(x) << 70, -5));
        sum = $crate::mix(sum, shapes.floats(x as f32, 2.5, x as f64));
        sum = $crate::mix(sum, shapes.mixed(x, 1.5, "four", 2.25));
        sum = $crate::mix(sum, shapes.text("some", "text"));
        sum = $crate::mix(sum, shapes.slices(&[x as u8, 2, 3], &mut numbers));
        sum = $crate::mix(sum, shapes.object(&|y| y.wrapping_mul(x)));
        sum = $crate::mix(sum, shapes.small(small));
        sum = $crate::mix(sum, shapes.large(large));
        sum = $crate::mix(sum, shapes.option(Some(x as u32), (x & 1 == 0).then_some("even")));
        sum = $crate::mix(sum, shapes.tuple((3, x), (1.5, 2.5)));
        sum = $crate::mix(sum, shapes.nine(x, 2, 3, 4, 5, 6, 7, 8, x));
        sum = $crate::mix(sum, shapes.eleven(1, 2.0, "three", 4.0, &[5; 5], x as u32, 7.0, 8, 9.0, true, 11.0));
        sum = $crate::mix(sum, shapes.array([1, 2, x as u8], [x; 4]));
        sum = $crate::mix(sum, shapes.owned("text".to_owned(), vec![1; 5]));
        sum = $crate::mix(sum, shapes.result(if x & 1 == 0 { Ok(x as u32) } else { Err(1) }));
        sum = $crate::mix(sum, shapes.refs(&large, &mut small));
        $crate::mix(sum, (out, numbers, small))
    }};
}

/// Calls under conditions, in loops, in closures and in functions that are inlined.
#[macro_export]
macro_rules! turns {
    ($shapes:expr, $x:expr) => {{
        let shapes = $shapes;
        let x: u64 = $x;
        let mut sum = x;
        for turn in 0..::core::hint::black_box(7_u64) {
            sum = match turn % 6 {
                0 => shapes.one(sum),
                1 if x & 1 == 0 => shapes.none().wrapping_add(sum),
                1 => shapes.text("odd", "turn") as u64,
                2 => $crate::mix(sum, shapes.floats(turn as f32, 1.0, 2.0)),
                3 => shapes.nine(sum, turn, 1, 2, 3, 4, 5, 6, 7),
                4 => {
                    let Some(found) = shapes.option(Some(turn as u32), Some("found")) else { break };
                    found ^ sum
                }
                _ => shapes.large($crate::Large([sum; 8])).0[5],
            };
            while sum % 5 != 0 {
                sum = shapes.one(sum | 1).wrapping_add(1) & !7;
                shapes.unit(&mut sum);
                sum -= sum % 5;
            }
        }
        let scaled: Vec<u64> = (0..5).map(|one| shapes.one(one) * 3).collect();
        let nested = |one: u64| scaled.iter().map(|other| shapes.one(one ^ other)).fold(0, u64::wrapping_add);
        let kept: usize = scaled.iter().filter(|one| shapes.one(**one) % 2 == 0).count();
        sum.wrapping_add(nested(sum)).wrapping_add(kept as u64).wrapping_add($crate::generic(shapes, sum))
            .wrapping_add($crate::deep(shapes, 6))
    }};
}

/// Over any that have the trait; one copy for each.
pub fn generic<E: Shapes + ?Sized>(shapes: &E, x: u64) -> u64 {
    let pair = shapes.tuple((1, x), (2.0, 3.0));
    if pair.0 % 2 == 0 { shapes.one(pair.0) } else { shapes.bytes(pair.1, 1, 2, 3, true) as u64 }
}

/// Calls itself between calls.
pub fn deep<E: Shapes + ?Sized>(shapes: &E, depth: u64) -> u64 {
    if depth == 0 {
        return shapes.none();
    }
    let before = shapes.one(depth);
    before.wrapping_add(deep(shapes, depth - 1)).wrapping_add(shapes.one(before))
}

/// What slots of an image answer, all callers taken together: bound and plain.
#[macro_export]
macro_rules! callers {
    ($($slot:path),*; $scale:path, $maybe:path) => {
        #[inline(never)]
        fn plain(x: u64) -> Vec<u64> {
            vec![$($crate::line!(&$slot, x)),*]
        }
        #[inline(never)]
        fn turning(x: u64) -> Vec<u64> {
            vec![$($crate::turns!(&$slot, x)),*]
        }
        #[inline(never)]
        fn bound(x: u64) -> Vec<u64> {
            let guard = ::hotcall::pin();
            let mut all = Vec::new();
            $(
                let bound = $slot.bind(&guard);
                all.push($crate::line!(&bound, x));
                all.push($crate::turns!(&bound, x));
            )*
            all
        }
        #[inline(never)]
        fn last(x: u64) -> u64 {
            $(if x == 1 { return $slot.one(x); })*
            $scale(x, 3)
        }
        #[inline(never)]
        fn functions(x: u64) -> u64 {
            let mut sum = $scale(x, 2);
            for turn in 0..::core::hint::black_box(3_u64) {
                sum = $scale(sum, turn).wrapping_add($maybe("text") as u64);
            }
            if sum % 2 == 0 { $scale(sum, 1) } else { $maybe("odd") as u64 }
        }
        /// What all callers get.
        pub fn all() -> Vec<Vec<u64>> {
            let of = |x: u64| [plain(x), turning(x), bound(x), vec![last(x), functions(x)]];
            (1..4).flat_map(of).collect()
        }
        /// What they should get, if a slot has `shapes`.
        pub fn expected<E: $crate::Shapes>(shapes: &E, scale: u64, maybe: usize) -> Vec<Vec<u64>> {
            let slots = [$(stringify!($slot)),*].len();
            let scaled = |x: u64, y: u64| x.wrapping_mul(scale).wrapping_add(y);
            let functions = |x: u64| {
                let mut sum = scaled(x, 2);
                for turn in 0..3 {
                    sum = scaled(sum, turn).wrapping_add(maybe as u64);
                }
                if sum % 2 == 0 { scaled(sum, 1) } else { maybe as u64 }
            };
            let of = |x: u64| {
                let (line, turns) = ($crate::line!(shapes, x), $crate::turns!(shapes, x));
                let last = if x == 1 { shapes.one(x) } else { scaled(x, 3) };
                [vec![line; slots], vec![turns; slots], [line, turns].repeat(slots), vec![last, functions(x)]]
            };
            (1..4).flat_map(of).collect()
        }
        /// Every slot gets `One(number)`.
        ///
        /// # Errors
        ///
        /// As `replace`.
        pub fn replace_all(number: u64) -> Result<(), ::hotcall::Error> {
            $(drop($slot.replace($crate::One(number))?);)*
            drop($scale.replace(move |x: u64, y: u64| x.wrapping_mul(number).wrapping_add(y))?);
            drop($maybe.replace(move |_: &str| number as usize)?);
            Ok(())
        }
        /// Checks what callers get, before slots are replaced and afterwards.
        ///
        /// # Errors
        ///
        /// As `replace`.
        pub fn check() -> Result<(), ::hotcall::Error> {
            assert_eq!(all(), expected(&$crate::Nothing, 2, 0));
            replace_all(3)?;
            assert_eq!(all(), expected(&$crate::One(3), 3, 3));
            replace_all(4)?;
            assert_eq!(all(), expected(&$crate::One(4), 4, 4));
            $(drop($slot.replace($crate::Two(2, 3))?);)*
            let two = expected(&$crate::Two(2, 3), 4, 4);
            assert_eq!(all(), two);
            Ok(())
        }
    };
}

//! A program whose slots begin with the same code: a linker may take their stubs for one.
//!
//! Two replace each other's neighbours; whoever shares a stub with another answers for it.
#![forbid(unsafe_code)]

use hotcall::{dispatch, slot};

#[dispatch]
trait Stage: Send + Sync {
    fn run(&self, x: u64) -> u64;
    fn again(&self, x: u64) -> u64;
}

struct Same;
impl Stage for Same {
    fn run(&self, x: u64) -> u64 {
        x
    }
    fn again(&self, x: u64) -> u64 {
        x
    }
}

struct Add(u64);
impl Stage for Add {
    fn run(&self, x: u64) -> u64 {
        x + self.0
    }
    fn again(&self, x: u64) -> u64 {
        x + 2 * self.0
    }
}

struct Times(u64);
impl Stage for Times {
    fn run(&self, x: u64) -> u64 {
        x * self.0
    }
    fn again(&self, x: u64) -> u64 {
        x * self.0 * self.0
    }
}

#[slot]
static A: dyn Stage = Same;
#[slot]
static B: dyn Stage = Same;
#[slot]
static C: dyn Stage = Same;

#[inline(never)]
fn a(x: u64) -> [u64; 2] {
    [A.run(x), A.again(x)]
}
#[inline(never)]
fn b(x: u64) -> [u64; 2] {
    [B.run(x), B.again(x)]
}
#[inline(never)]
fn c(x: u64) -> [u64; 2] {
    [C.run(x), C.again(x)]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all = || [a(7), b(7), c(7)];
    assert_eq!(all(), [[7, 7]; 3]);
    drop(A.replace(Add(1))?.wait()?);
    assert_eq!(all(), [[8, 9], [7, 7], [7, 7]]);
    drop(B.replace(Times(3))?.wait()?);
    assert_eq!(all(), [[8, 9], [21, 63], [7, 7]]);
    // Each wait is a grace period: the second comes when both have settled.
    drop(C.replace(Same)?.wait()?);
    drop(C.replace(Same)?.wait()?);
    assert_eq!(all(), [[8, 9], [21, 63], [7, 7]]);
    drop(A.restore()?.wait()?);
    assert_eq!(all(), [[7, 7], [21, 63], [7, 7]]);
    println!("each its own, {:?}", hotcall::backend());
    Ok(())
}

//! The slot names associated types.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Codec: Send + Sync {
    type Error;
    fn run(&self) -> Result<(), Self::Error>;
}
struct Text;
impl Codec for Text {
    type Error = u8;
    fn run(&self) -> Result<(), u8> {
        Ok(())
    }
}
#[slot]
static CODEC: dyn Codec<Error = u8> = Text;

fn main() {}

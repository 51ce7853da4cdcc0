//! The methods of a foreign trait are listed, where hotcall does not know them.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

mod codec {
    pub trait Codec {
        fn encode(&self, text: &str) -> Vec<u8>;
    }
}
hotcall::foreign!(codec::Codec);

mod seek {
    use std::io;
    hotcall::foreign!(io::Seek);
}

fn main() {}

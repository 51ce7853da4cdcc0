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
hotcall::foreign! {
    trait codec::Codec {
        fn encode(&self, text: &str) -> Vec<u8>;
    }
}

mod seek {
    hotcall::foreign!(std::io::Seek);
}

fn main() {}

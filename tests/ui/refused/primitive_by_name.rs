//! A name of a primitive that stands for something else: registers are chosen by names.
#![allow(dead_code)]
#![forbid(unsafe_code)]
use hotcall::dispatch;

mod samples {
    #[allow(non_camel_case_types)]
    pub type f64 = u64;
    #[allow(non_camel_case_types)]
    pub type str = String;

    #[hotcall::dispatch]
    pub trait Sink: Send + Sync {
        #[chain(all)]
        fn take(&self, sample: f64, note: &Option<str>);
    }
}

#[dispatch]
pub trait Pass<u16: 'static>: Send + Sync {
    fn pass(&self, value: u16);
}

fn main() {}

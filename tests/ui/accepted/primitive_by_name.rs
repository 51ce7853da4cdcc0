//! Names of primitives that stand for them, and other names of them.
#![allow(dead_code)]
#![forbid(unsafe_code)]
use hotcall::dispatch;

mod samples {
    pub type Sample = f64;
    pub type Note = String;

    #[hotcall::dispatch]
    pub trait Sink: Send + Sync {
        #[chain(all)]
        fn take(&self, sample: Sample, note: &Option<Note>);
    }
}

#[dispatch]
pub trait Pass<Value: 'static>: Send + Sync {
    fn pass(&self, value: Value);
}

fn main() {}

//! A lifetime that a result hides is written.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn view(&self, view: &View<'_>) -> View;
}
pub struct View<'a>(&'a str);

fn main() {}

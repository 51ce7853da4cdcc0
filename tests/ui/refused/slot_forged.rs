//! Only the macros make slots.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Text: Send + Sync {
    fn text(&self) -> String;
}
struct Owner(&'static str);
impl Text for Owner {
    fn text(&self) -> String {
        self.0.to_owned()
    }
}
#[slot]
static TEXT: dyn Text = Owner("right");
fn forge<D: hotcall::__private::Definition>(_: &hotcall::Slot<D>) -> hotcall::Slot<D> {
    hotcall::Slot::__new(&[8_usize, 1000])
}

fn main() {
    forge(&TEXT);
}

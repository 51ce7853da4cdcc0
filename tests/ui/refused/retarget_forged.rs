//! Only the macros say what may be retargeted, and by whom.
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

struct Other;
#[slot(control = CLOSED_CONTROL)]
static CLOSED: dyn Text = Owner("closed");
impl hotcall::Retarget for Other {
    type Interface = dyn Text;
    fn __core(&'static self) -> &'static hotcall::__private::SlotCore {
        TEXT.__core()
    }
}
impl hotcall::__private::Open for __hotcall_CLOSED::CLOSED {}

fn main() {}

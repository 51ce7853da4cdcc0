//! Only the control turns it.
#![allow(dead_code)]
#![forbid(unsafe_code)]

mod library {
    #[hotcall::key(control = TRACING_CONTROL)]
    pub static TRACING: bool = false;
    pub fn set(on: bool) {
        TRACING_CONTROL.set(on).unwrap();
    }
}

fn main() {
    library::TRACING.set(true).unwrap();
    assert!(library::TRACING.is_on());
}

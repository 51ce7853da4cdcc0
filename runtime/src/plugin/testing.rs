//! For tests: an interface written out by hand, what `#[dispatch]` would say of `Probe`; and numbers to mutate files with.
#![allow(unsafe_code)]

use crate::interface::{Code, Description, Implements, Interface, Method};

pub(super) trait Probe: Send + Sync {
    fn get(&self) -> u32;
}

impl Probe for usize {
    fn get(&self) -> u32 {
        *self as u32
    }
}

// SAFETY: one method, in `DESCRIPTION` and in `METHODS`.
unsafe impl Interface for dyn Probe {
    type Itself = Self;
    const DESCRIPTION: Description = Description {
        name: "dyn Probe",
        crate_name: "testing",
        crate_version: "0.0.0",
        since: "",
        definitions: &[],
        shares_memory: false,
        leaves_nothing: false,
        methods: &[Method { name: "get", signature: "get(&self) -> u32", layout: &[(4, 4)] }],
    };
    const EXCLUSIVE: bool = false;
    type Access = crate::slot::SharedAccess;
    type Methods<V> = V;
}

// SAFETY: `get` is an `extern "C-unwind"` function that takes a pointer to a live `T`.
unsafe impl<T: Probe + 'static> Implements<T> for dyn Probe {
    const METHODS: &'static [Code] = &[Code::new(get::<T> as *const ())];

    fn object(this: *mut ()) -> *mut Self {
        this.cast::<T>()
    }
}

unsafe extern "C-unwind" fn get<T: Probe>(this: *const T) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { &*this }.get()
}

/// Numbers below a bound, the same on every run: xorshift64, by Marsaglia.
pub(crate) fn random() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

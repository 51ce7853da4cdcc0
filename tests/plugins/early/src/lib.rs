//! A plugin whose library calls a slot, or replaces one, while it is loaded: before it can be linked to the program.
#![deny(unsafe_code)]
#![cfg(target_os = "linux")]

use hotcall::slot;
use hotcall_host_slots::early::{EARLY, Early, LATE, Late, REPLACES};
use hotcall_host_slots::named::{Fixed, Number};

#[slot]
static OWN: dyn Number = Fixed(1);

struct Plugin;

impl Early for Plugin {
    fn late(&self) -> u64 {
        LATE.run()
    }
}

extern "C" fn start() {
    match std::env::var_os(EARLY) {
        Some(what) if what == REPLACES => {
            if let Ok(retired) = OWN.replace(Fixed(OWN.number() + 1)) {
                drop(retired);
            }
        }
        Some(_) => {
            std::thread::spawn(|| LATE.run());
        }
        None => {}
    }
}

// SAFETY: the dynamic linker calls what is listed there when it has relocated the library.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

hotcall::export!(dyn Early, "early", |_: &str| Plugin);

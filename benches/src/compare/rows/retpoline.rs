//! The vtable call as compiled with retpolines: where indirect branches are not trusted.
//!
//! Stable rustc cannot compile them in, so the call goes through the same thunk, written out: the target is
//! passed in a register, stored over a return address, and returned to. The compiler's own would take the
//! target in `r11`; nothing else differs.

use crate::compare::chain::Row;
#[cfg(target_arch = "x86_64")]
pub use thunk::{in_c, with_retpoline};

/// The rows of the group: the limit, the vtable with and without, and the slot, whose stub is a direct jump.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = super::pick(&["direct", "dyn", "slot_call", "slot_bound"]);
    rows.push(in_c());
    rows.push(with_retpoline());
    rows
}

#[cfg(target_arch = "x86_64")]
mod thunk {
    #![allow(unsafe_code)]

    use core::arch::naked_asm;

    use hotcall_bench_step::{KEY, turn};

    use crate::compare::chain::{Row, chain};
    use crate::row;

    /// A method, in a calling convention that assembly can rely on.
    type Method = unsafe extern "C" fn(*const (), u64) -> u64;

    /// A vtable with one method, laid out like the compiler's.
    #[repr(C)]
    struct Table {
        drop: usize,
        size: usize,
        align: usize,
        step: Method,
    }

    /// A fat pointer.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Object {
        data: *const (),
        table: &'static Table,
    }

    // SAFETY: the data of the one object is never read.
    unsafe impl Sync for Object {}

    extern "C" fn step(_this: *const (), x: u64) -> u64 {
        turn(x, KEY)
    }

    static TABLE: Table = Table { drop: 0, size: 0, align: 1, step };
    static OBJECT: Object = Object { data: core::ptr::dangling(), table: &TABLE };

    #[inline(always)]
    fn reloaded() -> Object {
        // SAFETY: a static: aligned, live, initialised.
        unsafe { core::ptr::read_volatile(&raw const OBJECT) }
    }

    /// Calls `method(this, x)` without an indirect branch that could be predicted.
    ///
    /// # Safety
    ///
    /// As for calling `method` with these arguments.
    #[unsafe(naked)]
    unsafe extern "C" fn retpoline(this: *const (), x: u64, method: Method) -> u64 {
        naked_asm!(
            "call 3f",
            "2:", // where the processor goes by speculation, and stays
            "pause",
            "lfence",
            "jmp 2b",
            ".balign 16, 0xcc",
            "3:",
            "mov qword ptr [rsp], rdx",
            "ret",
        )
    }

    /// The same object, called with an ordinary indirect call.
    #[must_use]
    pub fn in_c() -> Row {
        row!("dyn_c", false, "a hand-made vtable, for comparison with dyn_retpoline", |P, seed| {
            chain::<P>(seed, |x| {
                let object = reloaded();
                // SAFETY: the table's method takes any pointer.
                unsafe { (object.table.step)(object.data, x) }
            })
        })
    }

    /// The object, called through a retpoline.
    #[must_use]
    pub fn with_retpoline() -> Row {
        row!(
            "dyn_retpoline",
            false,
            "vtable call through an equivalent of the compiler's thunk",
            |P, seed| {
                chain::<P>(seed, |x| {
                    let object = reloaded();
                    // SAFETY: as in `in_c`.
                    unsafe { retpoline(object.data, x, object.table.step) }
                })
            }
        )
    }
}

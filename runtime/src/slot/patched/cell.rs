//! A method's cell: where its stub goes, in data.
//!
//! | it holds | the stub calls |
//! |---|---|
//! | null | the slot's default: before the first replacement |
//! | [`INSTALLED`](CodeCell::INSTALLED) | the method of what the slot holds, with the instance beside it: see the module's head |
//! | code | that, with what its caller passes |

use core::sync::atomic::{AtomicPtr, Ordering};

use crate::interface::Code;

/// Where the stub of one method of a slot goes. Null before the first replacement: to the slot's default.
///
/// It is a site like a call that is patched, stored together with it; the argument of the module's head holds for each by
/// itself. `repr(transparent)`: the program writes to the cells of libraries that are linked.
#[derive(Debug)]
#[repr(transparent)]
pub struct CodeCell(AtomicPtr<()>);

impl CodeCell {
    /// The default.
    #[allow(clippy::declare_interior_mutable_const, reason = "it is what each cell of a static begins with")]
    pub const EMPTY: Self = Self(AtomicPtr::new(core::ptr::null_mut()));

    /// What no cell ever holds, for a function at this address would be in the first page. The compiler does not know.
    pub const NEVER: *const () = core::ptr::without_provenance(1);

    /// Where no code memory is to be had: the stub reads what the slot holds. Whatever is above is code.
    pub const INSTALLED: *const () = core::ptr::without_provenance(2);

    /// What the stub is to run instead of the default.
    #[inline(always)]
    #[must_use]
    pub fn load(&self) -> *const () {
        // Acquire, partner of the Release in `store`: the code, and what it works on, are there.
        self.0.load(Ordering::Acquire)
    }

    /// The caller holds the writers' lock, and sees to the invariants of the module's head.
    pub(super) fn store(&self, code: Code) {
        self.0.store(code.as_ptr().cast_mut(), Ordering::Release);
    }

    /// From now on the stub reads what the slot holds. As for [`store`](Self::store).
    pub(super) fn store_installed(&self) {
        self.0.store(Self::INSTALLED.cast_mut(), Ordering::Release);
    }
}

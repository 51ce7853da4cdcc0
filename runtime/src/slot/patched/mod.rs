//! The patched backend: the program's own calls are sites, which are retargeted in place.
//!
//! # Problem
//!
//! A call through a slot should be a direct call, wherever it stands. Its destination and the instance it works on must change
//! together, while other threads are calling; and two words cannot be stored at once.
//!
//! # Idea
//!
//! A method of a slot has *sites*, each of which says what runs: the calls that the compiler placed, aligned by the assembler and
//! recorded, whose displacements are stored to; and the *cell*, a pointer through which the method's stub goes, and with it
//! every call that is not patched. The stub is an ordinary function: with nothing in the cell it calls the slot's default.
//!
//! ```text
//!                    call ──────────────► method       a patched site: the displacement says what runs
//!  load `this` ─────┤
//!                    call stub ─► cell ─► method       any other call: the cell says what runs
//! ```
//!
//! The caller loads the slot's `this` word and passes it. So a replacement goes through a *thunk* that brings its own instance along,
//! and drops it again once every caller is known to pass the right one:
//!
//! ```text
//!               caller passes      sites lead to                      callers run
//!  settled A    A                  A::f                               A::f(A)
//!  transition   A, later B         thunk: mov rdi, B; jmp B::f        B::f(B), whatever they pass
//!  settled B    B                  B::f                               B::f(B)
//! ```
//!
//! * **Transition** (in `replace`): write the thunk; one store retargets each site; one heavy barrier: from here on
//!   every call runs B. Then store B into the `this` word.
//! * **Settle** (a grace period later, by the reclaimer): no caller is left that loaded A from the `this` word,
//!   so the sites may go straight to `B::f`. The thunk is released a grace period after that.
//!
//! Sites of one method change one after the other. Between the first and the last, calls through different sites run different
//! implementors, as calls on different threads do; each runs the old or the new, and none a mixture.
//!
//! # Invariants
//!
//! 1. A site whose target is a method of B's type without a thunk is reached only by callers whose `this` is of that type.
//!    (Two sorts of code need no rule, for they ignore `this`: that of a type without bytes; and that which stubs run while their
//!    cell is null, which reads the static of the default in its own image. The code in the default's *table*, which is
//!    what `restore` installs, reads `this` as any other does.)
//! 2. The `this` word is of B's type only after the barrier that followed the sites' stores to B's thunks, or where there
//!    is none, after a grace period.
//! 3. Only the holder of the writers' lock stores to sites, `this`, `installed` and `id`.
//! 4. Whatever a site has stopped leading to is released only after a grace period that began after the
//!    barrier that followed the store.
//!
//! # Why invariant 1 holds
//!
//! When B settles, a grace period has passed that began after `this` became B, and no other type's instance has
//! come in between (the slot's serial tells; if one has, B never settles and its thunk goes with it). A call
//! that loaded A began before that grace period, as did the guard that it was made under, and is over. One that began
//! later loaded B, or what replaced it and is of its type. If a guard is held for ever, the grace period never ends, the
//! thunk stays, and every call is right.
//!
//! # In place
//!
//! What a settled slot holds is most often replaced by another instance of its type: new parameters, a rule more, a level
//! changed. Its code stays, so the sites do, and one store of the `this` word is the whole replacement: no code is written,
//! no barrier is passed, nobody is interrupted. A call loads the word once it has begun, so every call that begins later
//! finds the new one; and a call that loaded the old one is waited for as ever. Invariant 1 holds because it speaks of B's
//! type: each of the words that callers may have loaded since B settled is an instance of it, and each is still there.
//!
//! While a thunk stands in the way, callers run the instance that it names, whatever `this` says: then even an instance of
//! the same type takes a thunk of its own. The settling that is due still comes, for the type is the one that it waits for.
//! And a thunk stands in the way for as long as a core may run the jump to it that it has fetched. So a slot has settled only
//! when a barrier was passed after its sites went straight: that of the next grace period, or of the first instance that comes
//! before that is over, and still needs no thunk.
//!
//! # Where code memory is refused
//!
//! A thunk needs code memory, and a system may refuse it: a limit, a policy, an emulator that does not see what is written. Then
//! nothing is written but words. The cell says [`INSTALLED`](CodeCell::INSTALLED), and the stub loads `installed`, which is one
//! word for both, instance and table:
//!
//! ```text
//!  settled A    A                  A::f                               A::f(A)
//!  transition   A, later B         stub: load `installed`             A::f(A), from the store of `installed` on B::f(B)
//!  settled B    B                  B::f                               B::f(B)
//! ```
//!
//! It takes the place of the thunk and of nothing else. Like a thunk, the stub ignores what callers pass, so invariants 1 and 2
//! hold; the caller's section keeps what it found there (invariant 4: it is retired after the store). Calls that were patched
//! before go back to their stubs; in a settled slot the cell holds the code, as ever. What is refused is so for each
//! replacement by itself, and said the first time.
//!
//! # Where there is no barrier
//!
//! Without `membarrier`, a core may run what it prefetched before the stores. A pinned section serialises its core if code was
//! written since that last did so, after its pin. So a grace period stands in for the barrier: only when it has passed is
//! `this` stored, and only after a second one do sites go straight.
//!
//! Before the first replacement nothing has run: calls lead to the stub, its cell is null, so that it calls the default
//! itself, and `this` is a constant.

mod cell;
mod link;
mod sites;
mod stub;
mod writer;

use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::Arc;

use crate::arena::ExecAddr;
use crate::installed::Installed;
use crate::instance::RawInstance;
use crate::interface::{Code, Description, Table};
use crate::slot::identity::Identity;

pub use cell::CodeCell;
pub(crate) use link::{Linked, Refused, link, link_here};
pub use sites::patch_callers;
pub use stub::call_padding;
pub use writer::emitted;
pub(crate) use writer::{Committed, Writer, finish};

/// The part of a slot that does not depend on its interface.
///
/// Invariants: those of this module's head, and:
/// 5. `installed` is null, for the default, or a pointer from `Arc::into_raw` whose count the slot holds; where `linked`,
///    the count is held by the slot of the program that this one follows.
///
/// `repr(C)`: the program writes to the slots of libraries that are linked.
#[repr(C)]
pub struct SlotCore {
    this: AtomicPtr<()>,
    installed: AtomicPtr<Installed>,
    /// Where the writer keeps the slot's sites, plus one; 0 before the first replacement.
    id: AtomicU32,
    /// It follows the slot of this name in the program: see [`link`].
    linked: AtomicBool,
    name: &'static str,
    identity: &'static Identity,
    description: &'static Description,
    default_data: NonNull<()>,
    default_table: &'static Table,
    /// What stubs run before the first replacement. It ignores `this`, and reads the default of this very slot.
    defaults: &'static [Code],
    /// Its cells, which stand beside this in the static.
    cells: fn() -> &'static [CodeCell],
    /// It is used through its lock, which is the slot's own: it is not linked.
    exclusive: bool,
}

// SAFETY: the default is a static of a `Sync` type (`Slot::__new`); all else is atomic.
unsafe impl Send for SlotCore {}
// SAFETY: as above.
unsafe impl Sync for SlotCore {}

impl SlotCore {
    #[allow(clippy::too_many_arguments, reason = "each is another thing that the macro says")]
    pub(crate) const fn new(
        name: &'static str,
        identity: &'static Identity,
        description: &'static Description,
        default_data: NonNull<()>,
        default_table: &'static Table,
        defaults: &'static [Code],
        cells: fn() -> &'static [CodeCell],
        exclusive: bool,
    ) -> Self {
        Self {
            this: AtomicPtr::new(default_data.as_ptr()),
            installed: AtomicPtr::new(ptr::null_mut()),
            id: AtomicU32::new(0),
            linked: AtomicBool::new(false),
            name,
            identity,
            description,
            default_data,
            default_table,
            defaults,
            cells,
            exclusive,
        }
    }

    /// The slot's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What a method runs before the first replacement: see `defaults`.
    fn default_code(&self, method: usize) -> ExecAddr {
        ExecAddr::new(self.defaults[method].address())
    }

    /// The cells of its methods.
    fn cells(&self) -> &'static [CodeCell] {
        (self.cells)()
    }

    pub(crate) fn default_data(&self) -> NonNull<()> {
        self.default_data
    }

    pub(crate) fn default_table(&self) -> &'static Table {
        self.default_table
    }

    /// What is installed. The caller holds a guard, a section or the writers' lock while it uses the answer.
    pub(crate) fn current(&self) -> (*mut (), &'static Table) {
        match self.holder() {
            Some(installed) => (installed.data(), installed.table()),
            None => (self.default_data.as_ptr(), self.default_table),
        }
    }

    /// The code of a method in what is installed, and the instance. The caller is protected as for [`current`](Self::current).
    #[inline(always)]
    pub(crate) fn installed_code(&self, method: usize) -> Option<(*const (), Code)> {
        let installed = self.holder()?;
        // SAFETY: the slot's stubs ask, each for its own method, and what is installed has the slot's interface.
        let code = unsafe { installed.method(method) };
        Some((installed.data(), code))
    }

    /// What is installed, with what holds it; nothing, for the default. The caller is protected as for [`current`](Self::current).
    #[inline(always)]
    pub(crate) fn holder(&self) -> Option<&Installed> {
        // Acquire, partner of the AcqRel swap in `install` and of the Release in `mirror`: the instance is there.
        let installed = self.installed.load(Ordering::Acquire);
        // SAFETY: invariant 5; the caller's protection keeps the count from going to zero.
        unsafe { installed.as_ref() }
    }

    /// What is installed, with a count of its own. The caller holds the writers' lock.
    pub(crate) fn installed(&self) -> Arc<Installed> {
        let installed = self.installed.load(Ordering::Acquire);
        if installed.is_null() {
            return Arc::new(Installed::new(RawInstance::borrowed(self.default_data, self.default_table)));
        }
        // SAFETY: invariant 5, and only the holder of the lock takes the slot's count away (invariant 3).
        unsafe { Arc::increment_strong_count(installed) };
        // SAFETY: invariant 5; the count has just been made.
        unsafe { Arc::from_raw(installed) }
    }

    /// Makes callers pass `new`. The caller holds the writers' lock, and sees to invariants 1 and 2.
    fn publish(&self, new: &Installed) {
        // Release, partner of the Acquire in `BoundCore::this`.
        self.this.store(new.data(), Ordering::Release);
    }

    /// Takes the slot's count of what was there, and gives it that of `new`. The caller holds the writers' lock.
    fn install(&self, new: Arc<Installed>) -> Arc<Installed> {
        let old = self.installed.swap(Arc::into_raw(new).cast_mut(), Ordering::AcqRel);
        if old.is_null() {
            return Arc::new(Installed::new(RawInstance::borrowed(self.default_data, self.default_table)));
        }
        // SAFETY: invariant 5: the pointer came from `Arc::into_raw`, and the slot gives its count away.
        unsafe { Arc::from_raw(old) }
    }
}

impl fmt::Debug for SlotCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotCore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a bound slot carries: where its `this` word is.
///
/// The word is loaded at each call, for an instance of the same type is swapped in by storing it alone. A guard or a
/// section protects whatever it says in the meantime.
pub(crate) struct BoundCore<'g> {
    this: &'g AtomicPtr<()>,
}

impl<'g> BoundCore<'g> {
    #[inline(always)]
    pub(crate) fn new(core: &'g SlotCore) -> Self {
        Self { this: &core.this }
    }

    #[inline(always)]
    pub(crate) fn this(&self) -> *const () {
        // Acquire, partner of the Release in `publish`: what the method reads through it is there.
        self.this.load(Ordering::Acquire)
    }

    pub(crate) fn load(&self, _index: usize) -> (*const (), Code) {
        unreachable!("the patched backend patches calls; only the portable one loads code")
    }
}

//! The section that every plain call runs in and every guard holds, and how a thread chooses between its two kinds.

use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::record::Flag;
use super::{Sections, registry};
use crate::sys::barrier;

thread_local! {
    static FORCED: Cell<bool> = const { Cell::new(false) };
}

/// Which kind of section the calling thread's next plain call takes.
///
/// ```
/// println!("calls are protected by {:?} sections", hotcall::sections());
/// ```
#[must_use]
pub fn sections() -> Sections {
    if FORCED.get() || !barrier::is_available() { Sections::Pinned } else { Sections::Asymmetric }
}

/// Forces the calling thread's sections to be pinned ones, or lets it choose again.
///
/// Both kinds are always waited for, so threads may differ, and a thread may change its mind inside a call. For tests and
/// comparisons.
pub fn force_pinned_sections(force: bool) {
    FORCED.set(force);
    #[cfg(feature = "negative-controls")]
    registry::given_up::give_up();
    registry::choose_again();
}

/// While it lives, nothing that the thread finds in a slot is freed. Not `Send`.
///
/// Sections of a thread nest, and overlap, and end in any order.
///
/// Invariant: `flag` is one of the thread's own, in which this section was announced and no other is; or it is [`NOWHERE`].
pub struct Section {
    flag: &'static Flag,
    not_send: PhantomData<*const ()>,
}

/// The flag of sections for which the system had no memory. Nobody looks at it.
static NOWHERE: Flag = Flag::new();

/// There has been such a section: when it is over, nobody knows, so that no grace period ends any more.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

impl Section {
    /// Begins a section. Small enough to be inlined at every call.
    #[inline(always)]
    pub(crate) fn enter() -> Self {
        let flag = registry::current();
        if !flag.is_ready() {
            return Self::enter_slowly();
        }
        flag.enter();
        Self::announced(flag)
    }

    #[inline(always)]
    fn announced(flag: &'static Flag) -> Self {
        Self { flag, not_send: PhantomData }
    }

    /// The flag is taken; or the thread has no record yet, or is not to use it without a fence.
    #[cold]
    #[inline(never)]
    fn enter_slowly() -> Self {
        let flag = registry::current_fenced();
        if flag.is_free() {
            return Self::enter_fenced(flag);
        }
        Self::enter_elsewhere()
    }

    #[inline]
    fn enter_fenced(flag: &'static Flag) -> Self {
        flag.enter_fenced();
        stale::serialise();
        Self::announced(flag)
    }

    #[inline(never)]
    fn enter_elsewhere() -> Self {
        let fenced = sections() == Sections::Pinned;
        let Some(flag) = registry::free_flag() else { return Self::unannounced() };
        registry::choose(flag, fenced);
        if fenced {
            return Self::enter_fenced(flag);
        }
        flag.enter();
        Self::announced(flag)
    }

    #[cold]
    fn unannounced() -> Self {
        // Partner of the load in `wait_for_readers`, which follows a fence, too.
        EXHAUSTED.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        stale::serialise();
        Self::announced(&NOWHERE)
    }
}

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        self.flag.leave();
    }
}

/// Whether the calling thread is inside a call or holds a guard: then it must not wait for a grace period.
pub(crate) fn is_protected() -> bool {
    #[cfg(patched)]
    if super::linked::is_protected() {
        return true;
    }
    is_protected_here()
}

/// The same, as far as this copy of hotcall knows.
pub(crate) fn is_protected_here() -> bool {
    // Where nothing is freed any more, a wait would never end either.
    registry::is_inside() || EXHAUSTED.load(Ordering::Relaxed)
}

/// Whether there has been a section that nobody knows of.
pub(crate) fn is_exhausted() -> bool {
    EXHAUSTED.load(Ordering::SeqCst)
}

/// After something was made unreachable, or code was written: every running thread passes a full barrier and, where calls are
/// patched, drops what it has prefetched.
///
/// Without `membarrier`, only this thread passes one, and the others do as they begin sections.
pub(crate) fn heavy_barrier() {
    if barrier::is_available() {
        barrier::heavy();
    } else {
        fence(Ordering::SeqCst);
        stale::code_written();
        #[cfg(patched)]
        super::linked::code_written();
    }
}

/// Whether [`heavy_barrier`] reaches other threads at once.
#[cfg(patched)]
pub(crate) fn has_barrier() -> bool {
    barrier::is_available()
}

#[cfg(patched)]
pub(crate) use stale::code_written;
pub(crate) use stale::serialise as serialise_if_stale;

/// Where no `membarrier` is to be had: a thread serialises its core if code was written since it last did.
#[cfg(patched)]
mod stale {
    use core::cell::Cell;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use crate::sys::barrier;

    /// Counts what has been retargeted where no barrier reaches other threads.
    static CODE_VERSION: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static SEEN_VERSION: Cell<usize> = const { Cell::new(0) };
    }

    /// Sections that begin from now on serialise their cores first.
    pub(crate) fn code_written() {
        // SeqCst, partner of the load in `serialise`.
        CODE_VERSION.fetch_add(1, Ordering::SeqCst);
    }

    /// Called when a section has begun, so that it runs the new target if it began after the retarget.
    #[inline]
    pub(crate) fn serialise() {
        if !barrier::is_available() {
            // SeqCst, partner of the increment in `code_written`.
            let version = CODE_VERSION.load(Ordering::SeqCst);
            let seen = SEEN_VERSION.replace(version);
            if seen != version {
                crate::arch::serialise();
            }
        }
    }
}

/// No code is written in the portable backend.
#[cfg(not(patched))]
mod stale {
    pub(crate) fn code_written() {}
    #[inline(always)]
    pub(crate) fn serialise() {}
}

/// The phase that is waited for; 0 while none is. For reports: where two wait, it is that of one of them.
static WAITED_FOR: AtomicU64 = AtomicU64::new(0);

struct WaitedFor;

impl WaitedFor {
    fn new(phase: u64) -> Self {
        WAITED_FOR.store(phase, Ordering::Relaxed);
        Self
    }
}

impl Drop for WaitedFor {
    fn drop(&mut self) {
        WAITED_FOR.store(0, Ordering::Relaxed);
    }
}

/// Visits the number of each thread that is waited for.
pub(crate) fn for_each_waited_for(visit: &mut dyn FnMut(u32)) {
    let phase = WAITED_FOR.load(Ordering::Relaxed);
    if phase != 0 {
        registry::for_each_before(phase, visit);
    }
}

/// W3 and W4 of [`super::record`]: waits until every section that is there now is over; or until `go_on`, which is asked between
/// looks, says no. Whether they are over. The caller has passed the heavy barrier.
pub(crate) fn wait_for_readers(mut go_on: impl FnMut() -> bool) -> bool {
    // Partner of the fences of sections that have one.
    fence(Ordering::SeqCst);
    while EXHAUSTED.load(Ordering::SeqCst) {
        if !go_on() {
            return false;
        }
    }
    let phase = registry::PHASES.next();
    let _waited_for = WaitedFor::new(phase);
    let mut waiting: Vec<_> = registry::flags().filter(|flag| !flag.has_passed(phase)).collect();
    waiting.iter().for_each(|flag| flag.raise(phase));
    loop {
        waiting.retain(|flag| !flag.has_passed(phase));
        if waiting.is_empty() {
            return true;
        }
        if !go_on() {
            return false;
        }
    }
}

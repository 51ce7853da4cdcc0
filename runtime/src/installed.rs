//! What a slot holds, from `replace` to the moment it is freed or given back.

use core::any::Any;
use core::cell::UnsafeCell;
use core::panic::Location;
use core::task::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::handover::{ABANDONED, BOTH, DRAINED, Handover};
use crate::instance::RawInstance;
use crate::interface::{Code, Table};
use crate::leases::Leases;

/// Replaced instances, and those of them that have drained.
pub(crate) static RETIRED: AtomicU64 = AtomicU64::new(0);
pub(crate) static FREED: AtomicU64 = AtomicU64::new(0);

/// An instance in a slot, or on its way out of one.
///
/// `data` and `table` are copies for readers, who are protected by a section or a guard. The instance itself is handed
/// on without a lock: a batch retires ten thousand of these, and a fork may come at any moment.
///
/// `repr(C)`: libraries that are linked read the copies of what the program installs.
///
/// Invariant: `instance` is touched by whoever completed the marks of `handover`, and by nobody else.
#[repr(C)]
pub(crate) struct Installed {
    data: *mut (),
    /// Those of `table`: one load less for a handle's call.
    methods: *const Code,
    table: &'static Table,
    instance: UnsafeCell<Option<RawInstance>>,
    handover: Handover,
    leases: Leases,
    /// A `fn(*const Installed)`: what the last lease calls. Stored before the leases are settled.
    let_go: AtomicPtr<()>,
    /// Where there are leases.
    places: [Place; PLACES],
    /// Null, or from `Box::into_raw`: who is to be woken when it has drained.
    waker: AtomicPtr<Waker>,
}

/// So many places are told apart where an instance is leased.
const PLACES: usize = 3;

/// Leases that were taken in one place of the source.
#[derive(Debug)]
#[repr(C)]
struct Place {
    /// Null, or a `&'static Location`.
    location: AtomicPtr<Location<'static>>,
    leases: AtomicUsize,
}

// SAFETY: a slot takes `Send + Sync` instances only (`Slot::replace`); `data` is only a copy of the
// instance's address.
#[allow(unsafe_code)]
unsafe impl Send for Installed {}
// SAFETY: as above; one at a time touches the instance, by the invariant.
#[allow(unsafe_code)]
unsafe impl Sync for Installed {}

impl core::fmt::Debug for Installed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Installed").field("type", &self.table.type_name()).finish_non_exhaustive()
    }
}

impl Installed {
    pub(crate) fn new(instance: RawInstance) -> Self {
        Self {
            data: instance.data(),
            methods: instance.table().methods().as_ptr(),
            table: instance.table(),
            instance: UnsafeCell::new(Some(instance)),
            handover: Handover::new(),
            leases: Leases::new(),
            let_go: AtomicPtr::new(core::ptr::null_mut()),
            places: core::array::from_fn(|_| Place {
                location: AtomicPtr::new(core::ptr::null_mut()),
                leases: AtomicUsize::new(0),
            }),
            waker: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    pub(crate) fn data(&self) -> *mut () {
        self.data
    }

    /// The code of method `index`.
    ///
    /// # Safety
    ///
    /// The interface of `table` has a method of that index.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(crate) unsafe fn method(&self, index: usize) -> Code {
        // SAFETY: the caller's promise: `methods` points to as many codes as the interface has methods.
        let code = unsafe { self.methods.add(index) };
        // SAFETY: as above.
        unsafe { code.read() }
    }

    pub(crate) fn table(&self) -> &'static Table {
        self.table
    }

    /// Whether the methods are the same code: instances of one type.
    #[cfg(patched)]
    pub(crate) fn has_code_of(&self, other: &Self) -> bool {
        core::ptr::eq(self.table, other.table) || self.table.methods() == other.table.methods()
    }

    /// Sets `mark`. The instance, where that has completed the marks.
    fn mark(&self, mark: usize) -> Option<RawInstance> {
        if !self.handover.set(mark) {
            return None;
        }
        // SAFETY: the invariant.
        #[allow(unsafe_code)]
        let instance = unsafe { &mut *self.instance.get() };
        instance.take()
    }

    /// Takes out what was never retired: never published, or out of its place without anybody told.
    pub(crate) fn take_unretired(&self) -> Option<RawInstance> {
        self.mark(BOTH)
    }

    /// No thread can be inside any more, and nobody leases it. The instance, where nobody will ask for it: to be given to
    /// [`drop_drained`]; and who waits for this.
    pub(crate) fn drain(&self) -> (Option<RawInstance>, Option<Waker>) {
        let instance = self.mark(DRAINED);
        if instance.is_none() {
            FREED.fetch_add(1, Ordering::Relaxed);
        }
        (instance, self.exchange_waker(core::ptr::null_mut()))
    }

    /// Has `waker` woken when it has drained, in place of who was to be before. Whether it has drained already.
    ///
    /// Who comes later to the word that holds the waker sees the other: this sees the mark, or `drain` the waker.
    pub(crate) fn wake_when_drained(&self, waker: &Waker) -> bool {
        drop(self.exchange_waker(Box::into_raw(Box::new(waker.clone()))));
        self.is_drained()
    }

    /// Nobody is to be woken.
    pub(crate) fn wake_nobody(&self) {
        drop(self.exchange_waker(core::ptr::null_mut()));
    }

    fn exchange_waker(&self, waker: *mut Waker) -> Option<Waker> {
        // AcqRel, partner of itself.
        let before = self.waker.swap(waker, Ordering::AcqRel);
        if before.is_null() {
            return None;
        }
        // SAFETY: it came from `Box::into_raw`, and who takes it out of the word has it alone.
        #[allow(unsafe_code)]
        let waker = unsafe { Box::from_raw(before) };
        Some(*waker)
    }

    /// Takes a lease, in this place of the source: the caller has found it installed in the section that it is in, or leases
    /// it. What [`give_back`](Self::give_back) is to be told.
    pub(crate) fn lease(&self, location: &'static Location<'static>) -> usize {
        self.leases.take();
        let wanted = core::ptr::from_ref(location).cast_mut();
        let is_of = |place: &&Place| {
            let found = place.location.compare_exchange(
                core::ptr::null_mut(),
                wanted,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            found.map_or_else(|other| core::ptr::eq(other, wanted), |_| true)
        };
        let found = self.places.iter().position(|place| is_of(&place));
        if let Some(number) = found {
            self.places[number].leases.fetch_add(1, Ordering::Relaxed);
        }
        found.unwrap_or(PLACES)
    }

    /// Gives a lease back that was taken in that place. Where it was the last of what nothing leads to any more, that is let go.
    ///
    /// # Safety
    ///
    /// The lease was one, and is none any more: the instance may be gone when this returns.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn give_back(this: *const Self, place: usize) {
        // SAFETY: the lease kept it until now.
        let installed = unsafe { &*this };
        if let Some(place) = installed.places.get(place) {
            place.leases.fetch_sub(1, Ordering::Relaxed);
        }
        if !installed.leases.give_back() {
            return;
        }
        // Relaxed: stored before the mark that `give_back` has seen.
        let let_go = installed.let_go.load(Ordering::Relaxed);
        // SAFETY: `settle_leases` stored a function of this type before it set the mark.
        let let_go = unsafe { core::mem::transmute::<*mut (), fn(*const Self)>(let_go) };
        let_go(this);
    }

    /// How many leases there are. After the grace period, 0 is final.
    pub(crate) fn leases(&self) -> usize {
        self.leases.count()
    }

    /// After the grace period, once: whether there are leases. Then the last of them calls `let_go`, of whichever copy of
    /// hotcall.
    pub(crate) fn settle_leases(&self, let_go: fn(*const Self)) -> bool {
        self.let_go.store(let_go as *mut (), Ordering::Relaxed);
        self.leases.settle()
    }

    /// Where there are leases, and how many; those of places past the first few are not told.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&'static Location<'static>, usize)> + use<'_> {
        self.places.iter().filter_map(|place| {
            let count = place.leases.load(Ordering::Relaxed);
            let location = place.location.load(Ordering::Relaxed).cast_const();
            // SAFETY: null, or what `lease` was given.
            #[allow(unsafe_code)]
            let location = unsafe { location.as_ref() };
            location.filter(|_| count != 0).map(|location| (location, count))
        })
    }

    /// The retirement ends: nobody will ask again. The instance, if it has drained.
    pub(crate) fn abandon(&self) -> Option<RawInstance> {
        self.mark(ABANDONED)
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.handover.has(DRAINED)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.wake_nobody();
    }
}

/// Drops what nobody will ask for. Its destructor is the user's code, and may panic: others are still to be dropped.
pub(crate) fn drop_drained(instance: RawInstance) {
    // It may be the last that keeps its library.
    let plugin = instance.table().type_name();
    let outcome = catch_unwind(AssertUnwindSafe(|| drop(instance)));
    FREED.fetch_add(1, Ordering::Relaxed);
    if let Err(payload) = outcome {
        report(plugin, payload);
    }
}

/// Drops all of them. Where the destructor of one panics, the others are dropped before the panic goes on; of several
/// panics the first does, and the others are reported; as are all where the thread is unwinding already, and would abort.
pub(crate) fn drop_each(instances: impl IntoIterator<Item = RawInstance>) {
    let mut first = None;
    for instance in instances {
        let plugin = instance.table().type_name();
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(instance))) else { continue };
        if first.is_none() && !std::thread::panicking() {
            first = Some(payload);
        } else {
            report(plugin, payload);
        }
    }
    if let Some(payload) = first {
        resume_unwind(payload);
    }
}

/// Says that a destructor panicked. Whoever listens is the user's code as well, and the payload has a destructor: the
/// panic of neither goes further.
pub(crate) fn report(plugin: &str, payload: Box<dyn Any + Send>) {
    let said = payload.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a value that is no text");
    let told = catch_unwind(AssertUnwindSafe(|| {
        tracing::error!(target: "hotcall", plugin, said, "a replaced plugin panicked in its destructor");
    }));
    core::mem::forget(told);
    core::mem::forget(payload);
}

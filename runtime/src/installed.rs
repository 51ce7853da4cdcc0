//! What a slot holds, from `replace` to the moment it is freed or given back.

use core::any::Any;
use core::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::handover::{ABANDONED, BOTH, DRAINED, Handover};
use crate::instance::RawInstance;
use crate::interface::{Code, Table};

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

    /// No thread can be inside any more. The instance, where nobody will ask for it: to be given to [`drop_drained`].
    pub(crate) fn drain(&self) -> Option<RawInstance> {
        let instance = self.mark(DRAINED);
        if instance.is_none() {
            FREED.fetch_add(1, Ordering::Relaxed);
        }
        instance
    }

    /// The retirement ends: nobody will ask again. The instance, if it has drained.
    pub(crate) fn abandon(&self) -> Option<RawInstance> {
        self.mark(ABANDONED)
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.handover.has(DRAINED)
    }
}

/// Drops what nobody will ask for. Its destructor is the user's code, and may panic: others are still to be dropped.
pub(crate) fn drop_drained(instance: RawInstance) {
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

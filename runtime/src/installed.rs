//! What a slot holds, from `replace` to the moment it is freed or given back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::lock::{Condvar, Mutex};

use crate::instance::RawInstance;
use crate::interface::{Code, Table};

/// Replaced instances, and those of them that have drained.
pub(crate) static RETIRED: AtomicU64 = AtomicU64::new(0);
pub(crate) static FREED: AtomicU64 = AtomicU64::new(0);

/// An instance in a slot, or on its way out of one.
///
/// `data` and `table` are copies for readers, who are protected by a section or a guard; the instance itself
/// is in `custody`.
pub(crate) struct Installed {
    data: *mut (),
    /// Those of `table`: one load less for a handle's call.
    methods: *const Code,
    table: &'static Table,
    custody: Mutex<Custody>,
    drained: Condvar,
}

// SAFETY: a slot takes `Send + Sync` instances only (`Slot::replace`); `data` is only a copy of the
// instance's address.
#[allow(unsafe_code)]
unsafe impl Send for Installed {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Installed {}

struct Custody {
    instance: Option<RawInstance>,
    /// No thread can be inside the instance any more.
    drained: bool,
    /// Nobody holds the `Retired`: the runtime drops the instance when it has drained.
    abandoned: bool,
}

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
            custody: Mutex::new(Custody { instance: Some(instance), drained: false, abandoned: false }),
            drained: Condvar::new(),
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

    /// Takes the instance out before it was ever published.
    pub(crate) fn take_unpublished(&self) -> Option<RawInstance> {
        self.custody.lock().instance.take()
    }

    /// No thread can be inside any more: the instance goes to whoever waits, or is dropped.
    pub(crate) fn drain(&self) {
        let dropped = {
            let mut custody = self.custody.lock();
            custody.drained = true;
            self.drained.notify_all();
            if custody.abandoned { custody.instance.take() } else { None }
        };
        FREED.fetch_add(1, Ordering::Relaxed);
        // Outside the lock: a destructor is the user's code. It may panic, and others are still to be drained.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(dropped)));
        if let Err(payload) = outcome {
            tracing::error!(target: "hotcall", plugin = self.table.type_name(), "a replaced plugin panicked in its destructor");
            // Dropping it might panic again.
            core::mem::forget(payload);
        }
    }

    /// The `Retired` was dropped: nobody will ask for the instance.
    pub(crate) fn abandon(&self) {
        let dropped = {
            let mut custody = self.custody.lock();
            custody.abandoned = true;
            if custody.drained { custody.instance.take() } else { None }
        };
        drop(dropped);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.custody.lock().drained
    }

    /// Waits until the instance has drained, and takes it. `None` at the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<RawInstance> {
        let mut custody = self.custody.lock();
        while !custody.drained {
            match deadline {
                None => self.drained.wait(&mut custody),
                Some(deadline) => {
                    if self.drained.wait_until(&mut custody, deadline).timed_out() && !custody.drained {
                        return None;
                    }
                }
            }
        }
        custody.instance.take()
    }
}

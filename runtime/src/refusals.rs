//! Conditions that nothing fulfils: the compiler names them where it refuses a call, and says what to write.
//!
//! A call that would not be sound has to be refused where it is written. So what cannot have a method has it under one of these
//! conditions, and each says in its own words why it is not fulfilled.

mod sealed {
    /// Nobody can name it, so nobody has it.
    pub trait Nobody {}
}

/// A slot has a method whose result borrows from the implementor, or that puts something of it into an argument, only under this
/// condition: such a method is called on `SLOT.bind(&guard)`, and on what `SLOT.get(&guard)` gives.
#[diagnostic::on_unimplemented(
    message = "a result that borrows from the implementor cannot leave a plain call",
    label = "what is behind this may be replaced and freed as soon as the call returns",
    note = "hold a guard: `let guard = hotcall::pin();`, then call `{Self}.bind(&guard).method()`, or call on what \
            `{Self}.get(&guard)` gives"
)]
pub trait MayLend: sealed::Nobody {}

/// A [`Patched`](crate::Patched) has such a method only under this condition: a [`Remote`](crate::Remote) may swap what the handle
/// holds while the result is in use, so the method is called on what `handle.get_mut(&guard)` gives.
#[diagnostic::on_unimplemented(
    message = "a handle lends what it holds under a guard only",
    label = "a remote may replace what is behind this, and free it",
    note = "write `let guard = hotcall::pin();`, then `handle.get_mut(&guard).method()`; or `handle.get(&guard)`, where the trait \
            is `Sync`"
)]
pub trait LendsByItself: sealed::Nobody {}

/// A slot has a method of a trait with `&mut self` only under this condition: such a slot is used through its lock.
#[diagnostic::on_unimplemented(
    message = "a slot whose trait has methods with `&mut self` is used through its lock",
    label = "one at a time may use what the slot holds",
    note = "write `let mut plugin = {Self}.lock();` and call the methods on that; or `{Self}.read()` for those with `&self`"
)]
pub trait MayShare: sealed::Nobody {}

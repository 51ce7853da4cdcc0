//! What `#[dispatch]` expands to in the portable backend. Mirrors `patched/stub.rs`.

/// For `#[dispatch]`: no stubs in this backend.
#[doc(hidden)]
#[macro_export]
macro_rules! __stub {
    ($($ignored:tt)*) => {};
}

/// For `#[dispatch]`: no stubs in this backend.
#[doc(hidden)]
#[macro_export]
macro_rules! __stubs {
    ($($ignored:tt)*) => {
        &[]
    };
}

/// For `#[dispatch]`: calls a slot's method on what is bound.
#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    ($bound:expr, method = $method:expr, stub = $stub:expr, table = $table:expr, $(out,)? ($($argument:expr),* $(,)?)) => {{
        let loaded = $crate::__private::Within::__load($bound, $method);
        // SAFETY: the instance is one that the table belongs to, and `Bound` protects it; the code is the table's
        // for this method.
        unsafe { $table(loaded, $($argument),*) }
    }};
}

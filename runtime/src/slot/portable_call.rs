//! What `#[dispatch]` expands to in the portable backend. Mirrors `patched/stub.rs`.

/// For `#[dispatch]`: no stubs in this backend.
#[doc(hidden)]
#[macro_export]
macro_rules! __stub {
    ($($ignored:tt)*) => {};
}

/// For `#[dispatch]`: no cells in this backend.
#[doc(hidden)]
#[macro_export]
macro_rules! __cells {
    ($count:expr) => {
        [$crate::__private::CodeCell; 0]
    };
    (empty $count:expr) => {
        []
    };
}

/// For `#[slot]`: no records in this backend.
#[doc(hidden)]
#[macro_export]
macro_rules! __slot_record {
    ($($ignored:tt)*) => {};
}

/// For `#[dispatch]`: calls a slot's method on what is bound.
#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    (
        $bound:expr,
        method = $method:expr,
        definition = [$($definition:tt)*],
        stub = [$($stub:tt)*],
        table = [$($table:tt)*],
        padding = $padding:literal,
        arguments = [$($register:tt $argument:ident),*]
    ) => {{
        let (this, code) = $crate::__private::Within::__load($bound, $method);
        // SAFETY: the instance is one that the table belongs to, and `Bound` protects it; the code is the table's
        // for this method.
        let code = unsafe { ::core::mem::transmute::<*const (), $($table)*>(code.as_ptr()) };
        // SAFETY: as above; the other promises are the caller's.
        unsafe { code(this $(, $argument)*) }
    }};
}

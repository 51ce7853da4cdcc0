//! `#[dispatch]` on an `unsafe trait`, and on methods that are `unsafe fn`.
#![allow(missing_docs)]

use hotcall::{Instance, Patched, dispatch, slot};

/// Reads memory.
///
/// # Safety
///
/// `first` gives what the slice begins with.
#[dispatch]
pub unsafe trait Reader: Send + Sync {
    /// # Safety
    ///
    /// `bytes` points to a byte that can be read.
    unsafe fn first(&self, bytes: *const u8) -> u8;

    /// # Safety
    ///
    /// `bytes` points to `length` bytes that can be read.
    unsafe fn all(&self, bytes: *const u8, length: usize) -> Vec<u8>;

    fn name(&self) -> &'static str {
        "reader"
    }
}

struct Plain;
// SAFETY: the first byte is read, and given.
unsafe impl Reader for Plain {
    unsafe fn first(&self, bytes: *const u8) -> u8 {
        // SAFETY: the caller's promise.
        unsafe { *bytes }
    }
    unsafe fn all(&self, bytes: *const u8, length: usize) -> Vec<u8> {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(bytes, length) }.to_vec()
    }
}

/// Adds to what it has read.
struct Adding(u8);
// SAFETY: as above for what is added to 0; this test adds 1 on purpose, and depends on nothing else.
unsafe impl Reader for Adding {
    unsafe fn first(&self, bytes: *const u8) -> u8 {
        // SAFETY: the caller's promise.
        self.0 + unsafe { *bytes }
    }
    unsafe fn all(&self, bytes: *const u8, length: usize) -> Vec<u8> {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(bytes, length) }.iter().map(|byte| byte + self.0).collect()
    }
}

#[slot]
static READER: dyn Reader = Plain;

fn read(reader: &dyn Reader) -> (u8, Vec<u8>, &'static str) {
    let bytes = [1, 2, 3];
    // SAFETY: the array can be read.
    let first = unsafe { reader.first(bytes.as_ptr()) };
    // SAFETY: as above, and it has three bytes.
    let all = unsafe { reader.all(bytes.as_ptr(), 3) };
    (first, all, reader.name())
}

#[test]
fn unsafe_traits_and_methods() {
    assert_eq!(read(&READER), (1, vec![1, 2, 3], "reader"));
    drop(READER.replace(Adding(1)).unwrap());
    let added = (2, vec![2, 3, 4], "reader");
    let guard = hotcall::pin();
    assert_eq!(
        (read(&READER), read(&READER.bind(&guard)), read(&READER.get(&guard))),
        (added.clone(), added.clone(), added.clone())
    );
    assert_eq!(read(&Instance::<dyn Reader>::new(Adding(1))), added);
    assert_eq!(read(&Patched::<dyn Reader>::new(Adding(1))), added);
}

//! Memory by the page, without the allocator: for what may run inside it.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Fresh zeroed memory that is never given back.
pub(crate) fn pages(len: usize) -> Option<NonNull<u8>> {
    let len = len.checked_next_multiple_of(rustix::param::page_size())?;
    // SAFETY: the system chooses the address: nothing that is mapped is replaced.
    let at = unsafe {
        mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ.union(ProtFlags::WRITE), MapFlags::PRIVATE)
    };
    NonNull::new(at.ok()?.cast())
}

#[cfg(test)]
mod tests {
    use super::pages;

    #[test]
    fn pages_are_zeroed_and_apart() {
        let (one, two) = (pages(5_000).unwrap(), pages(1).unwrap());
        // SAFETY: 5,000 bytes were asked for.
        let bytes = unsafe { core::slice::from_raw_parts(one.as_ptr(), 5_000) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert!(one.as_ptr().addr().abs_diff(two.as_ptr().addr()) >= 4_096);
        assert_eq!(pages(usize::MAX), None);
    }
}

//! An allocator that puts 16 bytes before each block, as debugging allocators do.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

struct Headed;

fn with_header(layout: Layout) -> (Layout, usize) {
    let header = layout.align().max(16);
    match Layout::from_size_align(layout.size() + header, header) {
        Ok(layout) => (layout, header),
        Err(_) => std::process::abort(),
    }
}

// SAFETY: blocks are the system's, longer by the header.
unsafe impl GlobalAlloc for Headed {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (layout, header) = with_header(layout);
        // SAFETY: the layout is not empty.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { block } else { block.wrapping_add(header) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (layout, header) = with_header(layout);
        // SAFETY: the block is that of `alloc`, so the system's begins a header before.
        unsafe { System.dealloc(block.wrapping_sub(header), layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Headed = Headed;

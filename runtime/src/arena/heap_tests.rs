//! Blocks against a model: no overlap, `int3` wherever nothing was written, everything back in the end.

use std::collections::BTreeMap;

use super::*;
use crate::arch::{REACH, TRAP};

fn here() -> Range<usize> {
    let here = here as *const () as usize;
    here - here % 4096..here - here % 4096 + 4096
}

fn content(exec: ExecAddr, len: usize) -> Vec<u8> {
    (exec.get()..exec.get() + len).map(|at| read(core::ptr::with_exposed_provenance(at))).collect()
}

fn read(at: *const u8) -> u8 {
    #![allow(unsafe_code)]
    // SAFETY: a byte of a block, or of a chunk, of a heap that the test holds.
    unsafe { at.read_volatile() }
}

/// Releases and lets reuse; that nobody executes anything stands for the barrier.
fn free(heap: &mut CodeHeap, block: Block) {
    heap.release(block);
    let mark = heap.mark();
    heap.recycle(mark);
}

#[test]
fn a_block_holds_what_was_written_and_traps_otherwise() {
    let mut heap = CodeHeap::new(here());
    let block = heap.allocate(24).unwrap();
    assert_eq!(content(block.exec(), 32), [TRAP; 32]);
    heap.write(&block, &[0x90; 20]).unwrap();
    assert_eq!(content(block.exec(), 20), [0x90; 20]);
    assert_eq!(content(block.exec().add(20), 12), [TRAP; 12]);
    assert_eq!((block.len(), block.exec().get() % 16), (24, 0));
    let exec = block.exec();
    heap.release(block);
    assert_eq!(content(exec, 32), [TRAP; 32]);
}

#[test]
fn every_block_is_within_reach() {
    let mut heap = CodeHeap::new(here());
    for len in [1, 16, 4096, 70_000, 5 << 20] {
        let block = heap.allocate(len).unwrap();
        for end in [block.exec().get(), block.exec().get() + len] {
            assert!(end.abs_diff(here().start) < REACH && end.abs_diff(here().end) < REACH);
        }
    }
}

#[test]
fn what_is_released_waits_for_its_mark() {
    let mut heap = CodeHeap::anywhere();
    let (first, second) = (heap.allocate(16).unwrap(), heap.allocate(16).unwrap());
    let (at_first, at_second) = (first.exec(), second.exec());
    heap.release(first);
    let mark = heap.mark();
    heap.release(second);
    heap.recycle(mark);
    assert_eq!((heap.stats().blocks_quarantined, heap.stats().blocks), (1, 0));
    let again = heap.allocate(16).unwrap();
    assert_eq!(again.exec(), at_first);
    // The same mark once more, and an older one, free nothing: `second` is still quarantined.
    heap.recycle(mark);
    heap.recycle(Mark(0));
    assert_eq!(heap.stats().blocks_quarantined, 1);
    assert_ne!(heap.allocate(16).unwrap().exec(), at_second);
    heap.recycle(heap.mark());
    assert_eq!(heap.stats().blocks_quarantined, 0);
    assert_eq!(heap.allocate(16).unwrap().exec(), at_second);
}

#[test]
fn chunks_double_and_say_so() {
    let mut heap = CodeHeap::new(here());
    assert_eq!(heap.stats(), HeapStats::default());
    while heap.chunks.len() < 8 {
        let _ = heap.allocate(2048).unwrap();
    }
    let events = heap.take_events();
    let lengths: Vec<_> = events.iter().map(|growth| growth.exec.len() >> 10).collect();
    assert_eq!(lengths, [64, 128, 256, 512, 1024, 1024, 1024, 1024]);
    assert_eq!(events[7].chunks, 8);
    assert!(heap.take_events().is_empty());
    assert_eq!(heap.stats().bytes_mapped, lengths.iter().sum::<usize>() << 10);
}

#[test]
fn empty_pages_serve_any_size() {
    let mut heap = CodeHeap::new(here());
    let blocks: Vec<_> = (0..4096).map(|_| heap.allocate(16).unwrap()).collect();
    let mapped = heap.stats().bytes_mapped;
    blocks.into_iter().for_each(|block| free(&mut heap, block));
    let large = heap.allocate(60_000).unwrap();
    assert_eq!((heap.stats().bytes_mapped, large.len()), (mapped, 60_000));
    free(&mut heap, large);
    let one_page_kept = mapped - PAGE;
    assert_eq!(heap.stats().bytes_in_free_pages, one_page_kept);
}

#[test]
fn impossible_lengths_are_refused_and_change_nothing() {
    let mut heap = CodeHeap::new(here());
    for len in [REACH, 3 << 30, 1 << 45] {
        let error = heap.allocate(len).unwrap_err();
        assert!(matches!(error, MemoryError::NoRoom { .. }), "{error}");
    }
    assert_eq!(heap.stats(), HeapStats::default());
    assert!(CodeHeap::new(0x1000..0x7fff_ffff_0000).allocate(16).is_err());
}

#[test]
#[should_panic(expected = "17 bytes of code for a block of 16")]
fn code_longer_than_its_block_is_a_mistake() {
    let mut heap = CodeHeap::anywhere();
    let block = heap.allocate(16).unwrap();
    heap.write(&block, &[0; 17]).unwrap();
}

#[test]
fn chunks_without_a_range_to_serve_serve_each_other() {
    let mut heap = CodeHeap::anywhere();
    let blocks: Vec<_> = (0..8).map(|_| heap.allocate(1 << 20).unwrap()).collect();
    let first = blocks[0].exec().get();
    assert!(blocks.iter().all(|block| block.exec().get().abs_diff(first) < REACH));
}

/// Random allocations and releases, checked against a map of what must be there.
#[test]
fn a_heap_agrees_with_its_model() {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut heap = CodeHeap::new(here());
    let mut live: Vec<(Block, u8)> = Vec::new();
    let mut mark = heap.mark();
    for step in 0..20_000 {
        match random(10) {
            0..5 => {
                let len = match random(20) {
                    0 => random(100_000) as usize,
                    1..5 => random(5000) as usize,
                    _ => random(64) as usize,
                };
                let block = heap.allocate(len).unwrap();
                assert!(content(block.exec(), block.size()).iter().all(|byte| *byte == TRAP), "step {step}");
                let byte = random(256) as u8;
                heap.write(&block, &vec![byte; len]).unwrap();
                live.push((block, byte));
            }
            5..9 if !live.is_empty() => {
                let (block, byte) = live.swap_remove(random(live.len() as u64) as usize);
                assert!(content(block.exec(), block.len()).iter().all(|found| *found == byte), "step {step}");
                heap.release(block);
            }
            _ => {
                heap.recycle(mark);
                mark = heap.mark();
            }
        }
        if step % 1000 == 0 {
            agree(&heap, &live);
        }
    }
    agree(&heap, &live);
    live.into_iter().for_each(|(block, _)| heap.release(block));
    heap.recycle(heap.mark());
    let stats = heap.stats();
    assert_eq!((stats.bytes_used, stats.blocks, stats.bytes_quarantined), (0, 0, 0));
    assert!(
        stats.bytes_mapped - stats.bytes_in_free_pages <= CLASSES * PAGE,
        "one page of each size is kept"
    );
    assert_eq!(heap.iter_live().count(), 0);
}

fn agree(heap: &CodeHeap, live: &[(Block, u8)]) {
    let model: BTreeMap<_, _> = live.iter().map(|(block, _)| (block.exec(), block.size())).collect();
    assert_eq!(heap.iter_live().collect::<BTreeMap<_, _>>(), model);
    let ends = model.iter().map(|(start, size)| start.add(*size));
    assert!(ends.zip(model.keys().skip(1)).all(|(end, next)| end <= *next), "blocks overlap");
    let stats = heap.stats();
    assert_eq!((stats.blocks, stats.bytes_used), (model.len(), model.values().sum()));
}

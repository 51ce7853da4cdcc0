//! One page cut into blocks of one size.

/// The page size of the heap. That of the system is a multiple of it.
pub(super) const PAGE: usize = 4096;
/// The smallest block.
pub(super) const SMALLEST: usize = 16;
/// The largest block that is cut from a page. Larger ones are whole pages.
pub(super) const LARGEST: usize = PAGE / 2;
/// How many sizes there are: powers of two from the smallest to the largest.
pub(super) const CLASSES: usize = (LARGEST / SMALLEST).ilog2() as usize + 1;

/// The size class of `len`, which is at most [`LARGEST`].
pub(super) fn class_of(len: usize) -> usize {
    (len.max(SMALLEST).next_power_of_two() / SMALLEST).ilog2() as usize
}

/// The size of the blocks of a class.
pub(super) fn size_of_class(class: usize) -> usize {
    SMALLEST << class
}

/// Which blocks of a page are free.
///
/// Invariants:
/// 1. Bit `i` of `free` is set where block `i` is free; no bit past the last block is set.
/// 2. `vacant` counts the bits.
#[derive(Clone, Debug)]
pub(super) struct Slab {
    class: u8,
    vacant: u16,
    free: [u64; PAGE / SMALLEST / 64],
}

impl Slab {
    /// All blocks free.
    pub(super) fn new(class: usize) -> Self {
        let blocks = PAGE / size_of_class(class);
        let mut free = [0; PAGE / SMALLEST / 64];
        for (word, bits) in free.iter_mut().enumerate() {
            *bits = match blocks.saturating_sub(64 * word) {
                0 => 0,
                rest @ 1..64 => (1 << rest) - 1,
                _ => u64::MAX,
            };
        }
        Self { class: class as u8, vacant: blocks as u16, free }
    }

    pub(super) fn class(&self) -> usize {
        usize::from(self.class)
    }

    pub(super) fn is_full(&self) -> bool {
        self.vacant == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        usize::from(self.vacant) == PAGE / size_of_class(self.class())
    }

    /// Takes a block: its offset in the page.
    pub(super) fn take(&mut self) -> Option<usize> {
        let word = self.free.iter().position(|bits| *bits != 0)?;
        let bit = self.free[word].trailing_zeros() as usize;
        self.free[word] &= self.free[word] - 1;
        self.vacant -= 1;
        Some((64 * word + bit) * size_of_class(self.class()))
    }

    /// Gives the block at `offset` back.
    pub(super) fn give(&mut self, offset: usize) {
        let block = offset / size_of_class(self.class());
        let bit = 1 << (block % 64);
        debug_assert_eq!(self.free[block / 64] & bit, 0, "given back twice");
        self.free[block / 64] |= bit;
        self.vacant += 1;
    }

    /// The offsets of the blocks that are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> impl Iterator<Item = usize> {
        let size = size_of_class(self.class());
        (0..PAGE / size)
            .filter(|block| self.free[block / 64] & (1 << (block % 64)) == 0)
            .map(move |block| block * size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!((CLASSES, size_of_class(0), size_of_class(CLASSES - 1)), (8, SMALLEST, LARGEST));
        for (len, size) in
            [(0, 16), (1, 16), (16, 16), (17, 32), (24, 32), (33, 64), (1025, 2048), (2048, 2048)]
        {
            assert_eq!(size_of_class(class_of(len)), size, "{len}");
        }
    }

    #[test]
    fn a_page_is_cut_into_blocks_that_do_not_overlap() {
        for class in 0..CLASSES {
            let size = size_of_class(class);
            let mut slab = Slab::new(class);
            assert!(slab.is_empty());
            let mut offsets: Vec<_> = std::iter::from_fn(|| slab.take()).collect();
            assert!(slab.is_full());
            offsets.sort_unstable();
            assert_eq!(offsets, (0..PAGE).step_by(size).collect::<Vec<_>>());
            assert_eq!(slab.taken().collect::<Vec<_>>(), offsets);
            slab.give(offsets[1]);
            assert_eq!(slab.take(), Some(offsets[1]));
            offsets.iter().for_each(|offset| slab.give(*offset));
            assert!(slab.is_empty());
        }
    }
}

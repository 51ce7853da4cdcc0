//! FNV-1a, 64 bits wide, by Fowler, Noll and Vo.

/// A hash of texts; a byte that no text holds ends each.
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// That of some texts.
    pub(crate) fn of(texts: &[&str]) -> u64 {
        let mut hash = Self::new();
        texts.iter().for_each(|text| hash.add(text));
        hash.get()
    }

    pub(crate) fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_text_ends_counts() {
        assert_ne!(Hash::of(&["a", "bc"]), Hash::of(&["ab", "c"]));
        assert_eq!(Hash::of(&[]), 0xcbf2_9ce4_8422_2325);
    }
}

//! Long random scripts over an arena, with the invariants checked after each operation: what the fuzz target `arena`
//! runs, on a stable toolchain.
#![allow(missing_docs)]
#![allow(unexpected_cfgs, reason = "`fuzzing` is set by cargo-fuzz")]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

#[path = "../../fuzz/src/arena_ops.rs"]
mod arena_ops;

use arena_ops::{Op, Script, run};

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn op(&mut self) -> Op {
        match self.below(32) {
            // Most of them small, some of them pages.
            0..8 => {
                let most = if self.below(8) == 0 { 12_000 } else { 400 };
                Op::Reserve(self.below(most) as u16)
            }
            8..14 => {
                let most = if self.below(16) == 0 { 200 } else { 10 };
                let targets = self.below(most);
                Op::Commit {
                    reservation: self.byte(),
                    targets: (0..targets).map(|_| self.byte()).collect(),
                    pad: self.byte(),
                }
            }
            14 => Op::CommitAnothers(self.byte(), self.byte()),
            15 | 16 => Op::Abort(self.byte(), self.below(2) == 0),
            17..21 => Op::Free(self.byte()),
            21..27 => Op::Retarget(self.byte(), self.byte(), self.byte()),
            27 | 28 => Op::Call(self.byte(), self.below(1 << 16) as u16),
            29 | 30 => Op::Branch(self.byte()),
            _ => Op::Settle,
        }
    }
}

#[test]
fn random_scripts_keep_the_invariants() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let ops = (0..400).map(|_| random.op()).collect();
        run(&Script { near: seed % 2 == 0, ops });
    }
}

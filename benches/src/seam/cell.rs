//! One cell of the experiment: where the displacement lies, how it is stored, what stands around it.

use serde::{Deserialize, Serialize};

/// Bytes of a cacheline.
pub const LINE: u8 = 64;
/// Bytes of a displacement.
pub const DISPLACEMENT: u8 = 4;

/// The instruction whose displacement is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `E8 rel32` in the loop: a call patched in place.
    Call,
    /// `67 E8 rel32` in the loop: what a linker makes of a call through the GOT.
    Addr32Call,
    /// `E9 rel32` in a stub that the loop calls: hotcall's own shape.
    JmpStub,
    /// `0F 84 rel32`, always taken, in a stub that the loop calls.
    JzStub,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Call, Self::Addr32Call, Self::JmpStub, Self::JzStub];

    /// The bytes before the displacement.
    #[must_use]
    pub const fn opcode(self) -> &'static [u8] {
        match self {
            Self::Call => &[0xe8],
            Self::Addr32Call => &[0x67, 0xe8],
            Self::JmpStub => &[0xe9],
            Self::JzStub => &[0x0f, 0x84],
        }
    }

    /// Whether the instruction stands in a stub rather than in the loop.
    #[must_use]
    pub const fn in_stub(self) -> bool {
        matches!(self, Self::JmpStub | Self::JzStub)
    }

    /// The name used in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Addr32Call => "addr32 call",
            Self::JmpStub => "jmp in a stub",
            Self::JzStub => "jz in a stub",
        }
    }
}

/// How the writer puts the four bytes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Store {
    /// One 32-bit store: the only one that hotcall makes.
    #[serde(rename = "4")]
    Whole,
    /// Two 16-bit stores: tears by itself, wherever it is.
    #[serde(rename = "2+2")]
    Halves,
    /// The first byte, then the other three (a 16-bit store and a byte): tears by itself as well.
    #[serde(rename = "1+3")]
    OneThree,
}

impl Store {
    /// The name used in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Whole => "4",
            Self::Halves => "2+2",
            Self::OneThree => "1+3",
        }
    }
}

/// What is executed directly before the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// So many one-byte nops.
    Nops(u8),
    /// One nop of so many bytes (2 to 9).
    LongNop(u8),
    /// So many 4-byte `add`s.
    Adds(u8),
    /// A jump over the rest of the line, from a loop that starts at this offset of the line before.
    JumpFrom(u8),
}

impl Fill {
    /// The name used in tables.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Nops(count) => format!("{count} x nop1"),
            Self::LongNop(length) => format!("1 x nop{length}"),
            Self::Adds(count) => format!("{count} x add"),
            Self::JumpFrom(at) => format!("jmp from {at}"),
        }
    }
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Offset of the displacement's first byte in its cacheline, 0 to 63.
    pub offset: u8,
    /// The instruction.
    pub form: Form,
    /// The store.
    pub store: Store,
    /// What stands before it.
    pub fill: Fill,
}

impl Cell {
    /// A plain call with nothing before it and whole stores.
    #[must_use]
    pub const fn plain(offset: u8) -> Self {
        Self { offset, form: Form::Call, store: Store::Whole, fill: Fill::Nops(0) }
    }

    /// The offset of the instruction's first byte in its cacheline.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "an opcode has one or two bytes")]
    pub const fn start(self) -> u8 {
        (self.offset + LINE - self.form.opcode().len() as u8) % LINE
    }

    /// Whether hotcall would write here: the displacement 4-aligned, the opcode (of one byte) at 3 mod 8.
    #[must_use]
    pub const fn ours(self) -> bool {
        self.offset % 8 == 4
    }

    /// The boundary that the displacement crosses.
    #[must_use]
    pub const fn crosses(self) -> Crossing {
        if self.spans(64) {
            Crossing::Line
        } else if self.spans(32) {
            Crossing::HalfLine
        } else if self.spans(16) {
            Crossing::Sixteen
        } else if self.spans(8) {
            Crossing::Eight
        } else if self.ours() {
            Crossing::Ours
        } else {
            Crossing::Inside
        }
    }

    /// Whether the displacement spans a boundary between two blocks of this many bytes.
    const fn spans(self, block: u8) -> bool {
        self.offset % block + DISPLACEMENT > block
    }

    /// How many of the displacement's bytes lie before the boundary it crosses, if it crosses one.
    #[must_use]
    pub const fn split(self) -> Option<u8> {
        match self.crosses() {
            Crossing::Ours | Crossing::Inside => None,
            _ => Some(8 - self.offset % 8),
        }
    }
}

/// The widest boundary that a displacement crosses: the classes of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crossing {
    /// None, and where hotcall puts it: 4-aligned, the whole instruction in one aligned quadword.
    Ours,
    /// None: inside one aligned quadword, elsewhere.
    Inside,
    /// An 8-byte boundary and no wider one.
    Eight,
    /// A 16-byte boundary and no wider one.
    Sixteen,
    /// A 32-byte boundary inside a cacheline.
    HalfLine,
    /// The boundary between two cachelines.
    Line,
}

impl Crossing {
    /// Every class, the safest first.
    pub const ALL: [Self; 6] =
        [Self::Ours, Self::Inside, Self::Eight, Self::Sixteen, Self::HalfLine, Self::Line];

    /// The name used in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ours => "our rule (opcode at 3 mod 8)",
            Self::Inside => "inside one aligned 8 bytes",
            Self::Eight => "crosses 8, not 16",
            Self::Sixteen => "crosses 16, not 32",
            Self::HalfLine => "crosses 32, not 64",
            Self::Line => "crosses a cacheline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Crossing, Form};

    #[test]
    fn classes_of_the_64_offsets() {
        let of = |offset| Cell::plain(offset).crosses();
        let count = |class| (0..64).filter(|&offset| of(offset) == class).count();
        assert_eq!(Crossing::ALL.map(count), [8, 32, 12, 6, 3, 3]);
        assert_eq!([29, 30, 31].map(of), [Crossing::HalfLine; 3]);
        assert_eq!([61, 62, 63].map(of), [Crossing::Line; 3]);
        assert_eq!((of(28), of(60), of(4)), (Crossing::Ours, Crossing::Ours, Crossing::Ours));
    }

    #[test]
    fn splits_and_starts() {
        assert_eq!([61, 62, 63].map(|offset| Cell::plain(offset).split()), [Some(3), Some(2), Some(1)]);
        assert_eq!(Cell::plain(4).split(), None);
        assert_eq!(Cell::plain(0).start(), 63);
        assert_eq!(Cell { form: Form::JzStub, ..Cell::plain(1) }.start(), 63);
    }
}

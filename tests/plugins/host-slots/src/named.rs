//! Slots of one name.

use hotcall::{dispatch, slot};

/// A number.
#[dispatch]
pub trait Number: Send + Sync {
    /// It.
    fn number(&self) -> u64;
}

/// This number.
pub struct Fixed(pub u64);

impl Number for Fixed {
    fn number(&self) -> u64 {
        self.0
    }
}

/// What a slot in this function holds, after it was replaced where `new` is given.
pub fn first(new: Option<u64>) -> u64 {
    #[slot]
    static SLOT: dyn Number = Fixed(1);
    if let Some(new) = new {
        drop(SLOT.replace(Fixed(new)).expect("there is code memory"));
    }
    SLOT.number()
}

/// The same, of another slot.
pub fn second(new: Option<u64>) -> u64 {
    #[slot]
    static SLOT: dyn Number = Fixed(1);
    if let Some(new) = new {
        drop(SLOT.replace(Fixed(new)).expect("there is code memory"));
    }
    SLOT.number()
}

/// Two in the blocks of one function.
pub fn in_block(one: bool, new: Option<u64>) -> u64 {
    if one {
        #[slot]
        static SLOT: dyn Number = Fixed(1);
        if let Some(new) = new {
            drop(SLOT.replace(Fixed(new)).expect("there is code memory"));
        }
        SLOT.number()
    } else {
        #[slot]
        static SLOT: dyn Number = Fixed(1);
        if let Some(new) = new {
            drop(SLOT.replace(Fixed(new)).expect("there is code memory"));
        }
        SLOT.number()
    }
}

macro_rules! twins {
    ($one:ident, $new:ident) => {
        if $one {
            #[slot]
            static SLOT: dyn Number = Fixed(1);
            if let Some(new) = $new {
                drop(SLOT.replace(Fixed(new)).expect("there is code memory"));
            }
            SLOT.number()
        } else {
            #[slot]
            static SLOT: dyn Number = Fixed(1);
            if let Some(new) = $new {
                drop(SLOT.replace(Fixed(new)).expect("there is code memory"));
            }
            SLOT.number()
        }
    };
}

/// Two that a macro declares in one place: nothing tells them apart.
pub fn twin(one: bool, new: Option<u64>) -> u64 {
    twins!(one, new)
}

/// What all of them hold: those of [`first`], [`second`], [`in_block`], [`twin`].
#[must_use]
pub fn all() -> Vec<u64> {
    vec![
        first(None),
        second(None),
        in_block(true, None),
        in_block(false, None),
        twin(true, None),
        twin(false, None),
    ]
}

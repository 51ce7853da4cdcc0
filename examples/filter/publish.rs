//! Code as a transaction: reserved, assembled for where it will lie, then committed or aborted.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use hotcall::dynasmrt::DynasmApi;
use hotcall::{Arena, Assembler, Code, Error};

/// What a first attempt reserves, in bytes: how long code is, is known when it is written.
const FIRST: usize = 64;

/// An arena, and what became of its reservations.
#[derive(Debug)]
pub struct Publisher {
    arena: Arena,
    pub committed: AtomicU64,
    /// Too short for the code.
    pub aborted: AtomicU64,
}

impl Publisher {
    pub fn new() -> Result<Self, Error> {
        // In reach of this program's functions, so that no call takes a trampoline.
        let arena = Arena::near(Self::new as *const u8)?;
        Ok(Self { arena, committed: AtomicU64::new(0), aborted: AtomicU64::new(0) })
    }

    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Publishes what `write` writes, and what `write` answered. It is written again where it was longer than what was
    /// reserved, for it lies elsewhere then.
    ///
    /// # Safety
    ///
    /// Whoever runs the code runs it as what it is.
    pub unsafe fn publish<R>(
        &self,
        write: impl Fn(&mut Assembler) -> Result<R, Error>,
    ) -> Result<(Code, R), Error> {
        let mut length = FIRST;
        loop {
            let reservation = self.arena.reserve(length)?;
            let mut ops = reservation.assembler();
            let answer = write(&mut ops)?;
            if ops.offset().0 > reservation.capacity() {
                // As long at any address: all are multiples of 16, so sites take the same padding.
                length = ops.offset().0;
                self.aborted.fetch_add(1, Ordering::Relaxed);
                reservation.abort();
                continue;
            }
            // SAFETY: the caller's promise.
            let code = unsafe { reservation.commit(ops) }?;
            self.committed.fetch_add(1, Ordering::Relaxed);
            return Ok((code, answer));
        }
    }
}

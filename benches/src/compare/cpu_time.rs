//! The time that this thread has run: not the time that it waited while others had its processor.
#![allow(unsafe_code)]

use std::time::Duration;

/// A reading of the thread's clock.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime(Duration);

impl CpuTime {
    /// Reads it.
    #[must_use]
    pub fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the argument is a live `timespec`, which the call fills in. Every thread has this clock.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        // A thread's clock starts at zero: neither part is negative.
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanoseconds))
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::CpuTime;

    #[test]
    fn waiting_does_not_count() {
        let begin = CpuTime::now();
        let wall = Instant::now();
        std::thread::sleep(Duration::from_millis(30));
        assert!(wall.elapsed() >= Duration::from_millis(30));
        assert!(begin.elapsed() < Duration::from_millis(20));
    }
}

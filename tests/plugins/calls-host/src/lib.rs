//! A plugin that calls a slot of its host.
#![forbid(unsafe_code)]

use hotcall_host_slots::{Caller, TALLY, Tally};

struct CallsHost;

impl CallsHost {
    fn from_config(_: &str) -> Self {
        Self
    }
}

struct Usurper;

impl Tally for Usurper {
    fn tally(&self, _: u64, _: u32) -> u64 {
        u64::MAX
    }
    fn calls(&self) -> u64 {
        u64::MAX
    }
}

impl Caller for CallsHost {
    fn call(&self, x: u64, rounds: u32) -> u64 {
        TALLY.tally(x, rounds)
    }

    fn call_guarded(&self, x: u64, times: u32) -> bool {
        let guard = hotcall::pin();
        let bound = TALLY.bind(&guard);
        let held = TALLY.get(&guard);
        let first = held.tally(x, 3);
        (0..times).all(|_| {
            bound.tally(x, 3);
            held.tally(x, 3) == first
        })
    }

    fn target(&self) -> String {
        TALLY.target().type_name().to_owned()
    }

    fn replace(&self) -> String {
        let one = TALLY.replace(Usurper).map(drop).map_err(hotcall::Error::from);
        let made = TALLY.replace_with(|_| Usurper).map(drop).map_err(hotcall::Error::from);
        let many = hotcall::batch(|batch| {
            batch.replace(&TALLY, Usurper);
        })
        .map(drop);
        [one, made, many]
            .map(|outcome| outcome.err().map_or_else(String::new, |error| error.to_string()))
            .join("\n")
    }
}

hotcall::export!(dyn Caller, CallsHost::from_config);

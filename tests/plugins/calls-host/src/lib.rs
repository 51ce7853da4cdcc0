//! A plugin that calls slots of its host, and has slots of its own.
#![forbid(unsafe_code)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hotcall::{Instance, Lease, key, slot};
use hotcall_host_slots::keys::{self, SHARED};
use hotcall_host_slots::named::{self, Fixed, Number};
use hotcall_host_slots::{Caller, TALLY, Tally, UNTOUCHED};

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

#[slot]
static OWN: dyn Number = Fixed(100);
#[slot]
static ANOTHER: dyn Number = Fixed(200);

enum Leased {
    Shared(Lease<dyn Tally>),
    Own(Lease<dyn Number>),
}

static LEASED: Mutex<Option<Leased>> = Mutex::new(None);
#[key]
static OWN_KEY: bool = false;

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Counts when it goes.
struct Counted(u64);

impl Number for Counted {
    fn number(&self) -> u64 {
        self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

impl Caller for CallsHost {
    fn call(&self, x: u64, rounds: u32) -> u64 {
        TALLY.tally(x, rounds)
    }

    fn call_untouched(&self, x: u64) -> [u64; 2] {
        [UNTOUCHED.tally(x, 1), UNTOUCHED.calls()]
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

    fn numbers(&self) -> Vec<u64> {
        named::all()
    }

    fn lease(&self, own: bool) {
        let lease = if own { Leased::Own(OWN.lease()) } else { Leased::Shared(TALLY.lease()) };
        *LEASED.lock().expect("nobody panics") = Some(lease);
    }

    fn leased(&self, x: u64) -> u64 {
        match &*LEASED.lock().expect("nobody panics") {
            Some(Leased::Shared(lease)) => lease.tally(x, 1),
            Some(Leased::Own(lease)) => x + lease.number(),
            None => 0,
        }
    }

    fn give_back(&self) {
        let lease = LEASED.lock().expect("nobody panics").take();
        drop(lease);
    }

    fn own(&self) -> u64 {
        OWN.number()
    }

    fn replace_own(&self, number: u64, wait: bool) -> Result<Option<u64>, String> {
        let retired = OWN.replace(Counted(number)).map_err(|error| error.to_string())?;
        if !wait {
            return Ok(None);
        }
        let old: Instance<dyn Number> = retired.wait().map_err(|error| error.to_string())?;
        Ok(Some(old.number()))
    }

    fn replace_own_otherwise(&self) -> Result<Vec<u64>, String> {
        let said = |error: hotcall::Error| error.to_string();
        let mut numbers = Vec::new();
        drop(OWN.replace_with(|old| Counted(old.number() + 1)).map_err(|error| said(error.into()))?);
        numbers.push(OWN.number());
        let batch = hotcall::batch(|batch| {
            batch.replace(&OWN, Counted(7)).replace(&ANOTHER, Counted(8));
        });
        drop(batch.map_err(said)?);
        numbers.extend([OWN.number(), ANOTHER.number()]);
        drop(OWN.restore().map_err(said)?);
        drop(ANOTHER.restore().map_err(said)?);
        numbers.extend([OWN.number(), ANOTHER.number()]);
        Ok(numbers)
    }

    fn replace_own_and_shared(&self) -> (u64, String) {
        let batch = hotcall::batch(|batch| {
            batch.replace(&OWN, Counted(9)).replace(&TALLY, Usurper);
        });
        (OWN.number(), batch.err().map_or_else(String::new, |error| error.to_string()))
    }

    fn keys(&self) -> [bool; 4] {
        [keys::asked(), keys::asked_generic::<u16>(), SHARED.is_on(), OWN_KEY.is_on()]
    }

    fn turn(&self, shared: bool, own: bool) -> Result<(), String> {
        let turned = hotcall::batch(|batch| {
            batch.set(&SHARED, shared).set(&OWN_KEY, own);
        });
        turned.map(drop).map_err(|error| error.to_string())
    }

    fn hold(&self, run: &dyn Fn()) -> Result<(), String> {
        let guard = SHARED.hold().map_err(|error| error.to_string())?;
        run();
        drop(guard);
        Ok(())
    }

    fn dropped(&self) -> u64 {
        DROPPED.load(Ordering::SeqCst)
    }
}

hotcall::export!(dyn Caller, CallsHost::from_config);

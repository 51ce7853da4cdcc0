//! A plugin whose code is out of a jump's reach from the program.
#![forbid(unsafe_code)]

use hotcall_work::stage::{self, Stage, Wide};
use hotcall_work::{Canary, FAR, Work};

type Far = Canary<FAR, 8>;
type FarStep = stage::Step<{ stage::FAR }, 8>;

/// Reads `SLOT GENERATION`.
fn from_config(config: &str) -> Result<Far, String> {
    let mut numbers = config.split(' ').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(slot)), Some(Ok(generation))) => Ok(Far::new(slot, generation, None)),
        _ => Err(format!("a slot and a generation are wanted, not `{config}`")),
    }
}

/// Reads `NUMBER`.
fn step_from_config(config: &str) -> Result<FarStep, String> {
    match config.parse() {
        Ok(number) => Ok(FarStep::new(number, None)),
        Err(_) => Err(format!("a number is wanted, not `{config}`")),
    }
}

hotcall::export!(dyn Work, from_config; dyn Stage, step_from_config; dyn Wide, step_from_config);

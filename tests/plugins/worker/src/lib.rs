//! A plugin whose code is out of a jump's reach from the program.
#![forbid(unsafe_code)]

use hotcall_work::{Canary, FAR, Work};

type Far = Canary<FAR, 8>;

/// Reads `SLOT GENERATION`.
fn from_config(config: &str) -> Result<Far, String> {
    let mut numbers = config.split(' ').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(slot)), Some(Ok(generation))) => Ok(Far::new(slot, generation, None)),
        _ => Err(format!("a slot and a generation are wanted, not `{config}`")),
    }
}

hotcall::export!(dyn Work, from_config);

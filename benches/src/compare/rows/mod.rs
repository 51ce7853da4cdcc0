//! The rows: every way to call that is compared.

pub mod plain;
pub mod published;
pub mod retpoline;
pub mod slots;

use super::chain::Row;

/// What every comparison needs: the limit, the vtable, the slots, and what most programs use today.
///
/// [`slots::prepare`] must have run.
#[must_use]
pub fn core() -> Vec<Row> {
    pick(&[
        "direct",
        "direct_stateful",
        "dyn",
        "dyn_stateful",
        "dyn_hoisted",
        "slot_call",
        "slot_call_stateful",
        "slot_bound",
        "slot_bound_stateful",
        "slot_plugin",
        "slot_plugin_far",
        "dyn_plugin",
        "fn_slot",
        "patched_handle",
        "direct_empty",
        "empty_slot",
        "arc_swap",
        "rwlock",
    ])
}

/// Everything that might be used instead. Holds all rows of [`core()`].
#[must_use]
pub fn peers() -> Vec<Row> {
    let mut rows = plain::rows();
    rows.extend(slots::rows());
    rows.extend(published::rows());
    rows.push(retpoline::with_retpoline());
    rows
}

/// The rows of these names.
#[must_use]
pub fn pick(names: &[&str]) -> Vec<Row> {
    let rows = peers();
    names.iter().filter_map(|name| rows.iter().find(|row| row.name == *name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::measure::check;
    use super::{core, peers, slots};

    #[test]
    fn every_row_does_its_work() -> Result<(), Box<dyn std::error::Error>> {
        slots::prepare()?;
        check(&peers())?;
        assert_eq!(core().len(), 18);
        Ok(())
    }
}

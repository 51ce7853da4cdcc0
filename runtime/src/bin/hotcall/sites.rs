//! `hotcall sites`.

use std::path::Path;

#[cfg(not(patched))]
pub(crate) fn run(program: &Path, _: bool) -> Result<String, String> {
    let program = program.display();
    Err(format!("{program}: this tool was built where calls are not patched: build it for Linux x86-64"))
}

#[cfg(patched)]
pub(crate) fn run(program: &Path, json: bool) -> Result<String, hotcall::inspect::Unreadable> {
    use crate::table::table;
    use hotcall::inspect::{Sites, SlotSites};
    use serde_json::json;

    let Sites { path, calls, patched, no_call, crosses, slots, .. } = hotcall::inspect::sites(program)?;
    if json {
        let slots: Vec<_> = slots
            .iter()
            .map(|SlotSites { name, calls, patched, .. }| {
                json!({ "name": name, "calls": calls, "patched": patched })
            })
            .collect();
        let answer = json!({
            "program": path.to_string_lossy(),
            "calls": calls,
            "patched": patched,
            "left_alone": { "no_call": no_call, "crosses": crosses },
            "slots": slots,
        });
        return Ok(format!("{answer:#}\n"));
    }
    let mut text = format!("{}\n  {patched} of {calls} calls lie so that they are patched\n", path.display());
    for (count, why) in [
        (no_call, "left alone: the compiler put no direct call there"),
        (crosses, "left alone: they cross an aligned 8 bytes"),
    ] {
        if count != 0 {
            text.push_str(&format!("  {count} {why}\n"));
        }
    }
    let mut rows = vec![["SLOT", "CALLS", "PATCHED"].map(str::to_owned).to_vec()];
    rows.extend(
        slots.iter().map(|slot| vec![slot.name.clone(), slot.calls.to_string(), slot.patched.to_string()]),
    );
    text.push_str(&table(&rows));
    Ok(text)
}

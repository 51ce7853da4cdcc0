//! The example `reload`, with few reloads: what it promises at its end.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
#![allow(missing_docs)]

use std::process::Command;

use hotcall_examples::plugins;

#[test]
fn nothing_is_lost_while_a_plugin_is_edited() {
    let program = plugins::build_example("reload").unwrap();
    let output = Command::new(program).args(["--reloads", "6", "--seconds", "0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = format!("{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let summary = text.lines().last().unwrap();
    for part in ["reloads=3 ", "refused=2 ", "rolled_back=1 ", " lost=0 ", " torn=0"] {
        assert!(summary.contains(part), "{part}\n{said}");
    }
    assert!(text.contains("the compiler refused it") && text.contains("half-written"), "{said}");
}

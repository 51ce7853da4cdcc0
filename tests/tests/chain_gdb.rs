//! A backtrace in gdb shows a chain by name, and its caller. Skipped, with a word, where there is no gdb.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", not(hotcall_portable)))]

use std::process::Command;

use hotcall::{Chain, Instance, dispatch};

#[dispatch]
trait Hook: Send + Sync {
    fn run(&self, sum: &mut u64, bytes: &[u8]);
}

struct Numbered(u64);
impl Hook for Numbered {
    fn run(&self, sum: &mut u64, bytes: &[u8]) {
        if self.0 == 6 {
            the_innermost_function(sum);
        }
        *sum += bytes.len() as u64;
    }
}

#[inline(never)]
fn the_innermost_function(sum: &mut u64) {
    *std::hint::black_box(sum) += 100;
}

#[inline(never)]
fn the_caller_of_the_chain(chain: &Chain<dyn Hook>) -> u64 {
    let mut sum = 0;
    chain.run(&mut sum, b"ab");
    sum + 1
}

#[test]
fn what_gdb_stops_in() {
    let chain: Chain<dyn Hook> = Chain::new((0..10).map(|n| Instance::new(Numbered(n)))).unwrap();
    // Edited once, so that what gdb is told about has been taken back once, too.
    chain.push(Numbered(10)).unwrap();
    assert_eq!(the_caller_of_the_chain(&chain), 123);
}

#[test]
fn gdb_sees_the_chain_and_its_caller() {
    let program = std::env::current_exe().unwrap();
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-batch",
        "-nx",
        "-ex",
        "break the_innermost_function",
        "-ex",
        "run",
        "-ex",
        "bt 8",
        "-ex",
        "kill",
    ]);
    gdb.arg("--args").arg(program).args(["--exact", "what_gdb_stops_in", "--test-threads=1"]);
    let Ok(output) = gdb.output() else {
        eprintln!("skipped: there is no gdb");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("the_innermost_function (") {
        eprintln!("skipped: gdb cannot run programs here: {text}{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let chain = text.find("hotcall_chain_of_11").unwrap_or_else(|| panic!("no chain in {text}"));
    let caller = text.find("the_caller_of_the_chain").unwrap_or_else(|| panic!("no caller in {text}"));
    assert!(chain < caller, "{text}");
}

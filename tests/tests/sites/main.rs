//! Whether calls are patched wherever they stand: programs of many callers, built by each profile and linked by each linker, are run
//! and disassembled.
//!
//! The records in the file, a sweep of its code, what the runtime says of itself and what stands in the process's memory are
//! compared: every patched call is a recorded one that lies right, every such call is patched, and no other byte is changed.
//! `HOTCALL_SITES=all` tries every profile and linker, `HOTCALL_SITES=s,dylib` those that it names; without it there are two.
#![forbid(unsafe_code)]
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

mod image;
mod process;
mod programs;

use image::Image;
use process::{Believed, Process};
use programs::{Build, Built};

/// Each image has at least so many.
const SITES: usize = 100;

/// Without optimisation all calls of a method by one kind of caller go through one function: those are fewer.
fn enough(build: &programs::Build) -> usize {
    if build.least >= 95 { SITES } else { SITES / 4 }
}

fn check(build: &Build) {
    let Built { program, plugin, dylib } = build.make();
    let arguments: Vec<_> = plugin.iter().map(|plugin| plugin.as_os_str()).collect();
    let process = Process::start(&program, &arguments, dylib.as_deref());
    for (what, path) in [("program", Some(&program)), ("plugin", plugin.as_ref()), ("dylib", dylib.as_ref())]
    {
        let Some(path) = path else { continue };
        let name = format!("{}: {what}", build.name);
        let bytes = std::fs::read(path).expect("it was built");
        // A private copy of a plugin is loaded.
        let base = process.base_of(path).unwrap_or_else(|| panic!("{name} is not mapped: {}", process.maps));
        check_image(&name, build, &Image::new(&bytes), base, &process);
    }
    if dylib.is_none() && build.least >= 85 {
        let of_library =
            process.believed.iter().filter(|one| one.is_call() && one.slot.contains("sites_library"));
        assert!(of_library.count() >= enough(build), "{}: a library crate's calls are patched", build.name);
    }
}

fn check_image(name: &str, build: &Build, image: &Image<'_>, base: u64, process: &Process) {
    let pointer = |address: u64| Some(process.word(base + address)?.wrapping_sub(base));
    let (recorded, without) = image.recorded(pointer);
    let swept = image.swept(pointer);
    let believed: Vec<&Believed> = process.believed.iter().filter(|one| one.is_call()).collect();
    let believed: Vec<_> =
        believed.into_iter().filter(|one| image.has_code(one.address.wrapping_sub(base))).collect();

    // What the records say, what a sweep of all code finds, and what the runtime has patched.
    for call in recorded.values() {
        assert!(swept.contains_key(&call.at), "{name}: the record of {call:x?} names no call");
    }
    for one in &believed {
        let call = recorded.get(&(one.address - base));
        let call = call.unwrap_or_else(|| panic!("{name}: {one:x?} is patched and not recorded"));
        assert!(call.lies_right(), "{name}: {call:x?} is patched");
        assert_eq!(one.length, call.length, "{name}: {call:x?}");
        assert_eq!(process.target_of(one), Some(one.target), "{name}: {one:x?}");
    }
    let patched = |at: u64| believed.iter().any(|one| one.address - base == at);
    let forgotten: Vec<_> = recorded.values().filter(|call| call.lies_right() && !patched(call.at)).collect();
    assert!(forgotten.is_empty(), "{name}: not patched: {forgotten:x?}");

    let calls = swept.len() + without.len();
    let crossing: Vec<_> = swept.values().filter(|call| !call.lies_right()).collect();
    let unrecorded = swept.keys().filter(|at| !recorded.contains_key(at)).count();
    println!(
        "{name}: of {calls} calls {} are patched, {} cross, {} are not recorded; {} records without a call",
        believed.len(),
        crossing.len(),
        unrecorded,
        without.len()
    );
    if std::env::var_os("HOTCALL_SITES_VERBOSE").is_some() {
        for call in recorded.values().filter(|call| !patched(call.at)) {
            println!("{call:x?}\n{}", image.around(call.label.unwrap_or(call.at)));
        }
        for label in &without {
            println!("no call at {label:x}\n{}", image.around(*label));
        }
    }

    // No other byte is changed.
    for (address, changed) in image.changed(base, process) {
        let of_call = believed.iter().any(|one| {
            let call = &recorded[&(one.address - base)];
            call.rewritten().contains(&address)
        });
        assert!(of_call, "{name}: {changed} at {address:#x} is of no recorded call");
    }

    assert!(
        believed.len() >= enough(build),
        "{name}: {} calls are patched, too few to say anything",
        believed.len()
    );
    assert!(
        believed.len() * 100 >= calls * build.least,
        "{name}: of {calls} calls {} are patched",
        believed.len()
    );
}

#[test]
fn calls_are_patched_wherever_they_stand() {
    let only = std::env::var("HOTCALL_SITES").unwrap_or_default();
    let mut tried = 0;
    for build in programs::builds() {
        if !(only == "all"
            || only.split(',').any(|name| name == build.name)
            || (only.is_empty() && build.always))
        {
            continue;
        }
        if build.linker.is_some_and(|linker| !programs::is_installed(linker)) {
            println!("{}: not installed, left out", build.name);
            continue;
        }
        check(&build);
        tried += 1;
    }
    assert!(tried != 0, "no build is called {only:?}");
}

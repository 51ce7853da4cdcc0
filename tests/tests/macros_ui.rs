//! What is refused, and what the compiler says; and beside each refusal, the same program put right.
#![forbid(unsafe_code)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]
#![allow(missing_docs)]

#[test]
fn refusals_and_their_twins() {
    let of = |folder: &str| {
        let files = std::fs::read_dir(format!("{}/ui/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut programs: Vec<_> = names.filter(|name| name.ends_with(".rs")).collect();
        programs.sort();
        programs
    };
    assert_eq!(of("refused"), of("accepted"), "each refusal has a twin that compiles");
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/refused/*.rs");
    cases.pass("ui/accepted/*.rs");
}

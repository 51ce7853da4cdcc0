//! The examples of traits as people have them: each compares itself with `Box<dyn _>`, and fails where they differ.
#![allow(missing_docs)]
#![forbid(unsafe_code)]

use std::process::Command;

use hotcall_examples::plugins;

/// What the example says, where it succeeds.
fn said(example: &str, arguments: &[&str]) -> String {
    let program = plugins::build_example(example).expect("cargo builds the example");
    let output = Command::new(program).args(arguments).output().expect("the example runs");
    let stdout = String::from_utf8(output.stdout).expect("what an example says is text");
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

/// The number before these words.
fn number(said: &str, words: &str) -> u64 {
    let before = said.split_once(words).unwrap_or_else(|| panic!("no `{words}` in {said}")).0;
    let number = before.rsplit([' ', '\n']).next().unwrap();
    number.parse().unwrap_or_else(|_| panic!("no number before `{words}` in {said}"))
}

#[test]
fn an_audio_effect_in_a_slot_and_in_a_chain() {
    let said = said("strip", &["--blocks", "3000"]);
    assert_eq!(number(&said, " samples differ from Box<dyn Effect>"), 0);
    assert_eq!(number(&said, " samples differ from Vec<Box<dyn Effect>>"), 0);
    assert!(number(&said, " swaps") > 0, "{said}");
    // One after each sixteenth block of the half that is not in the slot.
    assert_eq!(number(&said, " edits"), 93);
    assert!(said.contains("the slot holds a rack of 4"), "{said}");
}

#[test]
fn a_service_whose_handler_is_swapped_under_load() {
    let said = said("service", &["--requests", "2000", "--connections", "3"]);
    assert_eq!(number(&said, " requests answered"), 6000);
    assert!(number(&said, " versions deployed to 3 handlers and a slot") > 0, "{said}");
    assert_eq!(number(&said, " answers differ from Box<dyn Service>"), 0);
    assert_eq!(number(&said, " came from a version that was gone"), 0);
}

#[test]
fn a_decoder_that_lends_its_samples() {
    let said = said("decoder", &["--frames", "50000"]);
    assert_eq!(number(&said, " samples through"), 300_000);
    assert_eq!(number(&said, " differ from Box<dyn AudioDecoder>"), 0);
    assert!(number(&said, " swaps, 0 differ") > 2, "{said}");
    assert!(said.contains("before the first track: unsupported feature: there is no decoder yet"), "{said}");
}

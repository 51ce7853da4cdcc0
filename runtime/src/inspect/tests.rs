//! Files that are damaged in every way: each is answered, none ends in a panic.

use std::path::Path;

use super::{library, program};

const NAME: &str = "file.so";

fn look(bytes: &[u8]) {
    let path = Path::new(NAME);
    let host = program::of(path, bytes);
    if let (Ok(library), Ok(host)) = (library::of(path, bytes), &host) {
        for export in &library.exports {
            let _ = host.judge(&library, export);
        }
    }
    #[cfg(patched)]
    let _ = super::sites::of(path, bytes);
}

/// The headers of this program, which is a host, and what they lead to: the mutations are to meet what is read.
#[test]
fn no_mutation_of_a_program_panics() {
    let mut random = crate::plugin::testing::random();
    let whole = std::fs::read("/proc/self/exe").expect("this program can be read");
    let this = program::of(Path::new(NAME), &whole).expect("this program has hotcall in it");
    assert_eq!(this.build.compiler, env!("HOTCALL_COMPILER"));
    let mut bytes = whole.clone();
    let places = interesting(&whole);
    for _ in 0..ROUNDS {
        let mut changed = Vec::new();
        for _ in 0..=random(3) {
            let range = &places[random(places.len())];
            let at = range.start + random(range.len());
            changed.push(at);
            bytes[at] = match random(3) {
                0 => [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff][random(6)],
                1 => bytes[at] ^ (1 << random(8)),
                _ => random(256) as u8,
            };
        }
        let length = if random(8) == 0 { random(bytes.len()) } else { bytes.len() };
        look(&bytes[..length]);
        for at in changed {
            bytes[at] = whole[at];
        }
    }
    assert_eq!(bytes, whole);
}

/// So many that it takes a few seconds: a program of tests has tens of thousands of symbols.
const ROUNDS: usize = 1500;

/// The ELF header, the headers of segments and sections, and the bytes of the sections that are read.
fn interesting(bytes: &[u8]) -> Vec<core::ops::Range<usize>> {
    use object::{File, Object, ObjectSection};

    let elf = File::parse(bytes).expect("an ELF file");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
    let sections = word(40);
    let mut places = vec![0..64, 64..64 + 56 * 12, sections..bytes.len()];
    for section in elf.sections() {
        let name = section.name().unwrap_or_default();
        let is_read = name.contains("hotcall") || [".dynamic", ".dynsym", ".rela.dyn"].contains(&name);
        if let Some((start, length)) = section.file_range().filter(|range| is_read && range.1 != 0) {
            places.push(start as usize..(start + length) as usize);
        }
    }
    places
}

#[test]
fn every_length_of_the_beginning_is_answered() {
    let whole = std::fs::read("/proc/self/exe").expect("this program can be read");
    for length in (0..1024).chain([4096, 65_536, whole.len() - 1]) {
        look(&whole[..length]);
    }
}

//! A program of the test's that runs and waits: what it says, and what stands in its memory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use iced_x86::{Decoder, DecoderOptions};

/// What the runtime believes to have emitted or patched.
#[derive(Debug)]
pub struct Believed {
    kind: String,
    pub address: u64,
    pub length: usize,
    pub target: u64,
    pub slot: String,
}

impl Believed {
    pub fn is_call(&self) -> bool {
        self.kind == "call"
    }

    /// A line of the program's.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = words.next()?.to_owned();
        let address = hex(words.next()?)?;
        let length = words.next()?.parse().ok()?;
        let target = hex(words.next()?)?;
        Some(Self { kind, address, length, target, slot: words.next()?.to_owned() })
    }
}

fn hex(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

/// It runs until this is dropped.
pub struct Process {
    child: Child,
    memory: File,
    pub maps: String,
    pub believed: Vec<Believed>,
}

impl Process {
    /// Starts a program, and waits until it is ready.
    pub fn start(program: &Path, arguments: &[&OsStr], dylib: Option<&Path>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(dylib) = dylib {
            let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
                .args(["--print", "target-libdir"])
                .output()
                .expect("rustc starts");
            let standard = String::from_utf8(rustc.stdout).expect("rustc writes UTF-8");
            let own = dylib.parent().expect("it is in a folder").display();
            command.env("LD_LIBRARY_PATH", format!("{own}:{}", standard.trim()));
        }
        let mut child = command.spawn().expect("it starts");
        let out = child.stdout.take().expect("it is a pipe");
        let mut said = Vec::new();
        for line in BufReader::new(out).lines() {
            let line = line.expect("it writes UTF-8");
            if line == "ready" {
                break;
            }
            said.push(line);
        }
        let folder = format!("/proc/{}", child.id());
        assert!(!said.is_empty(), "{}: {:?}", program.display(), child.wait());
        let believed = said.iter().filter_map(|line| Believed::parse(line)).collect();
        let memory = File::open(format!("{folder}/mem")).expect("a parent may read its child");
        let maps = std::fs::read_to_string(format!("{folder}/maps")).expect("as said");
        Self { child, memory, maps, believed }
    }

    /// Where an image begins; a plugin is loaded from a copy, in a folder of the runtime's own.
    pub fn base_of(&self, path: &Path) -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let line = self.maps.lines().find(|line| {
            let path = line.split_whitespace().nth(5).unwrap_or_default();
            path.rsplit('/').next() == Some(name) || path.ends_with(name)
        })?;
        u64::from_str_radix(line.split('-').next()?, 16).ok()
    }

    pub fn read(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    pub fn word(&self, address: u64) -> Option<u64> {
        Some(u64::from_ne_bytes(self.read(address, 8)?.try_into().ok()?))
    }

    /// Where the call that stands there goes.
    pub fn target_of(&self, one: &Believed) -> Option<u64> {
        let bytes = self.read(one.address, one.length)?;
        let call = Decoder::with_ip(64, &bytes, one.address, DecoderOptions::NONE).decode();
        (call.len() == one.length).then(|| call.near_branch_target())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

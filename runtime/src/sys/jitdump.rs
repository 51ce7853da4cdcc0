//! Names for `perf`: what is mapped anew and what is emitted, in the format that `perf inject --jit` reads.
//!
//! # Problem
//!
//! `perf` finds a function's name through the file that its page is mapped from. A page with a patched call is mapped from a file
//! without a name, as is everything that is emitted, so samples there are of nobody.
//!
//! # Idea
//!
//! With `HOTCALL_JITDUMP` set to a folder, a file `jit-PID.dump` is written there: a record for each function of an image that lies on
//! pages mapped anew, by the image's own symbols; one for each chain; and one for each chunk of code memory, which stands for the
//! thunks and trampolines in it. `perf` is told of the file by a page of it that is mapped executable.
//!
//! ```sh
//! HOTCALL_JITDUMP=/tmp perf record -k mono ./program
//! perf inject --jit -i perf.data -o perf.jit.data
//! perf report -i perf.jit.data
//! ```
//!
//! Without the variable nothing is done but to look for it, once. With it, the first replacement reads the symbols of each image with
//! patched calls, and each record is a write. A forked child writes none. What cannot be written is left out: it is for a
//! person who measures.
#![allow(unsafe_code)]

use core::ops::Range;
use core::ptr;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use object::{Object, ObjectSymbol, SymbolKind};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::time::{ClockId, clock_gettime};

use super::{image, thread};

/// `JiTD`, as this machine writes it.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_LEN: u32 = 40;
/// `EM_X86_64`.
const MACHINE: u32 = 62;
/// A piece of code has been loaded.
const CODE_LOAD: u32 = 0;
/// Of such a record, what comes before the name.
const LOAD_LEN: usize = 56;

struct Dump {
    file: File,
    process: u32,
}

/// The dump, where one is wanted and could be begun.
fn dump() -> Option<&'static Dump> {
    static DUMP: OnceLock<Option<Dump>> = OnceLock::new();
    let dump = DUMP.get_or_init(|| Dump::begin(std::env::var_os("HOTCALL_JITDUMP")?.into())).as_ref();
    dump.filter(|dump| dump.process == thread::current().process)
}

impl Dump {
    fn begin(folder: PathBuf) -> Option<Self> {
        let process = thread::current().process;
        let path = folder.join(format!("jit-{process}.dump"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).ok()?;
        let mut header = Vec::new();
        for word in [MAGIC, VERSION, HEADER_LEN, MACHINE, 0, process] {
            header.extend(word.to_ne_bytes());
        }
        header.extend(now().to_ne_bytes());
        header.extend(0_u64.to_ne_bytes());
        (&file).write_all(&header).ok()?;
        let (page, flags) = (rustix::param::page_size(), MapFlags::PRIVATE);
        // SAFETY: the system chooses the address. Nobody reads or runs it: `perf` records that it is there.
        unsafe { mmap(ptr::null_mut(), page, ProtFlags::READ | ProtFlags::EXEC, flags, &file, 0) }.ok()?;
        Some(Self { file, process })
    }

    /// One write, so that those of several threads do not mix.
    fn record(&self, name: &[u8], code: &[u8]) {
        use core::sync::atomic::{AtomicU64, Ordering};
        static INDEX: AtomicU64 = AtomicU64::new(0);
        let len = LOAD_LEN + name.len() + 1 + code.len();
        let mut record = Vec::with_capacity(len);
        let address = code.as_ptr().addr() as u64;
        record.extend(CODE_LOAD.to_ne_bytes());
        record.extend((len as u32).to_ne_bytes());
        record.extend(now().to_ne_bytes());
        record.extend(self.process.to_ne_bytes());
        record.extend(thread::current().number.to_ne_bytes());
        for word in [address, address, code.len() as u64, INDEX.fetch_add(1, Ordering::Relaxed)] {
            record.extend(word.to_ne_bytes());
        }
        record.extend(name);
        record.push(0);
        record.extend(code);
        // What cannot be written is left out: see the head of this file.
        let _ = (&self.file).write_all(&record);
    }
}

/// As `perf record -k mono` has it.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Code that has been emitted, or room for some.
pub(crate) fn emitted(name: &str, range: &Range<usize>) {
    if let Some(dump) = dump() {
        // SAFETY: the caller has just emitted it; code memory is readable.
        dump.record(name.as_bytes(), unsafe { code_at(range) });
    }
}

/// Pages of an image have been mapped anew: names the functions that lie on them.
pub(crate) fn mapped_over(pages: &[Range<usize>]) {
    let (Some(dump), Some(first)) = (dump(), pages.first()) else { return };
    let Some((base, file)) = image::origin(first.start) else { return };
    let Ok(bytes) = std::fs::read(if file.is_empty() { "/proc/self/exe" } else { &file }) else { return };
    let Ok(elf) = object::read::elf::NativeElfFile::parse(bytes.as_slice()) else { return };
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() != 0) {
        let start = base.wrapping_add(symbol.address() as usize);
        let function = start..start + symbol.size() as usize;
        let lies_there = |pages: &Range<usize>| pages.start < function.end && function.start < pages.end;
        if let Ok(name) = symbol.name_bytes()
            && pages.iter().any(lies_there)
        {
            // SAFETY: a function of a loaded image; what is recorded of code that is being patched is as it was or as it is.
            dump.record(name, unsafe { code_at(&function) });
        }
    }
}

/// # Safety
///
/// It is readable, and stays while the answer is used.
unsafe fn code_at(range: &Range<usize>) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(range.start), range.len()) }
}

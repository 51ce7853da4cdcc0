//! The library's file: copied, sealed, and read before anything of it is loaded.
//!
//! The copy lives in a memfd named after the file, for two reasons. The dynamic linker recognises a file it
//! has loaded and answers with the library it has: a path built anew and opened again would be the old code.
//! And a file may change between the look at its header and its loading: a sealed memfd cannot.
//!
//! # Its name
//!
//! The dynamic linker is given a path that names the descriptor, and keeps it as the library's name: debuggers and profilers
//! read their symbols from there. So it is one that any process can open, `/proc/PID/fd/N`; the same process in a child, which
//! has another number there, is what the number was when the library was loaded. And the linker knows a library by its name
//! first: a program that closes descriptors which are not its own (as one does that becomes a daemon) may give the next copy the
//! number of the last, and would get the last one's code. So no name is given twice: how many there were before is written into
//! it, in a way that changes nothing of where it leads (`//` and `/./`, for 0 and 1).

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::read::elf::NativeElfFile;
use object::{Architecture, Object, ObjectKind, ObjectSection, ObjectSymbol};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use super::header::{self, BACKEND, Build, Flaw, Header};
use super::note::{self, slots_of_this_program};
use crate::error::PluginError;

/// The longest name that `memfd_create` takes, in bytes.
const NAME_LIMIT: usize = 249;

/// A sealed copy of a library.
///
/// Invariant: nothing can write to it, and its descriptor stays open as long as this value lives, unless somebody closes what is
/// not theirs. Then it is not closed again: the number may be another file's by now.
#[derive(Debug)]
pub(crate) struct PrivateCopy {
    file: ManuallyDrop<OwnedFd>,
    /// The device and the inode: which file it is.
    identity: (u64, u64),
}

impl PrivateCopy {
    fn new(file: OwnedFd) -> io::Result<Self> {
        let status = rustix::fs::fstat(&file)?;
        Ok(Self { file: ManuallyDrop::new(file), identity: (status.st_dev, status.st_ino) })
    }

    /// A path that names the copy, and has never named another: see the head of this file.
    ///
    /// # Errors
    ///
    /// That its descriptor is not open any more, or that there is no `/proc`.
    pub(crate) fn name(&self) -> Result<PathBuf, String> {
        static NAMES: AtomicU64 = AtomicU64::new(1);
        if !self.is_open() {
            return Err("its private copy was closed: something in this program closes descriptors that are not its own; \
                        load the library before that"
                .to_owned());
        }
        // What this process is called where `/proc` comes from.
        let process = std::fs::read_link("/proc/self")
            .map_err(|error| format!("/proc/self could not be read: {error}; mount /proc"))?;
        let mut number = NAMES.fetch_add(1, Ordering::Relaxed);
        let mut unique = String::new();
        while number != 0 {
            unique.push_str(if number % 2 == 1 { "./" } else { "/" });
            number /= 2;
        }
        let number = self.file.as_raw_fd();
        Ok(Path::new("/proc").join(process).join(format!("fd/{unique}{number}")))
    }

    fn is_open(&self) -> bool {
        rustix::fs::fstat(&*self.file).is_ok_and(|status| (status.st_dev, status.st_ino) == self.identity)
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        if self.is_open() {
            // SAFETY: dropped nowhere else.
            #[allow(unsafe_code)]
            unsafe {
                ManuallyDrop::drop(&mut self.file);
            }
        }
    }
}

/// Copies the file at `path` and reads its headers from the copy. Nothing of it runs.
pub(crate) fn examine(path: &Path) -> Result<(PrivateCopy, Vec<Header>), PluginError> {
    examine_bytes(path, &read(path)?)
}

/// The same, for a file that has been read.
pub(crate) fn examine_bytes(path: &Path, bytes: &[u8]) -> Result<(PrivateCopy, Vec<Header>), PluginError> {
    let headers = headers(path, bytes)?;
    shares_no_slot(path, bytes, &headers)?;
    let copy = copy(path, bytes).map_err(|error| PluginError::Load {
        path: path.to_owned(),
        reason: format!("no private copy of its {} bytes could be made: {error}", bytes.len()),
    })?;
    Ok((copy, headers))
}

/// The bytes of an ELF file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let failed = |source: io::Error| PluginError::Read { path: path.to_owned(), source };
    // A pipe in the library's place would block an open without NONBLOCK for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file =
        rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(|e| failed(e.into()))?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(refused(path, "it is a directory"));
    }
    if !metadata.is_file() {
        return Err(refused(path, "it is not a regular file"));
    }
    // Tell a stray file by its first bytes, however long it is.
    let mut bytes = Vec::new();
    (&mut file).take(4).read_to_end(&mut bytes).map_err(failed)?;
    if bytes != *b"\x7fELF" {
        return Err(refused(
            path,
            if bytes.is_empty() { "the file is empty" } else { "it is not an ELF file" },
        ));
    }
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

pub(crate) fn refused(path: &Path, reason: impl Into<String>) -> PluginError {
    PluginError::NotAPlugin { path: path.to_owned(), reason: reason.into() }
}

/// The headers of a library's file, where they are this program's.
pub(crate) fn headers(path: &Path, bytes: &[u8]) -> Result<Vec<Header>, PluginError> {
    let damaged =
        |error: object::Error| refused(path, format!("it is not an ELF file of this machine: {error}"));
    let elf = NativeElfFile::parse(bytes).map_err(damaged)?;
    if elf.kind() != ObjectKind::Dynamic {
        return Err(refused(path, format!("it is not a shared library but of the kind {:?}", elf.kind())));
    }
    if let Some(wanted) = architecture().filter(|wanted| *wanted != elf.architecture()) {
        return Err(refused(path, format!("it is for {:?}, this machine is {wanted:?}", elf.architecture())));
    }
    let host = Build::host();
    let headers = header::decode(section(path, &elf)?, &host).map_err(|flaw| match flaw {
        Flaw::Malformed(reason) => refused(path, reason),
        Flaw::Build(library) => another_build(path, &library, &host),
    })?;
    for header in &headers {
        is_there(path, &elf, header)?;
    }
    Ok(headers)
}

/// Refuses a library that calls slots of this program, where they are not one: only between two that are built for patching.
fn shares_no_slot(path: &Path, bytes: &[u8], headers: &[Header]) -> Result<(), PluginError> {
    let Some(backend) = backend_that_links_nothing(headers, BACKEND) else { return Ok(()) };
    let elf = NativeElfFile::parse(bytes).ok();
    let library = elf.as_ref().map(slots).unwrap_or_default();
    let shared =
        if library.is_empty() { Vec::new() } else { note::shared(&library, &slots_of_this_program()) };
    if shared.is_empty() { Ok(()) } else { Err(not_linked(path, shared, backend, BACKEND)) }
}

/// The library's backend, where its slots cannot follow those of a program with the backend `host`.
pub(crate) fn backend_that_links_nothing<'a>(headers: &'a [Header], host: &str) -> Option<&'a str> {
    let patched = |backend: &str| backend == "patched";
    headers.iter().map(|header| header.backend.as_str()).find(|library| !patched(library) || !patched(host))
}

pub(crate) fn not_linked(path: &Path, slots: Vec<String>, library: &str, host: &str) -> PluginError {
    PluginError::Slots { path: path.to_owned(), slots, library: library.to_owned(), host: host.to_owned() }
}

/// The slots that a library or a program declares.
pub(crate) fn slots<'data>(elf: &impl Object<'data>) -> Vec<note::Slot> {
    let notes =
        elf.sections().filter(|section| section.name().is_ok_and(|name| name.starts_with(note::SECTIONS)));
    notes
        .filter_map(|section| section.data().ok())
        .flat_map(|notes| note::slots(notes).collect::<Vec<_>>())
        .collect()
}

pub(crate) fn another_build(path: &Path, library: &Build, host: &Build) -> PluginError {
    PluginError::Build { path: path.to_owned(), library: library.to_string(), host: host.to_string() }
}

/// The bytes of the records.
pub(crate) fn section<'data>(path: &Path, elf: &impl Object<'data>) -> Result<&'data [u8], PluginError> {
    let section = elf.section_by_name(header::SECTION).ok_or_else(|| {
        refused(
            path,
            format!("it has no section `{}`, into which `hotcall::export!` writes", header::SECTION),
        )
    })?;
    section.data().map_err(|error| refused(path, format!("it is cut short or damaged: {error}")))
}

/// Whether the constructor that a record names can be found.
pub(crate) fn is_there<'data>(
    path: &Path,
    elf: &impl Object<'data>,
    header: &Header,
) -> Result<(), PluginError> {
    let entry = header.entry.as_bytes();
    let mut symbols = elf.dynamic_symbols();
    if symbols.any(|symbol| symbol.is_definition() && symbol.name_bytes().is_ok_and(|name| name == entry)) {
        return Ok(());
    }
    Err(refused(path, format!("its symbol `{}` was stripped or hidden", header.entry)))
}

/// The architecture of this program, where `object` has a name for it; the dynamic linker looks too.
fn architecture() -> Option<Architecture> {
    Some(match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        "riscv64" => Architecture::Riscv64,
        "loongarch64" => Architecture::LoongArch64,
        "powerpc64" => Architecture::PowerPc64,
        "s390x" => Architecture::S390x,
        "x86" => Architecture::I386,
        "arm" => Architecture::Arm,
        _ => return None,
    })
}

fn copy(path: &Path, bytes: &[u8]) -> io::Result<PrivateCopy> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = &name[..name.len().min(NAME_LIMIT)];
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // The seal against `execve` does not keep the dynamic linker from mapping the file executable, and a
    // system that forbids executable memfds (`vm.memfd_noexec=2`) lets it pass. Kernels before 6.3 know
    // neither.
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        answer => answer?,
    };
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    let fd = OwnedFd::from(file);
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals)?;
    PrivateCopy::new(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This program, as bytes: an ELF file without a plugin's header.
    fn this_program() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    fn reason(bytes: &[u8]) -> String {
        match headers(Path::new("lib.so"), bytes) {
            Err(PluginError::NotAPlugin { reason, .. }) => reason,
            other => panic!("not refused as it should be: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_library_is_refused() {
        assert!(matches!(read(Path::new("/nonexistent/lib.so")), Err(PluginError::Read { .. })));
        for (path, expected) in [
            ("/", "it is a directory"),
            ("/dev/null", "it is not a regular file"),
            (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "it is not an ELF file"),
        ] {
            let Err(PluginError::NotAPlugin { reason, .. }) = read(Path::new(path)) else { panic!("{path}") };
            assert_eq!(reason, expected, "{path}");
        }
    }

    #[test]
    fn a_program_is_no_plugin() {
        let reason = reason(&this_program());
        assert!(reason.contains("has no section `hotcall_plugin`"), "{reason}");
    }

    #[test]
    fn another_machine_is_named() {
        let mut bytes = this_program();
        bytes[18..20].copy_from_slice(&243_u16.to_ne_bytes());
        let reason = reason(&bytes);
        assert!(cfg!(target_arch = "riscv64") || reason.starts_with("it is for Riscv64"), "{reason}");
    }

    #[test]
    fn a_damaged_elf_does_not_panic() {
        let mut bytes = this_program();
        bytes.truncate(1 << 20);
        for at in 0..64 {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let whole = core::mem::replace(&mut bytes[at], value);
                let _ = headers(Path::new("lib.so"), &bytes);
                bytes[at] = whole;
            }
        }
        for length in [0, 1, 15, 16, 63, 64, 65, 1000] {
            reason(&bytes[..length]);
        }
    }

    #[test]
    fn a_copy_is_sealed_and_named() {
        let copy = copy(Path::new("/some/where/libreverb.so"), b"bytes").unwrap();
        let path = copy.name().unwrap();
        // As the dynamic linker compares them: paths are equal where they lead to the same.
        assert_ne!(copy.name().unwrap().as_os_str(), path.as_os_str(), "no name is given twice");
        assert_eq!(std::fs::read(&path).unwrap(), b"bytes");
        let name = std::fs::read_link(&path).unwrap();
        assert!(name.to_string_lossy().contains("memfd:libreverb.so"), "{}", name.display());
        assert!(File::from(copy.file.try_clone().unwrap()).write_all(b"x").is_err());
        let long = "x".repeat(1000);
        super::copy(Path::new(&long), b"").unwrap();
    }
}

//! Libraries that are loaded while descriptors, file systems and names are against it.
#![allow(unsafe_code)]

use std::path::{Path, PathBuf};

use hotcall::{Instance, Library, slot};
use hotcall_probe::Probe;

struct Nothing;
impl Probe for Nothing {
    fn count(&self) -> u32 {
        0
    }
}

#[slot]
static PROBE: dyn Probe = Nothing;

/// The library that the test has built.
pub fn path() -> Result<PathBuf, String> {
    std::env::var_os("HOTCALL_PLUGIN")
        .map(PathBuf::from)
        .ok_or_else(|| "HOTCALL_PLUGIN is not set".to_owned())
}

/// An instance of the library, which counts from 1 in each that is loaded anew.
pub fn load(path: &Path) -> Result<(Library, Instance<dyn Probe>), String> {
    // SAFETY: it is safe code.
    let library = unsafe { Library::open(path) }.map_err(|error| error.to_string())?;
    let instance = library.instantiate::<dyn Probe>("1").map_err(|error| error.to_string())?;
    Ok((library, instance))
}

/// What the slot counts with a library that has just been loaded.
pub fn count(path: &Path) -> Result<u32, String> {
    let (_library, instance) = load(path)?;
    count_with(instance)
}

/// What the slot counts with this.
pub fn count_with(instance: Instance<dyn Probe>) -> Result<u32, String> {
    drop(PROBE.replace(instance).map_err(|error| error.to_string())?);
    Ok(PROBE.count())
}

/// Puts the default back, and waits for what was there.
pub fn restore() -> Result<(), String> {
    let old = PROBE.restore().map_err(|error| error.to_string())?;
    drop(old.wait().map_err(|error| error.to_string())?);
    Ok(())
}

/// Counts twice more with what is there.
pub fn count_on() -> [u32; 2] {
    [PROBE.count(), PROBE.count()]
}

/// Closes each descriptor that is not a standard stream, as a daemon does.
pub fn close_all() {
    for number in 3..1024 {
        // SAFETY: this process has none that it still uses.
        unsafe { libc::close(number) };
    }
}

/// The names of the libraries that are loaded from memory.
pub fn names() -> Vec<String> {
    extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, names: *mut libc::c_void) -> i32 {
        // SAFETY: the dynamic linker describes an image.
        let name = unsafe { (*info).dlpi_name };
        // SAFETY: it gives a C string.
        let name = unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned();
        // SAFETY: `names` below.
        let names = unsafe { &mut *names.cast::<Vec<String>>() };
        names.extend(name.contains("/fd/").then_some(name));
        0
    }
    let mut names = Vec::<String>::new();
    // SAFETY: `each` has the signature asked for.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut names).cast()) };
    names
}

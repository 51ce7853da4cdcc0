//! Where an address of code comes from, as the dynamic linker has it.

use std::path::PathBuf;

use crate::interface::Code;

/// What is known of an address.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The symbol at exactly this address.
    pub(crate) name: Option<String>,
    /// The shared library it lies in. None for the program itself.
    pub(crate) library: Option<PathBuf>,
}

/// What the dynamic linker says of `code`.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn of(code: Code) -> Found {
    use core::ffi::{CStr, c_char};
    use std::os::unix::ffi::OsStrExt;

    fn look_up(address: *const ()) -> Option<libc::Dl_info> {
        let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: `dladdr` takes any address and writes the record that it is given.
        let known = unsafe { libc::dladdr(address.cast(), info.as_mut_ptr()) } != 0;
        // SAFETY: zeroes are a valid `Dl_info`: null pointers.
        known.then(|| unsafe { info.assume_init() })
    }
    fn text(string: *const c_char) -> Option<Vec<u8>> {
        // SAFETY: the dynamic linker's strings live as long as their image, which the caller protects.
        (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) }.to_bytes().to_vec())
    }

    let Some(info) = look_up(code.as_ptr()) else { return Found::default() };
    let exact = core::ptr::eq(info.dli_saddr.cast_const().cast::<()>(), code.as_ptr());
    let name = text(info.dli_sname).filter(|_| exact).map(|name| String::from_utf8_lossy(&name).into_owned());
    // The program is the image that its own entry point is in, wherever this copy of hotcall is.
    // SAFETY: asking for an auxiliary value has no preconditions.
    let entry = unsafe { libc::getauxval(libc::AT_ENTRY) } as usize;
    let program = look_up(core::ptr::without_provenance(entry)).map(|program| program.dli_fbase);
    let library = (program != Some(info.dli_fbase)).then(|| text(info.dli_fname)).flatten();
    let library = library.map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(&path)));
    // Of a copy, the file that it is of.
    let library = library.map(|path| crate::plugin::opened::file_of(&path).unwrap_or(path));
    Found { name, library }
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of(_: Code) -> Found {
    Found::default()
}

//! What a library leaves behind in its process: why one that nobody calls any more may still not be unmapped.
//!
//! # Problem
//!
//! A library that is unmapped while a thread has one of its functions to run, takes the process down: a thread that it started,
//! the destructor of a thread-specific key (the standard library makes one for `thread::current`), a signal's handler.
//! The dynamic linker knows of none of these. It does know of destructors of thread-local variables and keeps the
//! library for them; and functions registered with `atexit` or for `fork` go with the library.
//!
//! # Idea
//!
//! Such a function reaches the process through few doors of the C library, and a library's calls go through words that the
//! dynamic linker has bound. As soon as the library is loaded, those words are bound to functions of this program,
//! which note the address that is handed over, and do what was asked. At the end a library goes only if none of the
//! addresses noted is in it. What is noted stays noted: that a thread has ended, or a key is gone, cannot be seen from here.
//!
//! What this does not see, keeps the library: constructors of the ELF file beyond those that every Rust library has, for they run
//! before; libraries that it brought along; doors that a Rust library does not use by itself. A function that is looked up
//! with `dlsym`, or a system call, is for the promise of `unload_when_drained`.
//!
//! # Invariants
//!
//! 1. `NOTED` holds each address that went through a door after `watch`, or `COUNT` exceeds its length.
#![allow(unsafe_code)]

#[cfg(all(
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(super) use watched::Remains;

#[cfg(not(all(
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub(super) use unwatched::Remains;

/// Where nothing is noted.
#[cfg(not(all(
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod unwatched {
    /// Everything may be left.
    pub(crate) struct Remains;

    impl Remains {
        /// Does nothing.
        ///
        /// # Safety
        ///
        /// None is needed.
        pub(crate) unsafe fn watch(_: *mut core::ffi::c_void) -> Self {
            Self
        }

        /// A reason, always.
        pub(crate) fn reason(&self) -> Option<String> {
            Some("nothing is known here of what it leaves behind".to_owned())
        }
    }
}

#[cfg(all(
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod watched {
    use core::ffi::{CStr, c_char, c_int, c_void};
    use core::mem::MaybeUninit;
    use core::ops::Range;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Once;

    use rustix::mm::{MprotectFlags, mprotect};

    /// Addresses that went through a door. No memory is allocated: a key may be made from inside an allocator.
    static NOTED: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    fn note(address: usize) {
        let known = COUNT.load(Ordering::SeqCst).min(NOTED.len());
        if NOTED[..known].iter().any(|noted| noted.load(Ordering::SeqCst) == address) {
            return;
        }
        if let Some(free) = NOTED.get(COUNT.fetch_add(1, Ordering::SeqCst)) {
            free.store(address, Ordering::SeqCst);
        }
    }

    type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

    unsafe extern "C" fn key_create(key: *mut libc::pthread_key_t, destructor: Destructor) -> c_int {
        if let Some(destructor) = destructor {
            note(destructor as usize);
        }
        // SAFETY: what the caller promises.
        unsafe { libc::pthread_key_create(key, destructor) }
    }

    unsafe extern "C" fn create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int {
        note(start as usize);
        // SAFETY: what the caller promises.
        unsafe { libc::pthread_create(thread, attributes, start, argument) }
    }

    unsafe extern "C" fn action(
        signal: c_int,
        new: *const libc::sigaction,
        old: *mut libc::sigaction,
    ) -> c_int {
        // SAFETY: what the caller promises: it is null, or an action.
        if let Some(new) = unsafe { new.as_ref() } {
            note(new.sa_sigaction);
        }
        // SAFETY: as above.
        unsafe { libc::sigaction(signal, new, old) }
    }

    /// Where this runtime is itself in a library, that stays from now on: what it loads calls the functions above.
    fn stay() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
            // SAFETY: `dladdr` takes any address and writes the record that it is given.
            if unsafe { libc::dladdr(stay as *const () as *const c_void, info.as_mut_ptr()) } == 0 {
                return;
            }
            // SAFETY: it has been written.
            let info = unsafe { info.assume_init() };
            let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
            // SAFETY: with NOLOAD nothing is loaded. The program itself is not found by its name, and stays anyway.
            unsafe { libc::dlopen(info.dli_fname, flags) };
        });
    }

    /// The doors that a Rust library has, and what stands in their place.
    fn doors() -> [(&'static [u8], usize); 3] {
        [
            (b"pthread_key_create", key_create as *const () as usize),
            (b"pthread_create", create as *const () as usize),
            (b"sigaction", action as *const () as usize),
        ]
    }

    /// Doors that it has not by itself.
    const OTHERS: [&[u8]; 14] = [
        b"signal",
        b"bsd_signal",
        b"sysv_signal",
        b"__sysv_signal",
        b"sigset",
        b"thrd_create",
        b"tss_create",
        b"on_exit",
        b"timer_create",
        b"mq_notify",
        b"aio_read",
        b"aio_write",
        b"clone",
        b"__libc_sigaction",
    ];

    /// What every library brings along: the C library and the unwinder, which stay anyway.
    const COMMON: [&[u8]; 9] = [
        b"libc.so.",
        b"libgcc_s.so.",
        b"ld-linux",
        b"libm.so.",
        b"libpthread.so.",
        b"libdl.so.",
        b"librt.so.",
        b"libutil.so.",
        b"linux-vdso.so.",
    ];

    /// The constructors that every Rust library has: that of the C compiler's start-up code, and the one that saves the arguments.
    const CONSTRUCTORS: usize = 2;

    #[cfg(target_arch = "x86_64")]
    const BINDINGS: [u32; 3] = [1, 6, 7];
    #[cfg(target_arch = "aarch64")]
    const BINDINGS: [u32; 3] = [257, 1025, 1026];

    #[repr(C)]
    struct LinkMap {
        base: usize,
        name: *const c_char,
        dynamic: *const Dynamic,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Dynamic {
        tag: i64,
        value: usize,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Relocation {
        offset: usize,
        info: u64,
        addend: isize,
    }

    /// What is known of a library that was loaded.
    pub(crate) struct Remains {
        /// Where its segments are.
        range: Range<usize>,
        /// Why it may not go, whatever was noted.
        unwatched: Option<String>,
    }

    impl Remains {
        /// Watches the doors of a library from now on.
        ///
        /// # Safety
        ///
        /// `handle` is that of a loaded library, none of whose code but its constructors has run.
        pub(crate) unsafe fn watch(handle: *mut c_void) -> Self {
            stay();
            let mut map = MaybeUninit::<*const LinkMap>::uninit();
            // SAFETY: the caller's promise; the answer is a pointer.
            let answer = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, map.as_mut_ptr().cast()) };
            if answer != 0 {
                return Self {
                    range: 0..0,
                    unwatched: Some("the dynamic linker does not say where it is".into()),
                };
            }
            // SAFETY: it has just been written.
            let map = unsafe { map.assume_init() };
            // SAFETY: the dynamic linker's description of the library begins with these fields, and lives as long as it does.
            let map = unsafe { &*map };
            let Some(segments) = Segments::of(map.base) else {
                return Self {
                    range: 0..0,
                    unwatched: Some("the dynamic linker does not list its segments".into()),
                };
            };
            // SAFETY: as above.
            let unwatched = unsafe { Image::read(map) }.watch(&segments).err();
            Self { range: segments.all, unwatched }
        }

        /// Why something of the library may still run, if it may.
        pub(crate) fn reason(&self) -> Option<String> {
            if self.unwatched.is_some() {
                return self.unwatched.clone();
            }
            let count = COUNT.load(Ordering::SeqCst);
            if count > NOTED.len() {
                return Some("more threads and keys were made than are noted".to_owned());
            }
            // Invariant 1.
            let noted = NOTED[..count].iter().map(|noted| noted.load(Ordering::SeqCst));
            let left = noted.filter(|address| self.range.contains(address)).count();
            (left != 0).then(|| {
                format!("it has started threads, or made thread-specific keys or signal handlers ({left} functions)")
            })
        }
    }

    /// Where a library is.
    struct Segments {
        all: Range<usize>,
        /// What was made read-only once it was bound.
        read_only: Range<usize>,
    }

    impl Segments {
        fn of(base: usize) -> Option<Self> {
            struct Search(usize, Option<Segments>);
            extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
                // SAFETY: `data` is the search below.
                let search = unsafe { &mut *data.cast::<Search>() };
                // SAFETY: the dynamic linker gives a description for the duration of the call.
                let info = unsafe { &*info };
                if info.dlpi_addr as usize != search.0 || info.dlpi_phdr.is_null() {
                    return 0;
                }
                // SAFETY: it describes so many headers.
                let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
                let range = |header: &libc::Elf64_Phdr| {
                    let start = search.0.wrapping_add(header.p_vaddr as usize);
                    start..start.wrapping_add(header.p_memsz as usize)
                };
                let loaded = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(range);
                let (Some(start), Some(end)) =
                    (loaded().map(|range| range.start).min(), loaded().map(|range| range.end).max())
                else {
                    return 0;
                };
                let read_only =
                    headers.iter().find(|header| header.p_type == libc::PT_GNU_RELRO).map_or(0..0, range);
                search.1 = Some(Segments { all: start..end, read_only });
                1
            }
            let mut search = Search(base, None);
            // SAFETY: `each` has the signature asked for and does not unwind.
            unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut search).cast()) };
            search.1
        }
    }

    /// What the library's dynamic section says.
    struct Image {
        base: usize,
        strings: usize,
        symbols: usize,
        tables: [(usize, usize); 2],
        needed: Vec<usize>,
        constructors: usize,
        /// Relocations of another form, which are not read.
        other_form: bool,
    }

    impl Image {
        /// # Safety
        ///
        /// `map` is that of a library that stays loaded.
        unsafe fn read(map: &LinkMap) -> Self {
            let mut image = Self {
                base: map.base,
                strings: 0,
                symbols: 0,
                tables: [(0, 0); 2],
                needed: Vec::new(),
                constructors: 0,
                other_form: false,
            };
            // glibc has put addresses in the place of offsets.
            let address = |value: usize| if value < map.base { value + map.base } else { value };
            let mut entry = map.dynamic;
            loop {
                // SAFETY: the section ends with an entry whose tag is 0.
                let Dynamic { tag, value } = unsafe { entry.read() };
                match tag {
                    0 => break,
                    1 => image.needed.push(value),
                    2 => image.tables[1].1 = value,
                    5 => image.strings = address(value),
                    6 => image.symbols = address(value),
                    7 => image.tables[0].0 = address(value),
                    8 => image.tables[0].1 = value,
                    17 => image.other_form = true,
                    20 => image.other_form |= value != 7,
                    23 => image.tables[1].0 = address(value),
                    27 => image.constructors = value / size_of::<usize>(),
                    _ => {}
                }
                entry = entry.wrapping_add(1);
            }
            image
        }

        fn text(&self, offset: usize) -> &[u8] {
            let text = core::ptr::with_exposed_provenance::<c_char>(self.strings + offset);
            // SAFETY: an offset that the library has for a name leads into its table of strings.
            unsafe { CStr::from_ptr(text) }.to_bytes()
        }

        /// The name of a symbol that is defined elsewhere.
        fn import(&self, index: usize) -> Option<&[u8]> {
            let symbol =
                core::ptr::with_exposed_provenance::<libc::Elf64_Sym>(self.symbols).wrapping_add(index);
            // SAFETY: a relocation's index leads into the table of symbols.
            let symbol = unsafe { symbol.read() };
            (symbol.st_shndx == 0 && symbol.st_name != 0).then(|| self.text(symbol.st_name as usize))
        }

        fn watch(&self, segments: &Segments) -> Result<(), String> {
            let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let brought = self.needed.iter().map(|offset| self.text(*offset));
            for library in brought {
                if !COMMON.iter().any(|common| library.starts_with(common)) {
                    return Err(format!("it needs {}, which is not watched", name(library)));
                }
            }
            if self.constructors > CONSTRUCTORS {
                return Err(format!(
                    "it has {} constructors, which ran before it was watched",
                    self.constructors
                ));
            }
            if self.other_form {
                return Err("its relocations are of a form that is not read".to_owned());
            }
            for (table, length) in self.tables {
                for number in 0..length / size_of::<Relocation>() {
                    let relocation =
                        core::ptr::with_exposed_provenance::<Relocation>(table).wrapping_add(number);
                    // SAFETY: the table has that length.
                    let relocation = unsafe { relocation.read() };
                    let kind = relocation.info as u32;
                    let Some(import) = self.import((relocation.info >> 32) as usize) else { continue };
                    if OTHERS.contains(&import) {
                        return Err(format!("it may call `{}`, which is not watched", name(import)));
                    }
                    let Some((_, ours)) = doors().into_iter().find(|door| door.0 == import) else { continue };
                    if !BINDINGS.contains(&kind) || relocation.addend != 0 {
                        return Err(format!("it binds `{}` in a way that is not known", name(import)));
                    }
                    self.bind(relocation.offset, ours, segments)
                        .map_err(|error| format!("`{}` cannot be watched: {error}", name(import)))?;
                }
            }
            Ok(())
        }

        /// Has the word at `offset` hold the address of one of our functions.
        fn bind(&self, offset: usize, to: usize, segments: &Segments) -> rustix::io::Result<()> {
            let address = self.base + offset;
            let page = rustix::param::page_size();
            let start = address & !(page - 1);
            let pointer = core::ptr::with_exposed_provenance_mut::<c_void>(start);
            let read_only = segments.read_only.contains(&address);
            let writable = MprotectFlags::READ | MprotectFlags::WRITE;
            if read_only {
                // SAFETY: a page of the library's own, which nobody executes.
                unsafe { mprotect(pointer, page, writable) }?;
            }
            let word = core::ptr::with_exposed_provenance::<AtomicUsize>(address);
            // SAFETY: the dynamic linker has bound this word, which is aligned; code of the library reads it whole.
            unsafe { &*word }.store(to, Ordering::SeqCst);
            if read_only {
                // SAFETY: as above; it was read-only.
                unsafe { mprotect(pointer, page, MprotectFlags::READ) }?;
            }
            Ok(())
        }
    }
}

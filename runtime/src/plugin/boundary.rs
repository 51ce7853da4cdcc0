//! Where a plugin's code returns to its host: no panic of the plugin's goes further, and each becomes one of the host.
//!
//! # Problem
//!
//! A library has a standard library of its own, and so a panic runtime of its own. A panic that the library raised is
//! foreign to the host: no mutex is poisoned by it, `panicking` does not see it, and `catch_unwind` aborts at it.
//!
//! # Idea
//!
//! The code that stands in a plugin's table is not the method's shim but one that catches what it raises (see `catch`),
//! takes its message, destroys it where it was made, and has the *host* raise a panic of that message, with a function
//! that the host gave. That unwinds the host's frames from the call on, as any panic of the host does.
//!
//! A frame that catches costs a call. Most methods that are called in hot loops raise nothing, and the compiler knows: so
//! each method is compiled once more, with something that has to be destroyed ([`Watched`]). Where the function that comes out
//! has no data for unwinding, nothing in it unwinds, and it stands in the table itself.
//!
//! | method | stands in the table | a call costs |
//! |---|---|---|
//! | raises nothing, as the compiler sees it | `Watched` | nothing more |
//! | may panic | `caught!`; `Caught` where frames cannot be asked | a call and a return |
//! | in a library that shares its standard library with the host | the shim | nothing more; panics are the host's anyway |
//!
//! # The message
//!
//! A panic's payload is what `panic!` was given; where it was raised, only the panic hook is told. The first
//! instance puts a hook before the one that is there, which remembers the place for the thread and goes on to it. A library
//! that sets another hook later, and does not call the one that it takes, loses the place and nothing else.
#![allow(unsafe_code)]

use core::cell::RefCell;
use core::fmt::Write as _;
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::panic::PanicHookInfo;
use std::sync::{Once, OnceLock};

use super::allocator::{Allocator, Kin};
use super::catch::{self, Payload};
use super::export::Handing;
use super::header::fnv1a;
use crate::interface::{Code, Implements, Table};
use crate::sabotage::{self, Sabotage};

/// How the code of a table is called.
///
/// # Safety
///
/// `run` calls its argument once, and gives what it returned.
pub unsafe trait Boundary {
    /// Calls a method.
    fn run<R>(call: impl FnOnce() -> R) -> R;
}

/// Says by whether it is compiled with data for unwinding whether the method unwinds. It is called only where it does not.
#[derive(Debug)]
pub struct Watched;

struct Alarm;

impl Drop for Alarm {
    fn drop(&mut self) {
        // Not reached: a function that gets here has a landing pad, and is not called.
        std::process::abort();
    }
}

// SAFETY: it calls its argument.
unsafe impl Boundary for Watched {
    #[inline(always)]
    fn run<R>(call: impl FnOnce() -> R) -> R {
        let alarm = Alarm;
        let result = call();
        core::mem::forget(alarm);
        result
    }
}

/// Catches what the method raises, and has the host raise it.
#[derive(Debug)]
pub struct Caught;

// SAFETY: it calls its argument, or does not return.
unsafe impl Boundary for Caught {
    #[inline]
    fn run<R>(call: impl FnOnce() -> R) -> R {
        match catch::attempt_learnt(call) {
            Ok(result) => result,
            Err(payload) => cross(payload),
        }
    }
}

/// What a plugin is told of its host.
#[derive(Debug)]
#[repr(C)]
pub struct Host {
    /// Raises a panic of the host's with this text; and which library raised it.
    raise: fn(&str, *const ()) -> !,
    /// What is equal for two copies of the standard library only if they are one, and not 0.
    exceptions: usize,
    /// Where its values' memory comes from.
    allocator: Allocator,
    /// Nothing is to be caught: a negative control.
    open: bool,
}

impl Host {
    /// This program.
    pub(crate) fn this() -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(|| Self {
            raise,
            exceptions: catch::learn(),
            allocator: Allocator::THIS,
            open: sabotage::is(Sabotage::OpenBoundary),
        })
    }

    /// Whether values that own memory may pass between this library and the host.
    pub(super) fn kin(&self) -> Kin {
        if self.is_this() { Kin::Same } else { self.allocator.kin(&Allocator::THIS) }
    }

    /// Whether this copy of the standard library is the host's.
    fn is_this(&self) -> bool {
        self.exceptions != 0 && self.exceptions == catch::learn()
    }
}

fn raise(text: &str, library: *const ()) -> ! {
    // SAFETY: it is what the library was told with the request for its last instance, and a call of that is under way, or its
    // destructor.
    unsafe { super::library::panicked(library, text) };
    // The library's hook has said it already.
    std::panic::resume_unwind(Box::new(text.to_owned()))
}

/// The host's `raise`. A copy of this runtime is loaded by one host, or by several that share theirs.
static RAISE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// What the host calls this library.
static LIBRARY: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Prepares this library for its host, before anything of it is called.
pub(super) fn prepare(host: &Host, library: *const ()) {
    LIBRARY.store(library.cast_mut(), Ordering::Relaxed);
    // Release, partner of the Acquire in `cross`: of both.
    RAISE.store(host.raise as *mut (), Ordering::Release);
    if !host.is_this() {
        remember_places();
    }
}

/// Has the host raise a panic that says what this payload says.
#[cold]
pub(super) fn cross(payload: Payload) -> ! {
    let text = describe(payload);
    let raise = RAISE.load(Ordering::Acquire);
    if raise.is_null() {
        // A table is handed out after `prepare`.
        std::process::abort();
    }
    // SAFETY: `prepare` stored a function of this type.
    let raise = unsafe { transmute::<*mut (), fn(&str, *const ()) -> !>(raise) };
    raise(&text, LIBRARY.load(Ordering::Relaxed))
}

/// Where this thread's last panic was raised. It holds no memory, so that no destructor of a thread's is left in the library.
struct Place {
    /// A hash of the message that it belongs to; 0 for nothing.
    of: u64,
    file: [u8; 232],
    length: usize,
    line: u32,
    column: u32,
}

thread_local! {
    static PLACE: RefCell<Place> =
        const { RefCell::new(Place { of: 0, file: [0; 232], length: 0, line: 0, column: 0 }) };
}

fn remember_places() {
    static ONCE: Once = Once::new();
    // A hook cannot be set by a thread that panics.
    if !std::thread::panicking() {
        ONCE.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                remember(info);
                next(info);
            }));
        });
    }
}

fn remember(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else { return };
    let text = info.payload_as_str().unwrap_or_default();
    PLACE.with(|place| {
        let Ok(mut place) = place.try_borrow_mut() else { return };
        // The end of a path says more than its beginning.
        let file = location.file();
        let mut start = file.len().saturating_sub(place.file.len());
        while !file.is_char_boundary(start) {
            start += 1;
        }
        let file = &file.as_bytes()[start..];
        place.file[..file.len()].copy_from_slice(file);
        place.length = file.len();
        (place.line, place.column) = (location.line(), location.column());
        place.of = fnv1a(text.as_bytes());
    });
}

/// What a panic said, and where. The payload is destroyed, whatever it does.
pub(super) fn describe(payload: Payload) -> String {
    let (mut text, said) = match payload.downcast::<&'static str>() {
        Ok(text) => ((*text).to_owned(), true),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => (*text, true),
            Err(payload) => {
                if let Err(second) = catch::attempt(|| drop(payload)) {
                    // Its destructor panicked: what that said might do the same again.
                    core::mem::forget(second);
                }
                ("a value that is no text".to_owned(), false)
            }
        },
    };
    let of = fnv1a(if said { text.as_bytes() } else { b"" });
    PLACE.with(|place| {
        let Ok(mut place) = place.try_borrow_mut() else { return };
        if core::mem::take(&mut place.of) == of {
            let file = String::from_utf8_lossy(&place.file[..place.length]);
            let _ = write!(text, ", at {file}:{}:{}", place.line, place.column);
        }
    });
    text
}

/// The table of one export, made when its first instance is.
#[derive(Debug)]
pub struct Exported<const METHODS: usize> {
    methods: OnceLock<[Code; METHODS]>,
    table: OnceLock<Table>,
    handing: OnceLock<Handing>,
}

impl<const METHODS: usize> Exported<METHODS> {
    /// Not made yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a static's initialiser")]
    pub const fn new() -> Self {
        Self { methods: OnceLock::new(), table: OnceLock::new(), handing: OnceLock::new() }
    }

    /// How the state of its instances is saved and restored.
    pub(super) fn handing(&'static self, make: impl FnOnce() -> Handing) -> &'static Handing {
        self.handing.get_or_init(make)
    }

    /// The table of `T`: an export makes values of one type.
    pub(super) fn table<I, T>(&'static self, host: &Host) -> &'static Table
    where
        I: ?Sized + Implements<T>,
        T: 'static,
    {
        self.table.get_or_init(|| {
            let shared = host.is_this() || host.open;
            let methods = self.methods.get_or_init(|| {
                core::array::from_fn(|index| {
                    if shared {
                        return I::METHODS[index];
                    }
                    let watched = I::WATCHED[index];
                    if leaf::never_unwinds(watched) { watched } else { I::CAUGHT[index] }
                })
            });
            if shared { Table::exported::<I, T>(methods) } else { Table::exported_caught::<I, T>(methods) }
        })
    }
}

/// Whether a function has data for unwinding.
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod leaf {
    use core::ffi::{CStr, c_char, c_void};

    use crate::interface::Code;

    /// What `_Unwind_Find_FDE` says beside the entry.
    #[repr(C)]
    struct Bases {
        text: *const c_void,
        data: *const c_void,
        function: *const c_void,
    }

    unsafe extern "C" {
        /// The unwinder's entry for the function that an address is in. Part of libgcc's interface since 3.0.
        fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut Bases) -> *const u32;
    }

    /// Whether nothing unwinds out of the function. Where nothing is known of it, it may.
    pub(super) fn never_unwinds(code: Code) -> bool {
        let mut bases =
            Bases { text: core::ptr::null(), data: core::ptr::null(), function: core::ptr::null() };
        // SAFETY: it reads what the dynamic linker says of loaded objects. Past the first byte, for the unwinder looks for the
        // function of a call before the address.
        let entry = unsafe { _Unwind_Find_FDE(code.as_ptr().wrapping_byte_add(1).cast(), &raw mut bases) };
        if entry.is_null() || bases.function != code.as_ptr().cast() {
            return false;
        }
        // An entry: its length; how far back from here its common part begins.
        // SAFETY: an entry is that long at least, and stays where it is as long as the library does.
        let length = unsafe { entry.read() };
        let back_from = entry.wrapping_add(1);
        // SAFETY: as above.
        let back = unsafe { back_from.read() };
        if length == u32::MAX {
            return false;
        }
        // The common part: length, a zero, a version, and a text whose letters say what follows: `L` is data for
        // unwinding.
        let common = back_from.wrapping_byte_sub(back as usize);
        let letters = common.wrapping_byte_add(9).cast::<c_char>();
        // SAFETY: the distance in an entry leads to its common part, in which the text ends with a zero.
        let letters = unsafe { CStr::from_ptr(letters) };
        !letters.to_bytes().contains(&b'L')
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
mod leaf {
    /// It may.
    pub(super) fn never_unwinds(_: crate::interface::Code) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_place_and_no_other() {
        remember_places();
        let raised = |text: &'static str| catch::attempt(move || panic!("{text}")).unwrap_err();
        let first = describe(raised("first"));
        assert!(first.starts_with("first, at ") && first.contains("boundary.rs:"), "{first}");
        // Raised without a hook: the place of another panic is not its own.
        drop(raised("second"));
        let silent = catch::attempt(|| std::panic::resume_unwind(Box::new("third"))).unwrap_err();
        assert_eq!(describe(silent), "third");
    }

    #[test]
    fn a_payload_may_panic_when_it_is_destroyed() {
        struct Fails;
        impl Drop for Fails {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new(Self));
            }
        }
        assert!(describe(Box::new(Fails)).starts_with("a value that is no text"));
    }

    #[test]
    fn a_method_is_run_once() {
        assert_eq!(Watched::run(|| 7), 7);
        catch::learn();
        assert_eq!(Caught::run(|| String::from("whole")), "whole");
        prepare(Host::this(), core::ptr::null());
        let raised = std::panic::catch_unwind(|| Caught::run(|| panic!("raised again"))).unwrap_err();
        let text = *raised.downcast::<String>().unwrap();
        assert!(text.starts_with("raised again, at "), "{text}");
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    fn a_function_says_whether_it_unwinds() {
        extern "C-unwind" fn plain(x: u64) -> u64 {
            x ^ 7
        }
        extern "C-unwind" fn cleans_up(x: u64) -> u64 {
            let _destroyed = String::from("has to be destroyed");
            assert_ne!(core::hint::black_box(x), 3);
            x
        }
        assert!(leaf::never_unwinds(Code::new(plain as *const ())));
        assert!(!leaf::never_unwinds(Code::new(cleans_up as *const ())));
        // Of what lies inside a function, or in none, nothing is known.
        assert!(!leaf::never_unwinds(Code::new((plain as *const ()).wrapping_byte_add(1))));
        assert!(!leaf::never_unwinds(Code::new((&raw const RAISE).cast())));
    }
}

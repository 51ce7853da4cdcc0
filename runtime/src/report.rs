//! What the runtime holds and has done, for a person to read.

use core::fmt;

use crate::holding::{Holding, holding};
use crate::slot::commit::Writing;
use crate::slot::inspect::Account;
use crate::stats::{Stats, stats};
use crate::{Backend, backend};

/// A readable account of slots, calls and code memory. See [`report`].
///
/// `Display` writes it in a few lines; the fields say the same to a program.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// How calls reach implementors.
    pub backend: Backend,
    /// All of it in numbers.
    pub stats: Stats,
    /// Each slot that has been replaced, in the order of first replacements. Empty in the portable backend.
    pub slots: Vec<SlotReport>,
    /// Each key, as [`Stats::keys`](crate::Stats::keys) counts them.
    pub keys: Vec<KeyReport>,
    /// Each image (the program, a library) with calls or slots that have been replaced, or branches, or the code memory near it.
    /// Empty in the portable backend.
    pub images: Vec<ImageReport>,
    /// Why code memory was refused, the first time that it was: since then slots are swapped without it where they must, and calls
    /// on pages that could not be mapped anew go through their stubs.
    pub refused: Option<String>,
    /// Who holds back what was replaced, at this moment: threads that are inside a call or hold a guard since before it was
    /// waited for (on Linux), and leases. Empty where nothing is held back.
    pub holding: Vec<Holding>,
}

/// What a [`Report`] says of a slot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlotReport {
    /// The slot's path.
    pub name: &'static str,
    /// Its calls that are patched.
    pub calls: usize,
    /// Its cells: one a method in each image that declares the slot.
    pub cells: usize,
    /// Its thunks, until it has settled.
    pub thunks: usize,
}

/// What a [`Report`] says of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyReport {
    /// The key's path.
    pub name: &'static str,
    /// Whether it is on.
    pub on: bool,
    /// How many hold it on.
    pub holders: usize,
    /// Its branches that are patched.
    pub branches: usize,
}

/// What a [`Report`] says of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageReport {
    /// Its file, as it was opened; `None` for the program itself.
    pub file: Option<String>,
    /// Its calls that are patched.
    pub calls: usize,
    /// Its branches that are.
    pub branches: usize,
    /// Its pages that were mapped anew, in bytes.
    pub bytes_remapped: usize,
    /// Trampolines near it, to code out of its reach.
    pub trampolines: usize,
    /// Code memory mapped near it, in bytes.
    pub code_bytes_mapped: usize,
    /// Code memory in use there, in bytes.
    pub code_bytes_used: usize,
}

#[cfg(target_os = "linux")]
impl ImageReport {
    /// A library's copy by the name of the file that was opened.
    fn called_as_opened(mut self) -> Self {
        let opened = self.file.as_ref().and_then(|file| crate::plugin::opened::file_of(file.as_ref()));
        if let Some(opened) = opened {
            self.file = Some(opened.to_string_lossy().into_owned());
        }
        self
    }
}

/// A readable account of slots, calls, keys and code memory.
///
/// It answers what a program gets out of hotcall: how many of its calls are patched, how many are not, and why. Images are looked
/// through when a slot is replaced, so before the first replacement it says nothing of them. Takes the writers' lock as
/// [`stats`] does; called where this thread is replacing, by an allocator behind a slot, it knows of no slot.
///
/// ```
/// use hotcall::{dispatch, slot};
///
/// #[dispatch]
/// trait Stage: Send + Sync {
///     fn run(&self, x: u64) -> u64;
/// }
/// struct Add(u64);
/// impl Stage for Add {
///     fn run(&self, x: u64) -> u64 {
///         x + self.0
///     }
/// }
/// #[slot]
/// static STAGE: dyn Stage = Add(0);
///
/// # fn main() -> Result<(), hotcall::Error> {
/// drop(STAGE.replace(Add(1))?);
/// assert_eq!(STAGE.run(1), 2);
/// let report = hotcall::report();
/// println!("{report}");
/// assert_eq!(report.stats.slots, report.slots.len());
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn report() -> Report {
    let Account { slots, keys, images, refused } =
        Writing::begin().map(|mut writer| writer.account()).unwrap_or_default();
    #[cfg(target_os = "linux")]
    let images = images.into_iter().map(ImageReport::called_as_opened).collect();
    Report { backend: backend(), stats: stats(), slots, keys, images, refused, holding: holding() }
}

/// So many bytes, as a person says it.
fn size(bytes: usize) -> String {
    if bytes < 1024 { format!("{bytes} bytes") } else { format!("{} KiB", bytes.div_ceil(1024)) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, stats, slots, keys, images, refused, holding } = self;
        writeln!(f, "hotcall, {backend:?} backend")?;
        if *backend == Backend::Patched {
            let kept = stats.kept;
            let recorded = stats.callers + stats.waiting + kept.total();
            writeln!(f, "calls: {recorded} recorded, {} patched", stats.callers)?;
            for (calls, why) in [
                (stats.waiting, "of slots that were never replaced: they run the default"),
                (kept.no_call, "left alone: the compiler put no direct call there"),
                (kept.crosses, "left alone: they cross an aligned 8 bytes"),
                (kept.page, "left alone: their page could not be mapped anew"),
                (kept.changed, "left alone: a debugger or a probe has changed their page"),
                (kept.unwanted, "left alone: `patch_callers(false)`"),
            ] {
                if calls != 0 {
                    writeln!(f, "  {calls} {why}")?;
                }
            }
            let kept = stats.kept_branches;
            let recorded = stats.branches + kept.total();
            writeln!(f, "branches of keys: {recorded} recorded, {} patched", stats.branches)?;
            for (branches, why) in [
                (kept.no_call, "left alone: another instruction stands there"),
                (kept.crosses, "left alone: they cross an aligned 8 bytes"),
                (kept.page, "left alone: their page could not be mapped anew"),
                (kept.unwanted, "left alone: `patch_callers(false)`"),
                (kept.no_barrier, "left alone: the system has no `membarrier`"),
            ] {
                if branches != 0 {
                    writeln!(f, "  {branches} {why}")?;
                }
            }
            writeln!(
                f,
                "slots: {} replaced, {} cells, {} thunks, {} trampolines",
                stats.slots, stats.sites, stats.thunks, stats.trampolines
            )?;
            for slot in slots {
                let SlotReport { name, calls, cells, thunks } = slot;
                writeln!(f, "  {name}: {calls} calls, {cells} cells, {thunks} thunks")?;
            }
            writeln!(
                f,
                "images: {}, {} pages ({}) mapped anew",
                stats.images,
                stats.pages_remapped,
                size(stats.bytes_remapped)
            )?;
            for image in images {
                writeln!(
                    f,
                    "  {}: {} calls, {} branches, {} mapped anew, {} trampolines, {} of {} code memory",
                    image.file.as_deref().unwrap_or("the program"),
                    image.calls,
                    image.branches,
                    size(image.bytes_remapped),
                    image.trampolines,
                    size(image.code_bytes_used),
                    size(image.code_bytes_mapped)
                )?;
            }
            let (used, mapped) = (size(stats.code_bytes_used), size(stats.code_bytes_mapped));
            writeln!(f, "code memory: {used} of {mapped}, with chains and arenas")?;
            if let Some(reason) = refused {
                writeln!(
                    f,
                    "code memory was refused, and slots are swapped without where they must: {reason}"
                )?;
            }
        }
        let on = keys.iter().filter(|key| key.on).count();
        writeln!(f, "keys: {}, {on} on", keys.len())?;
        for KeyReport { name, holders, branches, .. } in keys.iter().filter(|key| key.on) {
            writeln!(f, "  {name}: on, {holders} holders, {branches} branches patched")?;
        }
        writeln!(
            f,
            "instances: {} replaced ({} in place), {} freed; {} grace periods, {} threads",
            stats.retired, stats.in_place, stats.freed, stats.grace_periods, stats.threads
        )?;
        if !holding.is_empty() {
            writeln!(f, "held back:")?;
        }
        holding.iter().try_for_each(|holding| writeln!(f, "  {holding}"))
    }
}

//! A plugin that is replaced while a test runs: its versions, its folder, and what its host tells.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::Receiver;

use hotcall::Plugins;
use hotcall::host::{Event, Fallback, Kept, What};

use crate::LONG;

/// Builds the plugin `hotcall-probe-living`, once, into cargo's directory for tests `tmp`. Answers with its bytes.
///
/// # Panics
///
/// It cannot be built.
pub fn built(tmp: &str) -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        cargo.args(["build", "--offline", "--message-format=json-render-diagnostics"]);
        cargo.args(["--package", "hotcall-probe-living", "--target-dir"]).arg(Path::new(tmp).join("plugins"));
        cargo.env_remove("HOTCALL_PROBE");
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{cargo:?}\n{}", String::from_utf8_lossy(&output.stderr));
        let library = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == "hotcall_probe_living")
            .find_map(|message| message["filenames"][0].as_str().map(PathBuf::from))
            .expect("cargo names the library");
        fs::read(library).expect("the library can be read")
    })
}

fn position(bytes: &[u8], of: &[u8]) -> usize {
    bytes.windows(of.len()).position(|window| window == of).expect("it is in the library")
}

/// The library, behaving as `behaviour` says.
///
/// # Panics
///
/// It cannot be built, or the text is too long.
#[must_use]
pub fn behaving(tmp: &str, behaviour: &str) -> Vec<u8> {
    const MARK: &[u8] = b"hotcall-living:";
    let mut bytes = built(tmp).to_vec();
    assert!(MARK.len() + behaviour.len() < 64, "{behaviour}");
    let at = position(&bytes, MARK) + MARK.len();
    bytes[at..at + behaviour.len()].copy_from_slice(behaviour.as_bytes());
    bytes[at + behaviour.len()] = b'.';
    bytes
}

/// Name of the package, and how long its version is.
const PACKAGE: &[u8] = b"hotcall-probe-living\x05\0\0\0";

/// Where the header of its export is. There are other records of that kind, of interfaces, which name no package.
///
/// # Panics
///
/// It has none.
#[must_use]
pub fn header(library: &[u8]) -> Range<usize> {
    let records = (0..library.len() - 16).filter(|at| library[*at..].starts_with(b"\x7fhotcall"));
    let range = |start: usize| {
        let length = u32::from_le_bytes(library[start + 12..start + 16].try_into().expect("four bytes"));
        start..start + length as usize
    };
    let is_the_exports = |range: &Range<usize>| {
        library
            .get(range.clone())
            .is_some_and(|record| record.windows(PACKAGE.len()).any(|part| part == PACKAGE))
    };
    records.map(range).find(is_the_exports).expect("it has a header")
}

/// The same, of another version: one of five letters, as `1.0.0` is.
///
/// # Panics
///
/// As for [`behaving`].
#[must_use]
pub fn of_version(mut library: Vec<u8>, version: &str) -> Vec<u8> {
    let range = header(&library);
    let record = &mut library[range];
    let at = position(record, PACKAGE) + PACKAGE.len();
    record[at..at + 5].copy_from_slice(version.as_bytes());
    let fingerprint = hotcall::__private::plugin::fnv1a(&record[24..]);
    record[16..24].copy_from_slice(&fingerprint.to_le_bytes());
    library
}

/// An empty folder of one test's own.
///
/// # Panics
///
/// It cannot be made.
#[must_use]
pub fn folder(tmp: &str, test: &str) -> PathBuf {
    let folder = Path::new(tmp).join("living").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder is made");
    folder
}

/// Puts a file where it belongs, whole at once.
///
/// # Panics
///
/// It cannot be written.
pub fn put(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, bytes).expect("the file is written");
    fs::rename(&fresh, path).expect("the file is renamed");
}

/// What a host tells, in order.
pub struct Told {
    events: Receiver<Event>,
    plugin: &'static str,
    all: Vec<Event>,
}

impl Told {
    /// From now on, of one plugin.
    #[must_use]
    pub fn of(plugins: &Plugins, plugin: &'static str) -> Self {
        Self { events: plugins.events(), plugin, all: Vec::new() }
    }

    /// Waits for an event, and passes over others.
    ///
    /// # Panics
    ///
    /// It does not come.
    pub fn until(&mut self, what: &str, is: impl Fn(&What) -> bool) -> Event {
        loop {
            let Ok(event) = self.events.recv_timeout(LONG) else {
                panic!(
                    "never told: {what}; but {:#?}",
                    self.all.iter().map(ToString::to_string).collect::<Vec<_>>()
                );
            };
            if event.plugin != self.plugin {
                continue;
            }
            self.all.push(event.clone());
            if is(&event.what) {
                return event;
            }
        }
    }

    /// Waits until the next version is in its slot.
    ///
    /// # Panics
    ///
    /// It does not come.
    pub fn until_swapped(&mut self) -> u64 {
        self.until("swapped", |what| matches!(what, What::Swapped)).generation
    }

    /// Waits until something is refused. Why.
    ///
    /// # Panics
    ///
    /// It is not.
    pub fn until_refused(&mut self) -> String {
        let event = self.until("refused", |what| matches!(what, What::Refused { .. }));
        let What::Refused { reason } = event.what else { unreachable!("it was asked for") };
        reason
    }

    /// All that was told until now.
    pub fn all(&mut self) -> &[Event] {
        self.all.extend(self.events.try_iter().filter(|event| event.plugin == self.plugin));
        &self.all
    }

    /// What was refused until now, and why.
    pub fn refusals(&mut self) -> Vec<String> {
        let reasons = self.all().iter().filter_map(|event| match &event.what {
            What::Refused { reason } => Some(reason.clone()),
            _ => None,
        });
        reasons.collect()
    }

    /// How many of all that was told until now are so.
    pub fn count(&mut self, is: impl Fn(&What) -> bool) -> usize {
        self.all().iter().filter(|event| is(&event.what)).count()
    }
}

/// A host of one plugin that behaves, in a slot of a test's own: see [`kept_living!`](crate::kept_living!).
pub struct Living {
    /// The host.
    pub plugins: Plugins,
    /// What it tells.
    pub told: Told,
    /// The plugin's file.
    pub path: PathBuf,
    /// The plugin, as the host keeps it.
    pub kept: Kept,
}

impl Living {
    /// Puts a version in its place that behaves so, and waits until that is in its slot. Its generation.
    ///
    /// # Panics
    ///
    /// It does not come.
    pub fn becomes(&mut self, tmp: &str, behaviour: &str) -> u64 {
        put(&self.path, &behaving(tmp, behaviour));
        self.told.until_swapped()
    }

    /// Waits until something else has been put in its place, and says what.
    ///
    /// # Panics
    ///
    /// It does not come.
    pub fn rolled_back(&mut self) -> Fallback {
        let event = self.told.until("rolled back", |what| matches!(what, What::RolledBack { .. }));
        let What::RolledBack { to, .. } = event.what else { unreachable!("it was asked for") };
        to
    }
}

/// A plugin that behaves, in a slot of the test's own, and the [`Living`] of it: its folder, under `$tmp`, is named for the test, and it
/// is kept as `$how` says, `on_panic(..)` for instance.
#[macro_export]
macro_rules! kept_living {
    ($tmp:expr, $test:literal, $how:ident($argument:expr)) => {{
        use $crate::living::{Living, Told, behaving, folder, put};

        #[hotcall::slot]
        static SLOT: dyn hotcall_probe::living::Tally = hotcall_probe::living::Nobody;
        let folder = folder($tmp, $test);
        let path = folder.join("libliving.so");
        put(&path, &behaving($tmp, "old"));
        // SAFETY: what the tests put there is safe code.
        let plugins = unsafe { hotcall::Plugins::watch(&folder) }.unwrap();
        let mut told = Told::of(&plugins, "living");
        let kept = plugins.keep(&SLOT, "living").$how($argument).start().unwrap();
        kept.installed().unwrap();
        told.until_swapped();
        (&SLOT, Living { plugins, told, path, kept })
    }};
}

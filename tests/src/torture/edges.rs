//! Plugins that panic in methods, constructors and destructors, and a library that is unloaded and loaded again while it is
//! called by threads that end before, between and after.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hotcall::{Error, Instance, Library, PluginError, slot};
use hotcall_examples::plugins;
use hotcall_probe::edge::{Edge, Numbers};

use super::tally::{TALLY, count};
use hotcall_tests::random::Random;

struct Nothing;

impl Edge for Nothing {
    fn act(&self, x: u64) -> u64 {
        x + 1
    }
    fn told(&self) -> String {
        String::new()
    }
    fn call_back(&self, x: u64, function: &mut dyn FnMut(u64) -> u64) -> u64 {
        function(x)
    }
    fn weigh(&self, _: [u64; 9], name: String, _: f32) -> String {
        name
    }
}

impl Numbers for Nothing {
    fn next(&self, x: u64) -> u64 {
        x + 1
    }
}

#[slot]
static EDGE: dyn Edge = Nothing;
#[slot]
static NUMBERS: dyn Numbers = Nothing;

/// The library that does what it is told.
#[derive(Clone, Debug)]
pub struct Edges {
    path: PathBuf,
    library: Library,
}

/// What its instances are told. Each answers with one more, or panics with a text that begins so.
const TOLD: [(&str, Option<&str>); 7] = [
    ("", None),
    ("panic", Some("told to panic at ")),
    ("panic with a number", Some("a value that is no text")),
    ("panic with a bomb", Some("a value that is no text")),
    ("panic inside", None),
    ("panic in the destructor", None),
    ("keep something of the thread", None),
];

impl Edges {
    /// Builds and opens it.
    pub fn load() -> Result<Self, Box<dyn std::error::Error>> {
        let path = plugins::build(&["hotcall-probe-edge"])?.remove(0);
        let library = plugins::open(&path)?;
        drop(library.instantiate::<dyn Edge>("panic quietly")?);
        Ok(Self { path, library })
    }

    /// Replaces, until told to stop. Where the process forks, the child drops what had been replaced; a panic there may wait for
    /// a lock that a thread of its parent had, which was about to panic. So destructors that panic are not left to it then.
    pub fn replace(&self, random: &mut Random, forks: bool, stop: impl Fn() -> bool) {
        while !stop() {
            let (what, _) = TOLD[random.below(TOLD.len() as u64) as usize];
            match self.library.instantiate::<dyn Edge>(what) {
                Ok(instance) if forks && what == "panic in the destructor" => {
                    drop(catch_unwind(AssertUnwindSafe(|| drop(instance))));
                    count(&TALLY.destructors_panicked);
                }
                Ok(instance) => install(instance),
                Err(_) => count(&TALLY.failed),
            }
            if random.one_in(4) {
                let what =
                    if random.one_in(2) { "panic in the constructor" } else { "fail in the constructor" };
                match self.library.instantiate::<dyn Edge>(what) {
                    Err(Error::Plugin(PluginError::Constructor { .. })) => count(&TALLY.constructors_failed),
                    _ => count(&TALLY.failed),
                }
            }
            std::thread::sleep(Duration::from_micros(random.below(2_000)));
        }
        if EDGE.restore().is_err() {
            count(&TALLY.failed);
        }
    }

    /// Loads it, calls it, lets it go, over and over, until told to stop.
    pub fn reload(&self, random: &mut Random, stop: impl Fn() -> bool + Sync) {
        while !stop() {
            if reload(&self.path, random).is_err() {
                count(&TALLY.failed);
            }
        }
    }
}

fn install(instance: Instance<dyn Edge>) {
    match EDGE.replace(instance) {
        Ok(retired) => drop(retired),
        Err(_) => count(&TALLY.failed),
    }
    count(&TALLY.swaps);
}

/// Calls whatever is there, until told to stop.
pub fn call(random: &mut Random, stop: impl Fn() -> bool) {
    while !stop() {
        let question = random.below(1 << 32);
        match catch_unwind(|| EDGE.act(question)) {
            Ok(answer) if answer == question + 1 => {}
            Ok(_) => count(&TALLY.torn),
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map_or("", String::as_str);
                let planned =
                    TOLD.iter().filter_map(|(_, begins)| *begins).any(|begins| text.starts_with(begins));
                // The hook that knows the place is not there.
                let text = text.split(", at ").next().unwrap_or_default();
                let own = !text.starts_with("told") || text == format!("told to panic at {question}");
                count(if planned && own { &TALLY.plugin_panics } else { &TALLY.torn });
            }
        }
        count(&TALLY.calls);
    }
}

/// A round: threads that end before the library goes, after it, and after another round's has come.
fn reload(path: &Path, random: &mut Random) -> Result<(), Error> {
    let library = plugins::open(path)?;
    // SAFETY: what an instance keeps is what hotcall looks for; its methods take and give numbers.
    #[allow(unsafe_code)]
    unsafe {
        library.unload_when_drained();
    }
    let what = ["numbers", "know the thread", "keep something of the thread", "call a slot"]
        [random.below(4) as usize];
    // Those that leave something behind stay mapped: not too many of them.
    let what = if random.one_in(8) { what } else { "numbers" };
    let instance = library.instantiate_named::<dyn Numbers>("Told", what)?;
    drop(NUMBERS.replace(instance)?);
    drop(library);
    let asks = random.below(1 << 32);
    let judge = move || {
        if NUMBERS.next(asks) != asks + 1 {
            count(&TALLY.torn);
        }
        count(&TALLY.calls);
    };
    let first = std::thread::spawn(judge);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let last = std::thread::spawn(move || {
        judge();
        // Until the other side is gone.
        let _ = wait.recv();
    });
    if first.join().is_err() {
        count(&TALLY.failed);
    }
    let old = NUMBERS.restore()?;
    if catch_unwind(AssertUnwindSafe(|| drop(old.wait()))).is_err() {
        count(&TALLY.failed);
    }
    drop(go);
    if last.join().is_err() {
        count(&TALLY.failed);
    }
    count(&TALLY.reloads);
    Ok(())
}

//! A program with slots and callers, which uses a library's, and loads the plugin that it is given. When all is checked it says
//! what the runtime believes to have patched, and waits to be looked at.

use std::error::Error;
use std::time::{Duration, Instant};

use hotcall::{Library, slot};
use sites_library::{inlined, replace_all as replace_in_library};
use sites_shapes::{Nothing, Shapes, callers};

#[slot]
static FIRST: dyn Shapes = Nothing;
#[slot]
static SECOND: dyn Shapes = Nothing;
#[slot]
static SCALE: fn(u64, u64) -> u64 = double;
#[slot]
static MAYBE: Option<fn(&str) -> usize> = None;

fn double(x: u64, y: u64) -> u64 {
    x.wrapping_mul(2).wrapping_add(y)
}

callers!(FIRST, SECOND; SCALE, MAYBE);

fn main() -> Result<(), Box<dyn Error>> {
    assert_eq!(inlined(1), 1);
    check()?;
    sites_library::check()?;
    assert_eq!(inlined(1), 13);
    replace_in_library(9)?;
    if let Some(path) = std::env::args().nth(1) {
        // SAFETY: it is the plugin of this test.
        let plugin = unsafe { Library::open(&path)? };
        let plugin = plugin.instantiate::<dyn Shapes>("")?;
        // The plugin has called the library's slots, which are the host's.
        assert_eq!(plugin.none(), 1 + 9 + 9);
        drop(FIRST.replace(plugin)?);
        assert_eq!(FIRST.one(1), 20);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while hotcall::stats().thunks != 0 {
        assert!(Instant::now() < deadline, "never settled: {:?}", hotcall::stats());
        std::thread::sleep(Duration::from_millis(1));
    }
    for one in hotcall::__private::emitted()? {
        println!("{} {:#x} {} {:#x} {}", one.kind, one.address, one.length, one.target, one.slot);
    }
    println!("stats {:?}", hotcall::stats());
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(())
}

//! A program for `tests/where_it_runs.rs`: puts itself into a setting that programs run in, does what a user of hotcall does, and
//! says in one line what it saw. It ends with 0 where everything was right.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod debugged;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod job;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod limits;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod namespaces;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod plugins;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod scale;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod seccomp;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod settings;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "plain".to_owned());
    match settings::run(&name) {
        Ok(seen) => println!("{seen}"),
        Err(wrong) => {
            eprintln!("{name}: {wrong}");
            std::process::exit(1);
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    println!("left out: its settings are those of Linux on x86-64");
}

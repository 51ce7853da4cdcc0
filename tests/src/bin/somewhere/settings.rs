//! The settings, by name: each puts this process into one, does the job, and says what it saw.

use std::io::{Read, Write};
use std::time::Duration;

use hotcall::WaitError;
use hotcall_tests::negative;

use super::job::{self, FIRST};
use super::limits::{self, limit};
use super::namespaces;
use super::seccomp::{self, Refuse};
use super::{debugged, plugins, scale};

type Seen = Result<String, String>;

/// Puts this process into the setting of that name, and does the job there.
pub fn run(name: &str) -> Seen {
    negative::sabotaged();
    match name {
        "plain" => job_in(|| {}),
        "alone" => job::all(false).map(|()| job::seen()),
        "mdwe" if !limits::no_exec_gain() => Err("left out: the kernel has no PR_SET_MDWE".to_owned()),
        "mdwe" => job_in(|| {}),
        "no-membarrier" => job_in(|| refuse(&[libc::SYS_membarrier], libc::EPERM)),
        "no-membarrier-later" => job_then(|| refuse(&[libc::SYS_membarrier], libc::EPERM)),
        "no-memfd" => job_in(|| refuse(&[libc::SYS_memfd_create], libc::EPERM)),
        "no-memfd-later" => job_then(|| refuse(&[libc::SYS_memfd_create], libc::ENOSYS)),
        "no-seals" => job_in(|| refuse(&[libc::SYS_fcntl], libc::EPERM)),
        "no-exec-mapping" => job_in(|| seccomp::refuse_executable(libc::EACCES)),
        "no-maps" => job_in(|| refuse(&[libc::SYS_open, libc::SYS_openat], libc::EACCES)),
        "noexec-memfd" => noexec_memfd(),
        "no-files" => job_in(|| no_files(libc::RLIMIT_NOFILE)),
        "no-files-later" => job_then(|| no_files(libc::RLIMIT_NOFILE)),
        "no-file-size" => job_in(|| no_files(libc::RLIMIT_FSIZE)),
        "no-file-size-later" => job_then(|| no_files(libc::RLIMIT_FSIZE)),
        "no-file-size-child" => children(libc::RLIMIT_FSIZE),
        "no-files-child" => children(libc::RLIMIT_NOFILE),
        "address-space" => address_space(),
        "no-threads" => no_threads(),
        "no-keys" => no_keys(),
        "tiny-stack" => tiny_stack(),
        // As under an emulator that does not see what is written to code memory.
        "stale-code" => job_in(|| assert!(negative::switch_off("stale-code").is_some())),
        "breakpoint" => breakpoint(),
        "clone" => clone_by_hand(),
        "fork" => job::forks().map(|()| job::seen()),
        "stops" => debugged::stop_by_stop(),
        "spin" => debugged::spin(),
        "plugin-names" => plugin_names(),
        "closed-descriptors" => closed_descriptors(),
        "closed-before-load" => closed_before_load(),
        "noexec-plugin" => noexec_plugin(),
        "allow-list" => allow_list(),
        _ => scale::run(name).unwrap_or_else(|| Err("there is no such setting".to_owned())),
    }
}

fn refuse(calls: &[libc::c_long], errno: i32) {
    seccomp::refuse(calls, Refuse::With(errno));
}

fn job_in(enter: impl FnOnce()) -> Seen {
    enter();
    job::all(true)?;
    Ok(job::seen())
}

/// The job, and again once the setting has become another.
fn job_then(enter: impl FnOnce()) -> Seen {
    job::all(true)?;
    // Something is held while it happens: it goes on.
    drop(FIRST.replace(job::Add(1)).map_err(|error| error.to_string())?);
    enter();
    if job::first(3) != 4 {
        return Err("what ran does not go on".to_owned());
    }
    drop(FIRST.restore().map_err(|error| error.to_string())?);
    job::all(true)?;
    Ok(job::seen())
}

/// No more of them: what is open stays so.
fn no_files(which: libc::__rlimit_resource_t) {
    limit(which, 0);
}

/// Forked children of a program that has patched its calls may not copy code memory: what they cannot do they are told.
fn children(which: libc::__rlimit_resource_t) -> Seen {
    job::all(true)?;
    drop(FIRST.replace(job::Add(1)).map_err(|error| error.to_string())?);
    let patched = hotcall::stats().callers != 0;
    hotcall_tests::forking::fork(|| {
        no_files(which);
        let refused = FIRST.replace(job::Times(10));
        let said = refused.map_err(|error| error.error().to_string());
        match said {
            // Without patched calls nothing has to be copied.
            Ok(_) => !patched && job::first(3) == 30,
            Err(said) => {
                patched && said.contains("since a fork") && said.contains("ulimit") && job::first(3) == 4
            }
        }
    })
    .wait()?;
    drop(FIRST.replace(job::Times(2)).map_err(|error| error.to_string())?);
    if job::first(3) != 6 {
        return Err("the parent does not go on".to_owned());
    }
    Ok(if patched {
        "refused in the child, which goes on; the parent replaces".to_owned()
    } else {
        job::seen()
    })
}

/// A child that `clone` makes, of which no handler hears, replaces. Its parent does not see it.
fn clone_by_hand() -> Seen {
    job::all(true)?;
    drop(FIRST.replace(job::Add(1)).map_err(|error| error.to_string())?);
    hotcall::drain(Duration::from_secs(60)).map_err(|error| error.to_string())?;
    limits::clone_by_hand(|| {
        // Whether it can is not promised.
        let _ = FIRST.replace(job::Times(10)).map(drop);
        let _ = FIRST.replace(job::Add(7)).map(drop);
    })
    .wait()?;
    match (job::first(3), job::first(0)) {
        (4, 1) => job::all(true).map(|()| format!("{}; the parent's go on", job::seen())),
        seen => Err(format!("the parent calls {seen:?}")),
    }
}

/// Room for the job's own memory, and for no code memory.
fn address_space() -> Seen {
    // What the allocator wants is its own by now.
    drop((0..100).map(|_| vec![1_u8; 1000]).collect::<Vec<_>>());
    let was = limit(libc::RLIMIT_AS, limits::address_space());
    let outcome = job::slots();
    let seen = job::seen();
    limit(libc::RLIMIT_AS, was);
    outcome.map(|()| seen)
}

/// The system refuses the process any thread: the reclaimer's, too.
fn no_threads() -> Seen {
    refuse(&[libc::SYS_clone, libc::SYS_clone3], libc::EAGAIN);
    // Where nobody frees it, it would not come however long this waits.
    let patience = Duration::from_millis(if negative::sabotaged().is_some() { 50 } else { 60_000 });
    let first = FIRST.replace(job::Add(1)).map_err(|error| error.to_string())?;
    drop(first.wait_timeout(patience).map_err(|error| error.to_string())?);
    job::all(false)?;
    let before = hotcall::stats();
    for round in 0..1000 {
        drop(FIRST.replace(job::Add(round)).map_err(|error| error.to_string())?);
        if job::first(3) != 3 + round {
            return Err("an old one ran".to_owned());
        }
    }
    let after = hotcall::stats();
    let left = after.retired - after.freed;
    if left > 10 || after.freed == before.freed {
        return Err(format!("{left} of {} are not freed", after.retired));
    }
    // While somebody is inside, replacing goes on, and waiting says so.
    let guard = hotcall::pin();
    let held = FIRST.replace(job::Add(1)).map_err(|error| error.to_string())?;
    let Err(WaitError::WouldDeadlock(held)) = held.wait_timeout(Duration::from_millis(1)) else {
        return Err("a wait under a guard was not refused".to_owned());
    };
    drop(guard);
    held.wait().map_err(|error| error.to_string())?;
    Ok(format!("{}; who replaces frees", job::seen()))
}

/// No key for thread-specific values is left: threads come and go, and their records do not pile up.
fn no_keys() -> Seen {
    // The standard library has its own, without which it would start no thread.
    job::all(true)?;
    let taken = limits::take_all_keys();
    job::all(true)?;
    let round = || {
        for _ in 0..50 {
            std::thread::spawn(|| job::first(3)).join().expect("it ends well");
        }
        hotcall::stats().threads
    };
    let first = round();
    let last = (0..8).map(|_| round()).max().unwrap_or(0);
    if taken == 0 || last > first.max(64) {
        return Err(format!("{taken} keys taken; {first} records after 50 threads, {last} later"));
    }
    Ok(job::seen())
}

/// Threads with the smallest stack that the system gives call; with four times that they replace and wait.
fn tiny_stack() -> Seen {
    drop(FIRST.replace(job::Add(1)).map_err(|error| error.to_string())?);
    limits::with_stack(16 << 10, || assert_eq!(job::first(3), 4));
    limits::with_stack(64 << 10, || job::slots().expect("the job is done"));
    Ok(job::seen())
}

/// A debugger has written to the page of a call that is to be patched. (It has put back what was there. A breakpoint would be in
/// somebody's way here; that the page is a copy of this process's own is what tells either.)
fn breakpoint() -> Seen {
    let Some(call) = a_call_to_be_patched()? else { return job_in(|| {}) };
    let page = call - call % 4096;
    limits::poke(page);
    job::all(true)?;
    if hotcall::stats().kept.changed == 0 {
        return Err(format!("no call was left alone: {}", hotcall::report()));
    }
    if !limits::poke(page) {
        return Err("the debugger cannot write there any more".to_owned());
    }
    Ok(job::seen())
}

/// Where a child of this process would patch a call.
fn a_call_to_be_patched() -> Result<Option<usize>, String> {
    let (mut reads, mut writes) = std::io::pipe().map_err(|error| error.to_string())?;
    hotcall_tests::forking::fork(|| {
        let replaced = FIRST.replace(job::Add(1)).is_ok();
        let emitted = hotcall::__private::emitted().unwrap_or_default();
        let call = emitted.iter().find(|one| one.kind == "call").map_or(0, |call| call.address);
        replaced && writes.write_all(&call.to_ne_bytes()).is_ok()
    })
    .wait()?;
    let mut call = [0; 8];
    reads.read_exact(&mut call).map_err(|error| error.to_string())?;
    Ok(Some(usize::from_ne_bytes(call)).filter(|call| *call != 0))
}

/// The system makes no memory without a name that could be executed.
fn noexec_memfd() -> Seen {
    const LEFT_OUT: &str = "left out: it needs root, and a kernel with vm.memfd_noexec";
    if !namespaces::with_children_apart() {
        return Err(LEFT_OUT.to_owned());
    }
    let outcome = || {
        if !namespaces::without_executable_memfds() {
            return Err(LEFT_OUT.to_owned());
        }
        let seen = job_in(|| {})?;
        match plugins::count(&plugins::path()?)? {
            1 => Ok(format!("{seen}; plugins load")),
            count => Err(format!("the plugin counts {count}")),
        }
    };
    let (mut reads, mut writes) = std::io::pipe().map_err(|error| error.to_string())?;
    hotcall_tests::forking::fork(|| {
        let said = match outcome() {
            Ok(seen) => seen,
            Err(wrong) => format!("!{wrong}"),
        };
        writes.write_all(said.as_bytes()).is_ok()
    })
    .wait()?;
    drop(writes);
    let mut said = String::new();
    reads.read_to_string(&mut said).map_err(|error| error.to_string())?;
    match said.strip_prefix('!') {
        Some(wrong) => Err(wrong.to_owned()),
        None => Ok(said),
    }
}

/// Each library that is loaded has a name of its own, under which any process finds its file.
fn plugin_names() -> Seen {
    let path = plugins::path()?;
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(plugins::load(&path)?);
    }
    let mut names = plugins::names();
    let own = format!("/proc/{}/fd/", std::process::id());
    let readable = names.iter().all(|name| name.starts_with(&own) && std::fs::read(name).is_ok());
    names.sort();
    names.dedup();
    if names.len() != 5 || !readable {
        return Err(format!("{names:?}"));
    }
    // A child loads one more, whose name is the child's.
    hotcall_tests::forking::fork(|| {
        let own = format!("/proc/{}/fd/", std::process::id());
        // As long as it has instances.
        let loaded = plugins::load(&path);
        loaded.is_ok()
            && plugins::names().iter().filter(|name| name.starts_with(&own)).count() == 1
            && plugins::names().len() == 6
    })
    .wait()?;
    Ok("each its own, that any process can read".to_owned())
}

/// A program that closes descriptors which are not its own, and then loads the next version.
fn closed_descriptors() -> Seen {
    let path = plugins::path()?;
    let first = (plugins::count(&path)?, plugins::count_on());
    plugins::close_all();
    let second = (plugins::count(&path)?, plugins::count_on());
    if (first, second) == ((1, [2, 3]), (1, [2, 3])) {
        Ok("the new version runs".to_owned())
    } else {
        Err(format!("{first:?}, {second:?}"))
    }
}

/// The copy that was examined is not there any more when it is to be loaded.
#[allow(unsafe_code)]
fn closed_before_load() -> Seen {
    let path = plugins::path()?;
    // SAFETY: the plugin is safe code.
    let library = unsafe { hotcall::Library::open(&path) }.map_err(|error| error.to_string())?;
    plugins::close_all();
    // Another file gets its number.
    let _other = std::fs::File::open(&path).map_err(|error| error.to_string())?;
    match library.instantiate::<dyn hotcall_probe::Probe>("1") {
        Ok(_) => Err("something was loaded".to_owned()),
        Err(error) if error.to_string().contains("its private copy was closed") => {
            drop(library);
            Ok("a typed error says so".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A plugin on a file system from which nothing may be executed, and which cannot be written.
fn noexec_plugin() -> Seen {
    let path = plugins::path()?;
    let Some(there) = namespaces::on_noexec(&path) else {
        return Err("left out: it needs root, to mount a file system".to_owned());
    };
    let counted = plugins::count(&there);
    namespaces::clean(&there);
    match counted? {
        1 => Ok("it loads, from its private copy".to_owned()),
        count => Err(format!("it counts {count}")),
    }
}

/// The system calls that the runtime makes, and those of a program that does next to nothing. See `docs/WHERE-IT-RUNS.md`.
fn allow_list() -> Seen {
    let document = std::env::var("HOTCALL_ALLOWED").map_err(|_| "HOTCALL_ALLOWED is not set".to_owned())?;
    let calls: Vec<_> = document.split_whitespace().map(seccomp::number_of).collect::<Result<_, _>>()?;
    seccomp::allow_only(&calls, Refuse::Kill);
    job::all(true)?;
    job::forks()?;
    let count = plugins::count(&plugins::path()?)?;
    if count != 1 {
        return Err(format!("the plugin counts {count}"));
    }
    Ok(job::seen())
}

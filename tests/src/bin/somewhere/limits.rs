//! Limits that a process sets for itself.
#![allow(unsafe_code)]

/// Sets the soft limit, and gives what it was.
pub fn limit(which: libc::__rlimit_resource_t, to: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place.
    unsafe { libc::getrlimit(which, &raw mut limit) };
    let was = limit.rlim_cur;
    limit.rlim_cur = to.min(limit.rlim_max);
    // SAFETY: as above.
    unsafe { libc::setrlimit(which, &raw const limit) };
    was
}

/// No memory that can be written may come to be executed. Whether the system knows it.
pub fn no_exec_gain() -> bool {
    const PR_SET_MDWE: i32 = 65;
    const REFUSE_EXEC_GAIN: u64 = 1;
    // SAFETY: it concerns this process alone.
    unsafe { libc::prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0_u64, 0_u64, 0_u64) == 0 }
}

/// How much address space there is in use, in bytes.
pub fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Takes all keys for thread-specific values that there are.
pub fn take_all_keys() -> usize {
    let mut key = 0;
    // SAFETY: `key` is a valid place; without a destructor nothing is run.
    std::iter::from_fn(|| (unsafe { libc::pthread_key_create(&raw mut key, None) } == 0).then_some(()))
        .count()
}

/// Runs `body` on a thread with a stack of so many bytes.
pub fn with_stack(bytes: usize, body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(bytes)
            .spawn_scoped(scope, body)
            .expect("a thread")
            .join()
            .expect("it ends well");
    });
}

/// Writes to this process's own code, as a debugger does: the byte that is there. Whether it could.
pub fn poke(address: usize) -> bool {
    use std::os::unix::fs::FileExt;
    let Ok(memory) = std::fs::File::options().read(true).write(true).open("/proc/self/mem") else {
        return false;
    };
    let mut byte = [0];
    let at = address as u64;
    memory.read_exact_at(&mut byte, at).is_ok() && memory.write_all_at(&byte, at).is_ok()
}

/// A child without the C library's knowledge.
pub fn clone_by_hand(child: impl FnOnce()) -> hotcall_tests::forking::Child {
    // SAFETY: nothing is shared but files; no thread of this process has locked anything that the child uses. It leaves by `_exit`.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        child();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    hotcall_tests::forking::Child::of(pid as i32)
}

//! Filters over system calls.
#![allow(unsafe_code)]

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter, sock_fprog};

/// What becomes of a call that the filter does not let pass.
#[derive(Clone, Copy)]
pub enum Refuse {
    /// It answers this error.
    With(i32),
    /// It ends the process.
    Kill,
}

impl Refuse {
    fn action(self) -> u32 {
        match self {
            Self::With(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// From now on `calls` are refused.
pub fn refuse(calls: &[c_long], how: Refuse) {
    install(calls, how.action(), libc::SECCOMP_RET_ALLOW);
}

/// From now on only `calls` are allowed.
pub fn allow_only(calls: &[c_long], otherwise: Refuse) {
    install(calls, libc::SECCOMP_RET_ALLOW, otherwise.action());
}

fn install(calls: &[c_long], listed: u32, others: u32) {
    // The number is the first word of `seccomp_data`.
    let mut program = vec![statement(BPF_LD | BPF_W | BPF_ABS, 0)];
    for call in calls {
        program.push(sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: 0, jf: 1, k: *call as u32 });
        program.push(statement(BPF_RET | BPF_K, listed));
    }
    program.push(statement(BPF_RET | BPF_K, others));
    put(program);
}

fn put(mut program: Vec<sock_filter>) {
    let filter = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: it concerns this process alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: `filter` describes `program`, which lives until the kernel has copied it. All threads of this process.
    let refused = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const filter,
        )
    };
    assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
}

/// From now on memory that is mapped is not executable. (Policies of SELinux and others do this.)
pub fn refuse_executable(errno: i32) {
    let jump =
        |k: u32, jt: u8, jf: u8, how: u32| sock_filter { code: (BPF_JMP | how | BPF_K) as u16, jt, jf, k };
    let program = vec![
        statement(BPF_LD | BPF_W | BPF_ABS, 0),
        jump(libc::SYS_mmap as u32, 0, 3, BPF_JEQ),
        // The lower half of the third argument.
        statement(BPF_LD | BPF_W | BPF_ABS, 32),
        jump(libc::PROT_EXEC as u32, 0, 1, libc::BPF_JSET),
        statement(BPF_RET | BPF_K, Refuse::With(errno).action()),
        statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    put(program);
}

/// The numbers of the calls that the document may name.
macro_rules! numbers {
    ($($name:ident),* $(,)?) => {
        /// The number of a system call.
        pub fn number_of(name: &str) -> Result<c_long, String> {
            match name {
                $(name if stringify!($name).strip_prefix("SYS_") == Some(name) => Ok(libc::$name),)*
                _ => Err(format!("the test does not know the number of `{name}`")),
            }
        }
    };
}

numbers!(
    SYS_arch_prctl,
    SYS_brk,
    SYS_clock_nanosleep,
    SYS_clone,
    SYS_clone3,
    SYS_close,
    SYS_dup3,
    SYS_exit,
    SYS_exit_group,
    SYS_fallocate,
    SYS_fcntl,
    SYS_fstat,
    SYS_fork,
    SYS_ftruncate,
    SYS_futex,
    SYS_getcwd,
    SYS_getpid,
    SYS_getrandom,
    SYS_getrlimit,
    SYS_gettid,
    SYS_lseek,
    SYS_madvise,
    SYS_membarrier,
    SYS_memfd_create,
    SYS_mmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_munmap,
    SYS_nanosleep,
    SYS_newfstatat,
    SYS_open,
    SYS_openat,
    SYS_poll,
    SYS_pread64,
    SYS_prlimit64,
    SYS_pwrite64,
    SYS_read,
    SYS_readlink,
    SYS_readlinkat,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_sigaltstack,
    SYS_statx,
    SYS_tgkill,
    SYS_wait4,
    SYS_write,
    SYS_prctl,
    SYS_restart_syscall,
);

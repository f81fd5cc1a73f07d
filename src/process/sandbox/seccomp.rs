//! The filter of system calls (seccomp(2)): what tokio, the C library, the TLS library and the gate itself use, and nothing
//! else. Anything else fails with EPERM, as it would for want of a right.
//!
//! There is no execve, no fork, no ptrace, no mount, no bpf, no io_uring, no keyctl in it, and no way to memory that can be
//! executed. Most calls are let through whatever their arguments are, which the kernel remembers (Linux 5.11): they cost
//! nothing then.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::{Layer, Needs};

/// Filters the calling thread's system calls.
pub(super) fn filter(needs: &Needs) -> Layer {
    let Some(architecture) = architecture() else {
        return Layer::Off("Sealgate has no filter for this processor".to_owned());
    };
    let installed = programs(needs, architecture)
        .map_err(Error::Backend)
        .and_then(|programs| programs.iter().try_for_each(|program| apply_filter(program)));
    match installed {
        Ok(()) => Layer::On("on".to_owned()),
        Err(error) => Layer::Off(format!("the kernel refuses the filter: {error}")),
    }
}

fn architecture() -> Option<TargetArch> {
    match std::env::consts::ARCH {
        "x86_64" => Some(TargetArch::x86_64),
        "aarch64" => Some(TargetArch::aarch64),
        _ => None,
    }
}

/// Two filters; of what both say of a call, the stricter holds.
fn programs(needs: &Needs, architecture: TargetArch) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    // clone3 hides its flags behind a pointer. Without it the C library takes clone, whose flags can be judged.
    let absent = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        architecture,
    )?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = UNCONDITIONAL.iter().map(|call| (*call, Vec::new())).collect();
    // The other filter's say: of two errors, that of the filter that was installed last would come back.
    rules.insert(libc::SYS_clone3, Vec::new());
    if needs.bind {
        rules.insert(libc::SYS_bind, Vec::new());
    }
    rules.extend(conditional()?);
    let listed = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        architecture,
    )?;
    Ok([absent.try_into()?, listed.try_into()?])
}

/// Calls that are let through whatever their arguments are.
const UNCONDITIONAL: &[i64] = &[
    // Octets.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Sockets that are there.
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Descriptors and files; which files is Landlock's to say.
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_pipe2,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_getcwd,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Memory that is not executed; mmap and mprotect are below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads; clone is below.
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals that arrive.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Who we are.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_capget,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// Which of a call's arguments is looked at.
const FIRST: u8 = 0;
const SECOND: u8 = 1;
const THIRD: u8 = 2;

/// Calls of which only some forms are let through.
fn conditional() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let families = one_of(FIRST, &[libc::AF_INET, libc::AF_INET6, libc::AF_UNIX])?;
    // Not executed now, nor later.
    let data = || Ok::<_, seccompiler::BackendError>(vec![rule(THIRD, without(libc::PROT_EXEC.unsigned_abs()), 0)?]);
    Ok(BTreeMap::from([
        (libc::SYS_socket, families),
        (libc::SYS_socketpair, one_of(FIRST, &[libc::AF_UNIX])?), // tokio's signals
        (libc::SYS_mmap, data()?),
        (libc::SYS_mprotect, data()?),
        // A thread of this process: a new process has no such flag.
        (libc::SYS_clone, vec![rule(FIRST, all_of(libc::CLONE_THREAD.unsigned_abs()), CLONE_THREAD)?]),
        // What isatty and set_nonblocking are made of, and nothing that writes into a terminal.
        (libc::SYS_ioctl, one_of_requests(&[libc::FIONBIO, libc::FIONREAD, libc::TCGETS, libc::TIOCGWINSZ])?),
        // Names of threads and of memory, and looks at what was given up.
        (
            libc::SYS_prctl,
            one_of(
                FIRST,
                &[
                    libc::PR_SET_NAME,
                    libc::PR_SET_VMA,
                    libc::PR_GET_NO_NEW_PRIVS,
                    libc::PR_GET_SECCOMP,
                    libc::PR_CAPBSET_READ,
                    libc::PR_GET_DUMPABLE,
                ],
            )?,
        ),
        // Limits of our own, not of another process.
        (libc::SYS_prlimit64, one_of(FIRST, &[0])?),
        // abort(3), and no signal to anybody else.
        (libc::SYS_tgkill, vec![rule(FIRST, SeccompCmpOp::Eq, std::process::id().into())?]),
    ]))
}

const CLONE_THREAD: u64 = libc::CLONE_THREAD.unsigned_abs() as u64;

fn all_of(bits: u32) -> SeccompCmpOp {
    SeccompCmpOp::MaskedEq(bits.into())
}

fn without(bits: u32) -> SeccompCmpOp {
    SeccompCmpOp::MaskedEq(bits.into())
}

/// A call whose argument compares like that.
fn rule(argument: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)?])
}

/// A call whose argument is one of these.
fn one_of(argument: u8, values: &[i32]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    values.iter().map(|value| rule(argument, SeccompCmpOp::Eq, value.unsigned_abs().into())).collect()
}

fn one_of_requests(requests: &[libc::Ioctl]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    requests.iter().map(|request| rule(SECOND, SeccompCmpOp::Eq, *request)).collect()
}

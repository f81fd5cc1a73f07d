//! No core dumps, and no other process of the same user looks into ours: memory holds keys and passwords.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps of this process, and that a process without CAP_SYS_PTRACE attaches to it or reads its memory
/// (PR_SET_DUMPABLE in prctl(2), ptrace(2)). Both hold until another program is executed: call it before a secret is read.
///
/// # Errors
/// Those of the operating system; whatever can be forbidden is.
pub fn forbid() -> std::io::Result<()> {
    // The limit by itself would not do: a core_pattern that is a pipe is served all the same (core(5)).
    let undumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(undumpable?)
}

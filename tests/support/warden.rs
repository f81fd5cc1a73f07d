//! Who ends the servers: their owner on drop, or else a shell that outlives the test process.
//!
//! The shell reads from a pipe that the test process holds. When that process is gone, for whatever reason, the pipe
//! ends, and the shell ends by their process ids the servers that are noted in the scratch directory, then removes it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::wait::within;

const SCRIPT: &str = r#"
cat >/dev/null
for file in "$1"/pids/*; do [ -s "$file" ] && kill -TERM $(cat "$file") 2>/dev/null; done
for file in "$1"/pids/*; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    left=100
    while kill -0 $pid 2>/dev/null && [ $left -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
    kill -KILL $pid 2>/dev/null
done
rm -rf "$1"
"#;

struct Warden {
    scratch: PathBuf,
    _shell: Child,
}

static WARDEN: LazyLock<Warden> = LazyLock::new(|| {
    let scratch = tempfile::Builder::new().prefix("sealgate-test-").tempdir().expect("a scratch directory").keep();
    // The servers' own users must get through.
    std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    std::fs::create_dir(scratch.join("pids")).expect("a directory");
    let shell = Command::new("sh")
        .args(["-c", SCRIPT, "warden"])
        .arg(&scratch)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh");
    Warden { scratch, _shell: shell }
});

/// A new directory of that name, gone when the test process is.
pub fn directory(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let path = WARDEN.scratch.join(format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// A server's process, ended on drop.
pub struct Server {
    child: Child,
    pid_file: PathBuf,
}

impl Server {
    /// Starts it. `pid_file` is where the server itself writes the id of the process that ends it, if that is not the
    /// process started here.
    pub fn start(name: &str, command: &mut Command, pid_file: Option<&Path>) -> Self {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let note = WARDEN.scratch.join("pids").join(format!("{name}-{}", child.id()));
        match pid_file {
            Some(theirs) => std::os::unix::fs::symlink(theirs, &note).expect("a link"),
            None => std::fs::write(&note, child.id().to_string()).expect("a file"),
        }
        Self { child, pid_file: note }
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()
    }

    /// Sends it a signal: `TERM`, `INT`, …
    pub fn signal(&self, name: &str) {
        assert!(self.try_signal(name), "{}: kill -s {name}", self.pid_file.display());
    }

    /// Whether there is a process that a signal could be sent to.
    fn try_signal(&self, name: &str) -> bool {
        let Some(pid) = self.pid() else { return false };
        Command::new("kill").args(["-s", name, &pid.to_string()]).status().is_ok_and(|status| status.success())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Ends it and waits for that.
    fn stop(&mut self) -> Option<ExitStatus> {
        if let Some(status) = self.ended() {
            return Some(status);
        }
        self.try_signal("TERM");
        within(super::wait::PATIENCE, || self.ended())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop().is_none() {
            eprintln!("{} did not end on SIGTERM", self.pid_file.display());
            self.try_signal("KILL");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

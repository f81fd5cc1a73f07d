//! A server's log file: waited for, and shown when a test fails.

use std::path::{Path, PathBuf};

use super::wait::until;

/// A log file and the place from which it is of interest.
#[derive(Clone)]
pub struct Log {
    path: PathBuf,
    from: usize,
}

impl Log {
    /// All of the file.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), from: 0 }
    }

    /// What is written from now on.
    pub fn tail(&self) -> Self {
        let from = std::fs::read(&self.path).map_or(0, |bytes| bytes.len());
        Self { path: self.path.clone(), from }
    }

    /// What was written.
    pub fn text(&self) -> String {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.from..).unwrap_or_default()).into_owned()
    }

    /// Waits for a line that holds all of `parts` and gives it.
    pub fn wait_for(&self, parts: &[&str]) -> String {
        until(&format!("a line with {parts:?} in {}", self.path.display()), || {
            self.text().lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
        })
    }
}

/// Shows the logs if the test fails.
pub struct Shown(Vec<Log>);

impl Shown {
    /// From now on.
    pub fn on_failure(logs: impl IntoIterator<Item = Log>) -> Self {
        Self(logs.into_iter().map(|log| log.tail()).collect())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in &self.0 {
                eprintln!("--- {} ---\n{}", log.path.display(), log.text());
            }
        }
    }
}

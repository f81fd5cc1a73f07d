//! What the kernel says of a process.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// A process that is observed.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// Its own memory in KiB. What it shares, such as the program's text, would count for more when other gates end.
    pub fn memory(self) -> u64 {
        self.figure("smaps_rollup", "Anonymous:")
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak(self) -> u64 {
        self.figure("status", "VmHWM:")
    }

    fn figure(self, file: &str, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.0)).expect("a live process");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key} in {file}"));
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How many descriptors it has open.
    pub fn descriptors(self) -> usize {
        self.open().len()
    }

    /// The descriptor that it gets next; a limit of so many leaves it none, however many there are above it.
    pub fn next_descriptor(self) -> u64 {
        let open = self.open();
        (0..).find(|number| !open.contains(number)).expect("a free one")
    }

    fn open(self) -> BTreeSet<u64> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.0)).expect("a live process");
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// Its soft and hard limits of open files.
    pub fn limit(self) -> (Option<u64>, Option<u64>) {
        let text = fs::read_to_string(format!("/proc/{}/limits", self.0)).expect("a live process");
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).expect("the limit of open files");
        let mut fields = line.split_whitespace().map(|field| field.parse().ok());
        (fields.next().flatten(), fields.next().flatten())
    }

    /// Changes its soft limit of open files; which it had.
    pub fn allow(self, descriptors: u64) -> u64 {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw);
        let maximum = self.limit().1;
        let before =
            prlimit(pid, Resource::Nofile, Rlimit { current: Some(descriptors), maximum }).expect("our own child");
        before.current.expect("a limit")
    }
}

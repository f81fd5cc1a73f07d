//! What a process tree costs: its processor time and its memory, as the kernel counts them.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// How long the tree must have done nothing.
const QUIET: Duration = Duration::from_millis(100);

/// Less processor time than this in [`QUIET`] is nothing: programs wake up now and then.
const NOTHING: Duration = Duration::from_micros(500);

/// When waiting for quiet is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Clock ticks of /proc/PID/stat, 100 a second on every Linux (`USER_HZ` is part of its interface).
const TICK: Duration = Duration::from_millis(10);

/// A process and all that came from it.
#[derive(Debug, Clone, Copy)]
pub struct Tree(Pid);

impl Tree {
    pub fn of(root: u32) -> anyhow::Result<Self> {
        Ok(Self(Pid::from_raw(root.try_into().context("a process number out of range")?)))
    }

    /// Every process of the tree that lives, its root first.
    pub fn processes(self) -> anyhow::Result<Vec<Pid>> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
            // One that has just ended is not missed: its parent has its time.
            if let Some(parent) = stat(pid, 4) {
                children.entry(i32::try_from(parent)?).or_default().push(pid);
            }
        }
        let mut tree = vec![self.0.as_raw()];
        let mut next = 0;
        while let Some(pid) = tree.get(next) {
            tree.extend(children.remove(pid).unwrap_or_default());
            next += 1;
        }
        Ok(tree.into_iter().map(Pid::from_raw).collect())
    }

    /// User and system time of all its processes: by the processes' own clocks in nanoseconds, threads that ended counted,
    /// and in clock ticks for children that ended.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        Ok(self
            .processes()?
            .into_iter()
            .filter_map(|pid| {
                let own = clock_getcpuclockid(pid).and_then(ClockId::now).ok()?;
                let ended = stat(pid.as_raw(), 16)? + stat(pid.as_raw(), 17)?;
                Some(Duration::from(own) + TICK * u32::try_from(ended).ok()?)
            })
            .sum())
    }

    /// Waits until its processor time stands still; returns that time.
    pub async fn quiet(self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut still = 0;
        let mut last = self.cpu()?;
        while still < 2 && began.elapsed() < PATIENCE {
            tokio::time::sleep(QUIET).await;
            let now = self.cpu()?;
            still = if now.saturating_sub(last) < NOTHING { still + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    /// Proportional set size in KiB: what it shares with others counts in part.
    pub fn pss(self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for pid in self.processes()? {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("cannot read smaps_rollup")?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
            sum += line.trim_end_matches("kB").trim().parse::<f64>()?;
        }
        Ok(sum)
    }
}

/// A field of /proc/PID/stat, counted as proc(5) does, from the fourth on.
fn stat(pid: i32, field: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, which may hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

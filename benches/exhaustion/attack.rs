//! A run: honest sessions, then slow clients until the gate has taken leave of the last of them.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::honest::{Honest, Service};
use crate::identity::Identity;
use crate::load::tls::{Client, Settings};
use crate::load::{bulk, handshake};
use crate::slow::{Crowd, Kind, target};
use crate::subjects::{Door, Running};

/// Handshakes before anything counts: what a process allocates only once is there then.
const WARM: usize = 400;

/// And as many octets each way: the workers have their buffers then.
const BULK: usize = 2 << 20;

/// So long after the last client came everything that it sent is where it will stay.
const SETTLED: Duration = Duration::from_secs(3);

/// How often is looked.
const GLANCE: Duration = Duration::from_millis(100);

/// How much longer than its deadline a client may stay: the time to be told, and to be waited for after the last words.
const GRACE: Duration = Duration::from_secs(30);

/// How long the gate may take to give memory back.
const GIVE_BACK: Duration = Duration::from_secs(60);

/// Memory is back when there is no more than this of what there was.
const BACK: f64 = 1.05;

pub struct Attack<'a> {
    pub running: &'a Running,
    pub identity: &'a Identity,
    pub kinds: &'a [Kind],
    pub clients: usize,
    pub patience: Duration,
}

/// What a gate holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    /// KiB of memory.
    memory: f64,
    descriptors: usize,
    threads: usize,
}

/// How a run went.
pub struct Outcome {
    clients: usize,
    /// The most that a client may cost, in KiB.
    target: f64,
    start: Holdings,
    before: Holdings,
    under: Holdings,
    after: Holdings,
    honest: Service,
    /// From the last client's coming to its going.
    gone_after: Duration,
    back_after: Duration,
}

impl Attack<'_> {
    pub async fn perform(&self) -> anyhow::Result<Outcome> {
        let client = Client::new(Settings::USUAL, self.identity, false)?;
        let reading = target(self.running, Door::Imaps, &client)?;
        let sending = target(self.running, Door::Smtp, &client)?;
        let start = self.holdings()?;

        handshake::full(&reading, 8, WARM).await?;
        handshake::full(&sending, 8, WARM).await?;
        for _ in 0..3 {
            bulk::upload(&sending, 8, BULK).await?;
            bulk::download(&reading, BULK as u64).await?;
        }
        let witnesses = Honest::begin(reading.clone(), sending.clone()).await?;
        tokio::time::sleep(SETTLED).await;
        witnesses.end().await?;
        self.until_quiet().await?;
        let before = self.holdings()?;

        let honest = Honest::begin(reading.clone(), sending.clone()).await?;
        let crowd = Crowd::new(reading, sending);
        for n in 0..self.clients {
            let kind = self.kinds.get(n % self.kinds.len()).context("no kind")?;
            crowd.send(*kind, n / self.kinds.len());
        }
        self.until("all slow clients are there", GRACE + self.patience, || {
            crowd.there() + crowd.failed() == self.clients
        })
        .await?;
        let came = Instant::now();
        tokio::time::sleep(SETTLED).await;
        if crowd.failed() > 0 || crowd.gone() > 0 {
            bail!(
                "{} could not connect, {} were told to go before all were there: they need more patience, or more \
                   descriptors",
                crowd.failed(),
                crowd.gone()
            );
        }
        let under = self.holdings()?;

        self.until("all slow clients are gone", self.patience + GRACE, || crowd.gone() == self.clients).await?;
        let gone_after = came.elapsed();
        let honest = honest.end().await?;
        self.until_quiet().await?;
        let gone = Instant::now();
        let mut after = self.holdings()?;
        while gone.elapsed() < GIVE_BACK && after.memory > before.memory * BACK {
            tokio::time::sleep(GLANCE).await;
            after = self.holdings()?;
        }
        let kinds = self.kinds.iter();
        Ok(Outcome {
            clients: self.clients,
            target: kinds.map(|kind| kind.target()).sum::<f64>() / self.kinds.len() as f64,
            start,
            before,
            under,
            after,
            honest,
            gone_after,
            back_after: gone.elapsed(),
        })
    }

    async fn until(&self, what: &str, patience: Duration, done: impl Fn() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !done() {
            if began.elapsed() > patience {
                bail!("it took more than {patience:?} until {what}");
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    async fn until_quiet(&self) -> anyhow::Result<()> {
        self.running.tree.quiet().await.map(drop)
    }

    fn holdings(&self) -> anyhow::Result<Holdings> {
        let count = |what: &str| -> anyhow::Result<usize> {
            Ok(fs::read_dir(format!("/proc/{}/{what}", self.running.pid))?.count())
        };
        Ok(Holdings { memory: self.running.tree.pss()?, descriptors: count("fd")?, threads: count("task")? })
    }
}

impl Outcome {
    /// KiB for each client.
    fn cost(&self) -> f64 {
        (self.under.memory - self.before.memory) / self.clients as f64
    }

    /// What is not as it should be.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.cost() > self.target {
            failures.push(format!("{:.1} KiB each, and not {:.1} at most", self.cost(), self.target));
        }
        if self.after.memory > self.before.memory * BACK {
            failures.push(format!("{:.0} KiB stay where {:.0} were", self.after.memory, self.before.memory));
        }
        if self.after.descriptors != self.before.descriptors {
            failures.push(format!("{} descriptors where {} were", self.after.descriptors, self.before.descriptors));
        }
        if self.after.threads != self.before.threads {
            failures.push(format!("{} threads where {} were", self.after.threads, self.before.threads));
        }
        if self.honest.answered == 0 {
            failures.push("no honest session was at work".to_owned());
        }
        failures
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holdings { memory, descriptors, .. } = self.before;
        write!(
            f,
            "{} clients, {:.2} KiB each (at most {:.1}); memory {:.0} KiB at the start, {memory:.0} before, {:.0} under \
             attack, {:.0} after, {:.1} s later; descriptors {descriptors}, {}, {}; the last was gone after {:.1} s; honest: \
             {} commands and {} sessions, the slowest round {:.0} ms",
            self.clients,
            self.cost(),
            self.target,
            self.start.memory,
            self.under.memory,
            self.after.memory,
            self.back_after.as_secs_f64(),
            self.under.descriptors,
            self.after.descriptors,
            self.gone_after.as_secs_f64(),
            self.honest.answered,
            self.honest.sessions,
            self.honest.worst.as_secs_f64() * 1e3,
        )
    }
}

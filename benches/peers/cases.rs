//! How the figures of a case come about.

use std::time::Duration;

use anyhow::bail;

use crate::backends::Backends;
use crate::identity::Identity;
use crate::load::session::Target;
use crate::load::tls::{Client, Group, Kind, Settings};
use crate::load::{Pace, bulk, crowd, handshake, mail, ping};
use crate::plans::{Head, Plan, Work};
use crate::results::{Sample, Unit};
use crate::subjects::{Door, Running, SEALGATE, Subject};

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub handshakes: usize,
    pub mails: usize,
    /// Sessions of fifty mails.
    pub fifties: usize,
    /// Octets that go up in four mails, and come down in one.
    pub octets: usize,
    pub noops: usize,
    pub idle: usize,
    /// Other sessions that are open.
    pub growth: [usize; 4],
}

impl Scale {
    pub const FULL: Self = Self {
        handshakes: 1500,
        mails: 1500,
        fifties: 60,
        octets: 1 << 30,
        noops: 20_000,
        idle: 4000,
        growth: [10, 100, 1000, 8000],
    };

    /// To see that it works.
    pub const QUICK: Self = Self {
        handshakes: 200,
        mails: 200,
        fifties: 8,
        octets: 1 << 26,
        noops: 2000,
        idle: 200,
        growth: [10, 20, 50, 100],
    };
}

/// Sessions at once where nothing else is said.
const WIDTH: usize = 8;

/// A GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// A sample, and where it belongs.
pub struct Figure {
    pub head: Head,
    /// If it stands beside the subject under another name.
    pub subject: Option<String>,
    pub sample: Sample,
}

/// A subject at work, and all that is needed to measure it.
pub struct Stage<'a> {
    pub subject: &'a Subject,
    pub running: &'a Running,
    pub backends: &'a Backends,
    pub identity: &'a Identity,
    pub scale: Scale,
}

impl Stage<'_> {
    /// Does the work of a plan.
    pub async fn perform(&self, plan: &Plan) -> anyhow::Result<Vec<Figure>> {
        let target = self.target(plan, plan.settings, false)?;
        let port = plan.door().well_known();
        let figure = |head, sample| vec![Figure { head, subject: None, sample }];
        match plan.work {
            Work::Handshake(door) => {
                let sample = self.handshakes(&target).await?;
                let way = if door.implicit() { "" } else { ", STARTTLS" };
                let operation = match door {
                    Door::Imaps | Door::Submissions => "connect, handshake, greeting, close",
                    Door::Imap => "connect, STARTTLS, handshake, CAPABILITY, close",
                    Door::Smtp => "connect, EHLO, STARTTLS, handshake, EHLO, close",
                };
                let title = format!("Full handshake{way} ({port})");
                Ok(figure(plan.head("", title, operation, Unit::CpuMsPer1000, Some(0.65)), sample))
            }
            Work::Resumed(_) => {
                let lanes = (0..WIDTH).map(|_| self.target(plan, plan.settings, true)).collect::<Result<_, _>>()?;
                handshake::full(&target, WIDTH, 5 * WIDTH).await?;
                let count = self.scale.handshakes;
                let (cpu, pace) = self.cpu(handshake::resumed(lanes, count)).await?;
                let title = format!("Resumed handshake ({port})");
                let operation = "connect, handshake with a ticket, greeting, close";
                Ok(figure(plan.head("", title, operation, Unit::CpuMsPer1000, Some(0.6)), per_1000(cpu, &pace, 1)))
            }
            Work::Mail { door, mails } => {
                mail::sessions(&target, WIDTH, 5 * WIDTH, 1).await?;
                let count = if mails == 1 { self.scale.mails } else { self.scale.fifties };
                let (cpu, pace) = self.cpu(mail::sessions(&target, WIDTH, count, mails)).await?;
                let sample = per_1000(cpu, &pace, mails);
                let way = if door.implicit() { "implicit TLS" } else { "STARTTLS" };
                let (title, operation, goal) = match mails {
                    1 if door.implicit() => ("Mail", "a session with a mail of 10 KiB", 0.75),
                    1 => ("Mail", "a session with a mail of 10 KiB", 0.35),
                    _ => ("50 mails a session", "a mail of 10 KiB, 50 of them in a session", 0.75),
                };
                let title = format!("{title}, {way} ({port})");
                Ok(figure(plan.head("", title, operation, Unit::CpuMsPer1000, Some(goal)), sample))
            }
            Work::Upload => {
                bulk::upload(&target, 4, 1 << 20).await?;
                let octets = self.scale.octets;
                let (cpu, elapsed) = self.cpu(bulk::upload(&target, 4, octets / 4)).await?;
                let head = plan.head(
                    "",
                    format!("Upload ({port})"),
                    "4 sessions at once, a mail each, 1 GiB in lines of 76 octets in all",
                    Unit::CpuMsPerGiB,
                    Some(0.6),
                );
                Ok(figure(head, per_gib(cpu, elapsed, octets)))
            }
            Work::Download => {
                bulk::download(&target, 1 << 20).await?;
                let octets = self.scale.octets;
                let (cpu, elapsed) = self.cpu(bulk::download(&target, octets as u64)).await?;
                let title = format!("Download ({port})");
                let head = plan.head("", title, "FETCH of 1 GiB in one session", Unit::CpuMsPerGiB, Some(0.55));
                Ok(figure(head, per_gib(cpu, elapsed, octets)))
            }
            Work::Ping => self.ping(plan, &target).await,
            Work::Idle(door) => {
                let mut sessions = Vec::new();
                let empty = self.running.tree.pss()?;
                crowd::grow(&mut sessions, &target, self.scale.idle).await?;
                self.running.tree.quiet().await?;
                let cost = (self.running.tree.pss()? - empty) / sessions.len() as f64;
                let (title, operation) = match door.imap() {
                    true => ("Idle IMAP", "an open session in IDLE"),
                    false => ("Idle SMTP", "an open session between two mails"),
                };
                let head = plan.head("", format!("{title} ({port})"), operation, Unit::KiBPerSession, Some(1.0));
                Ok(figure(head, Sample { cost, throughput: None, p50: None, p99: None }))
            }
            Work::Growth => self.growth(plan, &target).await,
            Work::Hybrid => {
                let classic = self.handshakes(&target).await?;
                let settings = Settings { group: Group::X25519MlKem768, ..plan.settings };
                let hybrid = self.handshakes(&self.target(plan, settings, false)?).await?;
                let title = format!("X25519MLKEM768 against X25519 ({port})");
                let head = plan.head("", title, "connect, handshake, greeting, close", Unit::CpuMsPer1000, Some(1.25));
                let beside = Some(format!("{} with X25519", self.subject.name));
                Ok(vec![
                    Figure { head: head.clone(), subject: None, sample: hybrid },
                    Figure { head, subject: beside, sample: classic },
                ])
            }
        }
    }

    async fn handshakes(&self, target: &Target) -> anyhow::Result<Sample> {
        handshake::full(target, WIDTH, 5 * WIDTH).await?;
        let (cpu, pace) = self.cpu(handshake::full(target, WIDTH, self.scale.handshakes)).await?;
        Ok(per_1000(cpu, &pace, 1))
    }

    async fn ping(&self, plan: &Plan, target: &Target) -> anyhow::Result<Vec<Figure>> {
        let sessions = ping::open(target, WIDTH).await?;
        let (_, sessions) = ping::noops(sessions, 10 * WIDTH).await?;
        let (cpu, (pace, _sessions)) = self.cpu(ping::noops(sessions, self.scale.noops)).await?;
        let operation = "NOOP and its reply, 8 sessions at once";
        let sample = per_1000(cpu, &pace, 1);
        let views = [
            ("-p50", "Ping, median", Unit::MicrosP50, pace.quantile(0.5)),
            ("-p99", "Ping, 99th percentile", Unit::MicrosP99, pace.quantile(0.99)),
            ("-cpu", "Ping, CPU", Unit::CpuMsPer1000, sample.cost),
        ];
        Ok(views
            .into_iter()
            .map(|(suffix, title, unit, cost)| Figure {
                head: plan.head(suffix, format!("{title} (993)"), operation, unit, Some(1.0)),
                subject: None,
                sample: Sample { cost, ..sample },
            })
            .collect())
    }

    /// The same operations while more and more other sessions are open.
    async fn growth(&self, plan: &Plan, target: &Target) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        let mut crowd = Vec::new();
        let mut pinging = ping::open(target, WIDTH).await?;
        let (least, most) = (self.scale.growth.iter().min(), self.scale.growth.iter().max());
        let cores = if plan.workers == Some(1) { "one core" } else { "two cores" };
        for level in &self.scale.growth {
            crowd::grow(&mut crowd, target, *level).await?;
            let handshake = self.handshakes(target).await?;
            (_, pinging) = ping::noops(pinging, 10 * WIDTH).await?;
            let (cpu, (pace, sessions)) = self.cpu(ping::noops(pinging, self.scale.noops)).await?;
            pinging = sessions;
            let works = [
                ("handshake", "Full handshake", "connect, handshake, greeting, close", handshake),
                ("noop", "NOOP", "NOOP and its reply", per_1000(cpu, &pace, 1)),
            ];
            for (name, title, operation, sample) in works {
                let title_here = format!("{title} beside {level} open sessions, {cores}");
                let head = plan.head(&format!("-{name}-{level}"), title_here, operation, Unit::CpuMsPer1000, Some(1.0));
                figures.push(Figure { head, subject: None, sample });
                // The most against the least, where it is Sealgate's own.
                let extreme = Some(level) == least || Some(level) == most;
                if self.subject.name == SEALGATE && extreme {
                    let title = format!("{title}: growth with open sessions, {cores}");
                    let head = plan.head(&format!("-{name}"), title, operation, Unit::CpuMsPer1000, Some(1.1));
                    let subject =
                        (Some(level) == least).then(|| format!("{} with {level} sessions", self.subject.name));
                    figures.push(Figure { head, subject, sample });
                }
            }
        }
        Ok(figures)
    }

    fn target(&self, plan: &Plan, settings: Settings, tickets: bool) -> anyhow::Result<Target> {
        let door = plan.door();
        let client = self.subject.program.tls().then(|| Client::new(settings, self.identity, tickets));
        Ok(Target { address: self.running.address(door)?, door, client: client.transpose()?, kind: Kind::Full })
    }

    /// The subject's processor time for some load, from quiet to quiet.
    async fn cpu<T>(&self, load: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(Duration, T)> {
        let open = self.backends.open();
        let before = self.running.tree.quiet().await?;
        let output = load.await?;
        let mut patience = 1000;
        while self.backends.open() > open {
            tokio::time::sleep(Duration::from_millis(10)).await;
            patience -= 1;
            if patience == 0 {
                bail!("{} connections to the backends stay open", self.backends.open() - open);
            }
        }
        let after = self.running.tree.quiet().await?;
        Ok((after.saturating_sub(before), output))
    }
}

fn per_1000(cpu: Duration, pace: &Pace, each: usize) -> Sample {
    let count = (pace.latencies.len() * each) as f64;
    Sample {
        cost: cpu.as_secs_f64() * 1e6 / count,
        throughput: Some(pace.throughput() * each as f64),
        p50: Some(pace.quantile(0.5)),
        p99: Some(pace.quantile(0.99)),
    }
}

fn per_gib(cpu: Duration, elapsed: Duration, octets: usize) -> Sample {
    let gib = octets as f64 / GIB;
    let throughput = Some(gib * 1024.0 / elapsed.as_secs_f64());
    Sample { cost: cpu.as_secs_f64() * 1e3 / gib, throughput, p50: None, p99: None }
}

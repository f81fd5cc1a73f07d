//! The sessions that must not notice.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::load::ping;
use crate::load::session::{Session, Target};

/// Sessions that are open all the time.
const WIDTH: usize = 8;

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(100);

/// What the honest ones got done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Service {
    /// Commands that were answered.
    pub answered: usize,
    /// Sessions that were opened anew, and mails that were delivered.
    pub sessions: usize,
    /// The longest that anything of it took.
    pub worst: Duration,
}

/// Honest clients at work.
pub struct Honest {
    over: oneshot::Sender<()>,
    work: JoinHandle<anyhow::Result<Service>>,
}

impl Honest {
    /// Opens their sessions; they go on until [`Self::end`].
    pub async fn begin(reading: Target, sending: Target) -> anyhow::Result<Self> {
        let sessions = ping::open(&reading, WIDTH).await?;
        let (over, told) = oneshot::channel();
        let work = tokio::spawn(work(sessions, reading, sending, told));
        Ok(Self { over, work })
    }

    /// Ends them; an error if one of them was not served.
    pub async fn end(self) -> anyhow::Result<Service> {
        let _ = self.over.send(()); // who ended before it was told says why
        self.work.await?.context("an honest session")
    }
}

async fn work(
    mut sessions: Vec<Session>,
    reading: Target,
    sending: Target,
    mut told: oneshot::Receiver<()>,
) -> anyhow::Result<Service> {
    let mut service = Service::default();
    while told.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        let began = Instant::now();
        for session in &mut sessions {
            session.imap("NOOP").await?;
            service.answered += 1;
        }
        let mut reader = reading.open().await?;
        reader.login().await?;
        reader.close().await?;
        let mut sender = sending.open().await?;
        sender.ehlo().await?;
        sender.mail(10 * 1024).await?;
        sender.quit().await?;
        service.sessions += 2;
        service.worst = service.worst.max(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(service)
}

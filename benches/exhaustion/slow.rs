//! Clients that take their time.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use crate::load::session::Target;
use crate::load::tls;
use crate::subjects::Running;
use crate::wire::Wire;

/// Clients that connect at once.
const WIDTH: usize = 32;

/// The most octets of a record's content (RFC 8446 §5.1).
const RECORD: usize = 1 << 14;

/// The beginning of a ClientHello of 512 octets, which never comes whole.
const HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// An octet of it each.
const TRICKLE: Duration = Duration::from_secs(1);

/// What a client is slow at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Before TLS: it says nothing, or half a command.
    Silent,
    /// In the handshake: an octet of its ClientHello a second.
    Hello,
    /// After it: a record of full size of which the last octet is missing.
    Record,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Silent, Self::Hello, Self::Record];

    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Hello => "hello",
            Self::Record => "record",
        }
    }

    /// The most memory for one, in KiB.
    pub fn target(self) -> f64 {
        match self {
            Self::Silent | Self::Hello => 8.0,
            Self::Record => 24.0,
        }
    }
}

/// All slow clients of a run.
#[derive(Clone)]
pub struct Crowd(Arc<Shared>);

struct Shared {
    /// With implicit TLS, and with STARTTLS.
    implicit: Target,
    starttls: Target,
    connecting: Semaphore,
    there: AtomicUsize,
    gone: AtomicUsize,
    failed: AtomicUsize,
}

impl Crowd {
    pub fn new(implicit: Target, starttls: Target) -> Self {
        let counter = AtomicUsize::default;
        let connecting = Semaphore::new(WIDTH);
        Self(Arc::new(Shared { implicit, starttls, connecting, there: counter(), gone: counter(), failed: counter() }))
    }

    /// How many came as far as they meant to.
    pub fn there(&self) -> usize {
        self.0.there.load(Ordering::Relaxed)
    }

    /// Of how many the gate has taken leave since.
    pub fn gone(&self) -> usize {
        self.0.gone.load(Ordering::Relaxed)
    }

    /// How many did not come that far.
    pub fn failed(&self) -> usize {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Sends a client, the `n`th of its kind.
    pub fn send(&self, kind: Kind, n: usize) {
        let Self(shared) = self.clone();
        tokio::spawn(async move {
            let arrived = {
                let _turn = shared.connecting.acquire().await;
                shared.arrive(kind, n.is_multiple_of(2)).await
            };
            match arrived {
                Ok(stream) => {
                    shared.there.fetch_add(1, Ordering::Relaxed);
                    stay(stream, kind).await;
                    shared.gone.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    if shared.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                        eprintln!("a slow client could not even begin: {error:#}");
                    }
                }
            }
        });
    }
}

impl Shared {
    /// To where the client begins to be slow; every other client takes the other way there.
    async fn arrive(&self, kind: Kind, first_way: bool) -> anyhow::Result<TcpStream> {
        let target = if first_way && kind != Kind::Silent { &self.implicit } else { &self.starttls };
        let mut stream = TcpStream::connect(target.address).await.context("cannot connect")?;
        if !target.door.implicit() {
            let mut wire = Wire::new(stream);
            wire.expect("220").await?;
            match kind {
                Kind::Silent if first_way => {}
                Kind::Silent => wire.send(b"EHL").await?,
                Kind::Hello | Kind::Record => {
                    wire.send(b"STARTTLS\r\n").await?;
                    wire.expect("220").await?;
                }
            }
            stream = wire.into_stream();
        }
        if kind == Kind::Record {
            let client = target.client.as_ref().context("a target without TLS")?;
            let secured = client.secure(stream, tls::Kind::Full).await.context("handshake")?;
            let mut record = Vec::new();
            let mut session;
            (stream, session) = secured.into_inner();
            session.writer().write_all(&[b'x'; RECORD])?;
            while session.wants_write() {
                session.write_tls(&mut record)?;
            }
            record.pop();
            stream.write_all(&record).await?;
        }
        Ok(stream)
    }
}

/// Until the gate has had enough.
async fn stay(mut stream: TcpStream, kind: Kind) {
    let (mut reader, mut writer) = stream.split();
    let trickle = async {
        if kind == Kind::Hello {
            let mut tick = interval(TRICKLE);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for octet in HELLO.iter().chain(std::iter::repeat_n(&0, 400)) {
                tick.tick().await;
                if writer.write_all(std::slice::from_ref(octet)).await.is_err() {
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    let hear = async {
        let mut heard = [0; 512];
        while matches!(reader.read(&mut heard).await, Ok(1..)) {}
    };
    tokio::select! {
        () = trickle => {}
        () = hear => {}
    }
}

/// A target's address and TLS.
pub fn target(running: &Running, door: crate::subjects::Door, client: &tls::Client) -> anyhow::Result<Target> {
    Ok(Target { address: running.address(door)?, door, client: Some(client.clone()), kind: tls::Kind::Full })
}

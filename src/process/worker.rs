//! The worker: is given everything by its parent, and obeys it alone.

use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use socket2::Socket;
use tokio::sync::mpsc;

use super::ProcessError;
use super::channel::{Channel, Frame};
use super::sandbox::{Files, Needs};
use super::serve::{Master, Order, Prepared, serve};
use super::signals::Signals;
use crate::config::Config;
use crate::server::leave_out_ipv6;
use crate::session_log::Output;
use crate::tls::{self, Certificate};

pub(super) fn run() -> Result<ExitCode, ProcessError> {
    let mut channel = Channel::of_worker().map_err(ProcessError::at("work"))?;
    let given = Given::receive(&mut channel).map_err(ProcessError::at("take over from the parent"))?;
    let text = String::from_utf8_lossy(&given.text);
    let mut config = Config::parse(&text, &given.path)?;
    leave_out_ipv6(&mut config);
    let tls = tls::Server::with_authorities(&config.tls, given.certificates.clone(), given.authorities.as_deref())?;
    let output = Output::with_file(&config.log, given.log).map_err(ProcessError::Log)?;
    let needs = Needs::new(&config, Files::Parents);
    let parent = Parent { channel: Some(channel), certificates: given.certificates, told: None };
    serve(Prepared { config, tls, output, sockets: given.sockets }, &needs, parent)
}

/// What a worker begins with.
#[derive(Default)]
struct Given {
    path: PathBuf,
    text: Vec<u8>,
    authorities: Option<Vec<u8>>,
    certificates: Vec<Certificate>,
    log: Option<File>,
    sockets: Vec<Socket>,
}

impl Given {
    fn receive(channel: &mut Channel) -> io::Result<Self> {
        let mut given = Self::default();
        loop {
            match channel.receive()?.ok_or(io::ErrorKind::UnexpectedEof)? {
                Frame::Config { path, text } => (given.path, given.text) = (OsString::from_vec(path).into(), text),
                Frame::Authorities(pem) => given.authorities = Some(pem),
                Frame::Certificate(_, pem) => {
                    let certificate = Certificate::from_pem(&pem.chain, pem.key.expose());
                    given.certificates.push(certificate.map_err(io::Error::other)?);
                }
                Frame::Log(file) => given.log = Some(file),
                Frame::Socket(socket) => given.sockets.push(socket),
                Frame::Begin => return Ok(given),
                other => {
                    let kind = other.kind().escape_ascii();
                    return Err(io::Error::other(format!("a frame {kind} came before all was there")));
                }
            }
        }
    }
}

/// Who gives the orders.
struct Parent {
    /// Taken by the thread that listens.
    channel: Option<Channel>,
    certificates: Vec<Certificate>,
    told: Option<Told>,
}

struct Told {
    orders: mpsc::UnboundedReceiver<Order>,
    answer: Channel,
}

impl Master for Parent {
    fn begin(&mut self) -> io::Result<()> {
        // Ctrl-C and service managers send signals to all processes of a group. They are the parent's to obey: it says once
        // what would otherwise come twice. A handler, once there, stays.
        drop(Signals::new()?);
        let Some(channel) = self.channel.take() else { return Ok(()) };
        let (sender, orders) = mpsc::unbounded_channel();
        self.told = Some(Told { orders, answer: channel.try_clone()? });
        let certificates = std::mem::take(&mut self.certificates);
        thread::Builder::new().name("parent".to_owned()).spawn(move || listen(channel, certificates, &sender))?;
        Ok(())
    }

    async fn order(&mut self) -> Order {
        match &mut self.told {
            Some(told) => match told.orders.recv().await {
                Some(order) => order,
                None => pending().await, // the parent is gone, and its last order was given
            },
            None => pending().await,
        }
    }

    fn ready(&mut self) {
        if let Some(told) = &mut self.told {
            // A parent that is gone is heard of by the thread that listens.
            let _ = told.answer.send(&Frame::Up);
        }
    }

    fn stopping(&mut self) {}
}

/// Turns frames into orders until the parent is gone, which is an order to stop.
fn listen(mut channel: Channel, mut certificates: Vec<Certificate>, orders: &mpsc::UnboundedSender<Order>) {
    // When nobody takes orders any more, the process is about to end.
    let give = |order| _ = orders.send(order);
    loop {
        match channel.receive() {
            Ok(Some(Frame::Certificate(place, pem))) => {
                let place = usize::try_from(place).ok().and_then(|place| certificates.get_mut(place));
                match (Certificate::from_pem(&pem.chain, pem.key.expose()), place) {
                    (Ok(renewed), Some(place)) => *place = renewed,
                    (Ok(_), None) => {
                        tracing::error!("the parent sent a certificate that the configuration does not have")
                    }
                    (Err(error), _) => tracing::error!("the parent sent a certificate that is of no use: {error}"),
                }
            }
            Ok(Some(Frame::Renew)) => give(Order::Certificates(certificates.clone())),
            Ok(Some(Frame::Log(file))) => give(Order::Log(file)),
            Ok(Some(Frame::Stop)) => give(Order::Stop),
            Ok(Some(other)) => {
                tracing::error!("the parent sent what makes no sense now: {}", other.kind().escape_ascii())
            }
            gone => {
                let why = gone.err().map(|error| format!(": {error}")).unwrap_or_default();
                tracing::error!("the parent process is gone{why}: sessions may finish, and there are no new ones");
                return give(Order::Stop);
            }
        }
    }
}

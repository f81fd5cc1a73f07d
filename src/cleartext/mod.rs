//! The cleartext talk before TLS, and its end.
//!
//! [`Cleartext`] owns the socket and everything that was read from it. STARTTLS gives the bare socket back and
//! nothing else: what a client sent in cleartext has no place where it could survive the upgrade
//! (RFC 3207 §4.2, CVE-2011-0411).

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::facts::{Outcome, Reason};
use crate::protocol::{Event, Farewell, Heard, Next, Opening, Preamble, Violation};
use crate::stop::Stop;

/// The most cleartext held at once; preambles bound their lines far below it.
const INPUT_LIMIT: usize = 64 * 1024;

/// How long last words may take to leave.
const GRACE: Duration = Duration::from_secs(5);

const INJECTION: Reason = Reason::new(Outcome::Policy, "commands sent behind STARTTLS");
const CLIENT_GONE: Reason = Reason::new(Outcome::ClientError, "client connection lost before TLS");
const LEFT: Reason = Reason::new(Outcome::Ok, "closed before TLS");
const SILENT: Reason = Reason::new(Outcome::Timeout, "client silent for too long before TLS");
const SHUTDOWN: Reason = Reason::new(Outcome::Shutdown, "gate is stopping");

/// A client that speaks cleartext.
pub struct Cleartext {
    stream: TcpStream,
    input: BytesMut,
}

/// Where the cleartext talk led.
pub enum Talked {
    /// TLS comes next, on a socket of which not one octet behind STARTTLS was kept.
    StartTls(TcpStream),
    /// The client stays in cleartext; the octets are its next commands.
    StayPlain(TcpStream, BytesMut, Opening),
    /// It is over; everything was said. The stream is there unless it is gone.
    Over(Option<TcpStream>, Reason),
}

/// How long the talk may take.
#[derive(Clone, Copy)]
pub struct Patience {
    /// For each command.
    pub command: Duration,
    /// For all of it.
    pub total: Duration,
}

/// Who takes note of the talk while it goes on: a client may say a million commands, and nothing is kept of each.
pub trait Heed: Send {
    /// Something of what was said, in its order.
    fn event(&mut self, event: Event);
    /// So many octets came from the client.
    fn came(&mut self, octets: usize);
    /// So many octets went to the client.
    fn went(&mut self, octets: usize);
}

impl Cleartext {
    /// A fresh connection, of which nothing was read.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, input: BytesMut::new() }
    }

    /// Greets and answers until the preamble knows where this leads.
    pub async fn talk(
        mut self,
        preamble: &mut dyn Preamble,
        injection_reply: &[u8],
        patience: Patience,
        mut stop: Stop,
        heed: &mut dyn Heed,
    ) -> Talked {
        let mut output = BytesMut::new();
        preamble.greet(&mut output);
        let began = Instant::now();
        let end = began + patience.total;
        let mut waiting_since = began;
        loop {
            if self.say(&mut output, heed).await.is_err() {
                return Talked::Over(None, CLIENT_GONE);
            }
            let due = end.min(waiting_since + patience.command);
            let read = tokio::select! {
                read = timeout_at(due, self.stream.read_buf(&mut self.input)) => read,
                () = stop.told() => {
                    preamble.farewell(Farewell::Shutdown, &mut output);
                    return self.over(output, SHUTDOWN, heed).await;
                }
            };
            match read {
                Ok(Ok(0)) => return Talked::Over(Some(self.stream), LEFT),
                Ok(Ok(n)) => heed.came(n),
                Ok(Err(_)) => return Talked::Over(None, CLIENT_GONE),
                Err(_) => {
                    preamble.farewell(Farewell::Timeout, &mut output);
                    return self.over(output, SILENT, heed).await;
                }
            }
            let unjudged = self.input.len();
            match self.judge(preamble, &mut output, heed) {
                // A command's time runs until all of it is there, however many octets of it come meanwhile.
                Ok(Next::More) if self.input.len() < unjudged => waiting_since = Instant::now(),
                Ok(Next::More) => {}
                Ok(Next::StartTls) if self.input.is_empty() => {
                    return match self.say(&mut output, heed).await {
                        Ok(()) => Talked::StartTls(self.stream),
                        Err(_) => Talked::Over(None, CLIENT_GONE),
                    };
                }
                Ok(Next::StartTls) => {
                    // The answer to STARTTLS stays unsaid: there will be no TLS.
                    return self.over(BytesMut::from(injection_reply), INJECTION, heed).await;
                }
                Ok(Next::StayPlain(opening)) => {
                    return match self.say(&mut output, heed).await {
                        Ok(()) => Talked::StayPlain(self.stream, self.input, opening),
                        Err(_) => Talked::Over(None, CLIENT_GONE),
                    };
                }
                Ok(Next::Close) => return self.over(output, LEFT, heed).await,
                Err(violation) => {
                    output.extend_from_slice(&violation.reply);
                    return self.over(output, violation.reason, heed).await;
                }
            }
        }
    }

    /// Lets the preamble judge all that is there.
    fn judge(
        &mut self,
        preamble: &mut dyn Preamble,
        output: &mut BytesMut,
        heed: &mut dyn Heed,
    ) -> Result<Next, Violation> {
        let mut events = Vec::new();
        loop {
            let heard = preamble.receive(&self.input, output, &mut events);
            events.drain(..).for_each(|event| heed.event(event));
            let Heard { consumed, next } = heard?;
            self.input.advance(consumed.min(self.input.len()));
            match next {
                Next::More if consumed > 0 => {}
                Next::More if self.input.len() >= INPUT_LIMIT => return Ok(Next::Close),
                next => return Ok(next),
            }
        }
    }

    async fn say(&mut self, output: &mut BytesMut, heed: &mut dyn Heed) -> std::io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        timeout(GRACE, self.stream.write_all(output)).await??;
        heed.went(output.len());
        *output = BytesMut::new();
        Ok(())
    }

    async fn over(mut self, mut output: BytesMut, reason: Reason, heed: &mut dyn Heed) -> Talked {
        match self.say(&mut output, heed).await {
            Ok(()) => Talked::Over(Some(self.stream), reason),
            Err(_) => Talked::Over(None, reason),
        }
    }
}

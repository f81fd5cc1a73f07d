//! The end of a session, with or without words: who is turned away is told why, if that costs little, and whoever was served
//! learns that nothing is missing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::notes::Notes;
use super::{Arrival, CUT_OFF, Shared, Who, handshake, identify};
use crate::buffers::{self, Fill as _};
use crate::cleartext::Heed as _;
use crate::facts::{Outcome, Reason};
use crate::limits::{Refused, TooMany};
use crate::protocol::{Farewell, TlsMode};
use crate::relay::TOO_MANY_LOGINS;
use crate::stream::Client;

const TOO_MANY: Reason = Reason::new(Outcome::Policy, "too many connections");
const TOO_MANY_FROM_ADDRESS: Reason = Reason::new(Outcome::Policy, "too many connections from this address");
const TOO_MANY_SESSIONS: Reason = Reason::new(Outcome::Policy, "too many new sessions from this address");
const TOO_MANY_HANDSHAKES: Reason = Reason::new(Outcome::Policy, "too many failed handshakes from this address");

/// After our last words a client gets this long to read them: closing a socket with unread input would reset it.
const LINGER: Duration = Duration::from_secs(2);

/// The most input thrown away meanwhile.
const LINGER_OCTETS: usize = 256 * 1024;

/// Tells a client that there is no room for it, and why.
pub async fn turn_away(shared: Arc<Shared>, arrival: Arrival) {
    let mut notes = Notes::new(&shared, &arrival);
    let Arrival { mut stream, peer, local, .. } = arrival;
    let reason = match identify(&shared, &mut stream, peer, local).await {
        Ok(who) => match shared.limits.admit(who.client.ip(), shared.listener.identity) {
            Ok(_admitted) => {
                notes.identified(who.client, who.local);
                say_goodbye(&shared, stream, TOO_MANY, Farewell::TooManyConnections, &mut notes).await
            }
            Err(refused) => refuse(&shared, stream, refused, &who, &mut notes).await,
        },
        Err(reason) => reason,
    };
    notes.end(reason);
}

/// Closes a connection without a word, since too many are being told already. The log still has it, or counts it.
pub fn drop_unheard(shared: &Arc<Shared>, arrival: &Arrival) {
    let mut notes = Notes::new(shared, arrival);
    if !shared.limits.tells(arrival.peer.ip()) {
        notes.keep_quiet();
    }
    notes.end(TOO_MANY);
}

/// Turns away a client whose network has had its share; why.
pub(super) async fn refuse(
    shared: &Shared,
    mut stream: TcpStream,
    refused: Refused,
    who: &Who,
    notes: &mut Notes,
) -> Reason {
    if !refused.told {
        notes.keep_quiet();
    }
    notes.identified(who.client, who.local);
    let (reason, farewell) = match refused.why {
        TooMany::Connections => {
            return say_goodbye(shared, stream, TOO_MANY_FROM_ADDRESS, Farewell::TooManyConnections, notes).await;
        }
        TooMany::Logins => {
            return say_goodbye(shared, stream, TOO_MANY_LOGINS, Farewell::TooManyFailures, notes).await;
        }
        TooMany::Sessions => (TOO_MANY_SESSIONS, Farewell::TooManyConnections),
        TooMany::Handshakes => (TOO_MANY_HANDSHAKES, Farewell::TooManyFailures),
    };
    // Handshakes are what these have had too many of, and there is no end to them: they get a word where that costs nothing,
    // and are not waited for.
    let service = shared.listener.service;
    if service.tls != TlsMode::Implicit {
        let line = service.protocol.farewell(&shared.hostname, farewell);
        if let Ok(Ok(())) = timeout(LINGER, stream.write_all(&line)).await {
            notes.went(line.len()); // a fresh socket takes a line at once
        }
    }
    reason
}

/// One line for a client that is not served. Where TLS comes first, so does the handshake: a client cannot read it otherwise.
async fn say_goodbye(
    shared: &Shared,
    stream: TcpStream,
    reason: Reason,
    farewell: Farewell,
    notes: &mut Notes,
) -> Reason {
    let service = shared.listener.service;
    let client = match service.tls {
        TlsMode::Optional | TlsMode::Required => Client::Plain(stream),
        TlsMode::Implicit => match handshake(shared, stream, Bytes::new(), shared.deadlines.handshake, notes).await {
            Ok((client, _)) => client,
            Err(CUT_OFF) => return CUT_OFF,
            // That there was no room is the reason still; what the client offered is noted.
            Err(_) => return reason,
        },
    };
    part(shared, client, farewell, notes).await;
    reason
}

/// Says why, and closes.
pub(super) async fn part(shared: &Shared, client: Client, why: Farewell, notes: &mut Notes) {
    let line = shared.listener.service.protocol.farewell(&shared.hostname, why);
    dismiss(client, &line, notes).await;
}

/// Says that, and closes.
pub(super) async fn dismiss(mut client: Client, line: &[u8], notes: &mut Notes) {
    client.last_words();
    if let Ok(Ok(())) = timeout(LINGER, client.write_all(line)).await {
        notes.went(line.len());
        close(client).await;
    }
}

/// Ends our side of a connection whose client has ended its own: it sends nothing more that would turn closing the socket
/// into a reset, so there is nothing to wait for, and closing it says FIN.
pub(super) async fn finish(mut client: Client) {
    if let Client::Tls(stream) = &mut client {
        let _ = timeout(LINGER, stream.close_notify()).await; // if it fails, the client is gone
    }
}

/// Ends our side (close_notify, FIN) and gives the client a moment to end its own.
pub(super) async fn close(mut client: Client) {
    let _ = timeout(LINGER, async {
        client.shutdown().await?;
        let mut read = 0;
        while read < LINGER_OCTETS {
            match poll_fn(|cx| poll_discard(&mut client, cx)).await? {
                0 => break,
                n => read += n,
            }
        }
        std::io::Result::Ok(())
    })
    .await; // whatever went wrong, the client is gone
}

/// Reads, and forgets what it was: how much.
fn poll_discard(client: &mut Client, cx: &mut task::Context<'_>) -> Poll<std::io::Result<usize>> {
    let mut space = [0; 512]; // on the stack: a session has no room for it
    let mut read = ReadBuf::new(&mut space);
    ready!(Pin::new(client).poll_read(cx, &mut read))?;
    let octets = read.filled().len();
    buffers::wipe(read.filled_mut()); // there may be a login in what nobody wants any more
    Poll::Ready(Ok(octets))
}

//! What a client says first inside TLS. Until then there is no backend: whoever only tries our TLS never reaches one.

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};

use super::farewell::{close, dismiss, finish, part};
use super::notes::Notes;
use super::{Shared, unless_stopped};
use crate::buffers::{Fill, settle};
use crate::cleartext::Heed as _;
use crate::facts::Reason;
use crate::protocol::{Context, Farewell, Violation};
use crate::relay;
use crate::stream::Client;

/// Waits until the client says something, behind a greeting where it expects one, and what it is. A first question that the
/// greeting would answer is answered here.
pub(super) async fn hear_first_words(
    shared: &Shared,
    mut client: Client,
    context: &Context,
    greeting: &[u8],
    due: Instant,
    notes: &mut Notes,
) -> Result<(Client, BytesMut), Reason> {
    let mut input = BytesMut::new();
    let words = async {
        let words = timeout_at(due, listen(&mut client, &mut input, context, greeting, notes)).await;
        words.map_or(Words::Late, |words| words.unwrap_or(Words::Torn))
    };
    let (farewell, reason) = match unless_stopped(shared, words).await {
        Ok(Words::Heard) => return Ok((client, input)),
        Ok(Words::Foreign(violation)) => {
            dismiss(client, &violation.reply, notes).await;
            return Err(violation.reason);
        }
        Ok(Words::Ended) => {
            client.last_words();
            finish(client).await;
            return Err(relay::CLOSED);
        }
        Ok(Words::Torn) => {
            client.last_words();
            close(client).await;
            return Err(relay::CLIENT_TRUNCATED);
        }
        Ok(Words::Late) => (Farewell::Timeout, relay::TIMEOUT_CLIENT),
        Err(reason) => (Farewell::Shutdown, reason),
    };
    part(shared, client, farewell, notes).await;
    Err(reason)
}

/// What came.
enum Words {
    /// Something for the backend.
    Heard,
    /// Another protocol's.
    Foreign(Violation),
    /// The client's close_notify.
    Ended,
    /// An end without one.
    Torn,
    /// Nothing in time.
    Late,
}

async fn listen(
    client: &mut Client,
    input: &mut BytesMut,
    context: &Context,
    greeting: &[u8],
    notes: &mut Notes,
) -> std::io::Result<Words> {
    let protocol = context.service.protocol;
    say(client, greeting, notes).await?;
    let mut heard = hear(client, input, notes).await?;
    if let Some(violation) = protocol.foreign(input) {
        return Ok(Words::Foreign(violation));
    }
    if let Some((answer, event)) = protocol.answer(context, input) {
        input.clear();
        notes.hear(event);
        say(client, &answer, notes).await?;
        heard = hear(client, input, notes).await?;
    }
    // The backend may take its time. A stream that was found to have no more holds no buffer meanwhile; one that has ended
    // will say so again.
    if let Poll::Ready(Ok(more)) = poll_fn(|cx| Poll::Ready(client.poll_fill(cx, input))).await {
        notes.came(more);
    }
    settle(input);
    Ok(if heard == 0 { Words::Ended } else { Words::Heard })
}

async fn say(client: &mut Client, octets: &[u8], notes: &mut Notes) -> std::io::Result<()> {
    client.write_all(octets).await?;
    notes.went(octets.len());
    Ok(())
}

async fn hear(client: &mut Client, input: &mut BytesMut, notes: &mut Notes) -> std::io::Result<usize> {
    let heard = poll_fn(|cx| client.poll_fill(cx, input)).await?;
    notes.came(heard);
    Ok(heard)
}

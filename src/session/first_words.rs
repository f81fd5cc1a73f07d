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
use crate::protocol::{Context, Farewell};
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
    let heard = timeout_at(due, async {
        say(&mut client, greeting, notes).await?;
        let mut heard = hear(&mut client, &mut input, notes).await?;
        if let Some(violation) = context.service.protocol.foreign(&input) {
            return Ok(Err(violation));
        }
        if let Some((answer, event)) = context.service.protocol.answer(context, &input) {
            input.clear();
            notes.hear(event);
            say(&mut client, &answer, notes).await?;
            heard = hear(&mut client, &mut input, notes).await?;
        }
        // The backend may take its time. A stream that was found to have no more holds no buffer meanwhile; one that has ended
        // will say so again.
        if let Poll::Ready(Ok(more)) = poll_fn(|cx| Poll::Ready(client.poll_fill(cx, &mut input))).await {
            notes.came(more);
        }
        settle(&mut input);
        std::io::Result::Ok(Ok(heard))
    });
    let (farewell, reason) = match unless_stopped(shared, heard).await {
        Ok(Ok(Ok(Ok(1..)))) => return Ok((client, input)),
        Ok(Ok(Ok(Err(violation)))) => {
            dismiss(client, &violation.reply, notes).await;
            return Err(violation.reason);
        }
        Ok(Ok(Ok(Ok(0)))) => {
            client.last_words();
            finish(client).await;
            return Err(relay::CLOSED);
        }
        Ok(Ok(Err(_))) => {
            client.last_words();
            close(client).await;
            return Err(relay::CLIENT_TRUNCATED);
        }
        Ok(Err(_)) => (Farewell::Timeout, relay::TIMEOUT_CLIENT),
        Err(reason) => (Farewell::Shutdown, reason),
    };
    part(shared, client, farewell, notes).await;
    Err(reason)
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

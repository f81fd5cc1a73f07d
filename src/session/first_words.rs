//! What a client says first inside TLS. Until then there is no backend: whoever only tries our TLS never reaches one.

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};

use super::farewell::{close, finish, part};
use super::notes::Notes;
use super::{Shared, unless_stopped};
use crate::buffers::{Fill, settle};
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
        client.write_all(greeting).await?;
        let mut heard = poll_fn(|cx| client.poll_fill(cx, &mut input)).await?;
        if let Some((answer, event)) = context.service.protocol.answer(context, &input) {
            input.clear();
            notes.hear(event);
            client.write_all(&answer).await?;
            heard = poll_fn(|cx| client.poll_fill(cx, &mut input)).await?;
        }
        // The backend may take its time. A stream that was found to have no more holds no buffer meanwhile; one that has ended
        // will say so again.
        let _ = poll_fn(|cx| Poll::Ready(client.poll_fill(cx, &mut input))).await;
        settle(&mut input);
        std::io::Result::Ok(heard)
    });
    let (farewell, reason) = match unless_stopped(shared, heard).await {
        Ok(Ok(Ok(1..))) => return Ok((client, input)),
        Ok(Ok(Ok(0))) => {
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
    part(shared, client, farewell).await;
    Err(reason)
}

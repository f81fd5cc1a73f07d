//! Runs a session over a pipe that holds a few octets, so that the same bytes arrive cut at every place.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::wire::{Client, Wire};

/// A client with TLS at the address of the relay self-test.
pub fn client() -> Client {
    Client { address: "192.0.2.1:4711".parse().unwrap(), tls: true }
}

/// What `session` says to a client that sends `input` and then the end, over a pipe of `capacity` octets.
pub async fn talk<S>(capacity: usize, input: &[u8], session: impl FnOnce(Wire<DuplexStream>) -> S) -> String
where
    S: Future<Output = io::Result<()>>,
{
    let (here, there) = tokio::io::duplex(capacity);
    let (mut reader, mut writer) = tokio::io::split(here);
    let send = async {
        // The session may end before it has read everything.
        let _ = writer.write_all(input).await;
        let _ = writer.shutdown().await;
    };
    let receive = async {
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        String::from_utf8(heard).unwrap()
    };
    let wire = Wire::new(there, std::time::Duration::from_secs(60));
    let (_, heard, _) = tokio::join!(send, receive, session(wire));
    heard
}

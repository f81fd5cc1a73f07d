//! Answers nginx's mail module, which asks over HTTP where a login shall go.

use anyhow::Context as _;
use tokio::net::TcpStream;

use crate::wire::Wire;

/// One request, one answer: everybody may log in.
pub async fn answer(stream: TcpStream, imap: u16, smtp: u16) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream);
    let mut port = imap;
    loop {
        let line = wire.line().await?.context("a request without its end")?;
        match line.trim_ascii() {
            b"Auth-Protocol: smtp" => port = smtp,
            b"" => break,
            _ => {}
        }
    }
    let reply = format!("HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: {port}\r\n\r\n");
    wire.send(reply.as_bytes()).await?;
    Ok(())
}

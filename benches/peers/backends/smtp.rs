//! SMTP as far as the load speaks it (RFC 5321): mail is swallowed, and its octets are told in the reply.

use tokio::net::TcpStream;

use crate::wire::Wire;

pub async fn session(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream);
    wire.send(b"220 backend.example.com ESMTP\r\n").await?;
    while let Some(line) = wire.line().await? {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply: &[u8] = match verb.as_slice() {
            b"EHLO" => b"250-backend.example.com\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 8BITMIME\r\n",
            b"HELO" => b"250 backend.example.com\r\n",
            b"MAIL" | b"RCPT" | b"NOOP" | b"RSET" => b"250 2.0.0 Ok\r\n",
            b"DATA" => {
                wire.send(b"354 End data with <CR><LF>.<CR><LF>\r\n").await?;
                let octets = wire.swallow_mail().await?;
                wire.send(format!("250 2.0.0 Ok: {octets} octets\r\n").as_bytes()).await?;
                continue;
            }
            b"QUIT" => {
                wire.send(b"221 2.0.0 Bye\r\n").await?;
                break;
            }
            _ => b"502 5.5.1 Command not implemented\r\n",
        };
        wire.send(reply).await?;
        wire.rest();
    }
    Ok(wire.finish().await?)
}

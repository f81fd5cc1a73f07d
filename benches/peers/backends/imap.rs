//! IMAP as far as the load speaks it (RFC 3501, RFC 2177): one mailbox, whose one message is as long as it is asked for.

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;

use crate::load::content;
use crate::wire::Wire;

pub async fn session(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream);
    wire.send(b"* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n").await?;
    while let Some(command) = command(&mut wire).await? {
        let mut words = command.split_ascii_whitespace();
        let (tag, name) = (words.next().unwrap_or("*"), words.next().unwrap_or_default());
        match name.to_ascii_uppercase().as_str() {
            "CAPABILITY" => wire.send(b"* CAPABILITY IMAP4rev1 IDLE\r\n").await?,
            "NOOP" | "LOGIN" | "ID" | "SELECT" | "APPEND" => {}
            "FETCH" => fetch(&mut wire, &command).await?,
            "IDLE" => {
                wire.send(b"+ idling\r\n").await?;
                wire.rest();
                match wire.line().await? {
                    Some(line) if line.trim_ascii().eq_ignore_ascii_case(b"DONE") => {}
                    _ => break,
                }
            }
            "LOGOUT" => {
                wire.send(format!("* BYE until then\r\n{tag} OK done\r\n").as_bytes()).await?;
                break;
            }
            _ => {
                wire.send(format!("{tag} BAD what?\r\n").as_bytes()).await?;
                continue;
            }
        }
        wire.send(format!("{tag} OK done\r\n").as_bytes()).await?;
        wire.rest();
    }
    Ok(wire.finish().await?)
}

/// A command, its literals swallowed (RFC 3501 §4.3).
async fn command(wire: &mut Wire<TcpStream>) -> anyhow::Result<Option<String>> {
    let mut whole = String::new();
    while let Some(line) = wire.line().await? {
        let line = str::from_utf8(line.trim_ascii_end())?;
        whole.push_str(line);
        let Some(literal) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')) else {
            return Ok(Some(whole));
        };
        wire.send(b"+ go on\r\n").await?;
        wire.swallow(literal.1.parse().context("a literal without its size")?).await?;
    }
    Ok(None)
}

/// `FETCH 1 BODY.PEEK[]<0.SIZE>`: so many octets of the message (RFC 3501 §6.4.5).
async fn fetch(wire: &mut Wire<TcpStream>, command: &str) -> anyhow::Result<()> {
    let Some((_, partial)) = command.rsplit_once("<0.") else { bail!("FETCH without its size") };
    let size: usize = partial.trim_end_matches('>').parse().context("FETCH with a size that is no number")?;
    wire.send(format!("* 1 FETCH (BODY[]<0> {{{size}}}\r\n").as_bytes()).await?;
    content::stream(wire, size).await?;
    Ok(wire.send(b")\r\n").await?)
}

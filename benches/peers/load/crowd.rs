//! Sessions that are open and have nothing to say, after data has flowed both ways.

use super::repeat;
use super::session::{Session, Target};

/// Sessions that are opened at once.
const WIDTH: usize = 16;

/// Octets each way before a session rests.
const WARM: usize = 64 * 1024;

/// Adds sessions until there are `count`.
pub async fn grow(crowd: &mut Vec<Session>, target: &Target, count: usize) -> anyhow::Result<()> {
    let lanes = (0..WIDTH).map(|_| (target.clone(), Vec::new())).collect();
    let once = |(target, mut opened): (Target, Vec<Session>)| async move {
        opened.push(if target.door.imap() { reader(&target).await? } else { sender(&target).await? });
        Ok((target, opened))
    };
    let (_, lanes) = repeat(lanes, count.saturating_sub(crowd.len()), once).await?;
    crowd.extend(lanes.into_iter().flat_map(|(_, opened)| opened));
    Ok(())
}

/// A mail reader in IDLE.
async fn reader(target: &Target) -> anyhow::Result<Session> {
    let mut session = target.open().await?;
    session.login().await?;
    for _ in 0..3 {
        session.imap("NOOP").await?;
    }
    session.append(WARM).await?;
    session.fetch(WARM as u64).await?;
    session.idle().await?;
    session.wire.rest();
    Ok(session)
}

/// A mail sender between two mails. SMTP has no replies of such a size, so data flows one way.
async fn sender(target: &Target) -> anyhow::Result<Session> {
    let mut session = target.open().await?;
    session.ehlo().await?;
    for _ in 0..3 {
        session.command(b"NOOP\r\n", "250").await?;
    }
    session.mail(WARM).await?;
    session.wire.rest();
    Ok(session)
}

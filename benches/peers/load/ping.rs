//! The smallest thing that a session can do.

use super::session::{Session, Target};
use super::{Pace, repeat};

/// Sessions that have logged in.
pub async fn open(target: &Target, width: usize) -> anyhow::Result<Vec<Session>> {
    let mut sessions = Vec::with_capacity(width);
    for _ in 0..width {
        let mut session = target.open().await?;
        session.login().await?;
        sessions.push(session);
    }
    Ok(sessions)
}

/// NOOP round trips, on all sessions at once.
pub async fn noops(sessions: Vec<Session>, count: usize) -> anyhow::Result<(Pace, Vec<Session>)> {
    let once = |mut session: Session| async move {
        session.imap("NOOP").await?;
        Ok(session)
    };
    repeat(sessions, count, once).await
}

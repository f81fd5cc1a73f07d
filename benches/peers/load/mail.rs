//! Mail as clients send it: one command, one reply.

use super::session::Target;
use super::{Pace, repeat};
use crate::subjects::Door;

/// Octets of a mail.
const MAIL: usize = 10 * 1024;

/// Sessions of `mails` mails each, `width` at once.
pub async fn sessions(target: &Target, width: usize, count: usize, mails: usize) -> anyhow::Result<Pace> {
    let lanes = vec![target.clone(); width];
    let once = move |target: Target| async move {
        let mut session = target.open().await?;
        // After STARTTLS the session is open only once EHLO has been answered (RFC 3207 §4.2).
        if target.door == Door::Submissions {
            session.ehlo().await?;
        }
        for _ in 0..mails {
            session.mail(MAIL).await?;
        }
        session.quit().await?;
        anyhow::Ok(target)
    };
    Ok(repeat(lanes, count, once).await?.0)
}

//! Many octets: mail that is long, and a message that is fetched whole.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::session::Target;

/// `width` sessions at once, one mail of `size` octets each.
pub async fn upload(target: &Target, width: usize, size: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..width {
        let target = target.clone();
        tasks.spawn(async move {
            let mut session = target.open().await?;
            session.ehlo().await?;
            session.mail(size).await?;
            session.quit().await
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(began.elapsed())
}

/// One session, one FETCH.
pub async fn download(target: &Target, size: u64) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut session = target.open().await?;
    session.login().await?;
    session.fetch(size).await?;
    session.close().await?;
    Ok(began.elapsed())
}

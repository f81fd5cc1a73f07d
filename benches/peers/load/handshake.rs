//! Sessions that do nothing but begin and end.

use super::session::Target;
use super::tls::Kind;
use super::{Pace, repeat};

/// Full handshakes, `width` sessions at once.
pub async fn full(target: &Target, width: usize, count: usize) -> anyhow::Result<Pace> {
    let lanes = vec![target.clone(); width];
    Ok(repeat(lanes, count, once).await?.0)
}

/// Resumed handshakes. Each lane holds tickets of its own, from one full handshake that is not part of the count.
pub async fn resumed(mut lanes: Vec<Target>, count: usize) -> anyhow::Result<Pace> {
    for lane in &mut lanes {
        *lane = once(lane.clone()).await?;
        lane.kind = Kind::Resumed;
    }
    Ok(repeat(lanes, count, once).await?.0)
}

async fn once(target: Target) -> anyhow::Result<Target> {
    target.open().await?.close().await?;
    Ok(target)
}

//! The load: clients that know exactly what they want, and check that they got it.

pub mod bulk;
pub mod content;
pub mod crowd;
pub mod handshake;
pub mod mail;
pub mod ping;
pub mod session;
pub mod tls;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// How fast something went.
#[derive(Debug, Default)]
pub struct Pace {
    pub elapsed: Duration,
    /// Of each operation, sorted.
    pub latencies: Vec<Duration>,
}

impl Pace {
    /// Operations a second.
    pub fn throughput(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds within which this part of the operations was done.
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * part).round() as usize;
        self.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}

/// After so long no operation begins any more: some servers wait tens of milliseconds for nothing in each, and what one costs
/// is known well enough from fewer.
const LONG_ENOUGH: Duration = Duration::from_secs(4);

/// Does an operation `count` times, or for some seconds, one lane for each of `lanes`, one after another within a lane.
pub async fn repeat<L, O, F>(lanes: Vec<L>, count: usize, operation: O) -> anyhow::Result<(Pace, Vec<L>)>
where
    L: Send + 'static,
    O: Fn(L) -> F + Send + Clone + 'static,
    F: Future<Output = anyhow::Result<L>> + Send,
{
    let taken = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for mut lane in lanes {
        let (taken, operation) = (taken.clone(), operation.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(count);
            while taken.fetch_add(1, Ordering::Relaxed) < count && start.elapsed() < LONG_ENOUGH {
                let began = Instant::now();
                lane = operation(lane).await?;
                latencies.push(began.elapsed());
            }
            anyhow::Ok((latencies, lane))
        });
    }
    let mut pace = Pace::default();
    let mut lanes = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (latencies, lane) = ended??;
        pace.latencies.extend(latencies);
        lanes.push(lane);
    }
    pace.elapsed = start.elapsed();
    pace.latencies.sort_unstable();
    Ok((pace, lanes))
}

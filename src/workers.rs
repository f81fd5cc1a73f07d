//! The threads that sessions run on.
//!
//! Each has a runtime of its own, and a session stays on the thread that accepted it: no task is ever handed from one thread
//! to another, so a wake-up is a push to a list and no system call. Nothing that blocks may run here.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long sessions that are cut off may take to be dropped.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// Runtimes for sessions. Dropped, those that were started for this end, and all that runs on them.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    /// Dropped, each tells its thread to end.
    running: Vec<oneshot::Sender<()>>,
    /// Ends when the last thread has.
    ended: mpsc::Receiver<()>,
}

impl Workers {
    /// The runtime of the caller, which stays the caller's.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn here() -> Self {
        Self { handles: vec![Handle::current()], running: Vec::new(), ended: mpsc::channel(1).1 }
    }

    /// Threads of their own.
    ///
    /// # Errors
    /// The system gives no thread, or no descriptors for what it waits with.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let (alive, ended) = mpsc::channel(1);
        let mut workers = Self { handles: Vec::new(), running: Vec::new(), ended };
        for number in 0..count.get() {
            let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
            let (running, end) = oneshot::channel::<()>();
            workers.handles.push(runtime.handle().clone());
            workers.running.push(running);
            let alive = alive.clone();
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let _ = runtime.block_on(end); // nothing is ever sent
                drop(runtime); // and with it every session that is left, each of which leaves its record
                drop(alive);
            })?;
        }
        Ok(workers)
    }

    /// What to start tasks with, one for each thread; at least one.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Cuts off what still runs on threads of their own, and waits for that for a moment.
    pub async fn end(mut self) {
        self.running.clear();
        let _ = timeout(LAST_RECORDS, async { while self.ended.recv().await.is_some() {} }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Tells when it is dropped.
    struct Last(std::sync::mpsc::Sender<&'static str>);

    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }

    #[tokio::test]
    async fn what_runs_on_a_worker_is_dropped_when_it_ends() {
        let workers = Workers::start(NonZeroUsize::new(2).unwrap()).unwrap();
        assert_eq!(workers.handles().len(), 2);
        let (sender, receiver) = channel();
        for handle in workers.handles() {
            let last = Last(sender.clone());
            let (begun, has_begun) = oneshot::channel();
            handle.spawn(async move {
                let _last = last;
                begun.send(()).unwrap();
                std::future::pending::<()>().await;
            });
            has_begun.await.unwrap();
        }
        workers.end().await;
        assert_eq!(receiver.try_iter().count(), 2);
    }

    #[tokio::test]
    async fn a_task_stays_on_its_thread() {
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let name = || std::thread::current().name().map(str::to_owned);
        let task = workers.handles()[0].spawn(async move { tokio::spawn(async move { name() }).await.unwrap() });
        assert_eq!(task.await.unwrap().as_deref(), Some("worker-0"));
        workers.end().await;
    }
}

//! The word that it is time to stop, from the server to all who wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Says when to stop. Dropped without a word, nobody is told.
#[derive(Debug)]
pub struct Stopper(Arc<Word>);

/// Hears when to stop.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Word>);

/// Every session waits for it several times: asking is an atomic load, and what waits is one small entry of a list.
#[derive(Debug, Default)]
struct Word {
    given: AtomicBool,
    waiting: Notify,
}

/// A pair that belongs together.
pub fn channel() -> (Stopper, Stop) {
    let word = Arc::new(Word::default());
    (Stopper(word.clone()), Stop(word))
}

impl Stopper {
    /// Tells everybody, now and later.
    pub fn stop(&self) {
        self.0.given.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }
}

impl Stop {
    /// Waits for the word; returns at once when it was given before.
    pub async fn told(&mut self) {
        // Whoever was told between these two lines is woken: a `Notified` counts from when it is made.
        let word = self.0.waiting.notified();
        if !self.0.given.load(Ordering::Acquire) {
            word.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn everybody_is_told_who_waits_and_who_comes_later() {
        let (stopper, stop) = channel();
        let (mut early, mut late) = (stop.clone(), stop);
        let mut early = pin!(early.told());
        assert!(poll_fn(|cx| Poll::Ready(early.as_mut().poll(cx).is_pending())).await);
        stopper.stop();
        drop(stopper);
        early.await;
        late.told().await;
    }

    #[tokio::test]
    async fn nobody_is_told_when_the_one_who_could_is_gone() {
        let (stopper, mut stop) = channel();
        drop(stopper);
        let mut told = pin!(stop.told());
        assert!(poll_fn(|cx| Poll::Ready(told.as_mut().poll(cx).is_pending())).await);
    }
}

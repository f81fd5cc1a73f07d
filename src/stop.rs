//! The word that it is time to stop, from the server to all who wait.

use std::future::pending;

use tokio::sync::watch;

/// Says when to stop. Dropped without a word, nobody is told.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears when to stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A pair that belongs together.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Tells everybody, now and later.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits for the word; returns at once when it was given before.
    pub async fn told(&mut self) {
        if self.0.wait_for(|stop| *stop).await.is_err() {
            pending::<()>().await; // nobody is left who could give it
        }
    }
}

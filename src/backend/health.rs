//! Whether a listener's backend may be given sessions.

use std::fmt::Display;

use tokio::sync::watch;

/// A backend as its listener sees it. Starts closed; only the supervisor, after its tests, opens it.
#[derive(Debug)]
pub struct Health {
    state: watch::Sender<State>,
}

/// What is known of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not tested yet, or the test did not pass: the listener has not opened.
    Untested,
    /// Sessions are passed on.
    Open,
    /// It was open and could not be reached since; sessions are answered by us until it has been tested again.
    Lost,
    /// It relays for strangers.
    Unsafe,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::Untested) }
    }
}

impl Health {
    /// Whether sessions may be passed on.
    pub fn is_open(&self) -> bool {
        *self.state.borrow() == State::Open
    }

    /// The state now.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// A session could not reach the backend: whatever comes back there is tested before it gets another one.
    pub fn lost(&self, error: &impl Display) {
        let was_open = self.state.send_if_modified(|state| {
            let open = *state == State::Open;
            if open {
                *state = State::Lost;
            }
            open
        });
        if was_open {
            tracing::warn!("backend lost: {error}; it is tested before it gets the next session");
        }
    }

    /// What a test found.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Waits for a state.
    pub async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        // The sender is `self.state`, so the channel cannot close while this borrows it.
        let _ = self.state.subscribe().wait_for(wanted).await;
    }
}

//! Whether a backend may be given sessions.

use tokio::sync::watch;

use super::ConnectError;

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

    /// A session could not be passed on. If that says that the backend is gone, whatever comes back there is tested before
    /// it gets another session. A backend that answers, or takes its time, may do so for one client's sake: its access
    /// rules and limits know who that is, and must not shut everybody else out. And what we are short of says nothing of it.
    pub fn lost(&self, error: &ConnectError) {
        if Self::is_gone(error) {
            self.rest(error);
        }
    }

    /// A session could not be passed on, and went on to another backend. Where there is another one, a doubt is enough: this one
    /// is tested before it gets another session.
    pub fn rest(&self, error: &ConnectError) {
        if error.is_about_the_client() || matches!(error, ConnectError::Short { .. }) {
            return;
        }
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

    /// Whether that says that the backend is not there any more, or is another one.
    pub(super) fn is_gone(error: &ConnectError) -> bool {
        !matches!(error, ConnectError::Refused { .. } | ConnectError::Short { .. }) && !is_slow_answer(error)
    }

    /// What a test found that began in state `before`. Returns whether it still counts: a backend that was lost
    /// meanwhile may be another one when it comes back.
    pub fn settle(&self, before: State, after: State) -> bool {
        let mut counts = false;
        self.state.send_if_modified(|state| {
            counts = *state == before;
            let changes = counts && before != after;
            if changes {
                *state = after;
            }
            changes
        });
        counts
    }

    /// Waits for a state.
    pub async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        // The sender is `self.state`, so the channel cannot close while this borrows it.
        let _ = self.state.subscribe().wait_for(wanted).await;
    }
}

/// The connection was there, and what should have come over it was late.
fn is_slow_answer(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Late { step, .. } if *step != "connection")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::config::BackendAddr;

    fn backend() -> BackendAddr {
        BackendAddr::Unix("/nowhere".into())
    }

    fn gone() -> ConnectError {
        ConnectError::Dial { backend: backend(), source: io::ErrorKind::ConnectionRefused.into() }
    }

    fn open() -> Health {
        let health = Health::default();
        assert!(health.settle(State::Untested, State::Open));
        health
    }

    #[test]
    fn a_backend_that_is_gone_is_tested_before_it_gets_the_next_session() {
        let health = open();
        health.lost(&gone());
        assert_eq!(health.state(), State::Lost);
    }

    #[test]
    fn what_was_never_open_is_not_lost() {
        let health = Health::default();
        health.lost(&gone());
        assert_eq!(health.state(), State::Untested);
    }

    #[test]
    fn a_test_that_began_before_the_loss_does_not_count() {
        let health = open();
        let before = health.state();
        health.lost(&gone());
        assert!(!health.settle(before, State::Open));
        assert_eq!(health.state(), State::Lost);
        assert!(health.settle(State::Lost, State::Open));
    }

    #[test]
    fn what_may_be_for_one_client_or_is_our_own_fault_shuts_nobody_else_out() {
        let health = open();
        let reply = "421 4.7.0 too many connections from 203.0.113.5".to_owned();
        health.lost(&ConnectError::Refused { backend: backend(), step: "answer to XCLIENT", reply });
        let limit = std::time::Duration::from_secs(10);
        health.lost(&ConnectError::Late { backend: backend(), step: "answer to XCLIENT", limit });
        let source = io::Error::from_raw_os_error(24); // EMFILE
        health.lost(&ConnectError::Short { backend: backend(), source });
        assert!(health.is_open());
        health.lost(&ConnectError::Late { backend: backend(), step: "connection", limit });
        assert!(!health.is_open());
    }
}

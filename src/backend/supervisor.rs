//! Tests a listener's backend before the listener opens, and whenever it was lost.

use std::time::Duration;

use tokio::time::timeout;

use super::ConnectError;
use super::health::{Health, State};
use super::probe::greet;
use super::self_test::{SelfTest, relay_self_test};
use crate::config::{Deadlines, Listener};
use crate::protocol::Learned;

/// A backend that is down is tried again after this, and then ever more rarely,
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// but at least this often.
const LAST_RETRY: Duration = Duration::from_secs(15);

/// A test that met a 4xx, or an open relay, or for which we were short of descriptors, is repeated this often.
const REPEAT: Duration = Duration::from_secs(60);

/// Keeps `health` true for as long as the future lives; `learn` is told what the backend announces.
pub async fn supervise(
    listener: &Listener,
    hostname: &str,
    deadlines: &Deadlines,
    health: &Health,
    learn: impl Fn(Learned),
) {
    let mut retry = FIRST_RETRY;
    let mut said = None;
    let mut opened = false;
    loop {
        let before = health.state();
        let outcome = match greet(listener, hostname, deadlines).await {
            Ok(announced) => {
                learn(announced.into_iter().collect());
                relay_self_test(listener, hostname, deadlines).await
            }
            Err(error) => SelfTest::Unreachable(error),
        };
        let after = state_after(before, &outcome);
        if !health.settle(before, after) {
            continue; // lost while the test ran
        }
        let message = outcome.to_string();
        if said.as_ref() != Some(&(after, message.clone())) {
            opened |= after == State::Open;
            say(listener, after, opened, &outcome, &message);
            said = Some((after, message));
        }
        match after {
            State::Open => {
                retry = FIRST_RETRY;
                let lost = health.until(|state| *state != State::Open);
                if matches!(outcome, SelfTest::Deferred { .. } | SelfTest::Unreachable(_)) {
                    let _ = timeout(REPEAT, lost).await;
                } else {
                    lost.await;
                }
            }
            State::Unsafe => tokio::time::sleep(REPEAT).await,
            State::Untested | State::Lost => {
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
}

fn state_after(before: State, outcome: &SelfTest) -> State {
    match outcome {
        SelfTest::Refused { .. } | SelfTest::Deferred { .. } | SelfTest::Skipped => State::Open,
        SelfTest::Relays { .. } => State::Unsafe,
        SelfTest::Unreachable(ConnectError::Short { .. }) => before,
        SelfTest::Unreachable(_) if before == State::Untested => State::Untested,
        SelfTest::Unreachable(_) => State::Lost,
    }
}

/// A listener that has opened once keeps its port and answers for the backend; before, it is closed.
fn say(listener: &Listener, state: State, opened: bool, outcome: &SelfTest, message: &str) {
    let service = listener.service.name;
    let backend = &listener.backend;
    match (state, outcome) {
        (State::Open, SelfTest::Deferred { .. } | SelfTest::Unreachable(_)) => {
            tracing::warn!(service, %backend, "open, but {message}")
        }
        (State::Open, _) => tracing::info!(service, %backend, "open: {message}"),
        _ if opened => tracing::error!(service, %backend, "refusing sessions: {message}; trying again"),
        _ => tracing::error!(service, %backend, "closed: {message}; trying again"),
    }
}

//! Tests a backend before it gets its first session, whenever it was lost, and now and then.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::ConnectError;
use super::health::{Health, State};
use super::pool::{Member, Place, Pool};
use super::probe::greet;
use super::self_test::{SelfTest, relay_self_test};
use crate::config::{Deadlines, Listener};

/// A backend that is down is tried again after this, and then ever more rarely,
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// but at least this often.
const LAST_RETRY: Duration = Duration::from_secs(15);

/// A test that met a 4xx, or an open relay, or no answer in time where there had been one, or for which we were short of
/// descriptors, is repeated this often.
const REPEAT: Duration = Duration::from_secs(60);

/// A backend that has never answered and is silent for so long is named in the log. It may be waited for much longer.
const SILENCE: Duration = Duration::from_secs(15);

/// A backend that passed is tested again this often: it may have been restarted as something else between two sessions, when nobody
/// saw it go.
const RETEST: Duration = Duration::from_secs(600);

/// Keeps the health of the backend at `place` true for as long as the future lives, and the pool told what it announces.
pub async fn supervise(pool: &Pool, place: Place, listener: &Listener, hostname: &str, deadlines: &Deadlines) {
    supervise_every(RETEST, pool, place, listener, hostname, deadlines).await;
}

async fn supervise_every(
    retest: Duration,
    pool: &Pool,
    place: Place,
    listener: &Listener,
    hostname: &str,
    deadlines: &Deadlines,
) {
    let Some(member) = pool.member(place) else { return };
    let health = &member.health;
    let mut retry = FIRST_RETRY;
    let mut said = None;
    loop {
        let before = health.state();
        let mut greeted = pin!(greet(listener, &member.address, hostname, deadlines));
        let in_time = timeout(SILENCE, greeted.as_mut()).await;
        if in_time.is_err() && said.is_none() {
            let (service, backend) = (listener.service.name, &member.address);
            tracing::warn!(service, %backend, "closed: no answer in {SILENCE:?}; does it wait for TLS or for a PROXY header? Waiting on");
        }
        let greeted = match in_time {
            Ok(greeted) => greeted,
            Err(_) => greeted.await,
        };
        let outcome = match greeted {
            Ok(announced) => {
                let outcome = relay_self_test(listener, &member.address, hostname, deadlines).await;
                // What IMAP is offered inside TLS, only a session in TLS learns.
                if outcome.may_open() && !announced.is_empty() {
                    pool.learn(place, announced.into_iter().collect());
                }
                outcome
            }
            Err(error) => SelfTest::Unreachable(error),
        };
        let after = state_after(before, &outcome);
        if !health.settle(before, after) {
            continue; // lost while the test ran
        }
        if after == State::Open {
            pool.open();
        }
        let message = outcome.to_string();
        if said.as_ref() != Some(&(after, message.clone())) {
            say(listener, pool, member, after, &outcome, &message);
            said = Some((after, message));
        }
        match after {
            State::Open => {
                retry = FIRST_RETRY;
                let again = if outcome.must_repeat() { REPEAT.min(retest) } else { retest };
                let _ = timeout(again, health.until(|state| *state != State::Open)).await;
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
        // One that is only busy, or has had enough of the client from nowhere, is still the one that passed.
        SelfTest::Unreachable(error) if before == State::Open && !Health::is_gone(error) => State::Open,
        SelfTest::Unreachable(_) => State::Lost,
    }
}

/// A listener that has opened once keeps its port and answers for its backends; before, it is closed.
fn say(listener: &Listener, pool: &Pool, member: &Member, state: State, outcome: &SelfTest, message: &str) {
    let service = listener.service.name;
    let backend = &member.address;
    match (state, outcome) {
        (State::Open, SelfTest::Deferred { .. } | SelfTest::Unreachable(_)) => {
            tracing::warn!(service, %backend, "open, but {message}");
        }
        (State::Open, _) => tracing::info!(service, %backend, "open: {message}"),
        _ if pool.is_open() => {
            tracing::error!(service, %backend, "resting, sessions go to another backend: {message}; trying again");
        }
        _ if pool.has_opened() => tracing::error!(service, %backend, "refusing sessions: {message}; trying again"),
        _ => tracing::error!(service, %backend, "closed: {message}; trying again"),
    }
}

#[cfg(test)]
mod tests;

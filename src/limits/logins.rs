//! Logins: what follows those that fail, and how many may be judged at once.
//!
//! A login counts once it has failed, which takes a backend seconds. Until then it holds one of the failures that its network
//! has left: who opens hundreds of sessions would have a guess judged in each of them otherwise, before the first one counts.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Limits, Network};

/// How long a login waits before it asks again. What is lost by asking is not worth a queue for each network.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What follows a login that failed, or is about to be tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setback {
    /// How long the client is to wait for the answer.
    pub delay: Duration,
    /// The network has used up what it has: the session is over with that answer. New ones are refused; those that were open before
    /// must not go on guessing, each at its own pace.
    pub is_last: bool,
    /// It had used that up before: the backend is not asked, and the session is over.
    pub is_barred: bool,
    /// As many logins of the network as may still fail are being judged: the backend is not asked before `delay` is over, and then
    /// only if there is room.
    pub must_wait: bool,
}

/// A login that a backend judges, counted until dropped.
#[must_use = "the login is no longer counted when this is dropped"]
pub struct Trial {
    limits: Arc<Limits>,
    network: Network,
}

impl Limits {
    /// A client is about to send a piece of a login to its backend by which that cannot judge it yet; what it is to bear for those
    /// that failed before.
    pub fn login_begun(&self, client: IpAddr) -> Setback {
        self.login_begun_at(client, self.now())
    }

    pub(super) fn login_begun_at(&self, client: IpAddr, now: u64) -> Setback {
        let (Some(network), Some(budget)) = (self.counted(client), self.logins) else { return Setback::default() };
        let is_barred = self.state().past.known(network).is_some_and(|past| !past.logins.has_room(budget, now));
        Setback { is_barred, ..Setback::default() }
    }

    /// A client is about to send its backend what makes a login whole, counted by its `trial` from then on; what it is to bear for
    /// those that failed before, and for those that are being judged.
    pub fn login_tried(self: &Arc<Self>, client: IpAddr, trial: &mut Option<Trial>) -> Setback {
        self.login_tried_at(client, trial, self.now())
    }

    pub(super) fn login_tried_at(self: &Arc<Self>, client: IpAddr, trial: &mut Option<Trial>, now: u64) -> Setback {
        let (Some(network), Some(budget)) = (self.counted(client), self.logins) else { return Setback::default() };
        let mut state = self.state();
        let failed = state.past.known(network).map(|past| past.logins).unwrap_or_default();
        let room = failed.room(budget, now);
        if room == 0 {
            return Setback { is_barred: true, ..Setback::default() };
        }
        if trial.is_none() {
            let open = state.open.entry(network).or_default();
            if open.logins >= room {
                return Setback { delay: ASK_AGAIN, must_wait: true, ..Setback::default() };
            }
            open.logins += 1;
            *trial = Some(Trial { limits: self.clone(), network });
        }
        Setback::default()
    }

    /// A client's credentials were no good; what it is to bear for that.
    pub fn login_failed(&self, client: IpAddr) -> Setback {
        self.login_failed_at(client, self.now())
    }

    pub(super) fn login_failed_at(&self, client: IpAddr, now: u64) -> Setback {
        let (Some(network), Some(budget)) = (self.counted(client), self.logins) else { return Setback::default() };
        let mut state = self.state();
        let debt = &mut state.past.of(network, now).logins;
        let is_last = !debt.has_room(budget, now);
        debt.add(budget, now);
        Setback { delay: debt.delay(budget, now), is_last, ..Setback::default() }
    }

    /// A client's credentials were good. That makes up for one failure: where many log in from behind one address, one
    /// program that keeps trying an old password must not lock them all out; and who guesses has no successes.
    pub fn login_succeeded(&self, client: IpAddr) {
        let (Some(network), Some(budget)) = (self.counted(client), self.logins) else { return };
        if let Some(past) = self.state().past.known(network) {
            past.logins.forgive(budget);
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.limits.state().over(self.network, |open| open.logins = open.logins.saturating_sub(1));
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("network", &self.network).finish_non_exhaustive()
    }
}

//! The backends of a listener, and which of them gets the next session.
//!
//! They are tried in the order of the configuration. Each has its own [`Health`], which only its own supervisor makes good: one
//! that has not passed its tests gets no session, whatever the others do.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use super::health::Health;
use super::{Caller, ConnectError, Connected, Greeting, connect};
use crate::config::{BackendAddr, Deadlines, Listener};
use crate::protocol::Learned;

/// A listener's backends; at least one.
#[derive(Debug)]
pub struct Pool {
    members: Box<[Member]>,
    /// What sessions may be offered before they have a backend.
    offered: ArcSwap<Learned>,
    /// Held while `offered` is made anew.
    making: Mutex<()>,
    /// Whether any of them has ever passed its tests.
    opened: watch::Sender<bool>,
}

/// One of a listener's backends.
#[derive(Debug)]
pub struct Member {
    /// Where it listens.
    pub address: BackendAddr,
    /// The same, for the log.
    pub name: Arc<str>,
    /// Whether it may be given sessions.
    pub health: Health,
    /// What it last announced.
    learned: ArcSwapOption<Learned>,
}

/// A member's place in its pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place(usize);

/// A session that got no backend.
#[derive(Debug)]
pub struct Unserved {
    /// The backend that was tried last, and what was wrong; none if all of them were resting.
    pub tried: Option<(Place, ConnectError)>,
}

impl Pool {
    /// The backends in their order, none of them tested yet.
    pub fn new(backends: &[BackendAddr]) -> Self {
        let member = |address: &BackendAddr| Member {
            address: address.clone(),
            name: address.to_string().into(),
            health: Health::default(),
            learned: ArcSwapOption::empty(),
        };
        Self {
            members: backends.iter().map(member).collect(),
            offered: ArcSwap::default(),
            making: Mutex::new(()),
            opened: watch::Sender::new(false),
        }
    }

    /// All of them, in their order.
    pub fn members(&self) -> impl Iterator<Item = (Place, &Member)> {
        self.members.iter().enumerate().map(|(place, member)| (Place(place), member))
    }

    /// One of them.
    pub fn member(&self, place: Place) -> Option<&Member> {
        self.members.get(place.0)
    }

    /// Whether any of them may be given sessions.
    pub fn is_open(&self) -> bool {
        self.members.iter().any(|member| member.health.is_open())
    }

    /// Dials for a client: the first backend that is healthy, then the next. Not an octet of the client's has been passed to any of
    /// them, so nothing can happen twice.
    ///
    /// # Errors
    /// None of them can be used, or one has refused this very client.
    pub async fn connect(
        &self,
        listener: &Listener,
        caller: &Caller<'_>,
        deadlines: &Deadlines,
    ) -> Result<(Place, Connected), Unserved> {
        let mut tried = None;
        let mut next = self.open_from(Place(0));
        while let Some((place, member)) = next {
            // As long as there is another one to go on with, one that takes a connection and says nothing is passed over.
            next = self.open_from(Place(place.0 + 1));
            let alternative = next.is_some();
            let greeting = if alternative { Greeting::Awaited } else { Greeting::LeftToDialogue };
            match connect(listener, &member.address, caller, deadlines, greeting).await {
                Ok(connected) => return Ok((place, connected)),
                Err(error) => {
                    let last_word = error.is_about_the_client();
                    if alternative {
                        member.health.rest(&error);
                    } else {
                        member.health.lost(&error);
                    }
                    tried = Some((place, error));
                    if last_word {
                        break;
                    }
                }
            }
        }
        Err(Unserved { tried })
    }

    /// The first at `place` or behind it that may be given sessions.
    fn open_from(&self, place: Place) -> Option<(Place, &Member)> {
        self.members().skip(place.0).find(|(_, member)| member.health.is_open())
    }

    /// What sessions may be offered before they have a backend.
    pub fn offered(&self) -> Arc<Learned> {
        self.offered.load_full()
    }

    /// What a backend announces. Before TLS only that is offered which all backends have announced that ever passed their tests:
    /// it must hold whichever of them gets the session, and not change with who is healthy.
    pub fn learn(&self, place: Place, learned: Learned) {
        let Some(member) = self.member(place) else { return };
        if member.learned.load().as_deref() == Some(&learned) {
            return;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = Arc::new(learned);
        member.learned.store(Some(learned.clone()));
        let others: Vec<Arc<Learned>> = self.members.iter().filter_map(|member| member.learned.load_full()).collect();
        let common =
            |line: &&str| others.iter().all(|other| other.lines().any(|theirs| theirs.eq_ignore_ascii_case(line)));
        self.offered.store(Arc::new(learned.lines().filter(common).collect()));
    }

    /// A backend has passed its tests: the listener may open, and stays open.
    pub(super) fn open(&self) {
        self.opened.send_if_modified(|opened| !std::mem::replace(opened, true));
    }

    /// Whether any of them has ever passed its tests.
    pub fn has_opened(&self) -> bool {
        *self.opened.borrow()
    }

    /// Waits for the first that passes its tests.
    pub async fn opened(&self) {
        // The sender is `self.opened`, so the channel cannot close while this borrows it.
        let _ = self.opened.subscribe().wait_for(|opened| *opened).await;
    }
}

#[cfg(test)]
mod tests;

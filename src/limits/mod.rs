//! What a client network may do: connections at a time, sessions a minute, failed handshakes and failed logins a minute.
//!
//! Networks that fail too often are delayed first, then refused until their failures are forgotten, one after the other. All of
//! it is in one table of bounded size behind one lock, which is taken when a session comes, when it goes, when it fails,
//! and around its login.

mod debt;
mod logins;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use self::debt::{Budget, Debt};
pub use self::logins::{Setback, Trial};
use self::table::{Table, Untold};
use crate::config::{self, ClientIdentity};

/// How often what was refused and not logged is told: [`Limits::report`].
pub const REPORT: Duration = Duration::from_secs(60);

/// The most networks that a report names.
const NAMED: usize = 100;

/// Counts by client network.
pub struct Limits {
    connections: NonZeroUsize,
    xclient_connections: NonZeroUsize,
    /// None: no limit.
    sessions: Option<Budget>,
    handshakes: Option<Budget>,
    logins: Option<Budget>,
    exempt: Vec<IpNet>,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is going on; an entry only while something is.
    open: HashMap<Network, Open>,
    past: Table,
}

impl State {
    /// Something of a network's is over.
    fn over(&mut self, network: Network, end: impl FnOnce(&mut Open)) {
        let Some(open) = self.open.get_mut(&network) else { return };
        end(open);
        if *open == Open::default() {
            self.open.remove(&network);
        }
    }
}

/// A network's open connections, and what they are at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Open {
    all: usize,
    /// Those to listeners that tell their backends of clients by XCLIENT.
    xclient: usize,
    /// Logins that the backends judge just now.
    logins: u64,
}

/// A session that may begin.
#[derive(Debug)]
pub struct Admitted {
    /// Its place.
    pub permit: Permit,
    /// How long it is to wait first.
    pub delay: Duration,
}

/// A session that may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Of what there were too many.
    pub why: TooMany,
    /// Whether it is to be logged by itself: one a minute and network is, [`Limits::report`] counts the others.
    pub told: bool,
}

/// Of what there were too many from a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// Connections at a time.
    Connections,
    /// New sessions.
    Sessions,
    /// Failed handshakes.
    Handshakes,
    /// Failed logins.
    Logins,
}

/// One connection's place; free again when dropped.
#[must_use = "the place is free again when this is dropped"]
pub struct Permit {
    limits: Arc<Limits>,
    counted: Option<Network>,
    xclient: bool,
}

impl Limits {
    /// Nobody has been here yet.
    pub fn new(settings: &config::Limits) -> Self {
        let budget = |most: Option<NonZeroU32>| most.map(Budget::new);
        Self {
            connections: settings.connections_per_address,
            xclient_connections: settings.xclient_connections_per_address,
            sessions: budget(settings.sessions_per_minute),
            handshakes: budget(settings.failed_handshakes_per_minute),
            logins: budget(settings.failed_logins_per_minute),
            exempt: settings.exempt.clone(),
            began: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Lets a client in, whom the listener introduces to its backend by `identity`, unless its network has had its share.
    ///
    /// # Errors
    /// What there was too much of.
    pub fn admit(self: &Arc<Self>, client: IpAddr, identity: ClientIdentity) -> Result<Admitted, Refused> {
        self.admit_at(client, identity, self.now())
    }

    fn admit_at(self: &Arc<Self>, client: IpAddr, identity: ClientIdentity, now: u64) -> Result<Admitted, Refused> {
        let xclient = identity == ClientIdentity::Xclient;
        let permit = |counted| Permit { limits: self.clone(), counted, xclient };
        let Some(network) = self.counted(client) else {
            return Ok(Admitted { permit: permit(None), delay: Duration::ZERO });
        };
        let mut state = self.state();
        let State { open, past } = &mut *state;
        let past = past.of(network, now);
        let exceeded = |debt: Debt, budget: Option<Budget>| budget.is_some_and(|budget| !debt.has_room(budget, now));
        let held = open.get(&network).copied().unwrap_or_default();
        let why = if exceeded(past.sessions, self.sessions) {
            Some(TooMany::Sessions)
        } else {
            // What is refused from here on has cost something, and counts: it may be told why inside TLS.
            if let Some(budget) = self.sessions {
                past.sessions.add(budget, now);
            }
            match () {
                () if exceeded(past.handshakes, self.handshakes) => Some(TooMany::Handshakes),
                () if exceeded(past.logins, self.logins) => Some(TooMany::Logins),
                () if held.all >= self.connections.get() => Some(TooMany::Connections),
                () if xclient && held.xclient >= self.xclient_connections.get() => Some(TooMany::Connections),
                () => None,
            }
        };
        if let Some(why) = why {
            return Err(Refused { why, told: past.tell(now) });
        }
        open.insert(network, Open { all: held.all + 1, xclient: held.xclient + usize::from(xclient), ..held });
        let delay = |debt: Debt, budget: Option<Budget>| budget.map_or(Duration::ZERO, |b| debt.delay(b, now));
        let delay = delay(past.handshakes, self.handshakes).max(delay(past.logins, self.logins));
        Ok(Admitted { permit: permit(Some(network)), delay })
    }

    /// A client's handshake came to nothing.
    pub fn handshake_failed(&self, client: IpAddr) {
        let (Some(network), Some(budget), now) = (self.counted(client), self.handshakes, self.now()) else { return };
        self.state().past.of(network, now).handshakes.add(budget, now);
    }

    /// Whether a connection that is closed without a word is to be logged by itself.
    pub fn tells(&self, client: IpAddr) -> bool {
        let Some(network) = self.counted(client) else { return true };
        let now = self.now();
        self.state().past.of(network, now).tell(now)
    }

    /// Tells of the refusals that were not logged by themselves, and forgets what need not be remembered; due every [`REPORT`].
    pub fn report(&self) {
        let now = self.now();
        let Untold { mut networks, mut others } = self.state().past.settle(now);
        networks.sort_unstable_by_key(|(_, refused)| std::cmp::Reverse(*refused));
        others += networks.iter().skip(NAMED).map(|(_, refused)| u64::from(*refused)).sum::<u64>();
        for (network, refused) in networks.iter().take(NAMED) {
            tracing::warn!(client = %network, refused, "more sessions refused from one network");
        }
        if others > 0 {
            tracing::warn!(refused = others, "more sessions refused from other networks");
        }
    }

    /// The network that a client counts for; none if it counts for none.
    fn counted(&self, client: IpAddr) -> Option<Network> {
        (!self.exempt.iter().any(|network| network.contains(&client))).then(|| Network::of(client))
    }

    /// Nanoseconds since the beginning.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(network) = self.counted else { return };
        self.limits.state().over(network, |open| {
            open.all = open.all.saturating_sub(1);
            open.xclient = open.xclient.saturating_sub(usize::from(self.xclient));
        });
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("counted", &self.counted).finish_non_exhaustive()
    }
}

/// An IPv4 address counts for itself, an IPv6 address for its /64: whoever has one address of that has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl Network {
    fn of(client: IpAddr) -> Self {
        Self(match client {
            IpAddr::V4(_) => client,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

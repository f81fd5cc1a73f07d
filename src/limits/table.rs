//! What is remembered of client networks: of so many at most, whoever comes.
//!
//! A general cache would have to be told what is worth keeping, and would spend several times the memory on knowing what was
//! used last; a keyed rate limiter grows by every address. Here an entry says by itself when it is worth nothing: when its
//! debts are over, which takes a minute or two.

use std::collections::HashMap;
use std::num::NonZeroU64;

use super::Network;
use super::debt::{Debt, WINDOW};

/// The most networks: what a hash table with 65,536 places holds. It may double once for what was taken out: 8 MiB at most.
pub(super) const MOST: usize = 57_344;

/// What is remembered of one network; times in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub sessions: Debt,
    pub handshakes: Debt,
    pub logins: Debt,
    /// When a refusal was last logged.
    told: Option<NonZeroU64>,
    /// Refusals since that were not.
    untold: u32,
}

impl Past {
    /// Counts a refusal; whether it is to be logged by itself, as one a minute is.
    pub fn tell(&mut self, now: u64) -> bool {
        let told = self.told_lately(now);
        if told {
            self.untold = self.untold.saturating_add(1);
        } else {
            self.told = NonZeroU64::new(now.saturating_add(1));
        }
        !told
    }

    fn told_lately(&self, now: u64) -> bool {
        self.told.is_some_and(|told| now < told.get().saturating_add(WINDOW))
    }

    /// How much would be lost with it.
    fn weight(&self, now: u64) -> u64 {
        self.sessions.owed(now).max(self.handshakes.owed(now)).max(self.logins.owed(now))
    }

    fn matters(&self, now: u64) -> bool {
        self.weight(now) > 0 || self.untold > 0 || self.told_lately(now)
    }
}

/// Refusals that nobody was told of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Untold {
    /// By network.
    pub networks: Vec<(Network, u32)>,
    /// Those of networks that are forgotten.
    pub others: u64,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    past: HashMap<Network, Past>,
    /// Refusals that went untold with their network.
    lost: u64,
}

impl Table {
    /// What is remembered of a network; room is made for a new one.
    pub fn of(&mut self, network: Network, now: u64) -> &mut Past {
        if self.past.len() >= MOST && !self.past.contains_key(&network) {
            self.make_room(now);
        }
        self.past.entry(network).or_default()
    }

    /// What is remembered of a network, if anything is.
    pub fn known(&mut self, network: Network) -> Option<&mut Past> {
        self.past.get_mut(&network)
    }

    /// Forgets what does not matter any more. If that is not enough, a quarter goes, the lightest: whoever floods the table
    /// from fresh addresses forgets those first. As that is a quarter, it happens once in so many sessions only.
    fn make_room(&mut self, now: u64) {
        self.past.retain(|_, past| past.matters(now));
        let mut surplus = MOST / 4;
        if self.past.len() <= MOST - surplus {
            return;
        }
        let mut weights: Vec<u64> = self.past.values().map(|past| past.weight(now)).collect();
        let (_, light, _) = weights.select_nth_unstable(surplus);
        let lost = &mut self.lost;
        self.past.retain(|_, past| {
            let goes = surplus > 0 && past.weight(now) <= *light;
            if goes {
                surplus -= 1;
                *lost = lost.saturating_add(past.untold.into());
            }
            !goes
        });
    }

    /// Forgets what does not matter any more, and gives the refusals that were not logged by themselves.
    pub fn settle(&mut self, now: u64) -> Untold {
        let mut untold = Untold { networks: Vec::new(), others: std::mem::take(&mut self.lost) };
        for (network, past) in &mut self.past {
            if past.untold > 0 {
                untold.networks.push((*network, std::mem::take(&mut past.untold)));
            }
        }
        self.past.retain(|_, past| past.matters(now));
        if self.past.capacity() / 4 > self.past.len() {
            self.past.shrink_to(2 * self.past.len());
        }
        untold
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.past.len()
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.past.capacity()
    }
}

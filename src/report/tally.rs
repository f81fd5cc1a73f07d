//! A count by key with a bound on the keys.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// How often each key was seen, for the first so many keys; the others are counted together.
#[derive(Debug)]
pub(super) struct Tally<K> {
    counts: HashMap<K, u64>,
    limit: usize,
    others: u64,
}

impl<K: Eq + Hash + Ord + Clone> Tally<K> {
    pub fn new(limit: usize) -> Self {
        Self { counts: HashMap::new(), limit, others: 0 }
    }

    /// Counts one more of `key`.
    pub fn count<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(count) = self.counts.get_mut(key) {
            *count += 1;
        } else if self.counts.len() < self.limit {
            self.counts.insert(key.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    /// The keys and their counts, the most frequent first, equal ones in the order of the keys.
    pub fn sorted(&self) -> Vec<(&K, u64)> {
        let mut list: Vec<_> = self.counts.iter().map(|(key, count)| (key, *count)).collect();
        list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        list
    }

    /// What was counted beyond the limit.
    pub fn others(&self) -> u64 {
        self.others
    }
}

//! What counts against a network, and is forgotten with time.
//!
//! One number a network and kind: the moment at which everything is forgotten (the generic cell rate algorithm). Each event
//! moves it on by what one of a minute's budget is worth, so a whole budget may be used at once, and one comes back at a time.

use std::num::NonZeroU32;
use std::time::Duration;

/// In how much time a whole budget comes back, in nanoseconds.
pub(super) const WINDOW: u64 = 60_000_000_000;

/// The longest delay: clients wait for at least half a minute.
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// How many events a network has a minute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    most: NonZeroU32,
    /// What an event costs, in nanoseconds.
    each: u64,
}

impl Budget {
    pub fn new(most: NonZeroU32) -> Self {
        Self { most, each: WINDOW / u64::from(most.get()) }
    }
}

/// The moment, in nanoseconds since some beginning, at which nothing counts any more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Debt(u64);

impl Debt {
    /// How long until nothing counts any more.
    pub fn owed(self, now: u64) -> u64 {
        self.0.saturating_sub(now)
    }

    /// Whether the budget has room for one event more.
    pub fn has_room(self, budget: Budget, now: u64) -> bool {
        self.room(budget, now) > 0
    }

    /// For how many events the budget still has room.
    pub fn room(self, budget: Budget, now: u64) -> u64 {
        WINDOW.saturating_sub(self.owed(now)) / budget.each.max(1)
    }

    /// Counts an event. Those beyond the budget count, too, but nobody is refused for more than two minutes after the last.
    pub fn add(&mut self, budget: Budget, now: u64) {
        self.0 = self.0.max(now).saturating_add(budget.each).min(now.saturating_add(2 * WINDOW));
    }

    /// Takes one event back.
    pub fn forgive(&mut self, budget: Budget) {
        self.0 = self.0.saturating_sub(budget.each);
    }

    /// None up to half of the budget, then twice as much for every event more.
    pub fn delay(self, budget: Budget, now: u64) -> Duration {
        let counted = self.owed(now).div_ceil(budget.each.max(1));
        match counted.saturating_sub(u64::from(budget.most.get() / 2)) {
            0 => Duration::ZERO,
            beyond => Duration::from_secs(1 << (beyond - 1).min(4)).min(LONGEST_DELAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(most: u32) -> Budget {
        Budget::new(NonZeroU32::new(most).unwrap())
    }

    #[test]
    fn a_budget_may_be_used_at_once_and_comes_back_one_at_a_time() {
        for most in [1, 3, 7, 20, 60, 1000, 65_536] {
            let (budget, mut debt, mut now) = (budget(most), Debt::default(), WINDOW / 3);
            for n in 0..most {
                assert_eq!(debt.room(budget, now), u64::from(most - n), "behind {n} of {most}");
                debt.add(budget, now);
            }
            assert!(!debt.has_room(budget, now), "more than {most}");
            // What a minute cannot be divided into is less than a microsecond for each.
            now += budget.each - 1 - u64::from(most);
            assert!(!debt.has_room(budget, now), "too early, of {most}");
            now += 1 + u64::from(most);
            assert!(debt.has_room(budget, now), "one has come back, of {most}");
            debt.add(budget, now);
            assert!(!debt.has_room(budget, now), "one alone, of {most}");
            assert!(debt.owed(now + WINDOW) == 0, "all is forgotten in a minute");
        }
    }

    #[test]
    fn what_is_beyond_the_budget_counts_within_reason() {
        let (budget, mut debt) = (budget(10), Debt::default());
        for _ in 0..1_000_000 {
            debt.add(budget, 0);
        }
        assert!(!debt.has_room(budget, WINDOW));
        assert!(debt.has_room(budget, 2 * WINDOW));
    }

    #[test]
    fn the_delay_grows_from_half_of_the_budget_on() {
        let (budget, mut debt) = (budget(10), Debt::default());
        let delays: Vec<u64> = (0..12)
            .map(|_| {
                debt.add(budget, 0);
                debt.delay(budget, 0).as_secs()
            })
            .collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 1, 2, 4, 8, 15, 15, 15]);
        assert_eq!(debt.delay(budget, WINDOW).as_secs(), 0, "and is forgotten");
    }
}

//! Session tickets for TLS 1.3: sealed by keys that live in memory only and are rolled by a timer.
//!
//! Whoever gets hold of a ticket key can read the tickets, yet not the sessions that they resume: those have a
//! key exchange of their own. The keys still go soon, so that a stolen one says little about who resumed what.
//! A key seals new tickets for one period and opens old ones for one more; then nothing can. The caller's timer
//! rolls the keys whether or not anybody connects, and each key knows its age, should the timer be late.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// RFC 8446 §4.6.1: a ticket must not be used for longer than seven days.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The octets by which a ticket names its key (RFC 5077 §4).
const KEY_NAME: usize = 16;

/// The ticket keys.
pub(super) struct Tickets {
    keys: ArcSwap<Keys>,
    lifetime: Duration,
}

struct Keys {
    /// Seals and opens. None if the system had no random numbers for it: then there are no tickets for a while.
    current: Option<Arc<Key>>,
    /// Opens.
    previous: Option<Arc<Key>>,
}

struct Key {
    name: [u8; KEY_NAME],
    aead: RandomizedNonceKey,
    made: Instant,
}

impl Tickets {
    /// Keys that are to be rolled every `period`.
    pub(super) fn new(period: Duration) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let keys = Keys { current: Some(Arc::new(Key::new(Instant::now())?)), previous: None };
        Ok(Self { keys: ArcSwap::from_pointee(keys), lifetime: period.saturating_mul(2).min(LONGEST) })
    }

    /// A new key seals from now on; what the one before last sealed can no longer be opened.
    pub(super) fn roll(&self, now: Instant) {
        let current = Key::new(now).ok().map(Arc::new);
        let previous = self.keys.load().current.clone();
        self.keys.store(Arc::new(Keys { current, previous }));
    }

    fn seal(&self, state: &[u8], now: Instant) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let key = keys.current.as_ref().filter(|key| self.in_date(key, now))?;
        key.seal(state)
    }

    fn open(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_first_chunk::<KEY_NAME>()?;
        let keys = self.keys.load();
        let key = [&keys.current, &keys.previous].into_iter().flatten().find(|key| key.name == *name)?;
        if self.in_date(key, now) { key.open(sealed) } else { None }
    }

    fn in_date(&self, key: &Key, now: Instant) -> bool {
        now.saturating_duration_since(key.made) < self.lifetime
    }
}

impl Key {
    fn new(now: Instant) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut secret = Zeroizing::new([0; 32]);
        let mut name = [0; KEY_NAME];
        aws_lc_rs::rand::fill(secret.as_mut_slice())?;
        aws_lc_rs::rand::fill(&mut name)?;
        Ok(Self { name, aead: RandomizedNonceKey::new(&AES_256_GCM, secret.as_slice())?, made: now })
    }

    /// Name, nonce, then state and tag; the name is authenticated with them.
    fn seal(&self, state: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = state.to_vec();
        let nonce = self.aead.seal_in_place_append_tag(Aad::from(self.name), &mut sealed).ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut state = sealed.to_vec();
        let opened = self.aead.open_in_place(Nonce::from(nonce), Aad::from(self.name), &mut state).ok()?.len();
        state.truncate(opened);
        Some(state)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, Instant::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, Instant::now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const STATE: &[u8] = b"master secret and all";

    fn tickets() -> (Tickets, Instant) {
        let tickets = Tickets::new(HOUR).unwrap();
        let made = tickets.keys.load().current.as_ref().unwrap().made;
        (tickets, made)
    }

    #[test]
    fn a_ticket_opens_under_its_key_and_the_next_and_never_after() {
        let (tickets, start) = tickets();
        let ticket = tickets.seal(STATE, start).unwrap();
        assert_eq!(tickets.open(&ticket, start).as_deref(), Some(STATE));
        tickets.roll(start + HOUR);
        assert_eq!(tickets.open(&ticket, start + HOUR).as_deref(), Some(STATE));
        tickets.roll(start + HOUR); // age is not what refuses it here: its key is gone
        assert_eq!(tickets.open(&ticket, start + HOUR), None);
    }

    #[test]
    fn a_ticket_older_than_two_periods_is_refused_even_if_nobody_rolled() {
        let (tickets, start) = tickets();
        let ticket = tickets.seal(STATE, start).unwrap();
        let late = start + 2 * HOUR;
        assert!(tickets.open(&ticket, late - Duration::from_secs(1)).is_some());
        assert_eq!(tickets.open(&ticket, late), None);
        assert_eq!(tickets.seal(STATE, late), None, "a ticket that could never be used");
    }

    #[test]
    fn a_rolled_key_seals_nothing_new() {
        let (tickets, start) = tickets();
        let name = |ticket: Vec<u8>| ticket[..KEY_NAME].to_vec();
        let first = name(tickets.seal(STATE, start).unwrap());
        assert_eq!(first, name(tickets.seal(STATE, start).unwrap()));
        tickets.roll(start);
        assert_ne!(first, name(tickets.seal(STATE, start).unwrap()));
    }

    #[test]
    fn any_changed_or_missing_octet_makes_a_ticket_worthless() {
        let (tickets, start) = tickets();
        let ticket = tickets.seal(STATE, start).unwrap();
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.open(&forged, start), None, "octet {at}");
            assert_eq!(tickets.open(&ticket[..at], start), None, "cut at {at}");
        }
    }

    #[test]
    fn the_same_state_never_looks_the_same() {
        let (tickets, start) = tickets();
        assert_ne!(tickets.seal(STATE, start), tickets.seal(STATE, start));
    }

    #[test]
    fn rfc8446_4_6_1_no_ticket_lives_longer_than_seven_days() {
        assert_eq!(Tickets::new(30 * 24 * HOUR).unwrap().lifetime(), 604_800);
        assert_eq!(Tickets::new(HOUR).unwrap().lifetime(), 7200);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Tickets::new(HOUR).unwrap()), "Tickets { lifetime: 7200s, .. }");
    }
}

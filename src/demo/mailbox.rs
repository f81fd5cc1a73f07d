//! The one mailbox of the demo, in memory and bounded. SMTP puts mail in, IMAP reads it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;

/// The most octets of one message; EHLO's SIZE says so.
pub const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;
/// The most messages kept.
const MESSAGES: usize = 1000;
/// The most octets kept in all.
const OCTETS: usize = 64 * 1024 * 1024;

/// A set of system flags (RFC 3501 §2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// Set by reading.
    pub const SEEN: Self = Self(1);
    /// Gone at the next EXPUNGE.
    pub const DELETED: Self = Self(2);
    /// Every flag by its name. \Recent is left out: no session here is the first to know of a message.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("\\Seen", Self::SEEN),
        ("\\Deleted", Self::DELETED),
        ("\\Answered", Self(4)),
        ("\\Flagged", Self(8)),
        ("\\Draft", Self(16)),
    ];

    /// The flag of that name; none for keywords, which the mailbox does not keep.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, flag)| *flag)
    }

    /// Whether all of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of both.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These less the others.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::fmt::Display for Flags {
    /// As in a FETCH response, without the parentheses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> =
            Self::NAMES.iter().filter(|(_, flag)| self.contains(*flag)).map(|(name, _)| *name).collect();
        f.write_str(&names.join(" "))
    }
}

/// What STORE does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// A message; cheap to clone.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its unique identifier, never used again.
    pub uid: u32,
    /// Its flags.
    pub flags: Flags,
    /// When it arrived.
    pub received: SystemTime,
    /// Header and body, octet for octet as they were handed in.
    pub content: Bytes,
}

/// The mailbox has no room for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the demo's mailbox is full: {MESSAGES} messages or {OCTETS} octets; delete some by IMAP")]
pub struct Full;

/// The mailbox.
#[derive(Debug)]
pub struct Mailbox {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    uid_validity: u32,
}

#[derive(Debug)]
struct State {
    messages: Vec<Message>,
    octets: usize,
    next_uid: u32,
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new() -> Arc<Self> {
        // RFC 3501 §2.3.1.1: a mailbox that begins anew needs a higher value, and the seconds since 1970 fit until 2106.
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Arc::new(Self {
            state: Mutex::new(State { messages: Vec::new(), octets: 0, next_uid: 1 }),
            changed: watch::Sender::new(()),
            uid_validity: u32::try_from(seconds).unwrap_or(u32::MAX),
        })
    }

    /// A panic of one session leaves the list as it was: no change here is made in two steps that could part.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message.
    ///
    /// # Errors
    /// [`Full`] if it has no room.
    pub fn deliver(&self, content: Bytes) -> Result<u32, Full> {
        let mut state = self.state();
        if state.messages.len() >= MESSAGES || state.octets + content.len() > OCTETS {
            return Err(Full);
        }
        let uid = state.next_uid;
        state.next_uid += 1;
        state.octets += content.len();
        state.messages.push(Message { uid, flags: Flags::default(), received: SystemTime::now(), content });
        drop(state);
        self.changed.send_replace(());
        Ok(uid)
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// The message with this identifier, unless it was expunged.
    pub fn get(&self, uid: u32) -> Option<Message> {
        self.state().messages.iter().find(|message| message.uid == uid).cloned()
    }

    /// Changes a message's flags; gives the flags it has now, unless it was expunged.
    pub fn store(&self, uid: u32, change: Change, flags: Flags) -> Option<Flags> {
        let mut state = self.state();
        let message = state.messages.iter_mut().find(|message| message.uid == uid)?;
        message.flags = match change {
            Change::Replace => flags,
            Change::Add => message.flags.with(flags),
            Change::Remove => message.flags.without(flags),
        };
        Some(message.flags)
    }

    /// Removes what is marked `\Deleted`.
    pub fn expunge(&self) {
        let mut state = self.state();
        state.messages.retain(|message| !message.flags.contains(Flags::DELETED));
        state.octets = state.messages.iter().map(|message| message.content.len()).sum();
        drop(state);
        self.changed.send_replace(());
    }

    /// Wakes whenever a message came or went.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// RFC 3501 §2.3.1.1.
    pub fn uid_validity(&self) -> u32 {
        self.uid_validity
    }

    /// What the next message's identifier will be.
    pub fn uid_next(&self) -> u32 {
        self.state().next_uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_refuses_and_has_room_again_after_an_expunge() {
        let mailbox = Mailbox::new();
        let content = Bytes::from(vec![b'x'; MESSAGE_LIMIT]);
        for uid in 1..=4 {
            assert_eq!(mailbox.deliver(content.clone()), Ok(uid));
        }
        assert_eq!(mailbox.deliver(Bytes::from_static(b"y")), Err(Full));
        assert_eq!(mailbox.store(2, Change::Add, Flags::DELETED), Some(Flags::DELETED));
        mailbox.expunge();
        assert_eq!(mailbox.deliver(content), Ok(5));
        assert_eq!(mailbox.messages().iter().map(|m| m.uid).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(mailbox.store(2, Change::Add, Flags::SEEN), None);
    }

    #[test]
    fn the_number_of_messages_is_bounded_too() {
        let mailbox = Mailbox::new();
        for _ in 0..MESSAGES {
            assert!(mailbox.deliver(Bytes::new()).is_ok());
        }
        assert_eq!(mailbox.deliver(Bytes::new()), Err(Full));
    }

    #[test]
    fn flags_are_told_by_name_and_stored_three_ways() {
        let mailbox = Mailbox::new();
        mailbox.deliver(Bytes::new()).unwrap();
        let flagged = Flags::by_name("\\flagged").unwrap();
        assert_eq!(Flags::by_name("$Forwarded"), None);
        let steps = [
            (Change::Add, Flags::SEEN, "\\Seen"),
            (Change::Add, flagged, "\\Seen \\Flagged"),
            (Change::Remove, Flags::SEEN, "\\Flagged"),
            (Change::Replace, Flags::DELETED, "\\Deleted"),
            (Change::Replace, Flags::default(), ""),
        ];
        for (change, flags, expected) in steps {
            assert_eq!(mailbox.store(1, change, flags).unwrap().to_string(), expected);
        }
    }
}

//! What comes out of a conversation, and how it came to that.

use std::ops::Range;

use sealgate::facts::Outcome;
use sealgate::protocol::{Event, Side, Wait};

/// How a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It could go on, and this is what is waited for.
    Open(Wait),
    /// Opaque octets both ways.
    Spliced,
    /// The dialogue closed it.
    Closed,
    /// A violation closed it.
    Violated(&'static str),
}

/// What came out of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Everything for the client.
    pub to_client: Vec<u8>,
    /// Everything for the backend.
    pub to_backend: Vec<u8>,
    /// For the log.
    pub events: Vec<Event>,
    /// The backend was dropped while the client stayed.
    pub cut: bool,
    /// How it ended.
    pub end: End,
}

impl Seen {
    /// What does not hang on the reads, but for the octets: what is wrong in two ways may be refused for either, and the log
    /// says for which.
    pub fn comparable(&self) -> (Vec<Event>, Vec<Outcome>, bool, Option<Wait>) {
        let ending = |event: &Event| if let Event::Ending(reason) = event { Some(reason.outcome) } else { None };
        let events = self.events.iter().filter(|event| ending(event).is_none()).cloned().collect();
        let open = if let End::Open(wait) = self.end { Some(wait) } else { None };
        (events, self.events.iter().filter_map(ending).collect(), self.cut, open)
    }
}

/// What became of octets that a side sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They went on.
    Passed,
    /// They were swallowed.
    Dropped,
    /// None were consumed: the dialogue only added something.
    Waited,
}

/// One call of the dialogue that moved something, in the order of the calls.
#[derive(Debug, Clone)]
pub struct Move {
    /// Who was judged; none for what happened without octets.
    pub side: Option<Side>,
    /// Which of that side's octets, counted from its first.
    pub took: Range<usize>,
    /// What became of them.
    pub fate: Fate,
    /// What the dialogue added for the client.
    pub added_to_client: usize,
    /// What it added for the backend.
    pub added_to_backend: usize,
    /// How much each had been sent in all when the call was done.
    pub sent: [usize; 2],
}

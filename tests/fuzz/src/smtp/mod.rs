//! What holds of every SMTP conversation, whoever says what.
//!
//! `check` tells the whole story twice: as the client sees it, who reads by the letter, and as the backend sees it, who is as
//! lenient as any. What went on must be the same for both, what did not must have been answered by the gate, and every
//! answer must stand where its question stood.

mod answers;
mod content;
mod dialogue;
mod pairs;
mod preamble;
mod second_opinion;
mod secrets;
mod view;

use std::ops::Range;

use sealgate::protocol::{Event, Side};

pub use content::content;
pub use dialogue::dialogue;
pub use preamble::preamble;

use crate::driver::{Bounds, Driver};
use crate::seen::{Fate, Move};
use view::{Item, Reading, View};

/// The longest line that is waited for (RFC 4954 §4), and the longest reply.
const BOUNDS: Bounds = Bounds { client: 12_288, backend: 64 * 1024 };

/// What a conversation was about.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// A hello of the client's goes to the backend before all else.
    replayed: bool,
    /// Bare newlines end a session.
    rejects: bool,
    /// The client may log in.
    auth: bool,
}

/// Both ends of one conversation.
struct Story<'a> {
    driver: &'a Driver,
    terms: Terms,
    client: View,
    backend: View,
    /// Octets of the client that went on, or had something go in their place.
    forwarded: Vec<Range<usize>>,
    /// Where a line begins whose first pieces were thrown away as they came; what is done about it follows its end.
    piecemeal: Option<usize>,
    /// The backend has greeted.
    greeted: bool,
    /// So much for the client was read as replies.
    heard: usize,
}

/// Holds a conversation that was played whole against what must be.
fn check(driver: &Driver, terms: Terms) {
    let mut story = Story {
        driver,
        terms,
        client: View::new(Reading::Strict),
        backend: View::new(Reading::Lenient),
        forwarded: Vec::new(),
        piecemeal: None,
        greeted: false,
        heard: 0,
    };
    let mut judged = 0;
    for step in &driver.moves {
        story.follow(step);
        judged = if step.side == Some(Side::Client) { judged.max(step.took.end) } else { judged };
        story.client_reads(judged, step.sent[0]);
        story.backend.read(&driver.seen.to_backend[..step.sent[1]], |_| true);
    }
    story.client_reads(judged, driver.seen.to_client.len());
    let pairs = story.pairs();
    story.answers(&pairs);
    story.messages();
    secrets::are_kept(driver, &story.client);
    second_opinion::agrees(&driver.client_said, &story.client);
}

impl Story<'_> {
    fn follow(&mut self, step: &Move) {
        let went_on = step.fate == Fate::Passed || step.added_to_backend > 0;
        match step.side {
            Some(Side::Client) if went_on => {
                let start = self.piecemeal.take().unwrap_or(step.took.start);
                self.forwarded.push(start..step.took.end);
            }
            Some(Side::Client) if step.fate == Fate::Dropped => {
                let start = self.piecemeal.take().unwrap_or(step.took.start);
                self.piecemeal = Some(start).filter(|_| !self.said(&step.took).ends_with(b"\n"));
            }
            Some(Side::Backend) if !step.took.is_empty() => {
                let said = &self.driver.backend_said[step.took.clone()];
                let (mut replies, rest) = view::replies(said);
                assert!(rest.is_empty() && replies.len() == 1, "{said:?} was judged as a reply");
                if std::mem::replace(&mut self.greeted, true) {
                    self.backend.replies.append(&mut replies);
                }
            }
            _ => {}
        }
    }

    fn client_reads(&mut self, judged: usize, heard: usize) {
        let (mut replies, rest) = view::replies(&self.driver.seen.to_client[self.heard..heard]);
        self.heard = heard - rest.len();
        self.client.replies.append(&mut replies);
        self.client
            .read(&self.driver.client_said[..judged], |at| self.forwarded.iter().any(|range| range.contains(&at)));
    }

    /// The client's octets at that place.
    fn said(&self, at: &Range<usize>) -> &[u8] {
        &self.driver.client_said[at.clone()]
    }

    /// The backend's view of them.
    fn got(&self, at: &Range<usize>) -> &[u8] {
        &self.driver.seen.to_backend[at.clone()]
    }

    /// A message was taken exactly if the client was told so.
    fn messages(&self) {
        let answered = self.client.items.iter().zip(&self.client.replies);
        let taken = answered.filter(|(_, reply)| reply.code / 100 == 2).map(|(item, _)| item);
        let (mut content, mut chunks) = (0, 0);
        for item in taken {
            match item {
                Item::Content { .. } => content += 1,
                Item::Chunk { last: true, .. } => chunks += 1,
                _ => {}
            }
        }
        let noted = self.driver.seen.events.iter().filter(|event| **event == Event::Message { accepted: true }).count();
        // A last chunk without a recipient is no message, whatever a backend says to it.
        assert!((content..=content + chunks).contains(&noted), "{noted} messages noted of {content} and {chunks}");
    }
}

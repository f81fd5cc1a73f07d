//! The whole story, twice: as the client sees it and as the backend does. What went on must be the same for both.

use std::ops::Range;

use sealgate::protocol::Side;

use super::view::{self, Command, Item, Reply, View};
use super::{second_opinion, secrets};
use crate::driver::Driver;
use crate::seen::{End, Fate, Move};

/// Both ends of one conversation.
struct Story<'a> {
    driver: &'a Driver,
    client: View,
    backend: View,
    /// Octets of the client that went on, or had something go in their place.
    forwarded: Vec<Range<usize>>,
    /// Commands of the client whose tagged reply is owed.
    owed: Vec<usize>,
    /// Of the client's commands, so many are in `owed` or were.
    counted: usize,
    /// So much for the client was read as replies.
    heard: usize,
    /// The last of the backend's tagged replies.
    last: Option<Reply>,
}

/// Holds a conversation that was played whole against what must be.
pub(super) fn check(driver: &Driver) {
    let mut story = Story {
        driver,
        client: View::new(),
        backend: View::new(),
        forwarded: Vec::new(),
        owed: Vec::new(),
        counted: 0,
        heard: 0,
        last: None,
    };
    let (mut judged, mut sent) = (0, 0);
    for step in &driver.moves {
        judged = if step.side == Some(Side::Client) { judged.max(step.took.end) } else { judged };
        sent = step.sent[1];
        story.follow(step, judged);
    }
    story.pairs(sent);
    story.login();
    // A command whose literal was refused ends with its announcement, for nobody but the two of them.
    let judged = &driver.client_said[..judged];
    for command in story.client.commands.iter().filter(|command| command.whole && command.verb != "ID") {
        second_opinion::command(judged, command);
    }
    for command in story.backend.commands.iter().filter(|command| command.whole) {
        second_opinion::command(&driver.seen.to_backend[..sent], command);
    }
    secrets::are_kept(driver, &story.client);
}

impl Story<'_> {
    fn follow(&mut self, step: &Move, judged: usize) {
        let went_on = step.fate == Fate::Passed || step.added_to_backend > 0;
        if step.side == Some(Side::Client) && went_on {
            self.forwarded.push(step.took.clone());
        }
        if step.side == Some(Side::Backend) && !step.took.is_empty() {
            let said = &self.driver.backend_said[step.took.clone()];
            let replies = view::replies(said);
            assert!(replies.len() == 1 && replies[0].1 == said.len(), "{said:?} was judged as a response");
            let reply = replies[0].0.clone();
            if matches!(reply, Reply::Tagged(..)) {
                self.last = Some(reply.clone());
            }
            self.backend.replies.push(reply);
        }
        self.backend.read(&self.driver.seen.to_backend[..step.sent[1]]);
        self.client.read(&self.driver.client_said[..judged]);
        self.owed.extend(self.counted..self.client.commands.len());
        self.counted = self.client.commands.len();
        let told = &self.driver.seen.to_client[self.heard..step.sent[0]];
        for (reply, end) in view::replies(told) {
            if end == told.len() {
                self.heard = step.sent[0];
            }
            match &reply {
                Reply::Tagged(tag, word) => self.answered(tag, word, step),
                // What has no tag that could be read.
                Reply::Untagged(word) if word == "BAD" && step.side == Some(Side::Client) => {
                    let commands = &self.client.commands;
                    if let Some(place) = self.owed.iter().rposition(|owed| !self.went_on(&commands[*owed])) {
                        self.owed.remove(place);
                    }
                }
                _ => {}
            }
            self.client.replies.push(reply);
        }
        assert_eq!(self.heard, step.sent[0], "half a response went to the client");
        self.client.read(&self.driver.client_said[..judged]);
    }

    /// A tagged reply answers a command; one of ours waits for the answers before it.
    fn answered(&mut self, tag: &[u8], word: &str, step: &Move) {
        let Some(place) = self.owed.iter().position(|command| self.client.commands[*command].tag == tag) else {
            // One error too many is answered, and its line not consumed.
            let next = &self.driver.client_said[self.client.at..];
            let last = matches!(self.driver.seen.end, End::Violated(_)) && word != "OK" && next.starts_with(tag);
            assert!(last && step.side == Some(Side::Client), "{} answers nothing", String::from_utf8_lossy(tag));
            return;
        };
        let command = self.owed.remove(place);
        if step.side != Some(Side::Backend) {
            assert_ne!(word, "OK", "the gate said yes by itself");
            let earlier = self.owed[..place].iter().find(|earlier| self.went_on(&self.client.commands[**earlier]));
            assert!(earlier.is_none(), "{command} was answered before {earlier:?}");
        }
    }

    fn went_on(&self, command: &Command) -> bool {
        command.items.iter().any(|item| self.is_forwarded(item))
    }

    fn is_forwarded(&self, item: &Item) -> bool {
        self.forwarded.iter().any(|range| range.contains(&item.at().start))
    }

    /// The backend has the client's commands, those that went on, item for item.
    fn pairs(&self, sent: usize) {
        let mut theirs = self.backend.commands.iter();
        for command in self.client.commands.iter().filter(|command| self.went_on(command)) {
            let got = theirs.next().unwrap_or_else(|| panic!("{command:?} never arrived"));
            assert_eq!((&command.tag, &command.verb), (&got.tag, &got.verb), "another command");
            if command.verb == "ID" {
                assert!(got.whole && got.items.len() == 1, "an ID in pieces: {got:?}");
                continue;
            }
            let mut got = got.items.iter();
            for item in &command.items {
                let empty = item.at().is_empty() && matches!(item, Item::Literal(..));
                if !empty && !self.is_forwarded(item) {
                    // Its command was refused meanwhile: nothing behind it may go on either.
                    assert!(got.next().is_none(), "the backend has more of a command than its client");
                    break;
                }
                match got.next() {
                    Some(got) => self.same(item, got),
                    None => assert!(empty, "{item:?} never arrived"),
                }
            }
            let more = got.find(|item| !item.at().is_empty());
            assert!(more.is_none(), "the backend reads {more:?}, which the client never said");
        }
        let more = theirs.next();
        assert!(more.is_none(), "the backend reads {more:?}, which the client never said");
        assert_eq!(
            self.backend.at,
            sent,
            "the backend has octets that it was not to get yet: {}",
            self.backend.waits()
        );
    }

    fn same(&self, ours: &Item, theirs: &Item) {
        let (said, got) =
            (&self.driver.client_said[ours.at().clone()], &self.driver.seen.to_backend[theirs.at().clone()]);
        match (ours, theirs) {
            (Item::Line(_), Item::Line(_)) => {
                // RFC 7888: no server is told of octets that it did not ask for.
                let asked = match said.strip_suffix(b"+}\r\n") {
                    Some(text) if view::announced(said).is_some() => [text, b"}\r\n"].concat(),
                    _ => said.to_vec(),
                };
                assert_eq!(String::from_utf8_lossy(got), String::from_utf8_lossy(&asked), "another line");
                let text = got.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{got:?} went on"));
                assert!(!text.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)), "{got:?} went on");
                let never = ["STARTTLS", "COMPRESS"];
                assert!(
                    !never.contains(&view::head(got).1.as_str()) || theirs.at().start > 0 && !self.begins(theirs),
                    "{got:?}"
                );
            }
            (Item::Literal(_, size), Item::Literal(_, asked)) => {
                assert_eq!(size, asked, "another literal");
                assert_eq!(said, got, "other octets");
            }
            (Item::Response(_), Item::Response(_)) => assert_eq!(said, got, "another response"),
            (ours, theirs) => panic!("{ours:?} is read as {theirs:?}"),
        }
    }

    /// Whether a command of the backend's begins with it.
    fn begins(&self, item: &Item) -> bool {
        self.backend.commands.iter().any(|command| command.items.first() == Some(item))
    }

    /// Nothing is opaque before a login that the backend said OK to, and then nothing else is open.
    fn login(&self) {
        if self.driver.seen.end != End::Spliced {
            return;
        }
        let Some(Reply::Tagged(tag, word)) = &self.last else { panic!("spliced without an answer") };
        let Some(command) = self.backend.commands.last() else { panic!("spliced without a command") };
        assert!(word == "OK" && *tag == command.tag && command.whole, "spliced by {tag:?} {word} behind {command:?}");
        assert!(matches!(command.verb.as_str(), "LOGIN" | "AUTHENTICATE"), "spliced by {}", command.verb);
        let owed = self.owed.iter().find(|owed| self.went_on(&self.client.commands[**owed]));
        assert!(owed.is_none(), "spliced while {owed:?} was owed");
    }
}

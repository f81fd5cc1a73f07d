//! Commands on the selected mailbox: FETCH, STORE, SEARCH, EXPUNGE and CLOSE (RFC 3501 §6.4).

use super::fetch::Item;
use super::parse::{Bad, Parser};
use super::search::Key;
use super::{Done, Failed, Session, State, done};
use crate::demo::mailbox::{Change, Flags, Mailbox};
use crate::demo::wire::Stream;

/// What this session has been told of the mailbox: message number `n` is the `n`th unique identifier.
pub struct View {
    uids: Vec<u32>,
    read_only: bool,
}

impl View {
    /// The mailbox as it is, and the number of its first unseen message.
    pub fn of(mailbox: &Mailbox, read_only: bool) -> (Self, Option<u32>) {
        let messages = mailbox.messages();
        let unseen = (1..).zip(&messages).find(|(_, message)| !message.flags.contains(Flags::SEEN));
        (
            Self { uids: messages.iter().map(|message| message.uid).collect(), read_only },
            unseen.map(|(number, _)| number),
        )
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.uids.len()
    }

    /// Message numbers with their unique identifiers.
    fn numbered(&self) -> Vec<(u32, u32)> {
        (1..).zip(self.uids.iter().copied()).collect()
    }

    /// The largest message number and unique identifier.
    fn largest(&self) -> (u32, u32) {
        self.numbered().last().copied().unwrap_or_default()
    }
}

/// What a command calls messages by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Number,
    Uid,
}

impl<S: Stream> Session<S> {
    /// A command that needs a selected mailbox.
    pub(super) async fn on_selected(&mut self, name: &str, parser: &mut Parser<'_>) -> Result<Done, Failed> {
        match name {
            "UID" => {
                parser.space()?;
                let name = parser.keyword()?;
                let done = self.on_messages(&name, By::Uid, parser).await?;
                self.tell_news();
                return Ok(done);
            }
            // RFC 3501 §7.4.1: no EXPUNGE while the client counts on its numbers, so no news here.
            "FETCH" | "STORE" | "SEARCH" => return self.on_messages(name, By::Number, parser).await,
            "CHECK" | "EXPUNGE" | "CLOSE" => parser.end()?,
            _ => return Err(Bad("unknown command").into()),
        }
        if name != "CHECK" && !self.is_read_only() {
            self.mailbox.expunge();
        }
        if name == "CLOSE" {
            // RFC 3501 §6.4.2: CLOSE tells nothing of what it removes, and removes nothing after EXAMINE.
            self.state = State::Authenticated;
        } else if name == "EXPUNGE" && self.is_read_only() {
            return Ok(Done::No("the mailbox is selected read-only"));
        }
        self.tell_news();
        Ok(done(format!("{name} completed"))?)
    }

    async fn on_messages(&mut self, name: &str, by: By, parser: &mut Parser<'_>) -> Result<Done, Failed> {
        parser.space()?;
        match name {
            "FETCH" => self.fetch(by, parser).await,
            "STORE" => Ok(self.store(by, parser)?),
            "SEARCH" => Ok(self.search(by, parser)?),
            _ => Err(Bad("UID goes with FETCH, STORE and SEARCH").into()),
        }
    }

    fn view(&self) -> Option<&View> {
        match &self.state {
            State::Selected(view) => Some(view),
            State::NotAuthenticated | State::Authenticated => None,
        }
    }

    fn is_read_only(&self) -> bool {
        self.view().is_none_or(|view| view.read_only)
    }

    /// The messages of a set by their numbers. What another session expunged meanwhile is left out.
    fn chosen(&self, by: By, parser: &mut Parser<'_>) -> Result<Vec<(u32, u32)>, Bad> {
        let set = parser.set()?;
        let Some(view) = self.view() else { return Ok(Vec::new()) };
        let largest = view.largest();
        let chosen = |(number, uid): &(u32, u32)| match by {
            By::Number => set.contains(*number, largest.0),
            By::Uid => set.contains(*uid, largest.1),
        };
        Ok(view.numbered().into_iter().filter(chosen).collect())
    }

    async fn fetch(&mut self, by: By, parser: &mut Parser<'_>) -> Result<Done, Failed> {
        let chosen = self.chosen(by, parser)?;
        parser.space()?;
        let mut items = Item::parse_all(parser)?;
        parser.end()?;
        if by == By::Uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let marks_seen = items.iter().any(Item::marks_seen) && !self.is_read_only();
        for (number, uid) in chosen {
            let Some(mut message) = self.mailbox.get(uid) else { continue };
            let mut told = Vec::new();
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    told.push(b' ');
                }
                item.write(&message, &mut told);
            }
            if marks_seen && !message.flags.contains(Flags::SEEN) {
                message.flags = self.mailbox.store(uid, Change::Add, Flags::SEEN).unwrap_or(message.flags);
                told.push(b' ');
                Item::Flags.write(&message, &mut told);
            }
            self.tell_fetch(number, &told);
            self.wire.relieve().await?;
        }
        Ok(done("FETCH completed")?)
    }

    fn tell_fetch(&mut self, number: u32, told: &[u8]) {
        self.wire.put(format!("* {number} FETCH (").as_bytes());
        self.wire.put(told);
        self.wire.put(b")\r\n");
    }

    fn store(&mut self, by: By, parser: &mut Parser<'_>) -> Result<Done, Bad> {
        let chosen = self.chosen(by, parser)?;
        parser.space()?;
        let item = parser.keyword()?;
        let (item, silent) = item.strip_suffix(".SILENT").map_or((item.as_str(), false), |item| (item, true));
        let change = match item {
            "FLAGS" => Change::Replace,
            "+FLAGS" => Change::Add,
            "-FLAGS" => Change::Remove,
            _ => return Err(Bad("STORE takes FLAGS, +FLAGS or -FLAGS")),
        };
        parser.space()?;
        // A keyword is not kept, as PERMANENTFLAGS said.
        let flags = parser.list(true, |parser| Ok(Flags::by_name(parser.atom(b"\\")?).unwrap_or_default()))?;
        parser.end()?;
        if self.is_read_only() {
            return Ok(Done::No("the mailbox is selected read-only"));
        }
        let flags = flags.into_iter().fold(Flags::default(), Flags::with);
        for (number, uid) in chosen {
            let now = self.mailbox.store(uid, change, flags);
            if let Some(now) = now.filter(|_| !silent) {
                let uid = if by == By::Uid { format!("UID {uid} ") } else { String::new() };
                self.tell_fetch(number, format!("{uid}FLAGS ({now})").as_bytes());
            }
        }
        done("STORE completed")
    }

    fn search(&mut self, by: By, parser: &mut Parser<'_>) -> Result<Done, Bad> {
        let keys = Key::parse_all(parser)?;
        let Some(view) = self.view() else { return Err(Bad("no mailbox is selected")) };
        let largest = view.largest();
        let mut found = String::new();
        for (number, uid) in view.numbered() {
            let Some(message) = self.mailbox.get(uid) else { continue };
            if keys.iter().all(|key| key.holds(&message, number, largest)) {
                found += &format!(" {}", if by == By::Uid { uid } else { number });
            }
        }
        self.wire.say(format_args!("* SEARCH{found}"));
        done("SEARCH completed")
    }

    /// Tells what came and went since the client last heard of it (RFC 3501 §5.2).
    pub(super) fn tell_news(&mut self) {
        let State::Selected(view) = &mut self.state else { return };
        let now: Vec<u32> = self.mailbox.messages().iter().map(|message| message.uid).collect();
        // From the last one down, so that the numbers of those yet to be told of stay as they are.
        for (number, uid) in view.numbered().into_iter().rev() {
            if !now.contains(&uid) {
                self.wire.say(format_args!("* {number} EXPUNGE"));
                view.uids.retain(|known| *known != uid);
            }
        }
        if now.len() > view.len() {
            self.wire.say(format_args!("* {} EXISTS", now.len()));
        }
        view.uids = now;
    }
}

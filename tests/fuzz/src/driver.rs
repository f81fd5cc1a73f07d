//! Plays `relay` for a dialogue, without sockets: the contract of `sealgate::protocol`, kept to the letter and checked.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use sealgate::protocol::{Dialogue, Ended, INPUT_LIMIT, Out, Side, Verdict};

use crate::script::{Cuts, Script, Sent, Step};
use crate::seen::{End, Fate, Move, Seen};

/// More calls in a row that consume nothing would keep a worker busy for ever.
const IDLE_CALLS: usize = 8;

/// The time in every conversation.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_293_360)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Ended { clean: bool },
    Told,
}

struct Source {
    /// Arrived and not judged yet.
    inbox: Vec<u8>,
    input: Input,
    /// How many octets are judged.
    judged: usize,
}

/// The most that a dialogue may leave unjudged while it asks for more.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of the client's.
    pub client: usize,
    /// Of the backend's.
    pub backend: usize,
}

/// A dialogue and what its two sides see of each other.
pub struct Driver {
    dialogue: Box<dyn Dialogue>,
    bounds: Bounds,
    /// Something happened that may make the next answer the last.
    ending: bool,
    client: Source,
    backend: Source,
    out: Out,
    /// Everything the client sent.
    pub client_said: Vec<u8>,
    /// Everything the backend sent.
    pub backend_said: Vec<u8>,
    /// What came of it.
    pub seen: Seen,
    /// How it came to that.
    pub moves: Vec<Move>,
}

impl Driver {
    /// A conversation in which nothing was said yet.
    pub fn new(dialogue: Box<dyn Dialogue>, bounds: Bounds) -> Self {
        let source = || Source { inbox: Vec::new(), input: Input::Open, judged: 0 };
        let end = End::Open(dialogue.waiting_for());
        let mut driver = Self {
            dialogue,
            bounds,
            ending: false,
            client: source(),
            backend: source(),
            out: Out { now: now(), ..Out::default() },
            client_said: Vec::new(),
            backend_said: Vec::new(),
            seen: Seen { to_client: Vec::new(), to_backend: Vec::new(), events: Vec::new(), cut: false, end },
            moves: Vec::new(),
        };
        driver.offer(Side::Client);
        driver
    }

    /// Plays a script to its end.
    pub fn play(&mut self, script: &Script, cuts: Cuts) {
        for step in &script.steps {
            match step {
                // What a backend says before it is asked is unasked; whether it was is settled line by line, since what
                // the client has waiting may become a question in between, or the first of them be the last.
                Step::Sends(Side::Backend, sent) if self.ending || !self.client.inbox.is_empty() => {
                    sent.lines().iter().for_each(|line| self.send(Side::Backend, line, cuts));
                }
                Step::Sends(side, sent) => self.send(*side, sent, cuts),
                Step::Happens(how) => self.happen(*how),
            }
        }
        self.finish();
    }

    /// A side sends, in as many reads as `cuts` says, and the client hears what there is to hear.
    pub fn send(&mut self, side: Side, sent: &Sent, cuts: Cuts) {
        sent.reads(cuts).into_iter().for_each(|octets| self.read(side, octets));
        self.dialogue.answered();
    }

    /// One read.
    pub fn read(&mut self, side: Side, octets: &[u8]) {
        if self.source(side).input != Input::Open {
            return;
        }
        match self.seen.end {
            End::Open(_) => {}
            End::Spliced => return self.sent_to(side.other()).extend_from_slice(octets),
            End::Closed | End::Violated(_) => return,
        }
        self.source(side).inbox.extend_from_slice(octets);
        match side {
            Side::Client => self.client_said.extend_from_slice(octets),
            Side::Backend => self.backend_said.extend_from_slice(octets),
        }
        self.offer(side);
    }

    /// Something happens that is no octets.
    pub fn happen(&mut self, how: Ended) {
        if !self.is_open() {
            return;
        }
        self.ending = true;
        let (side, clean) = match how {
            Ended::ClientEof { clean } => (Side::Client, clean),
            Ended::BackendEof => (Side::Backend, true),
            Ended::Deadline(_) => return self.tell(Ended::Deadline(self.dialogue.waiting_for())),
            Ended::TooSlow | Ended::TooManyFailures | Ended::Drain => return self.tell(how),
        };
        if self.source(side).input == Input::Open {
            self.source(side).input = Input::Ended { clean };
            self.offer(side);
            self.dialogue.answered();
        }
    }

    /// Every octet has been passed, dropped, or is still there.
    fn finish(&mut self) {
        if let End::Open(wait) = &mut self.seen.end {
            *wait = self.dialogue.waiting_for();
            for (source, said) in [(&self.client, &self.client_said), (&self.backend, &self.backend_said)] {
                if source.input == Input::Open {
                    assert_eq!(source.judged + source.inbox.len(), said.len(), "octets got lost");
                }
            }
        }
    }

    /// Whether the dialogue still judges.
    pub fn is_open(&self) -> bool {
        matches!(self.seen.end, End::Open(_))
    }

    fn source(&mut self, side: Side) -> &mut Source {
        match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        }
    }

    fn sent_to(&mut self, side: Side) -> &mut Vec<u8> {
        match side {
            Side::Client => &mut self.seen.to_client,
            Side::Backend => &mut self.seen.to_backend,
        }
    }

    /// Lets a side be judged; whatever moves offers the other side its octets again.
    fn offer(&mut self, side: Side) {
        let mut side = side;
        while self.is_open() && self.judge(side) {
            side = side.other();
        }
    }

    /// Calls the dialogue for one side until it wants to wait. True if anything moved.
    fn judge(&mut self, side: Side) -> bool {
        let (mut moved, mut idle) = (false, 0);
        while self.is_open() {
            let input = std::mem::take(&mut self.source(side).inbox);
            let verdict = self.dialogue.receive(side, &input, &mut self.out);
            let at = self.source(side).judged;
            let (took, fate) = match verdict {
                Ok(Verdict::Pass(n)) => (n, Fate::Passed),
                Ok(Verdict::Drop(n)) => (n, Fate::Dropped),
                _ => (0, Fate::Waited),
            };
            assert!(fate == Fate::Waited || (1..=input.len()).contains(&took), "{verdict:?} of {}", input.len());
            self.collect(Some(side), at..at + took, fate, &input[..took]);
            let source = self.source(side);
            source.judged += took;
            source.inbox = input[took..].to_vec();
            idle = if took > 0 { 0 } else { idle + 1 };
            assert!(idle < IDLE_CALLS, "{verdict:?} again and again");
            match verdict {
                Ok(Verdict::Pass(_) | Verdict::Drop(_)) => {}
                Ok(Verdict::More) if !self.more(side) => return moved,
                Ok(Verdict::More) => {}
                Ok(Verdict::Hold) => {
                    assert!(!input.is_empty(), "held nothing");
                    return moved;
                }
                Ok(Verdict::CutBackend) => self.cut(),
                Ok(Verdict::Splice) => self.splice(),
                Ok(Verdict::Close) => self.seen.end = End::Closed,
                Err(violation) => {
                    self.seen.to_client.extend_from_slice(&violation.reply);
                    self.seen.end = End::Violated(violation.reason.phrase);
                }
            }
            moved = true;
        }
        moved
    }

    /// The dialogue wants more: an end, if that is what comes. False if nothing does.
    fn more(&mut self, side: Side) -> bool {
        let bound = if side == Side::Client { self.bounds.client } else { self.bounds.backend };
        let source = self.source(side);
        assert!(source.inbox.len() < bound.min(INPUT_LIMIT), "{side:?}: {} octets wait for more", source.inbox.len());
        let Input::Ended { clean } = source.input else { return false };
        source.input = Input::Told;
        source.inbox.clear();
        self.tell(if side == Side::Client { Ended::ClientEof { clean } } else { Ended::BackendEof });
        true
    }

    fn tell(&mut self, how: Ended) {
        let verdict = self.dialogue.ended(how, &mut self.out);
        self.collect(None, 0..0, Fate::Waited, &[]);
        match verdict {
            Verdict::More => {}
            Verdict::CutBackend => self.cut(),
            Verdict::Close => self.seen.end = End::Closed,
            verdict => panic!("{verdict:?} makes no sense behind {how:?}"),
        }
        self.offer(Side::Client);
        self.offer(Side::Backend);
    }

    /// What was added goes out before what is passed.
    fn collect(&mut self, side: Option<Side>, took: Range<usize>, fate: Fate, octets: &[u8]) {
        let take = |from: &mut BytesMut, to: &mut Vec<u8>| {
            to.extend_from_slice(from);
            let added = from.len();
            from.clear();
            added
        };
        let added_to_client = take(&mut self.out.to_client, &mut self.seen.to_client);
        let added_to_backend = take(&mut self.out.to_backend, &mut self.seen.to_backend);
        self.seen.events.append(&mut self.out.events);
        if let (Some(side), Fate::Passed) = (side, fate) {
            self.sent_to(side.other()).extend_from_slice(octets);
        }
        if fate != Fate::Waited || added_to_client + added_to_backend > 0 {
            let sent = [self.seen.to_client.len(), self.seen.to_backend.len()];
            self.moves.push(Move { side, took, fate, added_to_client, added_to_backend, sent });
        }
    }

    fn cut(&mut self) {
        self.seen.cut = true;
        self.backend.inbox.clear();
        self.backend.input = Input::Told;
    }

    fn splice(&mut self) {
        self.seen.end = End::Spliced;
        let (client, backend) = (std::mem::take(&mut self.client.inbox), std::mem::take(&mut self.backend.inbox));
        self.seen.to_backend.extend_from_slice(&client);
        self.seen.to_client.extend_from_slice(&backend);
    }
}

/// Plays a script whole and in pieces, which must come to the same; the whole run is for a closer look.
pub fn play(script: &Script, dialogue: impl Fn() -> Box<dyn Dialogue>, bounds: Bounds) -> Driver {
    let run = |cuts| {
        let mut driver = Driver::new(dialogue(), bounds);
        driver.play(script, cuts);
        driver
    };
    let whole = run(Cuts::None);
    for cuts in script.cuts() {
        let cut = run(cuts).seen;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert_eq!(text(&cut.to_client), text(&whole.seen.to_client), "to the client, cut by {cuts:?}");
        assert_eq!(text(&cut.to_backend), text(&whole.seen.to_backend), "to the backend, cut by {cuts:?}");
        assert_eq!(cut.comparable(), whole.seen.comparable(), "cut by {cuts:?}");
    }
    whole
}

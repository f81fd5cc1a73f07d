//! Both machines by table, each run cut at every place, by a driver that keeps the contract to the letter.

mod attacks;
mod before_login;
mod cleartext;
mod logins;

use std::sync::Arc;

use bytes::BytesMut;

use super::{Imap, Protocol, Violation};
use crate::facts::{ClientNames, Peer, SessionId};
use crate::protocol::{Context, Dialogue, Ended, Event, Farewell, Learned, Next, Out, Rules, Service, Side, Verdict};

/// A session on the named service.
fn context(service: &str) -> Context {
    Context {
        hostname: "gate.example".into(),
        session: SessionId::new("s1"),
        service: Service::by_name(service).unwrap(),
        peer: Peer {
            client: "203.0.113.5:40000".parse().unwrap(),
            local: "192.0.2.10:993".parse().unwrap(),
            names: ClientNames::default(),
        },
        tls: None,
        rules: Arc::new(Rules { max_errors: 3, ..Rules::default() }),
        learned: Arc::new(Learned::default()),
    }
}

/// One thing that happens in a session.
#[derive(Debug, Clone)]
enum Step {
    /// The client sends.
    C(Vec<u8>),
    /// The backend sends.
    B(Vec<u8>),
    /// Something else.
    E(Ended),
}

fn c(text: impl AsRef<[u8]>) -> Step {
    Step::C(text.as_ref().to_vec())
}

fn b(text: impl AsRef<[u8]>) -> Step {
    Step::B(text.as_ref().to_vec())
}

/// Where a session stands at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Open,
    Spliced,
    Closed,
    Broken(&'static str),
}

#[test]
fn a_session_before_its_login_is_small() {
    // Clients hold many connections open, also some that never log in: the dialogue shall not be what one notices.
    let size = size_of::<super::dialogue::BeforeLogin>();
    assert!(size <= 128, "{size} octets");
}

/// All that came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    to_client: String,
    to_backend: String,
    events: Vec<Event>,
    end: End,
}

/// Octets as characters, one each, so that nothing is lost in a comparison.
fn text(octets: &[u8]) -> String {
    octets.iter().map(|octet| char::from(*octet)).collect()
}

/// A driver that owns no socket.
struct Rig {
    dialogue: Box<dyn Dialogue>,
    /// Arrived and not yet consumed: client's, backend's.
    input: [Vec<u8>; 2],
    /// Whether a side's input waits for the other side.
    held: [bool; 2],
    /// Sent on: to the client, to the backend.
    sent: [Vec<u8>; 2],
    out: Out,
    end: End,
}

impl Rig {
    fn new(service: &str) -> Self {
        Self {
            dialogue: Imap.dialogue(&context(service), None),
            input: [Vec::new(), Vec::new()],
            held: [false; 2],
            sent: [Vec::new(), Vec::new()],
            out: Out::default(),
            end: End::Open,
        }
    }

    fn flush(&mut self) {
        let to_client = self.out.to_client.split();
        let to_backend = self.out.to_backend.split();
        self.sent[0].extend_from_slice(&to_client);
        self.sent[1].extend_from_slice(&to_backend);
    }

    /// Calls the dialogue for one side until it wants to wait.
    fn judge(&mut self, side: usize) {
        let from = [Side::Client, Side::Backend][side];
        while self.end == End::Open && !self.held[side] {
            let input = std::mem::take(&mut self.input[side]);
            let verdict = self.dialogue.receive(from, &input, &mut self.out);
            self.flush();
            let mut consumed = 0;
            match verdict {
                Ok(Verdict::More) => {
                    assert!(input.len() <= crate::protocol::INPUT_LIMIT, "stalled");
                    self.input[side] = input;
                    return;
                }
                Ok(Verdict::Hold) => {
                    assert!(!input.is_empty(), "held nothing");
                    self.held[side] = true;
                }
                Ok(Verdict::Pass(octets)) => {
                    consumed = octets;
                    self.sent[1 - side].extend_from_slice(&input[..octets]);
                }
                Ok(Verdict::Drop(octets)) => consumed = octets,
                Ok(Verdict::Splice) => {
                    self.end = End::Spliced;
                    consumed = input.len();
                    self.sent[1 - side].extend_from_slice(&input);
                    let other = std::mem::take(&mut self.input[1 - side]);
                    self.sent[side].extend_from_slice(&other);
                }
                Ok(Verdict::Close) => self.end = End::Closed,
                Ok(Verdict::CutBackend) => panic!("IMAP has no use for it"),
                Err(ref violation) => self.break_off(violation),
            }
            self.input[side] = input[consumed..].to_vec();
            if consumed > 0 && self.held[1 - side] {
                self.held[1 - side] = false;
                self.judge(1 - side);
            } else if consumed == 0 && self.end == End::Open {
                assert!(self.held[side], "{verdict:?} consumed nothing");
            }
        }
    }

    fn break_off(&mut self, violation: &Violation) {
        self.sent[0].extend_from_slice(&violation.reply);
        self.end = End::Broken(violation.reason.phrase);
    }

    fn step(&mut self, step: &Step, cut: usize) {
        let (side, octets) = match step {
            Step::C(octets) => (0, octets),
            Step::B(octets) => (1, octets),
            Step::E(how) => {
                if self.end == End::Open {
                    match self.dialogue.ended(*how, &mut self.out) {
                        Verdict::More => {}
                        Verdict::Close => self.end = End::Closed,
                        other => panic!("{other:?}"),
                    }
                    self.flush();
                }
                return;
            }
        };
        for piece in octets.chunks(cut) {
            match self.end {
                End::Open => {
                    self.input[side].extend_from_slice(piece);
                    self.judge(side);
                }
                End::Spliced => self.sent[1 - side].extend_from_slice(piece),
                End::Closed | End::Broken(_) => return,
            }
        }
    }

    fn seen(self) -> Seen {
        Seen { to_client: text(&self.sent[0]), to_backend: text(&self.sent[1]), events: self.out.events, end: self.end }
    }
}

fn run_cut(service: &str, steps: &[Step], cut: usize) -> Seen {
    let mut rig = Rig::new(service);
    for step in steps {
        rig.step(step, cut);
    }
    rig.seen()
}

/// Runs the steps whole, in pieces of every size up to 40, and with each step cut in two at every place.
fn run(service: &str, steps: &[Step]) -> Seen {
    let whole = run_cut(service, steps, usize::MAX);
    for cut in 1..=40 {
        assert_eq!(run_cut(service, steps, cut), whole, "in pieces of {cut}");
    }
    for (place, step) in steps.iter().enumerate() {
        let (Step::C(octets) | Step::B(octets)) = step else { continue };
        for at in 1..octets.len().min(200) {
            let mut halves = steps.to_vec();
            let again = |part: &[u8]| match step {
                Step::C(_) => c(part),
                _ => b(part),
            };
            halves.splice(place..=place, [again(&octets[..at]), again(&octets[at..])]);
            assert_eq!(run_cut(service, &halves, usize::MAX), whole, "step {place} cut at {at}");
        }
    }
    whole
}

/// A session on `imaps` whose backend has greeted; what both sides saw from then on.
fn greeted(steps: &[Step]) -> Seen {
    let mut all = vec![b(GREETING)];
    all.extend_from_slice(steps);
    run("imaps", &all)
}

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n";

/// What came of a preamble: the answer, the events, how it went on, and what was left of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    to_client: String,
    events: Vec<Event>,
    end: &'static str,
    left: String,
}

fn preamble_cut(input: &[u8], cut: usize) -> Heard {
    let mut preamble = Imap.preamble(&context("imap"));
    let mut to_client = BytesMut::new();
    let mut events = Vec::new();
    let mut waiting = Vec::new();
    let mut end = "more";
    for piece in input.chunks(cut) {
        waiting.extend_from_slice(piece);
        while end == "more" {
            match preamble.receive(&waiting, &mut to_client, &mut events) {
                Ok(heard) => {
                    waiting.drain(..heard.consumed);
                    match heard.next {
                        Next::More if heard.consumed == 0 => break,
                        Next::More => {}
                        Next::StartTls => end = "starttls",
                        Next::Close => end = "close",
                        Next::StayPlain(_) => panic!("IMAP never stays in cleartext"),
                    }
                }
                Err(violation) => {
                    to_client.extend_from_slice(&violation.reply);
                    end = violation.reason.phrase;
                    waiting.clear();
                }
            }
        }
        if end != "more" {
            break;
        }
    }
    Heard { to_client: text(&to_client), events, end, left: text(&waiting) }
}

/// Runs a preamble whole and cut at every place.
fn preamble(input: &[u8]) -> Heard {
    let whole = preamble_cut(input, usize::MAX);
    for cut in (1..=40).chain([4096, 8191, 8192, 8193]) {
        let mut heard = preamble_cut(input, cut);
        // What follows the end may not have come yet.
        assert!(whole.left.starts_with(&heard.left), "in pieces of {cut}");
        heard.left.clone_from(&whole.left);
        assert_eq!(heard, whole, "in pieces of {cut}");
    }
    whole
}

#[test]
fn rfc9051_7_1_5_every_farewell_is_one_bye() {
    let all = [Farewell::Timeout, Farewell::Shutdown, Farewell::TooManyConnections, Farewell::BackendUnavailable];
    for why in all {
        let line = Imap.farewell("gate.example", why);
        assert!(line.starts_with(b"* BYE ") && line.ends_with(b"\r\n"), "{line:?}");
        assert_eq!(line.iter().filter(|octet| **octet == b'\n').count(), 1);
        let mut to_client = BytesMut::new();
        Imap.preamble(&context("imap")).farewell(why, &mut to_client);
        assert_eq!(to_client, line);
    }
}

//! What the tests of this protocol share: contexts, and a driver that keeps the contract to the letter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Smtp;
use crate::facts::{ClientNames, Lookup, Peer, SessionId, TlsFacts};
use crate::protocol::{
    Context, Dialogue, Ended, Event, INPUT_LIMIT, Learned, Opening, Out, Protocol, Rules, Service, Side, Verdict, Wait,
};

/// Sat, 21 Nov 2026 20:36:00 UTC.
pub fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_293_360)
}

pub fn context(service: &str, client: &str, tls: Option<TlsFacts>) -> Context {
    let client: SocketAddr = client.parse().unwrap();
    let names = ClientNames { reverse: Lookup::NotTried, verified: Lookup::NotTried };
    Context {
        hostname: "mx.example.com".into(),
        session: SessionId::new("4Zk9"),
        service: Service::by_name(service).unwrap(),
        peer: Peer { client, local: client, names },
        tls: tls.map(Arc::new),
        rules: Arc::new(Rules { received_user: true, ..Rules::default() }),
        learned: Arc::new(Learned::default()),
    }
}

/// One thing that happens to a dialogue.
#[derive(Debug, Clone)]
pub enum Step {
    /// The client sends.
    C(Vec<u8>),
    /// The backend sends.
    B(Vec<u8>),
    /// Something else.
    E(Ended),
}

pub fn c(octets: impl AsRef<[u8]>) -> Step {
    Step::C(octets.as_ref().to_vec())
}

pub fn b(octets: impl AsRef<[u8]>) -> Step {
    Step::B(octets.as_ref().to_vec())
}

/// How a dialogue stands after its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Open(Wait),
    Closed,
    Violated(&'static str),
}

/// What came out of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub to_client: Vec<u8>,
    pub to_backend: Vec<u8>,
    pub events: Vec<Event>,
    /// The backend was closed while the client stayed.
    pub cut: bool,
    pub end: End,
}

impl Seen {
    pub fn client(&self) -> String {
        String::from_utf8_lossy(&self.to_client).into_owned()
    }

    /// What the backend got, each Received field written as `{R}`.
    pub fn backend(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.to_backend).into_owned();
        while let Some(from) = text.find("Received: from ") {
            let end = from + text[from..].find(" +0000\r\n").unwrap() + " +0000\r\n".len();
            text.replace_range(from..end, "{R}");
        }
        text
    }
}

/// Cuts every step's octets into pieces.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Never,
    Every(usize),
    /// Once, so many octets into all that is sent.
    At(usize),
}

/// A driver that keeps the contract to the letter.
pub struct Driver {
    dialogue: Box<dyn Dialogue>,
    input: [Vec<u8>; 2],
    held: [bool; 2],
    out: Out,
    pub seen: Seen,
}

impl Driver {
    pub fn new(context: &Context, opening: Option<&Opening>) -> Self {
        let (to_client, to_backend, events) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            dialogue: Smtp.dialogue(context, opening.cloned()),
            input: [Vec::new(), Vec::new()],
            held: [false; 2],
            out: Out { now: at(), ..Out::default() },
            seen: Seen { to_client, to_backend, events, cut: false, end: End::Open(Wait::Greeting) },
        }
    }

    fn over(&self) -> bool {
        !matches!(self.seen.end, End::Open(_))
    }

    fn flush(&mut self) {
        self.seen.to_client.append(&mut self.out.to_client.split().to_vec());
        self.seen.to_backend.append(&mut self.out.to_backend.split().to_vec());
        self.seen.events.append(&mut self.out.events);
    }

    /// Offers `side` its input until it has no use for it; progress offers the other side what it held.
    fn offer(&mut self, side: Side) {
        let (here, there) = if side == Side::Client { (0, 1) } else { (1, 0) };
        let mut progress = false;
        loop {
            let input = std::mem::take(&mut self.input[here]);
            let verdict = self.dialogue.receive(side, &input, &mut self.out);
            self.input[here] = input;
            self.flush();
            self.held[here] = false;
            match verdict {
                Ok(Verdict::Pass(n)) => {
                    assert!(n > 0);
                    let passed = self.input[here].drain(..n).collect::<Vec<_>>();
                    let to = if side == Side::Client { &mut self.seen.to_backend } else { &mut self.seen.to_client };
                    to.extend(passed);
                    progress = true;
                }
                Ok(Verdict::Drop(n)) => {
                    assert!(n > 0);
                    self.input[here].drain(..n);
                    progress = true;
                }
                Ok(Verdict::CutBackend) => {
                    self.seen.cut = true;
                    self.input[1].clear();
                    if side == Side::Backend {
                        self.offer(Side::Client);
                        return;
                    }
                }
                Ok(Verdict::Close) => {
                    self.seen.end = End::Closed;
                    return;
                }
                Ok(Verdict::Splice) => panic!("SMTP is never spliced"),
                Ok(verdict) => {
                    assert!(self.input[here].len() < INPUT_LIMIT, "waits for more than the driver holds");
                    self.held[here] = verdict == Verdict::Hold;
                    break;
                }
                Err(violation) => {
                    self.seen.to_client.extend(violation.reply);
                    self.seen.end = End::Violated(violation.reason.phrase);
                    return;
                }
            }
        }
        if progress && self.held[there] {
            self.offer(side.other());
        }
    }

    pub fn step(&mut self, step: &Step) {
        match step {
            Step::C(octets) => {
                self.input[0].extend(octets);
                // A side that is held is not read on.
                if !self.held[0] {
                    self.offer(Side::Client);
                }
            }
            Step::B(octets) if !self.seen.cut => {
                self.input[1].extend(octets);
                self.offer(Side::Backend);
            }
            Step::B(_) => {}
            Step::E(how) => {
                let verdict = self.dialogue.ended(*how, &mut self.out);
                self.flush();
                match verdict {
                    Verdict::More => {}
                    Verdict::CutBackend => {
                        self.seen.cut = true;
                        self.offer(Side::Client);
                    }
                    Verdict::Close => self.seen.end = End::Closed,
                    verdict => panic!("{verdict:?} makes no sense"),
                }
            }
        }
    }
}

pub fn run(context: &Context, opening: Option<&Opening>, steps: &[Step], cut: Cut) -> Seen {
    let mut driver = Driver::new(context, opening);
    let mut before = 0;
    for step in steps {
        let (octets, wrap): (&[u8], fn(Vec<u8>) -> Step) = match step {
            Step::C(octets) => (octets, Step::C),
            Step::B(octets) => (octets, Step::B),
            Step::E(_) => (&[], Step::C),
        };
        let pieces: Vec<&[u8]> = match cut {
            Cut::Never => vec![octets],
            Cut::Every(size) => octets.chunks(size).collect(),
            Cut::At(at) if at > before && at < before + octets.len() => {
                let (first, second) = octets.split_at(at - before);
                vec![first, second]
            }
            Cut::At(_) => vec![octets],
        };
        before += octets.len();
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            if !driver.over() {
                driver.step(&wrap(piece.to_vec()));
            }
        }
        if matches!(step, Step::E(_)) && !driver.over() {
            driver.step(step);
        }
        driver.dialogue.answered(); // the client hears what there is to hear
    }
    if !driver.over() {
        driver.seen.end = End::Open(driver.dialogue.waiting_for());
    }
    driver.seen
}

/// Runs the steps whole, then cut at every octet and into pieces of every size; all must be the same.
pub fn run_cut(context: &Context, opening: Option<&Opening>, steps: &[Step]) -> Seen {
    let whole = run(context, opening, steps, Cut::Never);
    let total: usize = steps.iter().map(|step| if let Step::C(o) | Step::B(o) = step { o.len() } else { 0 }).sum();
    let cuts = (1..=40).map(Cut::Every).chain((1..total.min(600)).map(Cut::At));
    for cut in cuts {
        let seen = run(context, opening, steps, cut);
        assert_eq!(seen.client(), whole.client(), "{cut:?} {steps:?}");
        assert_eq!(seen.backend(), whole.backend(), "{cut:?} {steps:?}");
        assert_eq!(seen, whole, "{cut:?} {steps:?}");
    }
    whole
}

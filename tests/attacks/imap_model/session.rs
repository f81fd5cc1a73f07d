//! The gate's dialogue between a client and the model.

use std::sync::Arc;

use sealgate::facts::{ClientNames, Outcome, Peer, Reason, SessionId};
use sealgate::protocol::{Context, Dialogue, Event, Learned, Out, Rules, Service, Side, Verdict, Wait};

use super::dovecot::{Age, Model, Ran};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Spliced,
    Closed,
    Broken(Reason),
}

/// A client, the gate, and a Dovecot of some age.
pub(super) struct Session {
    gate: Box<dyn Dialogue>,
    pub(super) model: Model,
    pub(super) out: Out,
    /// Arrived and not yet consumed: the client's, the backend's.
    input: [Vec<u8>; 2],
    held: [bool; 2],
    pub(super) to_client: Vec<u8>,
    pub(super) end: End,
}

impl Session {
    pub(super) fn new(age: Age) -> Self {
        let service = Service::by_name("imaps").expect("a service");
        let address = "203.0.113.5:40000".parse().expect("an address");
        let context = Context {
            hostname: "gate.example".into(),
            session: SessionId::new("s1"),
            service,
            peer: Peer { client: address, local: address, names: ClientNames::default() },
            tls: None,
            rules: Arc::new(Rules { max_errors: 1000, ..Rules::default() }),
            learned: Arc::new(Learned::default()),
        };
        let mut session = Self {
            gate: service.protocol.dialogue(&context, None),
            model: Model::new(age),
            out: Out::default(),
            input: [Vec::new(), Vec::new()],
            held: [false; 2],
            to_client: Vec::new(),
            end: End::Open,
        };
        session.backend_speaks();
        session
    }

    pub(super) fn client_says(&mut self, octets: &[u8]) {
        self.input[0].extend_from_slice(octets);
        self.pump();
    }

    /// What the backend has to say arrives. False if that is nothing.
    pub(super) fn backend_speaks(&mut self) -> bool {
        let said = std::mem::take(&mut self.model.to_gate);
        self.input[1].extend_from_slice(&said);
        self.pump();
        !said.is_empty()
    }

    /// The driver's part of the contract, in its shortest form.
    fn pump(&mut self) {
        let mut progress = true;
        while std::mem::take(&mut progress) {
            for side in [0, 1] {
                while self.end == End::Open && !self.held[side] {
                    let from = [Side::Client, Side::Backend][side];
                    let verdict = self.gate.receive(from, &self.input[side], &mut self.out);
                    self.to_client.extend_from_slice(&self.out.to_client.split());
                    let ours = self.out.to_backend.split();
                    self.model.hear(&ours);
                    let consumed = match verdict {
                        Ok(Verdict::More) => break,
                        Ok(Verdict::Hold) => {
                            self.held[side] = true;
                            break;
                        }
                        Ok(Verdict::Pass(octets)) => {
                            let passed = self.input[side][..octets].to_vec();
                            if side == 0 {
                                self.model.hear(&passed)
                            } else {
                                self.to_client.extend_from_slice(&passed)
                            }
                            octets
                        }
                        Ok(Verdict::Drop(octets)) => octets,
                        Ok(Verdict::Splice) => {
                            self.end = End::Spliced;
                            break;
                        }
                        Ok(Verdict::Close) => {
                            self.end = End::Closed;
                            break;
                        }
                        Ok(Verdict::CutBackend) => panic!("IMAP has no use for it"),
                        Err(violation) => {
                            self.to_client.extend_from_slice(&violation.reply);
                            self.end = End::Broken(violation.reason);
                            break;
                        }
                    };
                    self.input[side].drain(..consumed);
                    self.held[1 - side] = false;
                    progress = true;
                }
            }
        }
    }

    /// All that is on its way arrives; then both must have understood the same.
    pub(super) fn settle(&mut self, what: &dyn Fn() -> String) {
        while self.backend_speaks() {}
        assert!(!self.model.misled, "{}\n{:?}", what(), self.model.ran);
        if let End::Broken(reason) = self.end {
            assert_ne!(reason.outcome, Outcome::BackendError, "{}: {}", reason.phrase, what());
        }
        assert_eq!(self.end == End::Spliced, self.model.logged_in, "{}", what());
        if self.end == End::Open && !self.model.gone {
            assert_eq!(self.gate.waiting_for(), Wait::Login, "nobody owes a reply: {}", what());
        }
        let carried_out = self.out.events.iter().filter_map(|event| match event {
            Event::Command { name, ok: true } => Some(name.to_ascii_uppercase()),
            _ => None,
        });
        let ran = self.model.ran.iter().filter_map(|ran| match ran {
            Ran::Command(name, true) => Some(name.clone()),
            _ => None,
        });
        let cut_short = matches!(self.end, End::Broken(_) | End::Closed);
        let (carried_out, ran): (Vec<_>, Vec<_>) = (carried_out.collect(), ran.collect());
        // What was under way when the session ended has had no answer.
        assert!(
            ran.starts_with(&carried_out) && (cut_short || ran == carried_out),
            "{carried_out:?}, {ran:?}: {}",
            what()
        );
        let logged = self.out.events.iter().filter_map(|event| match event {
            Event::Auth { user, ok, .. } => Some((user.clone(), *ok)),
            _ => None,
        });
        let judged = self.model.ran.iter().filter_map(|ran| match ran {
            Ran::Login(user, ok) => Some((user, *ok)),
            Ran::Command(..) => None,
        });
        for ((logged, ok), (judged, right)) in logged.zip(judged) {
            assert_eq!(ok, right, "{}", what());
            let Some(judged) = judged else { continue };
            let shown: String = judged
                .iter()
                .map(|octet| if (b' '..=b'~').contains(octet) { char::from(*octet) } else { '?' })
                .collect();
            assert_eq!(logged.unwrap_or_default(), shown, "the log has the name that was judged: {}", what());
        }
    }
}

//! Plays the talk before TLS, as `sealgate::cleartext` does, without a socket.

use bytes::BytesMut;
use sealgate::protocol::{Event, INPUT_LIMIT, Next, Preamble, Side};

use crate::script::{Cuts, Script, Sent, Step};

/// Where it led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Led {
    /// Nowhere yet.
    On,
    /// To TLS.
    StartTls,
    /// On in cleartext, with this hello.
    StayPlain(Option<Vec<u8>>),
    /// To its end.
    Close,
    /// To its end, for this.
    Violated(&'static str),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// Everything the client sent.
    pub said: Vec<u8>,
    /// How much of it is done with.
    pub consumed: usize,
    /// Everything it was told behind the greeting.
    pub told: Vec<u8>,
    /// For the log.
    pub events: Vec<Event>,
    /// Where it led.
    pub led: Led,
}

/// Plays what the client says in `script`, whole and in pieces, which must come to the same.
pub fn play(script: &Script, preamble: impl Fn() -> Box<dyn Preamble>, bound: usize) -> Talk {
    let sent: Vec<&Sent> = script
        .steps
        .iter()
        .filter_map(|step| if let Step::Sends(Side::Client, sent) = step { Some(sent) } else { None })
        .collect();
    let run = |cuts| run(&sent, cuts, preamble(), bound);
    let whole = run(Cuts::None);
    for cuts in script.cuts() {
        let cut = run(cuts);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert_eq!(text(&cut.told), text(&whole.told), "cut by {cuts:?}");
        // How much of a line without end was thrown away before that showed is nobody's business.
        let same = cut.consumed == whole.consumed || matches!(whole.led, Led::Violated(_));
        assert!(same, "{} consumed and not {}, cut by {cuts:?}", cut.consumed, whole.consumed);
        assert_eq!((cut.events, cut.led), (whole.events.clone(), whole.led.clone()), "cut by {cuts:?}");
    }
    whole
}

fn run(sent: &[&Sent], cuts: Cuts, mut preamble: Box<dyn Preamble>, bound: usize) -> Talk {
    let mut told = BytesMut::new();
    preamble.greet(&mut told);
    let greeting = told.len();
    assert!(told.ends_with(b"\r\n") && told.iter().filter(|octet| **octet == b'\n').count() == 1, "{told:?}");
    let mut talk = Talk { said: Vec::new(), consumed: 0, told: Vec::new(), events: Vec::new(), led: Led::On };
    for octets in sent.iter().flat_map(|sent| sent.reads(cuts)) {
        if talk.led != Led::On {
            break;
        }
        talk.said.extend_from_slice(octets);
        while talk.led == Led::On {
            let rest = &talk.said[talk.consumed..];
            match preamble.receive(rest, &mut told, &mut talk.events) {
                Err(violation) => {
                    told.extend_from_slice(&violation.reply);
                    talk.led = Led::Violated(violation.reason.phrase);
                }
                Ok(heard) => {
                    assert!(heard.consumed <= rest.len(), "{} octets of {}", heard.consumed, rest.len());
                    talk.consumed += heard.consumed;
                    talk.led = match heard.next {
                        Next::More if heard.consumed > 0 => Led::On,
                        Next::More => break,
                        Next::StartTls => Led::StartTls,
                        Next::StayPlain(opening) => Led::StayPlain(opening.hello.map(|line| line.to_vec())),
                        Next::Close => Led::Close,
                    };
                }
            }
        }
        let waiting = talk.said.len() - talk.consumed;
        assert!(talk.led != Led::On || waiting < bound.min(INPUT_LIMIT), "{waiting} octets wait for more");
    }
    talk.told = told[greeting..].to_vec();
    talk
}

//! What an input means: who sends what, in which order, and where a read cuts it.
//!
//! An input is a first octet of settings and then a conversation. Octets from 0xF8 on are not part of any UTF-8 text and mean
//! the same as 0xF7 to every parser, so they can direct the play:
//!
//! | octet | meaning |
//! |---|---|
//! | [`CLIENT`], [`BACKEND`] | what follows is sent by this side |
//! | [`ENDED`] and one octet more | something other than octets happens |
//! | [`CUT`] | a read ends here, in those runs that are cut |
//! | [`REPEAT`], an exponent, an octet | the octet, so many powers of two times: long lines from short inputs |
//! | `#`, sent by a backend | a number that no other `#` gets, so that replies can be told apart |

use sealgate::protocol::{Ended, Side, Wait};

/// The client sends.
pub const CLIENT: u8 = 0xf8;
/// The backend sends.
pub const BACKEND: u8 = 0xf9;
/// An event: its octet modulo 6 is a clean end of the client, a torn one, the backend's end, a deadline, a drain, a message that
/// comes in too slowly.
pub const ENDED: u8 = 0xfa;
/// A read ends here.
pub const CUT: u8 = 0xfb;
/// The next octet's low bits are an exponent, and the one behind it is repeated.
pub const REPEAT: u8 = 0xfc;

/// Longer conversations find nothing more and take longer.
const LARGEST: usize = 160 * 1024;

/// The largest power of two for [`REPEAT`]: one more than the longest line that is thrown away.
const EXPONENTS: u8 = 18;

/// How a conversation is cut into reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cuts {
    /// Not at all.
    None,
    /// Where the input says.
    Marked,
    /// Everywhere.
    EveryOctet,
    /// By chance, from this seed.
    Random(u64),
}

/// Octets, and where they are cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// What is sent.
    pub octets: Vec<u8>,
    /// Where [`CUT`] stood in it.
    pub marks: Vec<usize>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A side sends.
    Sends(Side, Sent),
    /// Something else; a deadline is that of whatever is waited for.
    Happens(Ended),
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Script {
    /// The first octet: what the target makes of it.
    pub settings: u8,
    /// What happens.
    pub steps: Vec<Step>,
    /// For [`Cuts::Random`].
    pub seed: u64,
}

impl Script {
    /// Reads an input; every input is a script.
    pub fn read(input: &[u8]) -> Self {
        let (settings, rest) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
        let mut steps: Vec<Step> = Vec::new();
        let (mut total, mut serial) = (0, 0);
        let mut octets = rest.iter().copied();
        while let Some(octet) = octets.next() {
            match octet {
                CLIENT => steps.push(Step::Sends(Side::Client, Sent::default())),
                BACKEND => steps.push(Step::Sends(Side::Backend, Sent::default())),
                ENDED => steps.push(Step::Happens(ended(octets.next().unwrap_or_default()))),
                _ => {
                    if !matches!(steps.last(), Some(Step::Sends(..))) {
                        steps.push(Step::Sends(Side::Client, Sent::default()));
                    }
                    let Some(Step::Sends(side, sent)) = steps.last_mut() else { continue };
                    let before = sent.octets.len();
                    match (octet, *side) {
                        (CUT, _) => sent.marks.push(before),
                        (REPEAT, _) => {
                            let times = 1_usize << (octets.next().unwrap_or_default() % EXPONENTS);
                            let octet = octets.next().unwrap_or_default();
                            sent.octets.resize(before + times.min(LARGEST - total), octet);
                        }
                        (b'#', Side::Backend) => {
                            serial += 1;
                            sent.octets.extend_from_slice(format!("{serial}").as_bytes());
                        }
                        _ => sent.octets.push(octet),
                    }
                    total += sent.octets.len() - before;
                    if total >= LARGEST {
                        break;
                    }
                }
            }
        }
        Self { settings, steps, seed: seed(input) }
    }

    /// The ways to cut this one that are worth a run.
    pub fn cuts(&self) -> Vec<Cuts> {
        let sent =
            || self.steps.iter().filter_map(|step| if let Step::Sends(_, sent) = step { Some(sent) } else { None });
        let mut cuts = vec![Cuts::Random(self.seed)];
        if sent().any(|sent| !sent.marks.is_empty()) {
            cuts.push(Cuts::Marked);
        }
        if sent().map(|sent| sent.octets.len()).sum::<usize>() <= 512 {
            cuts.push(Cuts::EveryOctet);
        }
        cuts
    }
}

impl Sent {
    /// The reads that it comes in; none of them is empty.
    pub fn reads(&self, cuts: Cuts) -> Vec<&[u8]> {
        let mut places: Vec<usize> = match cuts {
            Cuts::None => Vec::new(),
            Cuts::Marked => self.marks.clone(),
            Cuts::EveryOctet => (0..self.octets.len()).collect(),
            Cuts::Random(mut state) => {
                // Some fifty reads for long ones; small ones and single octets for the others.
                let most = (self.octets.len() / 32).max(24) as u64;
                let mut places = vec![0];
                while places.last().is_some_and(|last| *last < self.octets.len()) {
                    state = next(state);
                    let step = if state & 1 == 0 { 1 } else { 1 + (state >> 8) % most };
                    places.push(places.last().copied().unwrap_or_default() + usize::try_from(step).unwrap_or(1));
                }
                places
            }
        };
        places.push(self.octets.len());
        let mut from = 0;
        let mut reads = Vec::new();
        for place in places {
            if place > from && place <= self.octets.len() {
                reads.push(&self.octets[from..place]);
                from = place;
            }
        }
        reads
    }

    /// The same, each line by itself.
    pub fn lines(&self) -> Vec<Self> {
        let mut lines = Vec::new();
        let mut from = 0;
        for line in self.octets.split_inclusive(|octet| *octet == b'\n') {
            let to = from + line.len();
            let marks = self.marks.iter().filter(|mark| (from..to).contains(*mark)).map(|mark| mark - from).collect();
            lines.push(Self { octets: line.to_vec(), marks });
            from = to;
        }
        lines
    }
}

fn ended(octet: u8) -> Ended {
    match octet % 6 {
        0 => Ended::ClientEof { clean: true },
        1 => Ended::ClientEof { clean: false },
        2 => Ended::BackendEof,
        3 => Ended::Deadline(Wait::Command),
        4 => Ended::Drain,
        _ => Ended::TooSlow,
    }
}

/// FNV-1a: the same cuts for the same input, whoever runs it.
pub fn seed(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64.
pub fn next(state: u64) -> u64 {
    let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

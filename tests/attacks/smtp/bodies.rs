//! Smuggling: every look-alike of an end of data, by DATA and by BDAT, in both modes, cut everywhere.

use std::sync::atomic::{AtomicU64, Ordering};

use sealgate::protocol::BareNewline;

use super::lenient::{READERS, STRICT};
use super::lookalikes::{self, Chance, NAMED, content};
use super::talk::{Talk, WAYS, Way};

/// The second message, and what would carry it.
const SECOND: &str = "MAIL FROM:<e@f>\r\nRCPT TO:<c@d>\r\nDATA\r\nsmuggled\r\n.\r\n";

/// The look-alikes with a second message behind them: at the very beginning of content, and behind text. A sample and those
/// that are known by name, unless everything is asked for.
fn streams() -> Vec<Vec<u8>> {
    let all = if lookalikes::everything() {
        lookalikes::all(6)
    } else {
        let named = NAMED.iter().map(|end| end.as_bytes().to_vec());
        named.chain(Chance(1).sample(lookalikes::all(6), 500)).collect()
    };
    let behind = |text: &'static str| move |end: &Vec<u8>| [text.as_bytes(), end, SECOND.as_bytes()].concat();
    all.iter().map(behind("")).chain(all.iter().map(behind("text"))).collect()
}

/// Runs all of it on a few threads and says how much it was.
fn each(what: &str, streams: &[Vec<u8>], run: impl Fn(&[u8], &mut Chance) -> u64 + Sync) {
    let runs = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (n, part) in streams.chunks(streams.len().div_ceil(2)).enumerate() {
            let (run, runs) = (&run, &runs);
            scope.spawn(move || {
                let mut chance = Chance(0x5ea1_6a7e + n as u64);
                runs.fetch_add(part.iter().map(|stream| run(stream, &mut chance)).sum(), Ordering::Relaxed);
            });
        }
    });
    let runs = runs.into_inner();
    assert!(runs > streams.len() as u64, "each is run whole and cut");
    println!("{what}: {} streams, {runs} runs", streams.len());
}

/// Each place that a stream can be cut at, once, and a few pairs of places.
fn cuts(len: usize, chance: &mut Chance) -> Vec<Vec<usize>> {
    let mut pairs: Vec<Vec<usize>> =
        (0..4).map(|_| vec![1 + chance.below(len - 1), 1 + chance.below(len - 1)]).collect();
    pairs.iter_mut().for_each(|pair| pair.sort_unstable());
    (1..len).map(|cut| vec![cut]).chain(pairs).collect()
}

fn envelope(talk: &mut Talk) {
    talk.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
}

/// What must come of a stream behind a 354, found without the gate: the messages, and whether all is content.
fn expected(stream: &[u8]) -> (Vec<u8>, bool, bool) {
    let first = content(stream).expect("an end stands at the stream's end");
    let all = first.len == stream.len();
    (first.body, first.mended, all)
}

#[test]
fn by_data_no_reader_sees_more_than_was_acknowledged() {
    let streams = streams();
    for (n, way) in WAYS.into_iter().enumerate() {
        // The dialogue is the same on every way but for its opening.
        let streams: Vec<Vec<u8>> = if n == 0 { streams.clone() } else { Chance(2).sample(streams.clone(), 100) };
        each(&format!("DATA, normalize, {way:?}"), &streams, |stream, chance| {
            let (body, _, all) = expected(stream);
            let mut whole = Talk::new(way, BareNewline::Normalize, &READERS);
            envelope(&mut whole);
            whole.say("DATA\r\n");
            whole.forget();
            whole.say(stream);
            let shown = String::from_utf8_lossy(stream);
            whole.assert_all_agree(&shown);
            assert_eq!(whole.acknowledged(), whole.servers[0].messages.len(), "{shown:?}");
            assert_eq!(whole.bodies().next(), Some(body.as_slice()), "{shown:?}");
            assert!(!all || whole.acknowledged() == 1, "{shown:?}");
            assert!(!all || whole.to_client == b"250 2.0.0 queued\r\n", "{shown:?}");
            // Any cut is the same, to the octet.
            let cuts = cuts(stream.len(), chance);
            let mut talk = Talk::new(way, BareNewline::Normalize, &[STRICT]);
            for cut in &cuts {
                if talk.over || !all {
                    talk = Talk::new(way, BareNewline::Normalize, &[STRICT]);
                }
                envelope(&mut talk);
                talk.say("DATA\r\n");
                talk.forget();
                talk.say_cut(stream, cut);
                assert_eq!(talk.to_client, whole.to_client, "{shown:?} cut at {cut:?}");
                assert_eq!(talk.comparable(), whole.comparable(), "{shown:?} cut at {cut:?}");
            }
            1 + cuts.len() as u64
        });
    }
}

#[test]
fn by_data_a_gate_that_rejects_delivers_nothing_that_was_mended() {
    let streams: Vec<Vec<u8>> = streams().into_iter().filter(|stream| expected(stream).1).collect();
    let refusal = "550 5.5.2 Error: bare CR or LF";
    for (n, way) in WAYS.into_iter().enumerate() {
        let streams: Vec<Vec<u8>> = if n == 0 { streams.clone() } else { Chance(3).sample(streams.clone(), 100) };
        each(&format!("DATA, reject, {way:?}"), &streams, |stream, chance| {
            let all: Vec<Vec<usize>> = cuts(stream.len(), chance);
            // A session a run: of the cuts, those about the look-alike.
            let near = if lookalikes::everything() { stream.len() } else { 16 };
            let cuts: Vec<Vec<usize>> =
                std::iter::once(Vec::new()).chain(all.into_iter().filter(|cut| cut[0] < near)).collect();
            for cut in &cuts {
                let mut talk = Talk::new(way, BareNewline::Reject, if cut.is_empty() { &READERS } else { &[STRICT] });
                envelope(&mut talk);
                talk.say("DATA\r\n");
                talk.forget();
                talk.say_cut(stream, cut);
                let shown = String::from_utf8_lossy(stream);
                let said = String::from_utf8_lossy(&talk.to_client);
                assert!(said.starts_with(refusal) && said.lines().count() == 2, "{shown:?} cut at {cut:?}: {said}");
                assert!(talk.cut && talk.over, "{shown:?} cut at {cut:?}");
                // Neither this message nor the one behind it.
                for server in &talk.servers {
                    let name = server.reader.name;
                    assert!(server.messages.is_empty(), "{name}, {shown:?} cut at {cut:?}");
                    assert!(server.commands.is_empty(), "{name}, {shown:?} cut at {cut:?}: {:?}", server.commands);
                }
            }
            cuts.len() as u64
        });
    }
}

#[test]
fn by_data_a_gate_that_rejects_passes_what_needs_no_mending() {
    let streams: Vec<Vec<u8>> = streams().into_iter().filter(|stream| !expected(stream).1).collect();
    assert!(streams.len() > 10);
    each("DATA, reject, proper", &streams, |stream, chance| {
        let whole = |cut: &[usize]| {
            let mut talk = Talk::new(Way::StartTls, BareNewline::Reject, &READERS);
            envelope(&mut talk);
            talk.say("DATA\r\n");
            talk.forget();
            talk.say_cut(stream, cut);
            talk
        };
        let (talk, shown) = (whole(&[]), String::from_utf8_lossy(stream));
        talk.assert_all_agree(&shown);
        assert_eq!(talk.bodies().next(), Some(expected(stream).0.as_slice()), "{shown:?}");
        let cuts = cuts(stream.len(), chance);
        for cut in &cuts {
            assert_eq!(whole(cut).comparable(), talk.comparable(), "{shown:?} cut at {cut:?}");
        }
        1 + cuts.len() as u64
    });
}

#[test]
fn by_bdat_every_octet_arrives_as_it_is() {
    let mut streams = streams();
    if !lookalikes::everything() {
        streams = Chance(4).sample(streams, 250);
    }
    for mode in [BareNewline::Normalize, BareNewline::Reject] {
        for way in WAYS {
            let streams: Vec<Vec<u8>> = match way {
                Way::StartTls => streams.clone(),
                _ => Chance(5).sample(streams.clone(), 25),
            };
            each(&format!("BDAT, {mode:?}, {way:?}"), &streams, |stream, chance| {
                let shown = String::from_utf8_lossy(stream);
                let last = |octets: &[u8]| [format!("BDAT {} LAST\r\n", octets.len()).as_bytes(), octets].concat();
                let more = |octets: &[u8]| [format!("BDAT {}\r\n", octets.len()).as_bytes(), octets].concat();
                let check = |talk: &Talk, cut: &dyn std::fmt::Debug| {
                    assert_eq!(talk.bodies().collect::<Vec<_>>(), [stream], "{shown:?}, {cut:?}");
                    assert_eq!(talk.acknowledged(), 1, "{shown:?}, {cut:?}");
                    assert!(!talk.over && talk.servers[0].is_at_rest(), "{shown:?}, {cut:?}");
                };
                let mut readers = Talk::new(way, mode, &READERS);
                envelope(&mut readers);
                readers.say(last(stream));
                check(&readers, &"whole");
                readers.assert_all_agree(&shown);
                let mut talk = Talk::new(way, mode, &[STRICT]);
                // One chunk, cut in its command, its octets, and both.
                let command = last(stream);
                let cuts = cuts(command.len(), chance);
                for cut in &cuts {
                    talk.forget();
                    envelope(&mut talk);
                    talk.say_cut(&command, cut);
                    check(&talk, cut);
                }
                // Two chunks, parted at every octet.
                for place in 0..=stream.len() {
                    let (first, second) = stream.split_at(place);
                    talk.forget();
                    envelope(&mut talk);
                    talk.say([more(first), last(second)].concat());
                    check(&talk, &place);
                }
                // A chunk for each octet.
                talk.forget();
                envelope(&mut talk);
                talk.say(stream.chunks(1).flat_map(more).chain(last(b"")).collect::<Vec<u8>>());
                check(&talk, &"octet by octet");
                3 + stream.len() as u64 + cuts.len() as u64
            });
        }
    }
}

#[test]
fn a_client_that_stops_at_any_octet_has_delivered_what_was_whole() {
    let mut streams: Vec<Vec<u8>> = NAMED.iter().map(|end| ["text", end, SECOND].concat().into_bytes()).collect();
    if lookalikes::everything() {
        streams = Chance(6).sample(self::streams(), 2_000);
    }
    // Whether the backend has answered by the time that the client is gone; and how it goes.
    let ends = [(true, true), (true, false), (false, true), (false, false)];
    for mode in [BareNewline::Normalize, BareNewline::Reject] {
        each(&format!("DATA, {mode:?}, stopped"), &streams, |stream, _| {
            let shown = String::from_utf8_lossy(stream);
            for (stop, (answered, clean)) in (0..=stream.len()).flat_map(|stop| ends.map(|end| (stop, end))) {
                let mut talk = Talk::new(Way::StartTls, mode, &READERS);
                envelope(&mut talk);
                talk.say("DATA\r\n");
                talk.forget();
                let sent = stream.split_at(stop).0;
                talk.send(sent);
                if answered {
                    talk.pump();
                }
                talk.end(clean);
                // Of the first message: whole is what its end stands behind.
                let whole = content(sent).is_some_and(|first| mode == BareNewline::Normalize || !first.mended);
                for server in &talk.servers {
                    let (name, count) = (server.reader.name, server.messages.len());
                    assert_eq!(count > 0, whole, "{name}, {shown:?} to {stop}, {answered} {clean}");
                }
                talk.assert_all_agree(&shown);
                // A verdict may find nobody; it is never there without a message.
                let taken = talk.servers[0].messages.len();
                assert!(talk.acknowledged() <= taken, "{shown:?} to {stop}");
                assert!(
                    !(answered || clean) || talk.acknowledged() == taken,
                    "{shown:?} to {stop}, {answered} {clean}"
                );
            }
            4 * (1 + stream.len() as u64)
        });
        each(&format!("BDAT, {mode:?}, stopped"), &streams, |stream, _| {
            let shown = String::from_utf8_lossy(stream);
            let head = format!("BDAT 3\r\n{}BDAT {} LAST\r\n", "one", stream.len());
            let whole = [head.as_bytes(), stream].concat();
            for (stop, (answered, clean)) in (0..=whole.len()).flat_map(|stop| ends.map(|end| (stop, end))) {
                let mut talk = Talk::new(Way::StartTls, mode, &READERS);
                envelope(&mut talk);
                talk.forget();
                talk.send(whole.split_at(stop).0);
                if answered {
                    talk.pump();
                }
                talk.end(clean);
                let taken = talk.servers[0].messages.len();
                assert!(taken == 0 || stop == whole.len(), "{shown:?} to {stop}, {answered} {clean}");
                assert!(!answered || taken == usize::from(stop == whole.len()), "{shown:?} to {stop}, {clean}");
                talk.assert_all_agree(&shown);
                assert!(talk.acknowledged() <= taken, "{shown:?} to {stop}");
                assert!(
                    !(answered || clean) || talk.acknowledged() == taken,
                    "{shown:?} to {stop}, {answered} {clean}"
                );
            }
            4 * (1 + whole.len() as u64)
        });
    }
}

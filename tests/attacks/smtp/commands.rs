//! Command lines: what a lenient server would take for two reaches it as none, what speaks of who the client is never does,
//! and a chunk has the size that everybody reads.

use bytes::BytesMut;
use sealgate::protocol::{BareNewline, Next};

use super::lenient::{READERS, STRICT};
use super::lookalikes::everything;
use super::talk::{Talk, WAYS, Way, context};

/// All strings of CR, LF and NUL up to that length.
fn newlines(longest: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut shorter = all.clone();
    for _ in 0..longest {
        shorter =
            shorter.iter().flat_map(|begin| b"\r\n\0".iter().map(|octet| [begin, &[*octet][..]].concat())).collect();
        all.extend(shorter.iter().cloned());
    }
    all.split_off(1)
}

/// Whether a line begins like no command: like some other protocol, which ends the session.
fn is_binary(line: &[u8]) -> bool {
    line.first().is_some_and(|octet| !octet.is_ascii() || octet.is_ascii_control() && !b"\r\n\t".contains(octet))
}

/// What ends in LF, up to what ends the session.
fn lines(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    stream.split_inclusive(|octet| *octet == b'\n').take_while(|line| !is_binary(line))
}

/// The lines of a stream that end in CRLF, hold no other CR or LF and no NUL, and are not empty.
fn proper_lines(stream: &[u8]) -> Vec<Vec<u8>> {
    let texts = lines(stream).filter_map(|line| line.strip_suffix(b"\r\n"));
    let proper = |text: &&[u8]| !text.is_empty() && !text.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0));
    texts.filter(proper).map(<[u8]>::to_vec).collect()
}

#[test]
fn what_a_lenient_server_takes_for_two_lines_reaches_it_as_none() {
    let pairs = [
        ("MAIL FROM:<a@b>", "RCPT TO:<c@d>"),
        ("MAIL FROM:<a@b> SIZE=1", "RSET"),
        ("RCPT TO:<c@d>", "VRFY c"),
        ("NOOP", "HELP"),
        ("EHLO x", "NOOP"),
        ("VRFY x", "AUTH PLAIN AGEAYg=="),
    ];
    let newlines = newlines(if everything() { 6 } else { 4 });
    assert!(newlines.len() >= 120);
    let mut runs = 0;
    for (first, second) in pairs {
        for newline in &newlines {
            let stream = [first.as_bytes(), newline, second.as_bytes(), b"\r\nNOOP end\r\n"].concat();
            let shown = String::from_utf8_lossy(&stream);
            // Where AUTH is hidden it goes nowhere.
            let expected: Vec<_> =
                proper_lines(&stream).into_iter().filter(|line| !line.starts_with(b"AUTH")).collect();
            let mut whole: Option<Talk> = None;
            for cut in 0..stream.len() {
                let mut talk =
                    Talk::new(Way::StartTls, BareNewline::Normalize, if cut == 0 { &READERS } else { &[STRICT] });
                talk.say_cut(&stream, if cut == 0 { &[] } else { std::slice::from_ref(&cut) });
                runs += 1;
                match &whole {
                    None => {
                        talk.assert_all_agree(&shown);
                        assert_eq!(talk.servers[0].commands, expected, "{shown:?}");
                        // Each line has its answer, whoever gives it, and so has what ends the session.
                        let all = stream.iter().filter(|octet| **octet == b'\n').count();
                        let lines = (lines(&stream).count() + 1).min(all);
                        let answers = String::from_utf8_lossy(&talk.to_client);
                        let finals = answers.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).count();
                        assert_eq!(finals, lines, "{shown:?}: {answers}");
                        whole = Some(talk);
                    }
                    Some(whole) => {
                        assert_eq!(talk.to_backend, whole.to_backend, "{shown:?} cut at {cut}");
                        assert_eq!(talk.to_client, whole.to_client, "{shown:?} cut at {cut}");
                    }
                }
            }
        }
    }
    println!("commands: {} streams, {runs} runs", pairs.len() * newlines.len());
}

#[test]
fn what_a_lenient_server_takes_for_two_responses_cancels_the_login() {
    for newline in newlines(4) {
        for around in [["YWxpY2U=", "MAIL FROM:<a@b>"], ["*", "QUIT"], ["", "RSET"], ["YWxpY2U=", ""]] {
            let stream = [around[0].as_bytes(), &newline, around[1].as_bytes(), b"\r\n"].concat();
            let shown = String::from_utf8_lossy(&stream);
            let mut talk = Talk::new(Way::Implicit, BareNewline::Normalize, &READERS);
            talk.say("AUTH LOGIN\r\n");
            talk.forget();
            talk.say(&stream);
            talk.assert_all_agree(&shown);
            // The first line is the response: whole, or a cancel instead of it.
            let first = stream.split_inclusive(|octet| *octet == b'\n').next().expect("a line");
            let proper =
                first.strip_suffix(b"\r\n").filter(|line| !line.iter().any(|octet| matches!(octet, b'\r' | 0)));
            assert_eq!(talk.servers[0].commands.first().map(Vec::as_slice), Some(proper.unwrap_or(b"*")), "{shown:?}");
        }
    }
}

#[test]
fn a_hello_that_is_said_again_is_one_line() {
    // What begins with a NUL is no line.
    for newline in newlines(4).into_iter().filter(|newline| !newline.windows(2).any(|pair| pair == b"\n\0")) {
        let line = [b"EHLO a", newline.as_slice(), b"XCLIENT ADDR=192.0.2.66\r\n"].concat();
        let stream = [b"EHLO good\r\n", line.as_slice(), b"MAIL FROM:<a@b>\r\n"].concat();
        // The backend hears the last one that was a line.
        let expected: &[u8] = if newline.starts_with(b"\r\n") { b"EHLO a" } else { b"EHLO good" };
        let shown = String::from_utf8_lossy(&stream);
        for cut in 1..=stream.len() {
            let context = context(Way::Cleartext, BareNewline::Normalize);
            let mut preamble = context.service.protocol.preamble(&context);
            let (mut said, mut events, mut at) = (BytesMut::new(), Vec::new(), 0);
            let opening = [cut, stream.len()].into_iter().find_map(|end| {
                loop {
                    let input = stream.get(at..end).expect("rising places");
                    let heard = preamble.receive(input, &mut said, &mut events).expect("few errors");
                    at += heard.consumed;
                    match heard.next {
                        Next::StayPlain(opening) => return Some(opening),
                        _ if heard.consumed == 0 => return None,
                        _ => {}
                    }
                }
            });
            let hello = opening.expect("MAIL is for the backend").hello;
            assert_eq!(hello.as_deref(), Some(expected), "{shown:?} cut at {cut}");
            assert_eq!(stream.get(at..), Some(b"MAIL FROM:<a@b>\r\n".as_slice()), "{shown:?} cut at {cut}");
        }
    }
}

/// Every way to write a word in upper and lower case.
fn cases(word: &str) -> impl Iterator<Item = String> {
    (0..1_u32 << word.len()).map(move |bits| {
        let case = |(n, letter): (usize, char)| if bits >> n & 1 == 1 { letter.to_ascii_lowercase() } else { letter };
        word.chars().enumerate().map(case).collect()
    })
}

#[test]
fn a_client_cannot_say_who_it_is_however_it_is_written() {
    let long = " ".repeat(1500);
    let claims =
        [("XCLIENT", "ADDR=192.0.2.66"), ("XFORWARD", "ADDR=192.0.2.66"), ("PROXY", "TCP4 192.0.2.66 127.0.0.1 1 25")];
    let before: [&[u8]; 14] = [
        b"",
        b" ",
        b"\t",
        b"  \t",
        b"\0",
        b"\x0b",
        b"\x0c",
        b"\x7f",
        b"\xef\xbb\xbf",
        b"\xa0",
        b"\"",
        b"<",
        b":",
        b"\\",
    ];
    let behind: [&[u8]; 14] = [
        b" ",
        b"\t",
        long.as_bytes(),
        b":",
        b"=",
        b"\0",
        b"\x0b",
        b"\x0c ",
        b"\xa0",
        b"\"",
        b"<",
        b"[",
        b"\r ",
        b"\\ ",
    ];
    // Pipelined behind others, among them such as make the gate wait.
    let ahead = ["", "NOOP\r\n", "MAIL FROM:<a@b>\r\n", "RSET\r\nRSET\r\n", "EHLO x\r\n", "VRFY x\r\nHELO x\r\n"];
    let mut tried = 0;
    for (word, argument) in claims {
        let words: Vec<String> = cases(word).collect();
        let plain = words.iter().map(|word| [word.as_bytes(), b" "].concat());
        let dressed = before.iter().flat_map(|before| behind.map(|behind| [before, word.as_bytes(), behind].concat()));
        for (n, line) in plain.chain(dressed).enumerate() {
            for (m, way) in WAYS.into_iter().enumerate() {
                let ahead = ahead[(n + m) % ahead.len()];
                let mut talk = Talk::new(way, BareNewline::Normalize, &READERS);
                let stream = [ahead.as_bytes(), &line, argument.as_bytes(), b"\r\nNOOP last\r\n"].concat();
                talk.say(&stream);
                tried += 1;
                let shown = String::from_utf8_lossy(&stream);
                talk.assert_all_agree(&shown);
                let heard = talk.to_backend.to_ascii_uppercase();
                assert!(memchr::memmem::find(&heard, word.as_bytes()).is_none(), "{way:?}, {shown:?}");
                assert_eq!(
                    heard.ends_with(b"NOOP LAST\r\n"),
                    !is_binary(&line),
                    "{way:?}, {shown:?}: the session goes on"
                );
            }
        }
    }
    println!("identity: {tried} sessions");
}

#[test]
fn rfc3030_2_a_chunk_has_the_size_that_everybody_reads() {
    const ROOM: u64 = 1 << 31;
    let smuggled = "MAIL FROM:<e@f>\r\nRCPT TO:<c@d>\r\nDATA\r\nsmuggled\r\n.\r\n";
    // What the backend is told to expect of the client's octets; none where nobody can tell.
    let sizes: [(&str, Option<u64>); 46] = [
        ("0", Some(0)),
        ("00", Some(0)),
        ("5", Some(5)),
        ("  5", Some(5)),
        ("\t5 ", Some(5)),
        ("0000000000000000000000000000005", Some(5)),
        ("5 LAST", Some(5)),
        ("5 last", Some(5)),
        ("5  LaSt\t", Some(5)),
        ("0 LAST", Some(0)),
        ("1000000", Some(1_000_000)),
        ("2000000000", Some(2_000_000_000)),
        // Beyond what every server can count in.
        ("2147483647", None),
        ("2147483648", None),
        ("2147483653", None),
        ("4294967295", None),
        ("4294967296", None),
        ("4294967301 LAST", None),
        ("9223372036854775807", None),
        ("9223372036854775808", None),
        ("18446744073709551615", None),
        ("18446744073709551616", None),
        ("18446744073709551617", None),
        ("18446744073709551621 LAST", None),
        ("340282366920938463463374607431768211461", None),
        // No number, or not only one.
        ("", None),
        ("LAST", None),
        ("LAST 5", None),
        ("-0", None),
        ("-1", None),
        ("+5", None),
        ("0x5", None),
        ("5h", None),
        ("5.0", None),
        ("5,0", None),
        ("5e3", None),
        ("5;", None),
        ("5 5", None),
        ("5LAST", None),
        ("5 LASTS", None),
        ("5 FIRST", None),
        ("5 LAST LAST", None),
        ("\"5\"", None),
        ("<5>", None),
        ("\u{665}", None),
        ("\u{ff15}", None),
    ];
    for (size, expected) in sizes {
        let stream = format!("BDAT {size}\r\n{smuggled}");
        for cut in 1..=stream.len() {
            let mut talk = Talk::new(Way::StartTls, BareNewline::Normalize, &READERS);
            talk.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
            talk.forget();
            talk.say_cut(stream.as_bytes(), &[cut.min(stream.len() - 1)]);
            talk.assert_all_agree(&stream);
            let heard = &talk.servers[0].commands;
            match expected {
                None => {
                    assert!(heard.is_empty() && talk.to_backend.is_empty(), "{stream:?} cut at {cut}: {heard:?}");
                    assert!(talk.to_client.starts_with(b"501 5.5.4 ") && talk.over, "{stream:?} cut at {cut}");
                }
                Some(octets) => {
                    let command = String::from_utf8_lossy(heard.first().expect("BDAT")).into_owned();
                    let sent = command.split(' ').nth(1).and_then(|size| size.parse::<u64>().ok()).expect("a size");
                    assert!((octets..octets + 2_000).contains(&sent) && sent < ROOM, "{stream:?} became {command}");
                    // Its octets are octets; what is behind them are commands, as the client means them to be.
                    let behind = smuggled.get(usize::try_from(octets).expect("a size")..).unwrap_or_default();
                    let first = behind.split("\r\n").next().unwrap_or_default();
                    assert_eq!(heard.iter().any(|line| line == b"MAIL FROM:<e@f>"), octets == 0, "{stream:?}");
                    assert_eq!(heard.get(1).is_some(), !first.is_empty(), "{stream:?}: {heard:?}");
                }
            }
        }
    }
}

#[test]
fn a_server_that_cuts_lines_finds_no_command_in_the_rest() {
    let known =
        ["MAIL", "RCPT", "DATA", "RSET", "QUIT", "NOOP", "VRFY", "HELP", "EHLO", "HELO", "BDAT", "STARTTLS", "XCLIENT"];
    let mut tried = 0;
    for lead in ["NOOP ", "AUTH PLAIN ", "AUTH LOGIN "] {
        for limit in [2048, 4096, 6144] {
            for (place, smuggled) in (limit - 3..limit + 4).flat_map(|place| {
                known.into_iter().map(move |word| (place, word)).chain([
                    (place, "MAIL FROM:<a@b>"),
                    (place, "dAtA"),
                    (place, "A\tB"),
                ])
            }) {
                let line = format!("{lead}{}{smuggled}\r\n", "A".repeat(place - lead.len()));
                let mut talk = Talk::new(Way::Implicit, BareNewline::Normalize, &READERS);
                talk.say(&line);
                tried += 1;
                let strict = &talk.servers[0].commands;
                for server in &talk.servers {
                    for command in server.commands.iter().filter(|command| !strict.contains(command)) {
                        let text = String::from_utf8_lossy(command).to_ascii_uppercase();
                        let verb = text.split_ascii_whitespace().next().unwrap_or_default();
                        let begins = lead.split(' ').next().expect("a verb");
                        assert!(
                            verb == begins || !known.contains(&verb),
                            "{}: {smuggled} at {place}: {verb}",
                            server.reader.name
                        );
                    }
                }
            }
        }
    }
    println!("long lines: {tried} sessions");
}

//! Where commands end: a model of what Dovecot before login makes of its input, and clients that no specification foresees.
//!
//! The model is written from the behaviour of Dovecot 1.0 to 2.3, byte by byte, and shares nothing with the gate. Between it and
//! a client the gate's dialogue runs in memory, its input cut anywhere, the backend's answers early or late. Whatever the client
//! says, the two must never disagree about where a command, a literal or an exchange ends: the backend would then run octets
//! that the gate has never judged, or wait for some that never come.

#[path = "imap_model/dovecot.rs"]
mod dovecot;
#[path = "imap_model/session.rs"]
mod session;
#[path = "imap_model/streams.rs"]
mod streams;

use dovecot::{AGES, Age};
use session::{End, Session};

pub use streams::{Dice, stream};

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

#[test]
fn gate_and_dovecot_agree_on_where_every_command_ends() {
    let (mut spliced, mut open, mut ran) = (0, 0, 0);
    for seed in 0..6_000 {
        for age in AGES {
            let mut dice = Dice(seed);
            let octets = stream(&mut dice);
            let mut session = Session::new(age);
            let mut rest = octets.as_slice();
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(1 + dice.roll(rest.len()));
                session.client_says(piece);
                rest = left;
                if dice.roll(2) == 0 {
                    session.backend_speaks();
                }
            }
            session.settle(&|| format!("seed {seed}, {age:?}: {}", shown(&octets)));
            spliced += usize::from(session.end == End::Spliced);
            open += usize::from(session.end == End::Open);
            ran += session.model.ran.len();
        }
    }
    // Otherwise it would have shown nothing.
    assert!(spliced > 500 && open > 500 && ran > 10_000, "{spliced} {open} {ran}");
}

#[test]
fn wherever_a_stream_is_cut_the_backend_runs_the_same() {
    for seed in 0..400 {
        let octets = stream(&mut Dice(seed));
        let run = |cut: usize| {
            let mut session = Session::new(Age::Three);
            let (first, second) = octets.split_at(cut);
            for part in [first, second] {
                session.client_says(part);
                while session.backend_speaks() {}
            }
            session.settle(&|| format!("seed {seed} cut at {cut}: {}", shown(&octets)));
            (session.to_client, session.model.ran, session.end)
        };
        let whole = run(octets.len());
        for cut in 0..octets.len() {
            assert_eq!(run(cut), whole, "seed {seed} cut at {cut}: {}", shown(&octets));
        }
    }
}

/// An argument in one of the ways that IMAP has for it, and whether its octets wait for a `+`.
fn argument(dice: &mut Dice, value: &str) -> (String, Option<(String, bool)>) {
    let spaces = " ".repeat(1 + dice.roll(3));
    match dice.roll(4) {
        0 if !value.contains(['\r', ' ']) => (format!("{spaces}{value}"), None),
        1 if !value.contains('\r') => (format!("{spaces}\"{value}\""), None),
        2 => (format!("{spaces}{{{}}}\r\n", value.len()), Some((value.to_owned(), true))),
        _ => (format!("{spaces}{{{}+}}\r\n", value.len()), Some((value.to_owned(), false))),
    }
}

#[test]
fn octets_of_a_literal_never_run_and_a_password_is_never_logged() {
    const VALUES: [&str; 7] = ["alice", "", "x y", "*", "{9+}", "\r\nevil NOOP\r\n", "(\r\nevil LOGIN good pass\r\n"];
    let mut ran = 0;
    for seed in 0..6_000 {
        for age in AGES {
            let mut dice = Dice(seed);
            let mut session = Session::new(age);
            let mut said = String::new();
            for n in 0..1 + dice.roll(5) {
                let verb = dice.pick(&["LOGIN", "login", "X", "NOOP", "ID", "STARTTLS", "AUTHENTICATE", "(", "a\"b"]);
                let mut command = format!("t{n} {verb}");
                let user = dice.pick(&VALUES);
                let mut waits = false;
                for value in [user, "s3cr3t"] {
                    let (text, literal) = argument(&mut dice, value);
                    command.push_str(&text);
                    if let Some((octets, wait)) = literal {
                        if wait {
                            said.push_str(&command);
                            session.client_says(command.as_bytes());
                            while session.backend_speaks() {}
                            command.clear();
                            let asked = session.to_client.ends_with(b"\r\n")
                                && String::from_utf8_lossy(&session.to_client)
                                    .lines()
                                    .last()
                                    .is_some_and(|line| line.starts_with('+'));
                            waits = !asked;
                        }
                        if waits {
                            break;
                        }
                        command.push_str(&octets);
                    }
                }
                if !waits {
                    command.push_str("\r\n");
                    said.push_str(&command);
                    session.client_says(command.as_bytes());
                    while session.backend_speaks() {}
                }
                if session.end != End::Open {
                    break;
                }
            }
            session.settle(&|| format!("seed {seed}, {age:?}: {said:?}"));
            assert!(!format!("{:?}", session.out.events).contains("s3cr3t"), "seed {seed}: {said:?}");
            ran += session.model.ran.len();
        }
    }
    assert!(ran > 10_000, "{ran}");
}

/// Numbers that some parser has stumbled over: what fits in how many bits, and what looks like a number.
const LENGTHS: [&str; 40] = [
    "0",
    "00",
    "1",
    "01",
    "+1",
    "-1",
    "-0",
    " 1",
    "1 ",
    "\t1",
    "1\t",
    "",
    "+",
    "++",
    "-",
    " ",
    "0x1",
    "1e1",
    "1,0",
    "1.0",
    "127",
    "128",
    "255",
    "256",
    "4096",
    "4097",
    "8191",
    "8192",
    "8193",
    "32768",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
];

#[test]
fn rfc9051_4_3_literals_of_every_length_and_form_in_every_place() {
    let places = [
        "LOGIN ",
        "LOGIN  ",
        "LOGIN x ",
        "LOGIN \"x\" ",
        "LOGIN \"x\"",
        "LOGIN x",
        "LOGIN \"{3}\" ",
        "ID (",
        "ID (\"x\" ",
        "X (((",
        "X ",
        "X ~",
        "X \"",
        "X \"\\\"",
        "",
        "AUTHENTICATE ",
        "AUTHENTICATE PLAIN ",
        "STARTTLS ",
        "COMPRESS ",
    ];
    let mut variants = 0;
    for length in LENGTHS {
        for form in
            ["{N+}", "{N}", "{N-}", "~{N+}", "{N+", "N+}", "{{N+}}", "{N+} ", "{N+}\t", "{N+}x", "\"{N+}", "{N+}\""]
        {
            for place in places {
                let announced = format!("a {place}{}\r\n", form.replace('N', length));
                // Exactly as many octets as were announced, or fewer: commands of somebody else's, were they any.
                let octets = length.parse().unwrap_or(0_usize).min(9000);
                let evil = b"evil STARTTLS\r\n".iter().copied().cycle().take(octets).collect::<Vec<_>>();
                let sent = [announced.as_bytes(), &evil, b"\r\nz NOOP\r\n"].concat();
                for age in AGES {
                    let mut session = Session::new(age);
                    if form.contains('{') && announced.trim_end().ends_with("+}") && octets >= 15 {
                        // A client that does not wait.
                        session.client_says(&sent);
                        session.settle(&|| format!("{age:?}: {announced:?}"));
                    } else {
                        session.client_says(announced.as_bytes());
                        session.settle(&|| format!("{age:?}: {announced:?}"));
                    }
                    variants += 1;
                }
            }
        }
    }
    assert_eq!(variants, 40 * 12 * 19 * 3);
}

#[test]
fn no_spelling_of_a_private_field_reaches_the_backend() {
    const FIELDS: [&str; 6] =
        ["x-originating-ip", "x-originating-port", "x-connected-ip", "x-connected-port", "x-session-id", "x-proxy-ttl"];
    let mut answered = 0;
    for seed in 0..4_000 {
        let mut dice = Dice(seed);
        let string = |dice: &mut Dice, text: &str| {
            let cased: String =
                text.chars().map(|c| if dice.roll(2) == 0 { c.to_ascii_uppercase() } else { c }).collect();
            match dice.roll(4) {
                0 => format!("\"{cased}\""),
                // An escape that means nothing.
                1 => format!("\"\\{cased}\""),
                2 => format!("{{{}+}}\r\n{cased}", cased.len()),
                _ => format!("{{{}}}\r\n{cased}", cased.len()),
            }
        };
        let mut list = String::new();
        for n in 0..1 + dice.roll(40) {
            let field = if dice.roll(3) == 0 { "name" } else { dice.pick(&FIELDS) };
            let value = ["192.0.2.66", "", "NIL"][dice.roll(3)];
            let value = if value == "NIL" { "nil".to_owned() } else { string(&mut dice, value) };
            list.push_str(&format!("{}{} {value}", if n > 0 { " " } else { "" }, string(&mut dice, field)));
        }
        let command = format!("a ID ({list})\r\nb NOOP\r\n");
        let mut session = Session::new(AGES[dice.roll(3)]);
        session.client_says(command.as_bytes());
        session.settle(&|| format!("seed {seed}: {command:?}"));
        answered += usize::from(session.model.ran.len() == 2);
    }
    assert!(answered > 1000, "{answered}");
}

#[test]
fn every_octet_of_a_user_name_is_judged_and_logged_alike() {
    for octet in 0..=255_u8 {
        let name = [b"a".as_slice(), &[octet], b"b"].concat();
        let plain = crate::support::base64([b"\0", name.as_slice(), b"\0s3cr3t"].concat());
        for command in [
            [b"a LOGIN \"".as_slice(), &name, b"\" \"s3cr3t\"\r\n"].concat(),
            [b"a LOGIN \"\\".as_slice(), &name, b"\" \"s3cr3t\"\r\n"].concat(),
            [b"a LOGIN ".as_slice(), &name, b" s3cr3t\r\n"].concat(),
            [b"a LOGIN {3+}\r\n".as_slice(), &name, b" {6+}\r\ns3cr3t\r\n"].concat(),
            format!("a AUTHENTICATE PLAIN {plain}\r\n").into_bytes(),
            format!("a AUTHENTICATE PLAIN\r\n{plain}\r\n").into_bytes(),
            format!("a AUTHENTICATE LOGIN\r\n{}\r\nczNjcjN0\r\n", crate::support::base64(&name)).into_bytes(),
        ] {
            for age in AGES {
                let mut session = Session::new(age);
                session.client_says(&command);
                session.settle(&|| format!("{age:?}: {}", shown(&command)));
                let events = format!("{:?}", session.out.events);
                assert!(events.is_ascii() && !events.contains("s3cr3t"), "{age:?}: {}: {events}", shown(&command));
                let echoed = String::from_utf8_lossy(&session.to_client).into_owned();
                assert!(!echoed.contains("s3cr3t") && echoed.is_ascii(), "{echoed:?}");
            }
        }
    }
}

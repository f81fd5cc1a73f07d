//! Commands in the wrong order, and everything pipelined over the places where a client must wait (RFC 2920 §3.1).

use sealgate::protocol::BareNewline;

use super::lenient::READERS;
use super::talk::{Talk, Way};

/// Text for the codes of final reply lines.
fn codes(to_client: &[u8]) -> String {
    let text = String::from_utf8_lossy(to_client);
    let finals = text.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    finals.map(|line| line.get(..3).expect("a code")).collect::<Vec<_>>().join(" ")
}

/// Runs a stream whole and cut at every octet; all must be the same. Gives the whole run.
fn run(way: Way, stream: &str) -> Talk {
    let run = |cut: &[usize]| {
        let mut talk = Talk::new(way, BareNewline::Normalize, &READERS);
        talk.say_cut(stream.as_bytes(), cut);
        talk.assert_all_agree(&(stream, cut));
        talk
    };
    let whole = run(&[]);
    for cut in 1..stream.len() {
        let talk = run(&[cut]);
        assert_eq!(talk.to_backend, whole.to_backend, "{stream:?} cut at {cut}");
        assert_eq!(talk.to_client, whole.to_client, "{stream:?} cut at {cut}");
    }
    whole
}

/// The strict server's view: its commands, joined, and how many messages it took.
fn heard(talk: &Talk) -> (String, usize) {
    let lines = talk.servers[0].commands.iter().map(|line| String::from_utf8_lossy(line).into_owned());
    let verbs = lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned());
    (verbs.collect::<Vec<_>>().join(" "), talk.servers[0].messages.len())
}

#[test]
fn rfc2920_3_1_what_is_pipelined_over_a_place_to_wait_is_never_something_else() {
    // What the client sends at once; what the backend hears of it; messages; the codes that the client gets.
    let cases: &[(Way, &str, &str, usize, &str)] = &[
        // Content ahead of the 354 is content if the 354 comes, and the end if it does not.
        (
            Way::StartTls,
            "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nRSET\r\n.\r\nNOOP\r\n",
            "MAIL RCPT DATA NOOP",
            1,
            "250 250 354 250 250",
        ),
        (
            Way::StartTls,
            "MAIL FROM:<a@b>\r\nRCPT TO:<nobody@d>\r\nDATA\r\nRSET\r\nNOOP\r\n",
            "MAIL RCPT DATA",
            0,
            "250 550 503 554",
        ),
        (Way::StartTls, "DATA\r\n.\r\n", "DATA", 0, "503 554"),
        (Way::StartTls, "DATA\r\nDATA\r\nDATA\r\n", "DATA", 0, "503 554"),
        (
            Way::Cleartext,
            "RSET\r\nDATA\r\nMAIL FROM:<e@f>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n",
            "RSET DATA",
            0,
            "250 503 554",
        ),
        // A response ahead of the 334 likewise; and commands behind a login that was refused.
        (Way::Implicit, "AUTH LOGIN\r\nQVVUSA==\r\nNOOP\r\n", "AUTH QVVUSA== NOOP", 0, "334 235 250"),
        (Way::Implicit, "AUTH PLAIN AGEAYg==\r\nNOOP\r\n", "AUTH", 0, "535 554"),
        (Way::Implicit, "AUTH PLAIN AGEAYg==\r\nMAIL FROM:<e@f>\r\n", "AUTH", 0, "535 554"),
        (
            Way::Implicit,
            "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nAUTH PLAIN AGEAYg==\r\nDATA\r\n",
            "MAIL RCPT AUTH",
            0,
            "250 250 535 554",
        ),
        // Where AUTH is hidden it is refused by us; without an initial response what follows it was meant as one.
        (Way::StartTls, "AUTH PLAIN AGEAYg==\r\nNOOP\r\n", "NOOP", 0, "503 250"),
        (Way::Cleartext, "AUTH LOGIN\r\nQVVUSA==\r\nNOOP\r\n", "", 0, "503 554"),
        // The answer to EHLO says what the rest may be.
        (
            Way::StartTls,
            "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 4 LAST\r\nx\r\nyNOOP\r\n",
            "EHLO MAIL RCPT BDAT NOOP",
            1,
            "250 250 250 250 250",
        ),
        (
            Way::StartTls,
            "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nEHLO x\r\nDATA\r\nx\r\n.\r\n",
            "MAIL RCPT EHLO DATA",
            0,
            "250 250 250 503 554",
        ),
        (Way::StartTls, "HELO x\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "HELO NOOP", 0, "250 502 250"),
        // A second TLS inside TLS, or one too late.
        (Way::StartTls, "STARTTLS\r\nNOOP\r\n", "NOOP", 0, "503 250"),
        (
            Way::Implicit,
            "MAIL FROM:<a@b>\r\nSTARTTLS\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n",
            "MAIL RCPT DATA",
            1,
            "250 503 250 354 250",
        ),
        (Way::Cleartext, "STARTTLS\r\nNOOP\r\n", "NOOP", 0, "454 250"),
        // Nothing follows QUIT.
        (Way::StartTls, "QUIT\r\nMAIL FROM:<a@b>\r\n", "QUIT", 0, "221"),
        (
            Way::StartTls,
            "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nQUIT\r\nDATA\r\nx\r\n.\r\n",
            "MAIL RCPT QUIT",
            0,
            "250 250 221",
        ),
        // The others may stand anywhere.
        (Way::StartTls, "VRFY x\r\nRSET\r\nNOOP\r\nVRFY y\r\n", "VRFY RSET NOOP VRFY", 0, "250 250 250 250"),
        (Way::StartTls, "BDAT 6\r\nQUIT\r\nNOOP\r\n", "BDAT NOOP", 0, "503 250"),
        (Way::StartTls, "XCLIENT A=B\r\nQUIT\r\n", "QUIT", 0, "502 221"),
    ];
    for (way, stream, commands, messages, answers) in cases {
        let talk = run(*way, stream);
        assert_eq!(heard(&talk), ((*commands).to_owned(), *messages), "{way:?}, {stream:?}");
        assert_eq!(codes(&talk.to_client), *answers, "{way:?}, {stream:?}");
    }
}

#[test]
fn a_transaction_is_the_backends_whatever_comes_between() {
    // A client that waits for each answer; bodies as they arrive.
    type Case = (&'static [&'static str], &'static [&'static str], &'static str);
    let cases: &[Case] = &[
        (&["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RSET", "DATA"], &[], "250 250 250 503"),
        (&["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "EHLO y", "DATA"], &[], "250 250 250 503"),
        (&["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "HELO y", "DATA"], &[], "250 250 250 503"),
        (
            &["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RSET x", "RSET", "MAIL FROM:<e@f>", "DATA"],
            &[],
            "250 250 250 250 250 503",
        ),
        (&["MAIL FROM:<a@b>", "MAIL FROM:<e@f>", "RCPT TO:<c@d>", "DATA", "x\r\n."], &["x\r\n"], "250 503 250 354 250"),
        (
            &["MAIL FROM:<a@b>", "RCPT TO:<nobody@d>", "DATA", "RCPT TO:<c@d>", "DATA", "x\r\n."],
            &["x\r\n"],
            "250 550 503 250 354 250",
        ),
        // AUTH in a transaction is the backend's to refuse or to take.
        (
            &["MAIL FROM:<a@b>", "AUTH LOGIN", "YQ==", "RCPT TO:<c@d>", "DATA", "x\r\n."],
            &["x\r\n"],
            "250 334 235 250 354 250",
        ),
        (
            &["MAIL FROM:<a@b>", "AUTH LOGIN", "*", "RCPT TO:<c@d>", "DATA", "x\r\n."],
            &["x\r\n"],
            "250 334 501 250 354 250",
        ),
        // Chunks, and what stands between them.
        (&["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BDAT 3\r\nabc", "BDAT 0 LAST"], &["abc"], "250 250 250 250"),
        (
            &["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BDAT 3\r\nabc", "RSET", "BDAT 2 LAST\r\nxy", "NOOP"],
            &[],
            "250 250 250 250 503 250",
        ),
        (
            &["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BDAT 3\r\nabc", "NOOP", "BDAT 2 LAST\r\nde"],
            &["abcde"],
            "250 250 250 250 250",
        ),
        (
            &["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BDAT 3\r\nabc", "EHLO y", "BDAT 2 LAST\r\nxy", "NOOP"],
            &[],
            "250 250 250 250 503 250",
        ),
        (
            &["BDAT 2 LAST\r\nxy", "MAIL FROM:<a@b>", "BDAT 2 LAST\r\nxy", "RCPT TO:<c@d>", "BDAT 2 LAST\r\nxy"],
            &["xy"],
            "503 250 503 250 250",
        ),
        (&["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "BDAT 5 LAST\r\n."], &["BDAT 5 LAST\r\n"], "250 250 354 250"),
        (&["MAIL FROM:<a@b>\tBODY=BINARYMIME", "RCPT TO:<c@d>", "NOOP"], &[], "501 503 250"),
    ];
    for (says, bodies, answers) in cases {
        let mut talk = Talk::new(Way::Implicit, BareNewline::Normalize, &READERS);
        for line in *says {
            // A chunk ends where it ends.
            let end =
                if line.starts_with("BDAT") && !line.ends_with("LAST") && !line.ends_with('.') { "" } else { "\r\n" };
            talk.say(format!("{line}{end}"));
            talk.assert_all_agree(&says);
        }
        assert_eq!(codes(&talk.to_client), *answers, "{says:?}");
        let got: Vec<String> = talk.bodies().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
        assert_eq!(got, *bodies, "{says:?}");
    }
}

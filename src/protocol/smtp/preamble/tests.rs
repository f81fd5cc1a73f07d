use super::*;
use crate::protocol::smtp::fixtures::context;

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Open,
    StartTls,
    Stays(Option<String>),
    Closed,
    Violated(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    to_client: String,
    events: Vec<Event>,
    left: String,
    end: End,
}

fn learned() -> Learned {
    let lines = ["SIZE 10", "AUTH PLAIN", "XCLIENT NAME", "PIPELINING"];
    Learned::from_iter(lines)
}

fn run_by(service: &str, input: &[u8], size: usize) -> Seen {
    let mut context = context(service, "203.0.113.5:1", None);
    context.learned = Arc::new(learned());
    let mut preamble = SmtpPreamble::new(&context);
    let (mut to_client, mut events, mut held) = (BytesMut::new(), Vec::new(), Vec::new());
    let mut end = End::Open;
    let mut pieces = input.chunks(size);
    while end == End::Open {
        let Some(piece) = pieces.next() else { break };
        held.extend_from_slice(piece);
        while end == End::Open && !held.is_empty() {
            match preamble.receive(&held, &mut to_client, &mut events) {
                Ok(Heard { consumed: 0, next: Next::More }) => break,
                Ok(heard) => {
                    held.drain(..heard.consumed);
                    end = match heard.next {
                        Next::More => End::Open,
                        Next::StartTls => End::StartTls,
                        Next::Close => End::Closed,
                        Next::StayPlain(opening) => {
                            End::Stays(opening.hello.map(|hello| String::from_utf8(hello.to_vec()).unwrap()))
                        }
                    };
                }
                Err(violation) => {
                    to_client.extend_from_slice(&violation.reply);
                    end = End::Violated(violation.reason.phrase);
                }
            }
        }
    }
    // What was behind the last judged line, whether it was read already or not.
    held.extend(pieces.flatten());
    let left = String::from_utf8_lossy(&held).into_owned();
    Seen { to_client: String::from_utf8_lossy(&to_client).into_owned(), events, left, end }
}

fn run(service: &str, input: &[u8]) -> Seen {
    let whole = run_by(service, input, input.len().max(1));
    for size in 1..=40 {
        let seen = run_by(service, input, size);
        if matches!(whole.end, End::Violated(_)) {
            // The rest is nobody's any more.
            assert_eq!((&seen.to_client, &seen.events, &seen.end), (&whole.to_client, &whole.events, &whole.end));
        } else {
            assert_eq!(seen, whole, "by {size}");
        }
    }
    whole
}

const EHLO: &str = "250-mx.example.com\r\n250-SIZE 10\r\n250-PIPELINING\r\n250 STARTTLS\r\n";

#[test]
fn it_greets() {
    let mut preamble = SmtpPreamble::new(&context("smtp", "203.0.113.5:1", None));
    let mut to_client = BytesMut::new();
    preamble.greet(&mut to_client);
    assert_eq!(to_client, "220 mx.example.com ESMTP Sealgate\r\n");
}

#[test]
fn rfc3207_4_what_is_said_before_tls() {
    let first = "530 5.7.0 Must issue a STARTTLS command first\r\n";
    let (unknown, ready) = ("500 5.5.2 Error: command not recognized\r\n", "220 2.0.0 Ready to start TLS\r\n");
    let twice = [EHLO, "250 2.0.0 Ok\r\n", ready].concat();
    let cases: &[(&str, &str, &str, End, &str)] = &[
        ("both", "EHLO c\r\n", EHLO, End::Open, ""),
        ("both", "HELO c\r\n", "250 mx.example.com\r\n", End::Open, ""),
        ("both", "EHLO\r\n", "501 5.5.4 Syntax: EHLO hostname\r\n", End::Open, ""),
        ("both", "HELO \r\n", "501 5.5.4 Syntax: HELO hostname\r\n", End::Open, ""),
        ("both", "NOOP\r\nRSET\r\n", "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n", End::Open, ""),
        ("both", "HELP\r\n", "214 2.0.0 See RFC 5321\r\n", End::Open, ""),
        ("both", "QUIT\r\nNOOP\r\n", "221 2.0.0 Bye\r\n", End::Closed, "NOOP\r\n"),
        ("both", "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n", End::StartTls, ""),
        ("both", "starttls x\r\n", "501 5.5.4 Syntax error (no parameters allowed)\r\n", End::Open, ""),
        // CVE-2011-0411: what stands behind STARTTLS is not looked at.
        ("both", "EHLO c\r\nNOOP\r\nSTARTTLS\r\nRSET\r\n", &twice, End::StartTls, "RSET\r\n"),
        ("both", "XCLIENT ADDR=1.2.3.4\r\n", "502 5.5.1 Error: command not implemented\r\n", End::Open, ""),
        ("both", "NOO", "", End::Open, "NOO"),
        ("smtp", "AUTH PLAIN x\r\n", "503 5.5.1 Error: AUTH not available\r\n", End::Open, ""),
        ("submission", "AUTH PLAIN x\r\n", first, End::Open, ""),
        ("submission", "MAIL FROM:<>\r\n", first, End::Open, ""),
        ("submission", "RCPT TO:<a>\r\n", first, End::Open, ""),
        ("submission", "DATA\r\n", first, End::Open, ""),
        ("submission", "ETRN x\r\n", first, End::Open, ""),
        ("submission", "WHAT\r\n", first, End::Open, ""),
        ("submission", "BDAT 10\r\nSTARTTLS\r\n", first, End::Closed, "STARTTLS\r\n"),
        ("smtp", "MAIL FROM:<>\r\nX\r\n", "", End::Stays(None), "MAIL FROM:<>\r\nX\r\n"),
        ("smtp", "EHLO c d\r\nEXPN x\r\n", EHLO, End::Stays(Some("EHLO c d".to_owned())), "EXPN x\r\n"),
        // What nobody knows is no reason to ask the backend, nor to give TLS up.
        ("smtp", "WHAT\r\nSTARTTLS\r\n", &[unknown, ready].concat(), End::StartTls, ""),
    ];
    for (services, input, expected, end, left) in cases {
        let services: &[&str] = if *services == "both" { &["smtp", "submission"] } else { &[services] };
        for service in services {
            let seen = run(service, input.as_bytes());
            assert_eq!(seen.to_client, *expected, "{service} {input:?}");
            assert_eq!(seen.end, *end, "{service} {input:?}");
            assert_eq!(seen.left, *left, "{service} {input:?}");
        }
    }
}

#[test]
fn a_response_behind_a_refused_auth_does_not_bring_the_backend_in() {
    // Its log would have the secret as an unknown verb, whether the client has heard the refusal or not.
    let login = "AUTH LOGIN\r\nYWxpY2Ux\r\nc2VjcmV0\r\n";
    for service in ["smtp", "submission"] {
        let seen = run(service, login.as_bytes());
        assert_eq!((seen.end, seen.left.as_str()), (End::Open, ""), "{service}");
        assert_eq!(seen.to_client.matches("\r\n").count(), 3, "{service}: {}", seen.to_client);
    }
    // It is no command, and the next one may be.
    let seen = run("smtp", [login, "MAIL FROM:<>\r\n"].concat().as_bytes());
    assert_eq!((seen.end, seen.left.as_str()), (End::Stays(None), "MAIL FROM:<>\r\n"));
}

#[test]
fn vrfy_tells_nothing() {
    assert!(run("submission", b"VRFY root\r\n").to_client.starts_with("252 2."));
}

#[test]
fn commands_are_counted() {
    let seen = run("submission", b"EHLO c(\r\nNOOP\r\nMAIL FROM:<>\r\nSTARTTLS\r\n");
    let command = |name, ok| Event::Command { name, ok };
    assert_eq!(
        seen.events,
        [
            command("ehlo", true),
            Event::Helo("c?".to_owned()),
            command("noop", true),
            command("mail", false),
            Event::Refused(reasons::STARTTLS_FIRST),
            command("starttls", true),
        ]
    );
}

#[test]
fn what_is_no_smtp_is_closed_at_once() {
    let http = "HTTP request on an SMTP port";
    let cases: &[(&[u8], &str)] = &[
        (b"GET / HTTP/1.1\r\nHost: x\r\n", http),
        (b"POST / HTTP/1.1\n", http),
        (b"CONNECT x:25 HTTP/1.1\r\n", http),
        (b"OPTIONS * HTTP/1.1\r\n", http),
        (b"NOOP\r\nput /\r\n", http),
        (b"X-Mine /x HTTP/1.1\r\n", http),
        (b"\x16\xfe\xff\0\0", "binary protocol on an SMTP port"),
        (b"NOOP\r\n\0\x03\0\x58\r\nNOOP\r\n", "binary protocol on an SMTP port"),
        (b"\r\n\r\n\0\r\nQUIT\n!", "binary protocol on an SMTP port"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS handshake on a cleartext port"),
    ];
    for (input, phrase) in cases {
        assert_eq!(run("smtp", input).end, End::Violated(phrase), "{input:?}");
    }
    assert_eq!(run("smtp", b"\x16\x03\x01").to_client, "");
    // However long the path is, the body behind it is not obeyed.
    for octets in [command::COMMAND_LIMIT, 9000] {
        let long = [b"POST /".to_vec(), vec![b'x'; octets], b" HTTP/1.1\r\n\r\nEHLO x\r\n".to_vec()].concat();
        let seen = run("smtp", &long);
        assert_eq!((seen.end, seen.to_client.as_str()), (End::Violated(http), "554 5.5.0 This is SMTP, not HTTP\r\n"));
    }
}

#[test]
fn bad_lines_are_refused_and_the_session_goes_on() {
    let newline = "500 5.5.2 Error: a line ends in CRLF and holds no other CR or LF (openssl s_client: add -crlf)\r\n";
    let syntax = "500 5.5.2 Error: bad syntax\r\n";
    let long = "500 5.5.2 Error: line too long\r\n";
    let line = |length: usize| [vec![b'x'; length - 2], b"\r\n".to_vec()].concat();
    let cases: &[(Vec<u8>, &str)] = &[
        (b"NOOP\n".to_vec(), newline),
        (b"NO\rOP\r\n".to_vec(), newline),
        (b"NOOP\r\r\n".to_vec(), newline),
        (b"\r\n".to_vec(), syntax),
        (b" NOOP\r\n".to_vec(), syntax),
        (b"NOOP\0\r\n".to_vec(), syntax),
        // White space of other protocols, which a backend would be told of.
        (b"NOOP\x0c\r\n".to_vec(), syntax),
        (b"STARTTLS \x0c\r\n".to_vec(), syntax),
        (line(command::COMMAND_LIMIT + 1), long),
        (line(command::SKIP_LIMIT), long),
    ];
    for (input, reply) in cases {
        let seen = run("submission", &[input.as_slice(), b"NOOP\r\n"].concat());
        assert_eq!(seen.to_client, format!("{reply}250 2.0.0 Ok\r\n"));
        assert_eq!(seen.end, End::Open);
    }
    let seen = run("submission", &line(command::COMMAND_LIMIT));
    assert!(seen.to_client.starts_with("530 "), "the limit itself is allowed: {}", seen.to_client);
    let seen = run("submission", &line(command::SKIP_LIMIT + 1));
    assert_eq!(seen.end, End::Violated("command line too long"));
    assert_eq!(seen.to_client, long);
}

#[test]
fn twenty_errors_are_the_end() {
    let seen = run("submission", "MAIL FROM:<>\r\n".repeat(25).as_bytes());
    assert_eq!(seen.end, End::Violated("too many errors"));
    assert_eq!(seen.to_client.matches("530 ").count(), 20);
    assert!(seen.to_client.ends_with("\r\n421 4.7.0 Error: too many errors\r\n"));
    assert_eq!(run("submission", "MAIL FROM:<>\r\n".repeat(19).as_bytes()).end, End::Open);
}

#[test]
fn it_says_goodbye() {
    let mut preamble = SmtpPreamble::new(&context("smtp", "203.0.113.5:1", None));
    let cases = [
        (Farewell::Timeout, "421 4.4.2 mx.example.com Error: timeout exceeded\r\n"),
        (Farewell::Shutdown, "421 4.3.2 mx.example.com Service shutting down, try again later\r\n"),
        (Farewell::TooManyConnections, "421 4.7.0 mx.example.com Error: too many connections\r\n"),
        (Farewell::BackendUnavailable, "421 4.3.2 mx.example.com Service not available, try again later\r\n"),
    ];
    for (why, expected) in cases {
        let mut to_client = BytesMut::new();
        preamble.farewell(why, &mut to_client);
        assert_eq!(to_client, expected);
    }
}

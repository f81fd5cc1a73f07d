//! What somebody would try between TLS and login.

use super::*;

const ASK: &str = "+ OK\r\n";

#[test]
fn a_clients_id_never_claims_an_address() {
    let cases: &[(&[Step], &str)] = &[
        (&[c("a ID (\"x-originating-ip\" \"1.2.3.4\")\r\n")], "a ID NIL\r\n"),
        (&[c("a id (\"X-ORIGINATING-IP\" \"1.2.3.4\" \"name\" \"x\")\r\n")], "a ID (\"name\" \"x\")\r\n"),
        (&[c("a ID ({16+}\r\nx-originating-ip {7+}\r\n1.2.3.4 \"os\" NIL)\r\n")], "a ID (\"os\" NIL)\r\n"),
        (&[c("a ID ({16}\r\n"), c("x-originating-ip \"1.2.3.4\")\r\n")], "a ID NIL\r\n"),
        (&[c("a ID (\"n\" {0}\r\n"), c(" \"\\x-session-id\" \"y\")\r\n")], "a ID (\"n\" \"\")\r\n"),
        (&[c("a ID NIL\r\n")], "a ID NIL\r\n"),
    ];
    for (steps, to_backend) in cases {
        let seen = greeted(steps);
        assert_eq!(seen.to_backend, *to_backend, "{steps:?}");
        assert!(!seen.to_backend.to_ascii_lowercase().contains("x-"));
    }
}

#[test]
fn an_id_literal_is_asked_for_by_us_and_in_its_turn() {
    let seen = greeted(&[
        c("n NOOP\r\na ID ({4}\r\n"),
        b("n OK\r\n"),
        c("name {1}\r\n"),
        c("x)\r\n"),
        b("* ID NIL\r\na OK\r\n"),
    ]);
    let ours = "+ Ready for the literal\r\n";
    assert_eq!(seen.to_client, format!("n OK\r\n{ours}{ours}* ID NIL\r\na OK\r\n"));
    assert_eq!(seen.to_backend, "n NOOP\r\na ID (\"name\" \"x\")\r\n");
    let broken = greeted(&[c("a ID ({4}\r\n"), c("name \"x\" y)\r\nn NOOP\r\n")]);
    assert_eq!(broken.to_client, format!("{ours}a BAD ID takes NIL or a list of strings in pairs\r\n"));
    assert_eq!(broken.to_backend, "n NOOP\r\n");
}

#[test]
fn rfc7888_octets_of_a_refused_command_never_run_as_commands() {
    let smuggled = "b ID (\"x-originating-ip\" \"1.2.3.4\")\r\n";
    let announced = format!("a XYZZY {{{}+}}\r\n{smuggled} {{3+}}\r\nfoo\r\nn NOOP\r\n", smuggled.len());
    // A backend that does not know the command never asks for them.
    let seen = greeted(&[c(&announced), b("a BAD unknown\r\n"), b("n OK\r\n")]);
    assert_eq!(seen.to_backend, format!("a XYZZY {{{}}}\r\nn NOOP\r\n", smuggled.len()));
    assert_eq!(seen.to_client, "a BAD unknown\r\nn OK\r\n");
    // One that asks for them gets them as what they are, and the client sees no `+` that it did not ask for.
    let seen = greeted(&[c(&announced), b(ASK), b(ASK), b("a BAD unknown\r\n"), b("n OK\r\n")]);
    assert_eq!(seen.to_backend, format!("a XYZZY {{{}}}\r\n{smuggled} {{3}}\r\nfoo\r\nn NOOP\r\n", smuggled.len()));
    assert_eq!(seen.to_client, "a BAD unknown\r\nn OK\r\n");
}

#[test]
fn a_refused_synchronising_literal_leaves_nothing_behind() {
    let seen = greeted(&[c("a LOGIN {5}\r\n"), b("a NO [PRIVACYREQUIRED] no\r\n"), c("n NOOP\r\n")]);
    assert_eq!(seen.to_backend, "a LOGIN {5}\r\nn NOOP\r\n");
    // Dead octets end where the client would have to wait for its next `+`.
    let seen = greeted(&[c("a X {3+}\r\nfoo {5}\r\n"), b("a BAD no\r\n"), c("n NOOP\r\n")]);
    assert_eq!(seen.to_backend, "a X {3}\r\nn NOOP\r\n");
    let seen = greeted(&[c("a X {0+}\r\n\r\nn NOOP\r\n"), b("a BAD no\r\n")]);
    assert_eq!(seen.to_backend, "a X {0}\r\nn NOOP\r\n");
    // Behind a bare newline they end where anybody likes.
    let seen = greeted(&[c("a X {3+}\r\nfoo {6}\nab NO {4}\r\nx NOOP\r\n"), b("a BAD no\r\n")]);
    assert_eq!(seen.to_backend, "a X {3}\r\n");
    assert_eq!(seen.end, End::Broken("malformed command"));
}

#[test]
fn octets_that_cannot_be_told_from_commands_end_the_session() {
    let refused = "octets sent behind a refused command";
    let large = "literal too large before login";
    let cases: &[(&[Step], &str)] = &[
        (&[c("a LOGIN {4097+}\r\n")], large),
        (&[c("a LOGIN {99999999999999999999+}\r\n")], large),
        (&[c("a STARTTLS {8+}\r\nb NOOP\r\n")], refused),
        (&[c("a COMPRESS {8+}\r\nb NOOP\r\n")], refused),
        (&[c("a AUTHENTICATE {8+}\r\nb NOOP\r\n")], refused),
        (&[c("a LOGIN x{8+}\r\nb NOOP\r\n")], refused),
        (&[c("a LOGIN {08+}\r\nb NOOP\r\n")], refused),
        (&[c("a LOGIN {8+}\nb NOOP\r\n")], refused),
        (&[c("a LOGIN \"x {8+}\r\nb NOOP\r\n")], refused),
        (&[c("a {8+}\r\nb NOOP\r\n")], refused),
        (&[c("a ID ({8192+}\r\nb NOOP\r\n")], large),
        (&[c("a LOGIN {1}\r\n"), b(ASK), c("x {4097+}\r\n")], large),
        (&[c("a LOGIN {1}\r\n"), b(ASK), c("x {8193}\r\n")], large),
        (&[c("a LOGIN {1}\r\n"), b(ASK), c("x{8+}\r\n")], "malformed command"),
        (&[c("a LOGIN {1}\r\n"), b(ASK), c("x \"y\r\n")], "malformed command"),
        (&[c("a LOGIN {1}\r\n"), b(ASK), c("x y\n")], "malformed command"),
        (&[c("a X {1+}\r\nxy{8+}\r\n"), b("a BAD\r\n")], "malformed command"),
        (&[c("a X {1+}\r\nx {4097+}\r\n"), b("a BAD\r\n")], large),
        (&[c("a AUTHENTICATE X\r\n"), b(ASK), c("x\n")], "malformed command"),
        (&[c("GET / HTTP/1.1\r\n")], "HTTP request on an IMAP port"),
        (&[c("\r\nPOST /x HTTP/1.1\r\nb NOOP\r\n")], "HTTP request on an IMAP port"),
        (&[c("X /x HTTP/1.1\r\nb NOOP\r\n")], "HTTP request on an IMAP port"),
        (&[c("\0\x03\r\nb NOOP\r\n")], "binary protocol on an IMAP port"),
    ];
    for (steps, reason) in cases {
        let seen = greeted(steps);
        assert_eq!(seen.end, End::Broken(reason), "{steps:?}");
        assert!(!seen.to_backend.contains("NOOP"), "{steps:?}");
        assert!(seen.to_client.contains("* BYE "), "{steps:?}");
    }
    let fits = greeted(&[c(format!("a LOGIN {{4096+}}\r\n{} x\r\n", "u".repeat(4096))), b(ASK), b("a OK\r\n")]);
    assert_eq!(fits.end, End::Spliced);
}

#[test]
fn rfc9051_9_a_name_or_password_in_a_literal_is_one_line_and_ends_where_it_says() {
    for octet in ["\0", "\r", "\n"] {
        let name = format!("adm{octet}in");
        let first = [c("a LOGIN {6}\r\n"), b(ASK), c(format!("{name} secret\r\n"))];
        let second = [c("a LOGIN x {6}\r\n"), b(ASK), c(format!("{name}\r\nn NOOP\r\n"))];
        for steps in [first, second] {
            let seen = greeted(&steps);
            assert_eq!(seen.end, End::Broken("malformed command"), "{octet:?}");
            assert!(!seen.to_backend.contains("adm"), "{octet:?}");
        }
    }
}

#[test]
fn other_protocols_wait_for_the_answers_before_them() {
    for (foreign, reason) in [("GET / HTTP/1.1\r\n", "HTTP"), ("\x01\r\n", "binary protocol")] {
        let seen = greeted(&[c(format!("n NOOP\r\n{foreign}m NOOP\r\n")), b("n OK\r\n")]);
        assert_eq!(seen.to_client, "n OK\r\n* BYE This is an IMAP server\r\n");
        assert!(matches!(seen.end, End::Broken(why) if why.starts_with(reason)), "{:?}", seen.end);
        assert_eq!(seen.to_backend, "n NOOP\r\n");
    }
}

#[test]
fn literals_in_one_command_are_bounded() {
    let mut steps = vec![c("a X {1}\r\n")];
    for _ in 0..16 {
        steps.extend([b(ASK), c("x {1}\r\n")]);
    }
    assert_eq!(
        run_cut("imaps", &[vec![b(GREETING)], steps].concat(), usize::MAX).end,
        End::Broken("malformed command")
    );
}

#[test]
fn a_backend_cannot_say_what_nobody_asked_for() {
    let unasked = "reply from the backend that nobody asked for";
    let malformed = "malformed reply from the backend";
    let cases: &[(&[Step], &str)] = &[
        (&[b("a OK in\r\n")], unasked),
        (&[c("a NOOP\r\n"), b("b OK in\r\n")], unasked),
        (&[c("a NOOP\r\n"), b("A OK in\r\n")], unasked),
        (&[c("a NOOP\r\n"), b("a OK\r\na OK\r\n")], unasked),
        (&[c("a NOOP\r\n"), b(ASK)], unasked),
        (&[c("a LOGIN x y\r\n"), b(ASK)], unasked),
        (&[c("a IDLE\r\n"), b(ASK)], unasked),
        (&[c("a AUTHENTICATE X\r\n"), b("+ \r\n+ \r\n")], unasked),
        (&[c("a LOGIN {1}\r\n"), b("a OK in\r\n")], unasked),
        (&[c("a LOGIN {1}\r\n"), b("+ \r\na NO\r\n")], unasked),
        (&[c("a LOGIN {1}\r\n"), b(ASK), c("x"), b("a OK in\r\n")], unasked),
        (&[c("a ID ({1}\r\n"), b("a OK\r\n")], unasked),
        (&[b("* PREAUTH in\r\n")], unasked),
        (&[b("* OK x\n")], malformed),
        (&[b("* OK x\ry\r\n")], malformed),
        (&[b("\r\n")], malformed),
        (&[b("*\r\n")], malformed),
        (&[b("*  CAPABILITY STARTTLS\r\n")], malformed),
        (&[c("a NOOP\r\n"), b("a STARTTLS\r\n")], malformed),
        (&[b("* X {65536}\r\n")], "endless reply from the backend"),
    ];
    for (steps, reason) in cases {
        let seen = greeted(steps);
        assert_eq!(seen.end, End::Broken(reason), "{steps:?}");
        assert!(seen.to_client.ends_with("please try again later\r\n"), "{steps:?}");
    }
    for octets in [65_536, 70_000] {
        let endless = run_cut("imaps", &[b(GREETING), b(vec![b'*'; octets])], 5000);
        assert_eq!(endless.end, End::Broken("endless reply from the backend"));
    }
}

#[test]
fn replies_pass_whole_with_their_literals_or_not_at_all() {
    let id = "* ID (\"name\" {9}\r\na OK in\r\n)\r\n";
    let seen = greeted(&[c("a ID NIL\r\n"), b(id), b("a OK\r\n")]);
    assert_eq!((seen.to_client, seen.end), (format!("{id}a OK\r\n"), End::Open));
    for end in 0..id.len() {
        assert_eq!(greeted(&[c("a ID NIL\r\n"), b(&id[..end])]).to_client, "", "{end}");
    }
}

/// Scraps that make and break commands, replies and literals.
fn scraps(side: &'static [&'static str]) -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    let scrap = prop_oneof![
        8 => proptest::sample::select(side).prop_map(|scrap| scrap.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(scrap, 0..5).prop_map(|scraps| scraps.concat())
}

const CLIENT: &[&str] = &[
    "a NOOP\r\n",
    "b LOGIN x y\r\n",
    "c LOGIN {3}\r\n",
    "d LOGIN {3+}\r\nfoo bar\r\n",
    "foo",
    " bar\r\n",
    "\r\n",
    "*\r\n",
    "e AUTHENTICATE PLAIN\r\n",
    "AHgAeQ==\r\n",
    "f ID (\"x-a\" \"b\")\r\n",
    "g ID ({3+}\r\nx-a {1+}\r\nb)\r\n",
    "h STARTTLS\r\n",
    "i LOGOUT\r\n",
    " {2+}\r\nab",
    "\"",
    "{",
    "j X (\"",
];
const BACKEND: &[&str] = &[
    "a OK x\r\n",
    "b NO x\r\n",
    "c NO x\r\n",
    "d BAD x\r\n",
    "+ x\r\n",
    "* CAPABILITY STARTTLS A\r\n",
    "e NO x\r\n",
    "f OK x\r\n",
    "b OK [CAPABILITY STARTTLS A]\r\n",
    "g OK\r\n",
    "* X {2}\r\nab\r\n",
    "j BAD\r\n",
    "* OK [CAPABILITY LOGINDISABLED]\r\n",
];

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

    #[test]
    fn any_cutting_of_an_interleaving_gives_the_same(
        turns in proptest::collection::vec((scraps(CLIENT), scraps(BACKEND)), 1..6),
        cut in 1_usize..12,
        service in proptest::sample::select(&["imap", "imaps"][..]),
    ) {
        let mut steps = vec![b(GREETING)];
        for (client, backend) in turns {
            steps.extend([c(client), b(backend)]);
        }
        let whole = run_cut(service, &steps, usize::MAX);
        proptest::prop_assert_eq!(&run_cut(service, &steps, cut), &whole);
        if whole.end != End::Spliced {
            proptest::prop_assert!(!whole.to_client.contains("[CAPABILITY STARTTLS"));
        }
    }
}

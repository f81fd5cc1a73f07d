use std::sync::Arc;

use super::*;
use crate::facts::{Group, Lookup, ServerSignature, SignatureAlgorithm, Suite, TlsVersion};
use crate::protocol::Rules;
use crate::protocol::smtp::fixtures::{self, at};

fn tls12() -> TlsFacts {
    TlsFacts {
        version: TlsVersion::Tls12,
        suite: Suite {
            iana: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            openssl: "ECDHE-RSA-AES256-GCM-SHA384",
            bits: 256,
        },
        group: Group::Secp256r1,
        signature: Some(ServerSignature {
            iana: "rsa_pkcs1_sha256",
            algorithm: SignatureAlgorithm::RsaPkcs1 { bits: 2048 },
            digest: Some("SHA256"),
            certificate: None,
        }),
        ..TlsFacts::example()
    }
}

fn context(client: &str, name: Option<&str>, tls: Option<TlsFacts>) -> Context {
    let mut context = fixtures::context("smtp", client, tls);
    context.peer.names.verified = name.map_or(Lookup::NotTried, |name| Lookup::Found(name.into()));
    context
}

fn hello(name: &str, extended: bool) -> Hello {
    Hello { name: name.into(), extended }
}

fn trace(hello: &Hello) -> Trace<'_> {
    Trace {
        hello: Some(hello),
        user: None,
        utf8: false,
        recipient: Some("alice@example.com"),
        number: 1,
        at: at(),
        apart: false,
    }
}

fn field(context: &Context, trace: &Trace<'_>) -> String {
    // Something stands in the buffer already: columns are counted from the field's beginning.
    let mut to = BytesMut::from(&b"354 go on\r\n"[..]);
    write(&Origin::new(context), trace, &mut to);
    String::from_utf8(to.split_off(11).to_vec()).unwrap()
}

#[test]
fn tls13_with_everything() {
    let client = hello("client.example.net", true);
    let got = field(
        &context("203.0.113.5:1024", Some("host.example.net"), Some(TlsFacts::example())),
        &Trace { user: Some("alice"), number: 2, ..trace(&client) },
    );
    let expected = "Received: from client.example.net (host.example.net [203.0.113.5])\r\n\
        \t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\
        \t key-exchange X25519MLKEM768 server-signature ECDSA (P-256) server-digest SHA256)\r\n\
        \t(No client certificate requested)\r\n\
        \t(Authenticated sender: alice)\r\n\
        \tby mx.example.com (Sealgate) with ESMTPSA id 4Zk9.2\r\n\
        \tfor <alice@example.com> tls TLS_AES_256_GCM_SHA384 group X25519MLKEM768;\r\n\
        \tSat, 21 Nov 2026 20:36:00 +0000\r\n";
    assert_eq!(got, expected);
}

#[test]
fn tls12_folds_the_clauses() {
    let client = hello("client.example.net", true);
    let got = field(&context("[2001:db8::5]:1024", None, Some(tls12())), &trace(&client));
    let expected = "Received: from client.example.net ([IPv6:2001:db8::5])\r\n\
        \t(using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)\r\n\
        \t key-exchange ECDHE (P-256) server-signature RSA (2048 bits) server-digest SHA256)\r\n\
        \t(No client certificate requested)\r\n\
        \tby mx.example.com (Sealgate) with ESMTPS id 4Zk9.1\r\n\
        \tfor <alice@example.com> tls TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\r\n\
        \tgroup secp256r1;\r\n\
        \tSat, 21 Nov 2026 20:36:00 +0000\r\n";
    assert_eq!(got, expected);
}

#[test]
fn resumed_sessions_carry_no_signature() {
    let client = hello("c", true);
    let resumed = TlsFacts { signature: None, ..TlsFacts::example() };
    let got = field(&context("203.0.113.5:1", None, Some(resumed)), &trace(&client));
    assert!(got.contains("(256/256 bits)\r\n\t key-exchange X25519MLKEM768)\r\n\t(No client"), "{got}");
    let ed25519 =
        ServerSignature { iana: "ed25519", algorithm: SignatureAlgorithm::Ed25519, digest: None, certificate: None };
    let got = field(
        &context("203.0.113.5:1", None, Some(TlsFacts { signature: Some(ed25519), ..TlsFacts::example() })),
        &trace(&client),
    );
    assert!(got.contains("\t key-exchange X25519MLKEM768 server-signature ED25519)\r\n"), "{got}");
}

#[test]
fn plaintext_says_nothing_of_tls() {
    let client = hello("client.example.net", true);
    let plain = context("203.0.113.5:1024", None, None);
    let expected = "Received: from client.example.net ([203.0.113.5])\r\n\
        \tby mx.example.com (Sealgate) with ESMTP id 4Zk9.1\r\n\
        \tfor <alice@example.com>;\r\n\
        \tSat, 21 Nov 2026 20:36:00 +0000\r\n";
    assert_eq!(field(&plain, &trace(&client)), expected);
    // Several recipients, no hello, and content that begins with a space.
    let expected = "Received: from [203.0.113.5] ([203.0.113.5])\r\n\
        \tby mx.example.com (Sealgate) with SMTP id 4Zk9.1;\r\n\
        \tSat, 21 Nov 2026 20:36:00 +0000\r\n\
        \r\n";
    assert_eq!(field(&plain, &Trace { hello: None, recipient: None, apart: true, ..trace(&client) }), expected);
}

#[test]
fn rfc3848_with_names_the_session() {
    let (ehlo, helo) = (hello("c", true), hello("c", false));
    let cases: &[(&Hello, bool, bool, bool, &str)] = &[
        (&helo, false, false, false, "SMTP"),
        (&helo, false, true, false, "SMTP"),
        (&ehlo, false, false, false, "ESMTP"),
        (&ehlo, false, false, true, "ESMTPA"),
        (&ehlo, false, true, false, "ESMTPS"),
        (&ehlo, false, true, true, "ESMTPSA"),
        (&ehlo, true, false, false, "UTF8SMTP"),
        (&ehlo, true, false, true, "UTF8SMTPA"),
        (&ehlo, true, true, false, "UTF8SMTPS"),
        (&ehlo, true, true, true, "UTF8SMTPSA"),
    ];
    for (hello, utf8, tls, user, expected) in cases {
        let context = context("203.0.113.5:1", None, tls.then(TlsFacts::example));
        let got = field(&context, &Trace { utf8: *utf8, user: user.then_some("u"), ..trace(hello) });
        assert!(got.contains(&format!(" with {expected} id 4Zk9.1\r\n")), "{expected}: {got}");
    }
}

#[test]
fn client_certificates_are_told() {
    let client = hello("c", true);
    let presented = |verified| ClientCertificate::Presented {
        common_name: "mail (a) \"b\"\r\nX: y".to_owned(),
        issuer: "Example CA".to_owned(),
        verified,
    };
    let cases = [
        (ClientCertificate::NotRequested, "\t(No client certificate requested)\r\n"),
        (ClientCertificate::NotPresented, "\t(Client did not present a certificate)\r\n"),
        (presented(true), "\t(Client CN \"mail ?a? ?b???X: y\", Issuer \"Example CA\" (verified OK))\r\n"),
        (presented(false), "\t(Client CN \"mail ?a? ?b???X: y\", Issuer \"Example CA\" (not verified))\r\n"),
    ];
    for (client_certificate, expected) in cases {
        let got = field(
            &context("203.0.113.5:1", None, Some(TlsFacts { client_certificate, ..TlsFacts::example() })),
            &trace(&client),
        );
        assert!(got.contains(expected), "{expected}: {got}");
    }
}

#[test]
fn the_user_is_named_only_where_that_is_set() {
    let client = hello("c", true);
    let mut context = context("203.0.113.5:1", None, Some(TlsFacts::example()));
    let user = Trace { user: Some("a)(b\\c\n"), ..trace(&client) };
    assert!(field(&context, &user).contains("\t(Authenticated sender: a??b?c?)\r\n"));
    context.rules = Arc::new(Rules::default());
    let got = field(&context, &user);
    assert!(!got.contains("Authenticated"), "{got}");
    assert!(got.contains("with ESMTPSA "), "{got}");
}

#[test]
fn rfc6531_names_beyond_ascii_need_smtputf8() {
    let client = hello("m\u{fc}ller.example", true);
    let context = context("203.0.113.5:1", None, None);
    let got = field(&context, &trace(&client));
    assert!(got.starts_with("Received: from m??ller.example ("), "{got}");
    assert!(got.is_ascii());
    let got = field(&context, &Trace { utf8: true, recipient: Some("\u{e9}@example.com"), ..trace(&client) });
    assert!(got.starts_with("Received: from m\u{fc}ller.example ("), "{got}");
    assert!(got.contains("\tfor <\u{e9}@example.com>;\r\n"), "{got}");
}

#[test]
fn rfc5322_2_1_1_no_line_is_too_long() {
    let client = hello(&"\u{fc}".repeat(127), true);
    let certificate =
        ClientCertificate::Presented { common_name: "c".repeat(4000), issuer: "i".repeat(4000), verified: true };
    let mut context = context(
        "[2001:db8:1111:2222:3333:4444:5555:6666]:1",
        Some(&"n".repeat(255)),
        Some(TlsFacts { client_certificate: certificate, ..tls12() }),
    );
    context.hostname = "h".repeat(255).as_str().into();
    let (user, recipient) = ("u".repeat(4000), "r".repeat(256));
    let got = field(&context, &Trace { user: Some(&user), recipient: Some(&recipient), utf8: true, ..trace(&client) });
    assert!(got.ends_with("\r\n"));
    for line in got.split_terminator("\r\n") {
        assert!(line.len() <= 998, "{} octets: {line}", line.len());
        // Where a line is too long, it is one word, or one of the two that tools look for.
        let fits =
            line.len() <= FOLD || !line.trim_start().trim_start_matches("for ").trim_start_matches("by ").contains(' ');
        assert!(fits || line.contains("(using ") || line.contains(" key-exchange "), "{line}");
        assert!(line.starts_with("Received:") || line.starts_with('\t'), "{line}");
    }
}

#[test]
fn rfc5322_3_3_dates() {
    let cases = [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 +0000"),
        (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 +0000"),
        (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
        (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 +0000"),
        (1_795_293_360, "Sat, 21 Nov 2026 20:36:00 +0000"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
    ];
    for (seconds, expected) in cases {
        let mut to = BytesMut::new();
        date(UNIX_EPOCH + Duration::from_secs(seconds), &mut to);
        assert_eq!(to, expected);
    }
}

#[test]
fn no_character_of_any_name_leaves_its_place_in_the_field() {
    let written = |name: &str| {
        let mut tls = TlsFacts::example();
        tls.client_certificate =
            ClientCertificate::Presented { common_name: name.to_owned(), issuer: name.to_owned(), verified: true };
        let client = hello(name, true);
        let trace = Trace { user: Some(name), recipient: None, ..trace(&client) };
        field(&context("203.0.113.5:1", Some(name), Some(tls)), &trace)
    };
    // The same words as those of a name without anything to it, and the same folds.
    let shape = |field: &str| field.split("\r\n").map(|line| line.split(' ').count()).collect::<Vec<_>>();
    let harmless = shape(&written("aXb"));
    for c in (0..0x300).filter_map(char::from_u32).chain("\u{2028}\u{202e}\u{feff}".chars()) {
        let field = written(&format!("a{c}b"));
        assert!(
            field.bytes().all(|octet| (b' '..=b'~').contains(&octet) || b"\r\n\t".contains(&octet)),
            "{c:?}: {field}"
        );
        assert_eq!(field.matches('\n').count(), field.matches("\r\n\t").count() + 1, "{c:?}: {field}");
        assert_eq!(field.matches('(').count(), field.matches(')').count(), "{c:?}: {field}");
        // Beyond ASCII there is a mark for each octet, which may fold a line elsewhere.
        if c.is_ascii() && c != ' ' {
            assert_eq!(shape(&field), harmless, "{c:?}: {field}");
        }
    }
}

//! What the gate understands only so far as it must, and passes: extensions, mechanisms, IDLE, COMPRESS, facts for the backend.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use crate::support::base64;
use crate::support::clients::{Tls, python, run};
use crate::support::fake::{self, Fake};
use crate::support::gate::{Gate, Setup, gate};
use crate::support::mail;
use crate::support::pki::{HOSTNAME, pki};
use crate::support::ports::has_ipv6;
use crate::support::stack::{PASSWORD, User, dovecot_with_imap_id, stack};
use crate::support::wait::PATIENCE;
use crate::support::warden;
use crate::support::wire::{Offer, Wire};

#[test]
fn parameters_of_extensions_reach_the_backend_and_its_answers_the_client() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let (sender, reader) = (stack.user(), stack.user());
    let mut wire = gate.secured("smtp", &Offer::default().config());
    // RFC 1870 §6.1: the backend's own limit, told before the content.
    let refused = wire.say(&format!("MAIL FROM:<{}> SIZE=99999999", sender.address));
    assert_eq!(refused.code, 552, "{refused:?}");
    // RFC 3461: a report that the sender asked for, with its own words in it.
    let mail = format!("MAIL FROM:<{}> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159", sender.address);
    assert_eq!(wire.say(&mail).code, 250);
    let rcpt = format!("RCPT TO:<{}> NOTIFY=SUCCESS ORCPT=rfc822;asked+2Bfor@example.net", reader.address);
    assert_eq!(wire.say(&rcpt).code, 250);
    assert_eq!(wire.say("DATA").code, 354);
    assert_eq!(wire.say("Subject: gr\u{fc}\u{df}e\r\n\r\nSch\u{f6}ne Gr\u{fc}\u{df}e\r\n.").code, 250);
    let read = reader.mail();
    assert!(
        String::from_utf8_lossy(&read).contains("Subject: gr\u{fc}\u{df}e\n"),
        "{}",
        String::from_utf8_lossy(&read)
    );
    let report = String::from_utf8_lossy(&sender.mail()).into_owned();
    for part in
        ["Original-Envelope-Id: QQ314159", "Original-Recipient: rfc822;asked+for@example.net", "Action: relayed"]
    {
        let found = report.contains(part) || (part.starts_with("Action") && report.contains("Action: delivered"));
        assert!(found, "{part}: {report}");
    }
    // The service's own answers, to what only it knows.
    for (command, code) in [("VRFY nobody@example.net", 550), ("ETRN example.net", 459), ("EXPN staff", 502)] {
        let answer = wire.say(command);
        assert!(answer.code / 100 == code / 100, "{command}: {answer:?}");
    }
}

/// One more line of the log about that user.
fn assert_logged(gate: &Gate, user: &User, parts: &[&str]) {
    gate.log.wait_for(&[&[format!("user={}", user.name).as_str()], parts].concat());
}

#[test]
fn mechanisms_of_every_kind_log_in() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let ca = pki().ca.to_str().expect("UTF-8");
    for service in ["submission", "submissions"] {
        let target = gate.target(service);
        let port = target.port.to_string();
        let starttls = target.tls == Tls::Starttls;
        // msmtp has SCRAM by GNU SASL; its lines are opaque here, but for the name in the first.
        let user = stack.user();
        let args = [
            "--host=127.0.0.1".to_owned(),
            format!("--port={port}"),
            "--tls=on".to_owned(),
            format!("--tls-starttls={}", if starttls { "on" } else { "off" }),
            format!("--tls-trust-file={ca}"),
            "--auth=scram-sha-256".to_owned(),
            format!("--user={}", user.name),
            format!("--passwordeval=echo '{PASSWORD}'"),
            format!("--from={}", user.address),
            "--".to_owned(),
            user.address.clone(),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run("msmtp", &args, &mail::mail("text\r\n")).success();
        user.mail();
        assert_logged(gate, &user, &["method=SCRAM-SHA-256", "auth=ok", "accepted=1"]);
        // LOGIN by swaks.
        let user = stack.user();
        let tls = if starttls { "--tls" } else { "--tls-on-connect" };
        let mut args = vec!["--server", "127.0.0.1", "--port", &port, tls, "--tls-verify", "--tls-ca-path", ca];
        args.extend(["--auth", "LOGIN", "--auth-user", &user.name, "--auth-password", PASSWORD]);
        args.extend(["--from", &user.address, "--to", &user.address]);
        run("swaks", &args, b"").success();
        user.mail();
        assert_logged(gate, &user, &["method=LOGIN", "auth=ok", "accepted=1"]);
    }
    // mbsync has it by Cyrus SASL.
    let user = stack.user();
    let (dir, port) = (warden::directory("scram"), gate.port("imaps"));
    let rc = dir.join("mbsyncrc");
    let path = dir.display();
    let config = format!(
        "IMAPAccount gate\nHost localhost\nPort {port}\nUser {}\nPass \"{PASSWORD}\"\nSSLType IMAPS\n\
         SystemCertificates no\nCertificateFile {ca}\nAuthMechs SCRAM-SHA-256\n\nIMAPStore far\nAccount gate\n\n\
         MaildirStore near\nPath {path}/\nInbox {path}/INBOX\n\nChannel all\nFar :far:\nNear :near:\nPatterns INBOX\n\
         Create Near\nSync Pull\nSyncState *\n",
        user.name
    );
    std::fs::write(&rc, config).expect("a file");
    run("mbsync", &["-c", rc.to_str().expect("UTF-8"), "all"], b"").success();
    assert_logged(gate, &user, &["service=imaps", "method=SCRAM-SHA-256", "auth=ok"]);
}

#[test]
fn rfc4954_4_a_login_may_fail_be_cancelled_and_tried_again() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let mut wire = gate.secured("submission", &Offer::default().config());
    assert_eq!(wire.say("AUTH LOGIN").code, 334);
    assert_eq!(wire.say("*").code, 501);
    assert_eq!(wire.say("AUTH SCRAM-SHA-256 !").code, 535);
    assert_eq!(wire.say("AUTH NONESUCH").code, 535);
    assert_eq!(wire.say("AUTH LOGIN").code, 334);
    assert_eq!(wire.say(&base64(user.name.as_bytes())).code, 334);
    assert_eq!(wire.say(&base64(b"wrong")).code, 535);
    let response = base64(format!("\0{}\0{PASSWORD}", user.name).as_bytes());
    assert_eq!(wire.say("AUTH PLAIN").code, 334);
    assert_eq!(wire.say(&response).code, 235);
    assert_eq!(wire.say("AUTH PLAIN").code, 503);
    assert_eq!(wire.say("QUIT").code, 221);
    assert_logged(gate, &user, &["event=ended", "method=PLAIN", "auth=ok", "auth_failures=3"]);
}

#[test]
fn rfc4978_a_compressed_session_is_opaque() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let user = stack.user();
    let port = gate.port("imaps").to_string();
    let ca = pki().ca.to_str().expect("UTF-8");
    let content = [mail::mail("one\r\n"), b"\x16\x03\x01 a LOGOUT {5}\r\n".repeat(50_000)].concat();
    let args = ["--port", &port, "--ca", ca, "--user", &user.name, "--password", PASSWORD];
    let read = python("compress.py", &args, &content).success();
    assert!(read.out == content, "{} octets, not {}", read.out.len(), content.len());
    // Less went over the wire than was in the mail, twice.
    let line = gate.log.wait_for(&["event=ended", "service=imaps", &format!("user={}", user.name)]);
    let count = |key: &str| -> usize {
        let value = line.split(' ').find_map(|field| field.strip_prefix(key)).expect("a count");
        value.parse().expect("a number")
    };
    assert!(count("bytes_in=") < content.len() / 10 && count("bytes_out=") < content.len() / 10, "{line}");
}

#[test]
fn rfc2177_idle_outlives_every_deadline() {
    let (stack, _shown) = stack();
    let all = ["greeting", "login", "command", "body", "reply", "delivery"].map(|name| format!("{name} = \"2s\"\n"));
    let gate = Setup::new()
        .table(&format!("[deadlines]\n{}", all.concat()))
        .listener("imaps", stack.dovecot.gated, "proxy-v2")
        .start();
    let user = stack.user();
    let mut wire = gate.secured("imaps", &Offer::default().config());
    let login = format!("LOGIN {} \"{PASSWORD}\"", user.name);
    assert!(wire.tagged("a", &login).concat().contains("a OK"));
    wire.tagged("b", "SELECT INBOX");
    let began = Instant::now();
    wire.send("c IDLE\r\n");
    assert!(wire.line().expect("a continuation").starts_with('+'));
    // The client says nothing; Dovecot says that it is there, once a second.
    while began.elapsed().as_secs() < 5 {
        assert!(wire.line().expect("word from Dovecot").starts_with("* OK Still here"));
    }
    wire.send("DONE\r\n");
    assert!(wire.line().expect("an answer").starts_with("c OK"));
    assert!(wire.tagged("d", "NOOP").concat().contains("d OK"));
}

/// The fields of a PROXY header, version 2, behind its addresses; then those inside the SSL field (section 2.2.5).
fn fields(header: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let addresses = if header[13] == 0x21 { 36 } else { 12 };
    let mut found = Vec::new();
    let mut rest = &header[16 + addresses..];
    while let [kind, high, low, behind @ ..] = rest {
        let (value, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        found.push((*kind, value.to_vec()));
        // Behind the SSL field's client and verify come fields of the same form.
        rest = if *kind == 0x20 { &rest[8..] } else { behind };
    }
    found
}

#[test]
fn a_client_certificate_is_told_to_the_log_and_to_the_backend() {
    let (tell, headers) = mpsc::channel();
    let tell = Mutex::new(tell);
    let backend = Fake::start(move |mut wire: Wire| {
        let header = wire.proxy_header();
        // The gate itself comes as somebody from TEST-NET-1.
        if header.get(16..20) == Some(&[127, 0, 0, 1]) {
            drop(tell.lock().expect("no panic").send(header));
        }
        wire.send("* OK [CAPABILITY IMAP4rev1] old ready\r\n");
        while let Some(line) = wire.line() {
            let tag = line.split(' ').next().unwrap_or_default();
            drop(wire.try_send(format!("{tag} OK done\r\n").as_bytes()));
        }
    });
    let (ca, client) = (&pki().ca, &pki().client);
    let start = |mode: &str| {
        Setup::new()
            .table(&format!("[tls]\nclient_certificates = \"{mode}\"\nclient_ca = \"{}\"", ca.display()))
            .listener("imaps", backend.port, "proxy-v2")
            .start()
    };
    let (request, require) = (start("request"), start("require"));
    let foreign = rcgen::generate_simple_self_signed(["evil.example.org".to_owned()]).expect("a certificate");
    let dir = warden::directory("foreign");
    let (chain, key) = (dir.join("foreign.pem"), dir.join("foreign.key"));
    std::fs::write(&chain, foreign.cert.pem()).expect("a file");
    std::fs::write(&key, foreign.signing_key.serialize_pem()).expect("a file");
    let connect = |gate: &Gate, files: Option<(&std::path::Path, &std::path::Path)>| {
        let address = format!("127.0.0.1:{}", gate.port("imaps"));
        let mut args =
            vec!["s_client", "-connect", &address, "-quiet", "-no_ign_eof", "-servername", HOSTNAME, "-alpn", "imap"];
        if let Some((chain, key)) = files {
            args.extend(["-cert", chain.to_str().expect("UTF-8"), "-key", key.to_str().expect("UTF-8")]);
        }
        run("openssl", &args, b"a LOGOUT\r\n")
    };
    let with = Some((client.chain.as_path(), client.key.as_path()));
    for gate in [&request, &require] {
        let log = gate.log.tail();
        connect(gate, with);
        let told = fields(&headers.recv_timeout(PATIENCE).expect("a header"));
        let field = |kind: u8| {
            let value = told.iter().find(|(found, _)| *found == kind).map(|(_, value)| value.clone());
            String::from_utf8_lossy(&value.unwrap_or_else(|| panic!("field {kind:#x}: {told:?}"))).into_owned()
        };
        assert!(field(0x20).starts_with("\x03\0\0\0\0"), "TLS, a certificate, and it is verified: {told:?}");
        assert_eq!((field(0x21).as_str(), field(0x22).as_str()), ("TLSv1.3", "client.example.org"));
        // PP2_TYPE_ALPN, PP2_TYPE_AUTHORITY, PP2_TYPE_UNIQUE_ID.
        assert_eq!((field(0x01).as_str(), field(0x02).as_str()), ("imap", HOSTNAME));
        let line = log.wait_for(&["event=ended", "client_certificate=verified"]);
        assert!(line.contains(&format!("session={} ", field(0x05))), "{line}");
        for part in ["client_cn=client.example.org", "client_issuer=\"Sealgate test authority\"", &field(0x23)] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    let log = request.log.tail();
    connect(&request, None);
    let told = fields(&headers.recv_timeout(PATIENCE).expect("a header"));
    let ssl = &told.iter().find(|(kind, _)| *kind == 0x20).expect("the SSL field").1;
    assert!(ssl[0] == 0x01 && ssl[1..5] != [0; 4] && !told.iter().any(|(kind, _)| *kind == 0x22), "{told:?}");
    log.wait_for(&["event=ended", "client_certificate=none"]);

    let evil = Some((chain.as_path(), key.as_path()));
    for (files, reason) in [(None, "client certificate required"), (evil, "client certificate rejected")] {
        let log = require.log.tail();
        connect(&require, files);
        log.wait_for(&["event=ended", "outcome=policy", reason]);
    }
    assert!(headers.try_recv().is_err(), "whoever is refused never reaches the backend");
}

#[test]
fn over_ipv6_strangers_stay_strangers_and_backends_are_found() {
    if !has_ipv6() {
        eprintln!("skipped: this host has no IPv6");
        return;
    }
    let (stack, _shown) = stack();
    let config = Offer::default().config();
    let (xclient, proxy) = (stack.postfix.xclient.smtp, stack.postfix.proxy.smtp);
    for (identity, port) in [("xclient", xclient), ("proxy-v1", proxy), ("proxy-v2", proxy)] {
        let log = stack.postfix.log.tail();
        let gate = Setup::new().listener("smtp", port, identity).start();
        let mut wire = gate.secure("smtp", gate.connect_v6("smtp"), &config);
        assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
        assert_eq!(wire.say("RCPT TO:<reader@example.org>").code, 554, "{identity}");
        log.wait_for(&["NOQUEUE: reject: RCPT from", "[::1]", "Relay access denied"]);
    }
    for (dovecot, identity) in [(&stack.dovecot, "proxy-v2"), (dovecot_with_imap_id(), "imap-id")] {
        let (gate, user) = (Setup::new().listener("imaps", dovecot.gated, identity).start(), stack.user());
        let log = dovecot.log.tail();
        let mut wire = gate.secure("imaps", gate.connect_v6("imaps"), &config);
        let login = format!("LOGIN {} \"{PASSWORD}\"", user.name);
        assert!(wire.tagged("a", &login).concat().contains("a OK"));
        log.wait_for(&["Login:", &format!("user=<{}>", user.name), "rip=::1,"]);
    }
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port");
    let backend: SocketAddr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let smtp = fake::smtp(|_, _| None);
        for stream in listener.incoming().flatten() {
            assert!(matches!(stream.peer_addr().map(|peer| peer.ip()), Ok(IpAddr::V6(_))));
            smtp(Wire::over(stream));
        }
    });
    let gate =
        Setup::new().listener_on("submissions", &backend.to_string(), "none", "allow_relay_as_proxy = true").start();
    assert_eq!(gate.secured("submissions", &config).say("NOOP").code, 250);
}

#[test]
fn what_is_offered_before_tls_follows_what_the_backend_last_said() {
    let announce = |keywords: &'static str| {
        fake::smtp(move |line, wire: &mut Wire| {
            line.starts_with("EHLO")
                .then(|| wire.try_send(format!("250-old.example.net\r\n{keywords}\r\n").as_bytes()).is_ok())
        })
    };
    let backend =
        Fake::start(announce("250-SIZE 1000\r\n250-BINARYMIME\r\n250-X-NEW\r\n250 AUTH=PLAIN SCRAM-SHA-256-PLUS"));
    let vouched = "allow_relay_as_proxy = true";
    let gate = Setup::new()
        .listener_with("smtp", backend.port, "none", vouched)
        .listener_with("submission", backend.port, "none", vouched)
        .start();
    let config = Offer::default().config();
    let before_tls = |service: &str| {
        let mut wire = gate.connect(service);
        wire.reply();
        wire.say("EHLO client.example.org").lines
    };
    let inside = |service: &str| {
        let mut wire = gate.secured(service, &config);
        wire.say("EHLO client.example.org").lines
    };
    let (ours, old) = ("mail.example.net".to_owned(), "old.example.net".to_owned());
    let lines = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    for (keywords, auth) in [(None, "AUTH=PLAIN"), (Some("250-DSN\r\n250-STARTTLS\r\n250 AUTH LOGIN"), "AUTH LOGIN")] {
        if let Some(keywords) = keywords {
            backend.instead(announce(keywords));
            // Sessions bring the news, each to its own listener.
            assert_eq!((inside("smtp").len(), inside("submission").len()), (2, 3));
        }
        let offered = if keywords.is_some() { "DSN" } else { "SIZE 1000" };
        for service in ["smtp", "submission"] {
            assert_eq!(
                before_tls(service),
                [&[ours.clone()][..], &lines(&[offered, "STARTTLS"])].concat(),
                "{service}"
            );
        }
        assert_eq!(inside("smtp"), [&[old.clone()][..], &lines(&[offered])].concat());
        assert_eq!(inside("submission"), [&[old.clone()][..], &lines(&[offered, auth])].concat());
    }
}

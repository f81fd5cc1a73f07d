use std::fmt::Write as _;
use std::io::Cursor;

use super::*;

fn summary(log: &str) -> Summary {
    let mut report = Report::new("2026-11-22T12:00:00+00:00[UTC]".parse().unwrap());
    report.read(Cursor::new(log)).unwrap();
    report.summary()
}

#[test]
fn a_line_without_end_costs_no_memory() {
    let mut input = Cursor::new(["x".repeat(LINE_LIMIT * 3), "y".to_owned()].join("\n"));
    let mut line = Vec::new();
    assert!(read_line(&mut input, &mut line).unwrap());
    assert_eq!(line.len(), LINE_LIMIT);
    line.clear();
    assert!(read_line(&mut input, &mut line).unwrap());
    assert_eq!(line, b"y");
    assert!(!read_line(&mut input, &mut line).unwrap());
}

#[test]
fn lines_are_whole_whatever_a_read_returns() {
    let log = "postfix/smtpd[1]: Anonymous TLS connection established from a[192.0.2.1]: TLSv1.2 with cipher AES256-SHA (256/256 bits)\n\n\
               event=ended service=smtp client=192.0.2.2 outcome=policy reason=no\nlast";
    let whole = summary(log);
    assert_eq!((whole.lines, whole.tls_sessions, whole.failures.len()), (4, 1, 1));
    for size in 1..60 {
        let mut report = Report::new("2026-11-22T12:00:00+00:00[UTC]".parse().unwrap());
        report.read(io::BufReader::with_capacity(size, log.as_bytes())).unwrap();
        assert_eq!(report.summary(), whole, "read {size} octets at a time");
    }
}

#[test]
fn a_reason_is_one_in_whatever_form_it_was_logged() {
    let log = "event=ended service=imaps client=192.0.2.2 outcome=policy reason=\"client offered no supported TLS version\"\n\
        {\"event\":\"ended\",\"service\":\"imaps\",\"client\":\"192.0.2.2\",\"outcome\":\"policy\",\
        \"reason\":\"client offered no supported TLS version\"}\n\
        dovecot: imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>, rip=192.0.2.2, lip=192.0.2.1, \
        TLS handshaking: SSL_accept() failed: client offered no supported TLS version, session=<X>\n\
        postfix/smtpd[1]: SSL_accept error from unknown[192.0.2.2]: Connection timed out\n\
        event=ended service=smtp client=192.0.2.2 outcome=timeout reason=\"connection timed out\"\n";
    let failures = summary(log).failures;
    let counted: Vec<_> = failures.iter().map(|failure| (failure.reason.as_str(), failure.count)).collect();
    assert_eq!(counted, [("client offered no supported TLS version", 3), ("connection timed out", 2)]);
}

#[test]
fn what_strangers_wrote_into_a_log_does_nothing_to_a_terminal() {
    let summary = summary(
        "{\"event\":\"secured\",\"service\":\"a\\u001b[2Jb\",\"client\":\"192.0.2.2\",\"tls_version\":\"c\\u009bd\",\
         \"cipher\":\"e\\u0007f\",\"group\":\"g\\u0000h\"}\n\
         event=ended service=imaps client=192.0.2.2 outcome=policy reason=\"i\rj\"\n",
    );
    let table = summary.to_string().replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
    let acts = |c: &char| c.is_control() && *c != '\n';
    assert_eq!(table.chars().find(acts), None, "{table:?}");
    for name in ["a?[2Jb", "c?d", "e?f", "g?h", "i?j"] {
        assert!(table.contains(name), "{name} in {table}");
    }
}

#[test]
fn clients_beyond_the_limit_are_counted_together() {
    let mut log = String::new();
    for n in 0..CLIENTS + 7 {
        let client = std::net::Ipv6Addr::from(n as u128);
        writeln!(log, "event=secured service=smtp client={client} tls_version=TLSv1.2 cipher=AES256-SHA").unwrap();
    }
    let summary = summary(&log);
    assert_eq!(summary.tls_sessions, CLIENTS as u64 + 7);
    assert_eq!(summary.locked_out.sessions_of_other_clients, 7);
    assert_eq!(summary.locked_out.modern.always, CLIENTS as u64);
    let listed = summary.locked_out.modern.clients.len() as u64;
    assert_eq!(listed + summary.locked_out.modern.more, CLIENTS as u64);
}

#[test]
fn names_and_reasons_beyond_the_limit_are_counted_together() {
    let mut log = String::new();
    for n in 0..NAMES + 3 {
        writeln!(log, "event=secured service=s{n} client=192.0.2.1 tls_version=TLSv1.3 cipher=C{n}").unwrap();
        writeln!(log, "event=ended service=smtp client=192.0.2.1 outcome=policy reason=r{n}").unwrap();
    }
    let summary = summary(&log);
    assert_eq!(summary.ciphers.len(), NAMES + 1);
    let last = &summary.ciphers.last().unwrap().share;
    assert_eq!((last.name.as_str(), last.count), ("other", 3));
    assert_eq!((summary.failures.len(), summary.failures_of_other_reasons), (NAMES, 3));
}

#[test]
fn failures_that_wait_for_a_reason_are_bounded() {
    let mut log = String::new();
    for n in 0..NAMES + 5 {
        writeln!(log, "postfix/smtpd[{n}]: SSL_accept error from unknown[192.0.2.1]: -1").unwrap();
    }
    let why = "warning: TLS library problem: error:0A0000C1:SSL routines::no shared cipher:x.c:1:";
    // The second belongs to a process beyond the limit, whose failure has been counted already.
    writeln!(log, "postfix/smtpd[3]: {why}\npostfix/smtpd[{}]: {why}", NAMES + 4).unwrap();
    let summary = summary(&log);
    let reasons: Vec<_> = summary.failures.iter().map(|failure| (failure.reason.as_str(), failure.count)).collect();
    assert_eq!(reasons, [(NOT_LOGGED, NAMES as u64 + 4), ("no shared cipher", 1)]);
}

#[test]
fn what_strangers_say_in_other_programs_lines_is_not_counted() {
    let lines = [
        "Nov 21 22:34:04 mail postfix/smtpd[1]: warning: non-SMTP command from x[192.0.2.1]: event=secured service=smtp tls_version=TLSv1",
        "Nov 21 22:34:04 mail postfix/smtpd[1]: event=secured service=smtp client=192.0.2.1 tls_version=TLSv1",
        "Nov 21 22:34:04 mail postfix/cleanup[1]: 1: warning: header Subject: TLS connection established from x[192.0.2.1]: TLSv1 with cipher X (1/1 bits)",
        "Nov 21 22:34:04 mail other: {\"event\":\"secured\",\"service\":\"smtp\",\"tls_version\":\"TLSv1\"}",
        "{\"event\":\"started\",\"service\":\"smtp\"}",
    ];
    for line in lines {
        let summary = summary(line);
        assert_eq!((summary.lines, summary.relevant, summary.broken), (1, 0, 0), "{line}");
    }
}

/// What a script reads.
fn json(log: &str) -> serde_json::Value {
    serde_json::to_value(summary(log)).unwrap()
}

/// The table without colours.
fn table(log: &str) -> String {
    summary(log).to_string().replace("\u{1b}[1m", "").replace("\u{1b}[0m", "")
}

const BEHIND_THE_GATE: &str = "Nov 21 22:36:27 mail dovecot: imap-login: Login: user=<bob>, method=PLAIN, rip=203.0.113.5, \
    lip=192.0.2.10, mpid=26336, secured, session=<lTaM/dBgPud/AAAB>\n";

#[test]
fn a_login_through_the_gate_is_one_session_in_both_logs_together() {
    let gate = [
        "event=secured service=imaps client=203.0.113.5 tls_version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 group=x25519\n",
        "{\"event\":\"secured\",\"service\":\"imaps\",\"client\":\"203.0.113.5\",\"tls_version\":\"TLSv1.3\",\
         \"cipher\":\"TLS_AES_256_GCM_SHA384\",\"group\":\"x25519\"}\n",
        "Nov 21 22:36:27 mail sealgate: imap-login: Login: user=<bob>, method=PLAIN, rip=203.0.113.5, lip=192.0.2.10, TLS, \
         session=<HODRO0OYWH>, TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\n",
    ];
    for gate in gate {
        let both = json(&[gate, BEHIND_THE_GATE].concat());
        assert_eq!(both["relevant"], 2, "{both}");
        assert_eq!((&both["tls_sessions"], &both["plaintext_sessions"]), (&1.into(), &0.into()), "{both}");
        assert_eq!(both["proxied_or_local_logins"], 1, "{both}");
        assert_eq!(both["services"], json(gate)["services"], "{both}");
    }
    let shown = table(&[gate[0], BEHIND_THE_GATE].concat());
    let row = shown.lines().find(|line| line.contains("behind a proxy")).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.split_whitespace().any(|word| word == "1"), "{row}");
    let alone = table(BEHIND_THE_GATE);
    assert!(alone.contains("1 login came through a proxy or from the server's own host"), "{alone}");
}

#[test]
fn what_dovecot_says_of_a_login_tells_how_it_came() {
    // TLS sessions, plaintext sessions, and what is neither.
    let cases = [
        ("mpid=1, secured, session=<x>", (0, 0, 1)),
        ("mpid=1, secured", (0, 0, 1)),
        ("mpid=1, TLS, session=<x>", (1, 0, 0)),
        ("mpid=1, TLS, session=<x>, (proxied)", (0, 0, 1)),
        ("mpid=1, session=<x>", (0, 1, 0)),
        ("mpid=1, session=<secured>", (0, 1, 0)),
    ];
    for (facts, counts) in cases {
        let login = json(&format!(
            "dovecot: imap-login: Login: user=<a, secured, TLS>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, {facts}\n"
        ));
        let count = |key: &str| login[key].as_u64();
        let found = (count("tls_sessions"), count("plaintext_sessions"), count("proxied_or_local_logins"));
        assert_eq!(found, (Some(counts.0), Some(counts.1), Some(counts.2)), "{facts}");
        let broken_off = "dovecot: imap-login: Disconnected (no auth attempts): rip=192.0.2.1, lip=192.0.2.2, ";
        let tls = u64::from(counts.0 > 0);
        assert_eq!(json(&format!("{broken_off}{facts}\n"))["relevant"], tls, "{facts}");
    }
}

#[test]
fn a_login_is_found_in_the_log_of_every_dovecot() {
    let login = "Login: user=<a>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, TLS\n";
    for before in [
        "Nov 21 22:36:05 mail dovecot: imap-login: ",
        "dovecot: Nov 21 22:36:05 Info: imap-login: ", // 1.0 to 1.2, in a file of its own
        "Nov 21 22:36:05 imap-login: Info: ",
    ] {
        let found = json(&format!("{before}{login}"));
        assert_eq!((&found["tls_sessions"], found["first"].is_null()), (&1.into(), false), "{found}");
    }
}

#[test]
fn nobody_is_said_to_be_locked_out_only_while_nobody_was() {
    let modern = "event=secured service=imaps client=203.0.113.5 tls_version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384\n";
    let failed = |reason: &str| {
        [
            format!("event=ended service=smtp client=192.0.2.2 outcome=policy reason=\"{reason}\"\n"),
            format!(
                "sealgate/smtpd[1]: SSL_accept error from unknown[192.0.2.2]: -1\n\
                 sealgate/smtpd[1]: warning: TLS library problem: {reason}: client offered versions=TLSv1\n"
            ),
            format!(
                "postfix/smtpd[1]: SSL_accept error from unknown[192.0.2.2]: -1\n\
                 postfix/smtpd[1]: warning: TLS library problem: error:0A0000C1:SSL routines::{reason}:x.c:1:\n"
            ),
        ]
    };
    let cases = [
        ("client offered no supported TLS version", true),
        ("no common cipher suite", true),
        ("no common group", true),
        ("no common signature scheme", true),
        ("SSLv2 ClientHello", true),
        ("no shared cipher", true),
        ("unsupported protocol", true),
        ("not TLS: HTTP request", false),
        ("client sent alert: protocol_version", false),
        ("wrong version number", false),
    ];
    for (reason, lacking) in cases {
        for failure in failed(reason).iter().filter(|line| !(reason.contains(':') && line.contains("error:"))) {
            let log = [modern, failure].concat();
            let shown = table(&log);
            assert_eq!(shown.contains("nobody was seen"), !lacking, "{log}{shown}");
            assert_eq!(shown.matches(&format!("{reason} (1)")).count(), if lacking { 2 } else { 0 }, "{log}{shown}");
            let json = json(&log);
            assert_eq!(json["failures"][0]["reason"], reason, "{json}");
            assert_eq!(json["failures"][0]["nothing_in_common"], lacking, "{json}");
            assert_eq!(json["locked_out"]["failed_handshakes"], u64::from(lacking), "{json}");
        }
    }
}

#[test]
fn failures_of_who_is_locked_out_are_told_apart_beyond_the_limit() {
    let mut log = String::new();
    for n in 0..NAMES {
        writeln!(log, "event=ended service=smtp client=192.0.2.1 outcome=policy reason=r{n}").unwrap();
    }
    log.push_str("event=ended service=smtp client=192.0.2.1 outcome=policy reason=\"no common cipher suite\"\n");
    assert_eq!(json(&log)["locked_out"]["failed_handshakes"], 1);
    assert_eq!(json(&log)["failures_of_other_reasons"], 0);
}

#[test]
fn a_compressed_log_is_refused_with_the_tool_that_reads_it() {
    let cases: [(&[u8], &str); 4] = [
        (b"\x1f\x8b\x08\0\n", "zcat"),
        (b"\xfd7zXZ\0\0\x04\n", "xzcat"),
        (b"\x28\xb5\x2f\xfd\x04\n", "zstdcat"),
        (b"BZh91AY&SY\n", "bzcat"),
    ];
    for (file, tool) in cases {
        for size in 1..8 {
            let mut report = Report::new("2026-11-22T12:00:00+00:00[UTC]".parse().unwrap());
            report.read(Cursor::new("a line\n")).unwrap();
            let error = report.read(io::BufReader::with_capacity(size, file)).unwrap_err();
            let advice = format!("pipe it in: {tool} … | sealgate report -");
            assert!(error.to_string().contains(&advice), "{tool}, read {size} octets at a time: {error}");
        }
    }
    for text in ["", "\n", "BZ", "event=x\nBZh9"] {
        assert_eq!(summary(text).lines, text.lines().count() as u64, "{text:?}");
    }
}

use std::io;

use sealgate::config::BackendAddr;
use sealgate::protocol::{BareNewline, Service};

use super::*;
use crate::cli::check::finding::Verdict;

fn backend() -> BackendAddr {
    BackendAddr::Tcp("127.0.0.1:10025".parse().unwrap())
}

fn listener(service: &str, identity: ClientIdentity) -> Listener {
    Listener {
        service: Service::by_name(service).unwrap(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        backends: vec![backend()],
        identity,
        relay_as_proxy: identity == ClientIdentity::None,
        accept_proxy_from: Vec::new(),
        connections: std::num::NonZeroUsize::MIN,
        bare_newline: BareNewline::Normalize,
    }
}

fn seen(announced: &[&str]) -> Result<Seen, ConnectError> {
    Ok(Seen { announced: announced.iter().map(ToString::to_string).collect(), ..Seen::default() })
}

fn unreachable() -> ConnectError {
    ConnectError::Dial { backend: backend(), source: io::ErrorKind::ConnectionRefused.into() }
}

fn preauth() -> ConnectError {
    ConnectError::Refused { backend: backend(), step: "greeting", reply: "* PREAUTH hello; you".into() }
}

type Takes = Vec<(ClientIdentity, Result<(), ConnectError>)>;

fn takes(taken: &[ClientIdentity]) -> Takes {
    let tried = [ClientIdentity::Xclient, ClientIdentity::ProxyV2];
    tried.map(|identity| (identity, if taken.contains(&identity) { Ok(()) } else { Err(unreachable()) })).into()
}

/// What is told: the verdicts, and all messages and advice.
fn told(
    listener: &Listener,
    seen: Result<Seen, ConnectError>,
    takes: Takes,
    test: Option<SelfTest>,
) -> (Vec<Verdict>, String) {
    let mut all = Vec::new();
    let answers = Answers { probe: Probe { seen, takes }, self_test: test, exposure: None };
    tell(listener, answers, &mut Findings::new("backend", "x", &mut all));
    let verdicts = all.iter().map(|finding| finding.verdict).collect();
    let text = all.iter().map(|f| format!("{}\n{}\n", f.message, f.advice.as_deref().unwrap_or_default())).collect();
    (verdicts, text)
}

#[test]
fn a_backend_in_order_is_told_with_what_it_announces_and_takes() {
    use ClientIdentity::{ProxyV2, Xclient};
    use Verdict::Ok;
    let refused = Some(SelfTest::Refused { reply: "554 5.7.1 Relay access denied".into() });
    let announced = seen(&["PIPELINING", "SIZE 10240000", "AUTH PLAIN LOGIN"]);
    let (verdicts, text) = told(&listener("submission", ProxyV2), announced, takes(&[ProxyV2, Xclient]), refused);
    assert_eq!(verdicts, [Ok, Ok, Ok], "{text}");
    for expected in
        ["announces PIPELINING, SIZE 10240000, AUTH PLAIN LOGIN", "\"xclient\" or \"proxy-v2\"", "554 5.7.1"]
    {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_backend_where_nobody_could_log_in_fails() {
    use ClientIdentity::ProxyV2;
    use Verdict::{Fail, Ok};
    for (service, announced, verdicts, expected) in [
        ("smtp", &["PIPELINING"][..], &[Ok, Ok][..], ""),
        ("submission", &["PIPELINING"], &[Ok, Fail, Ok], "smtpd_tls_auth_only=no"),
        ("submissions", &["AUTHENTIC", "AUTH=PLAIN"], &[Ok, Fail, Ok], "does not offer AUTH"),
        ("imap", &["IMAP4rev1", "LOGINDISABLED"], &[Ok, Fail, Ok], "disable_plaintext_auth"),
        ("imaps", &["IMAP4rev1", "AUTH=PLAIN"], &[Ok, Ok], ""),
    ] {
        let (found, text) = told(&listener(service, ProxyV2), seen(announced), takes(&[ProxyV2]), None);
        assert_eq!(found, verdicts, "{service}: {text}");
        assert!(text.contains(expected), "{service}: {text}");
    }
}

#[test]
fn a_backend_that_cannot_be_used_fails_and_says_which_identity_it_takes() {
    use ClientIdentity::{ProxyV2, Xclient};
    use Verdict::Fail;
    let (verdicts, text) = told(&listener("smtp", Xclient), Err(unreachable()), takes(&[]), None);
    assert_eq!(verdicts, [Fail], "{text}");
    assert!(text.contains("cannot connect to backend 127.0.0.1:10025"), "{text}");
    let not_announced = Err(ConnectError::XclientNotAnnounced { backend: backend() });
    let (verdicts, text) = told(&listener("smtp", Xclient), not_announced, takes(&[ProxyV2]), None);
    assert_eq!(verdicts, [Fail, Fail], "{text}");
    assert!(text.contains("set client_identity = \"proxy-v2\""), "{text}");
    let (verdicts, text) = told(&listener("imap", ProxyV2), Err(preauth()), takes(&[]), None);
    assert_eq!(verdicts, [Fail], "{text}");
    assert!(text.contains("takes everybody for a user who is logged in: * PREAUTH hello; you"), "{text}");
    let smtp = ConnectError::Refused { backend: backend(), step: "greeting", reply: "220 mx ESMTP".into() };
    let (_, text) = told(&listener("imap", ClientIdentity::None), Err(smtp), takes(&[]), None);
    assert_eq!(text, "it speaks SMTP: 220 mx ESMTP\nname the port on which it speaks IMAP\n");
}

#[test]
fn what_to_do_begins_behind_what_the_backend_said() {
    let identity = ClientIdentity::ProxyV2;
    let errors = [
        ConnectError::ProxyNotUnderstood { backend: backend(), identity, reply: "500 no; never".into() },
        ConnectError::XclientRefused { backend: backend(), reply: "550 no; never".into() },
        ConnectError::IdNotTaken { backend: backend() },
        unreachable(),
    ];
    for (error, advice) in errors.iter().zip(["set smtpd_", "add the address", "choose another", "check that it runs"])
    {
        let (message, told) = in_two(&error.to_string());
        assert!(told.starts_with(advice), "{message}\n{told}");
        // A log in Postfix's form shows anything else as a question mark.
        assert!(error.to_string().is_ascii(), "{error}");
    }
}

#[test]
fn an_open_relay_fails_and_a_doubt_warns() {
    use ClientIdentity::{None, ProxyV2};
    use Verdict::{Fail, Ok, Warn};
    let reply = || "250 2.1.5 Ok; really".to_owned();
    for (identity, test, verdict, expected) in [
        (ProxyV2, SelfTest::Relays { reply: reply(), identity: ProxyV2 }, Fail, "reject_unauth_destination"),
        (ProxyV2, SelfTest::Deferred { reply: "450 4.7.1 greylisted".into() }, Warn, "greylists"),
        (ProxyV2, SelfTest::Unreachable(unreachable()), Fail, "cannot connect"),
        (None, SelfTest::Skipped, Warn, "allow_relay_as_proxy"),
    ] {
        let taken = if identity == None { takes(&[]) } else { takes(&[identity]) };
        let (verdicts, text) = told(&listener("smtp", identity), seen(&[]), taken, Some(test));
        assert_eq!(verdicts, [Ok, Ok, verdict], "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_backend_that_could_be_told_who_the_client_is_should_be() {
    use ClientIdentity::{ImapId, None, ProxyV2};
    let (_, text) = told(&listener("imaps", ImapId), seen(&["IMAP4rev1"]), takes(&[]), Option::None);
    assert!(text.contains("it sees our address as every client's\nwrite \"none\""), "{text}");
    let only_id = vec![(ProxyV2, Err(unreachable())), (ImapId, Ok(()))];
    let (_, text) = told(&listener("imaps", None), seen(&["IMAP4rev1"]), only_id, Option::None);
    assert!(
        text.contains("set client_identity = \"imap-id\", and our address in its login_trusted_networks"),
        "{text}"
    );
    let (verdicts, text) = told(&listener("imaps", None), seen(&["IMAP4rev1"]), takes(&[ProxyV2]), Option::None);
    assert_eq!(verdicts, [Verdict::Ok, Verdict::Warn], "{text}");
    assert!(text.contains("set client_identity = \"proxy-v2\""), "{text}");
}

#[test]
fn what_the_backend_alone_leaves_open_is_told() {
    use ClientIdentity::{ProxyV2, Xclient};
    use Verdict::{Note, Warn};
    let told = |listener: &Listener, exposure: &Exposure| {
        let mut all = Vec::new();
        tell_exposure(listener, exposure, &mut Findings::new("backend", "x", &mut all));
        all.into_iter()
            .map(|f| (f.verdict, format!("{} {}", f.message, f.advice.unwrap_or_default())))
            .collect::<Vec<_>>()
    };
    let smtp = listener("smtp", ProxyV2);
    assert_eq!(told(&smtp, &Exposure::default()), []);
    let elsewhere = Exposure { elsewhere: vec!["192.0.2.9:10025".parse().unwrap()], ..Exposure::default() };
    for (service, expected) in [("smtp", "master.cf"), ("imaps", "inet_listener")] {
        let found = told(&listener(service, ProxyV2), &elsewhere);
        assert!(
            matches!(&found[..], [(Warn, text)] if text.contains("192.0.2.9:10025") && text.contains(expected)),
            "{found:?}"
        );
    }
    let xclient = Exposure { xclient: true, ..Exposure::default() };
    assert!(matches!(&told(&smtp, &xclient)[..], [(Warn, text)] if text.contains("smtpd_authorized_xclient_hosts")));
    assert_eq!(told(&listener("smtp", Xclient), &xclient), []);
    let lenient = Exposure { bare_newline: true, ..Exposure::default() };
    assert!(matches!(&told(&smtp, &lenient)[..], [(Note, text)] if text.contains("CVE-2023-51764")));
}

#[test]
fn a_rule_that_answers_a_stranger_at_once_is_no_failure() {
    use Verdict::{Fail, Note, Warn};
    let away = || Err(ConnectError::Refused { backend: backend(), step: "greeting", reply: "450 4.7.1 who?".into() });
    let deferred = || Some(SelfTest::Deferred { reply: "450 4.7.1 who?".into() });
    let (verdicts, text) = told(&listener("smtp", ClientIdentity::ProxyV2), away(), takes(&[]), deferred());
    assert_eq!(verdicts, [Note, Warn], "{text}");
    assert!(text.contains("smtpd_delay_reject"), "{text}");
    // Those who would log in never get so far.
    let (verdicts, text) = told(&listener("submission", ClientIdentity::ProxyV2), away(), takes(&[]), None);
    assert_eq!(verdicts, [Fail], "{text}");
}

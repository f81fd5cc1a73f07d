//! The Received field is exact to docs/formats.md, and tells what the client saw of its TLS.

use std::net::Ipv4Addr;

use rustls::{NamedGroup, ProtocolVersion, SignatureScheme};

use crate::support::base64;
use crate::support::clients::run as run_program;
use crate::support::dns::Zone;
use crate::support::gate::{BEHIND_BALANCER, Gate, Setup, gate};
use crate::support::mail;
use crate::support::pki::{HOSTNAME, pki};
use crate::support::ports::has_ipv6;
use crate::support::stack::{PASSWORD, User, stack};
use crate::support::wire::{Offer, Wire};

const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The field of the mail that the user got, with its variable parts replaced.
fn field(user: &User) -> String {
    let received = mail::received(&user.mail());
    assert_eq!(received.len(), 2, "Postfix's own and ours: {received:?}");
    let field = received[1].clone();
    let (head, rest) = field.split_once(" id ").unwrap_or_else(|| panic!("an id in {field}"));
    let (id, rest) = rest.split_once(['\n', ';']).unwrap_or_else(|| panic!("a line behind the id in {field}"));
    let (session, number) = id.split_once('.').unwrap_or_else(|| panic!("session and number in {id}"));
    assert!(session.bytes().all(|octet| octet.is_ascii_alphanumeric()) && number == "1", "{id}");
    let end = if rest.starts_with('\t') { "\n" } else { ";\n" };
    let rest = rest.strip_prefix('\n').unwrap_or(rest);
    let (clauses, date) = rest.trim_end().rsplit_once("\t").unwrap_or_else(|| panic!("a date in {field}"));
    assert_date(date);
    format!("{head} id ID{end}{clauses}\tDATE\n")
}

fn assert_date(date: &str) {
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let words: Vec<&str> = shape.split(' ').collect();
    let [day, "00", month, "0000", "00:00:00", "+0000"] = words[..] else { panic!("not RFC 5322 §3.3: {date}") };
    assert!("Mon,Tue,Wed,Thu,Fri,Sat,Sun,".contains(day), "{date}");
    assert!("JanFebMarAprMayJunJulAugSepOctNovDec".contains(month), "{date}");
}

/// What the field must say of the connection, in the client's words.
fn security(wire: &Wire, signature: &str) -> (String, String) {
    let tls = wire.tls_state();
    let version = match tls.protocol_version().expect("a version") {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        other => panic!("{other:?}"),
    };
    let suite = format!("{:?}", tls.negotiated_cipher_suite().expect("a suite").suite());
    let iana = suite.replace("TLS13_", "TLS_");
    let openssl = match suite.strip_prefix("TLS_ECDHE_") {
        // OpenSSL's names of the TLS 1.2 suites: ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-CHACHA20-POLY1305.
        Some(rest) => {
            let rest = rest.replace("_WITH", "").replace("AES_", "AES").replace("POLY1305_SHA256", "POLY1305");
            format!("ECDHE-{}", rest.replace('_', "-"))
        }
        None => iana.clone(),
    };
    let bits = if suite.contains("128") { 128 } else { 256 };
    let (postfix, group) = match tls.negotiated_key_exchange_group().expect("a group").name() {
        NamedGroup::X25519MLKEM768 => ("X25519MLKEM768", "X25519MLKEM768"),
        NamedGroup::X25519 => ("X25519", "x25519"),
        NamedGroup::secp256r1 => ("ECDHE (P-256)", "secp256r1"),
        NamedGroup::secp384r1 => ("ECDHE (P-384)", "secp384r1"),
        other => panic!("{other:?}"),
    };
    let comment = format!(
        "\t(using {version} with cipher {openssl} ({bits}/{bits} bits)\n\t key-exchange {postfix}{signature})\n\
         \t(No client certificate requested)\n"
    );
    (comment, format!("tls {iana} group {group};"))
}

/// One mail; what its field must be.
struct Case {
    service: &'static str,
    offer: Offer,
    signature: &'static str,
    bdat: bool,
    utf8: bool,
    with: &'static str,
    v6: bool,
}

fn run(gate: &Gate, case: Case) {
    let (stack, _shown) = stack();
    let user = stack.user();
    let name = format!("{} {} bdat={} v6={}", case.service, case.with, case.bdat, case.v6);
    let wire = if case.v6 { gate.connect_v6(case.service) } else { gate.connect(case.service) };
    let mut wire = gate.secure(case.service, wire, &case.offer.config());
    if case.service != "smtp" {
        log_in(&mut wire, &user);
    }
    let parameter = if case.utf8 { " SMTPUTF8" } else { "" };
    let sender = if case.utf8 { "grüße@example.net" } else { "sender@example.net" };
    assert_eq!(wire.say(&format!("MAIL FROM:<{sender}>{parameter}")).code, 250, "{name}");
    assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250, "{name}");
    send(&mut wire, case.bdat);
    let (comment, clause) = security(&wire, case.signature);
    assert_eq!(wire.say("QUIT").code, 221, "{name}");

    let literal = if case.v6 { "[IPv6:::1]" } else { "[127.0.0.1]" };
    let clauses = format!("\tfor <{}> {clause}\n", user.address);
    let clauses = if clauses.trim_end().len() <= 78 { clauses } else { clauses.replace(" group", "\n\tgroup") };
    assert_eq!(
        field(&user),
        format!(
            "Received: from client.example.org ({literal})\n{comment}\tby {HOSTNAME} (Sealgate) with {} id ID\n\
             {clauses}\tDATE\n",
            case.with
        ),
        "{name}"
    );
}

fn log_in(wire: &mut Wire, user: &User) {
    let response = format!("\0{}\0{PASSWORD}", user.name);
    assert_eq!(wire.say(&format!("AUTH PLAIN {}", base64(response.as_bytes()))).code, 235);
}

fn send(wire: &mut Wire, bdat: bool) {
    let content = String::from_utf8(mail::mail("text\r\n")).expect("ASCII");
    if bdat {
        wire.send(format!("BDAT 10\r\n{}BDAT {} LAST\r\n{}", &content[..10], content.len() - 10, &content[10..]));
        assert_eq!((wire.reply().code, wire.reply().code), (250, 250));
    } else {
        assert_eq!(wire.say("DATA").code, 354);
        assert_eq!(wire.say(&format!("{content}.")).code, 250);
    }
}

const RSA_PSS: &str = " server-signature RSA-PSS (2048 bits) server-digest SHA256";
const RSA: &str = " server-signature RSA (2048 bits) server-digest SHA256";
const ECDSA: &str = " server-signature ECDSA (P-256) server-digest SHA256";

fn offer(
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    group: NamedGroup,
    scheme: SignatureScheme,
) -> Offer {
    Offer { versions: Some(versions), groups: Some(vec![group]), signatures: Some(vec![scheme]), no_sni: false }
}

#[test]
fn the_field_is_exact_for_versions_keys_groups_and_ways() {
    use NamedGroup as G;
    use SignatureScheme as S;
    let (gate, _shown) = gate();
    let case =
        |service, offer, signature, bdat, with| Case { service, offer, signature, bdat, utf8: false, with, v6: false };
    let cases = [
        case("smtp", offer(TLS13, G::X25519MLKEM768, S::ECDSA_NISTP256_SHA256), ECDSA, false, "ESMTPS"),
        case("smtp", offer(TLS13, G::X25519, S::RSA_PSS_SHA256), RSA_PSS, true, "ESMTPS"),
        case("smtp", offer(TLS12, G::secp256r1, S::RSA_PKCS1_SHA256), RSA, false, "ESMTPS"),
        case("submission", offer(TLS12, G::secp384r1, S::RSA_PKCS1_SHA256), RSA, true, "ESMTPSA"),
        case("submission", offer(TLS12, G::secp256r1, S::ECDSA_NISTP256_SHA256), ECDSA, true, "ESMTPSA"),
        case("submission", offer(TLS13, G::secp256r1, S::RSA_PSS_SHA256), RSA_PSS, false, "ESMTPSA"),
        case("submissions", offer(TLS13, G::X25519MLKEM768, S::ECDSA_NISTP256_SHA256), ECDSA, true, "ESMTPSA"),
        case("submissions", offer(TLS12, G::X25519, S::RSA_PSS_SHA256), RSA_PSS, false, "ESMTPSA"),
    ];
    for case in cases {
        run(gate, case);
    }
}

#[test]
fn rfc6531_smtputf8_has_its_own_with() {
    let (gate, _shown) = gate();
    for (service, bdat, with) in [("smtp", false, "UTF8SMTPS"), ("submissions", true, "UTF8SMTPSA")] {
        let offer = offer(TLS13, NamedGroup::X25519, SignatureScheme::ECDSA_NISTP256_SHA256);
        run(gate, Case { service, offer, signature: ECDSA, bdat, utf8: true, with, v6: false });
    }
}

#[test]
fn rfc5321_4_1_3_an_ipv6_client_is_shown_as_a_literal() {
    if !has_ipv6() {
        eprintln!("skipped: this host has no IPv6");
        return;
    }
    let (gate, _shown) = gate();
    let offer = offer(TLS13, NamedGroup::X25519, SignatureScheme::ECDSA_NISTP256_SHA256);
    run(gate, Case { service: "smtp", offer, signature: ECDSA, bdat: false, utf8: false, with: "ESMTPS", v6: true });
}

#[test]
fn a_resumed_session_has_no_signature() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let config = Offer { versions: Some(TLS13), ..Offer::default() }.config();
    // Reading an answer takes in the tickets, too.
    assert_eq!(gate.secured("smtp", &config).say("NOOP").code, 250);
    let user = stack.user();
    let mut wire = gate.secured("smtp", &config);
    assert_eq!(wire.tls_state().handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    wire.say("MAIL FROM:<sender@example.net>");
    wire.say(&format!("RCPT TO:<{}>", user.address));
    send(&mut wire, false);
    let (comment, _) = security(&wire, "");
    assert!(field(&user).contains(&comment), "{}", field(&user));
}

#[test]
fn plaintext_on_25_has_no_tls_in_the_field() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    for (hello, with) in [("EHLO", "ESMTP"), ("HELO", "SMTP")] {
        let user = stack.user();
        let mut wire = gate.connect("smtp");
        wire.reply();
        assert_eq!(wire.say(&format!("{hello} client.example.org")).code, 250);
        assert_eq!(wire.say("MAIL FROM:<sender@example.net>").code, 250);
        assert_eq!(wire.say(&format!("RCPT TO:<{}>", user.address)).code, 250);
        send(&mut wire, false);
        assert_eq!(
            field(&user),
            format!(
                "Received: from client.example.org ([127.0.0.1])\n\tby {HOSTNAME} (Sealgate) with {with} id ID\n\
                 \tfor <{}>;\n\tDATE\n",
                user.address
            )
        );
    }
}

#[test]
fn rfc5321_7_2_two_recipients_are_not_shown_to_each_other() {
    let (gate, _shown) = gate();
    let (stack, _stack_shown) = stack();
    let (one, two) = (stack.user(), stack.user());
    let mut wire = gate.secured("smtp", &Offer::default().config());
    wire.say("MAIL FROM:<sender@example.net>");
    wire.say(&format!("RCPT TO:<{}>", one.address));
    wire.say(&format!("RCPT TO:<{}>", two.address));
    send(&mut wire, false);
    for user in [one, two] {
        let field = field(&user);
        assert!(!field.contains("for <") && field.contains(" group "), "{field}");
    }
}

#[test]
fn the_user_is_shown_where_the_administrator_wants_it_and_the_name_where_it_is_known() {
    let (stack, _shown) = stack();
    let client = Ipv4Addr::new(198, 51, 100, 3);
    let dns = Zone::default().ptr(client, "client.example.com").a("client.example.com", client).serve();
    let gate = Setup::new()
        .line(&format!("dns = [\"{}\"]", dns.address))
        .table("[received]\nuser = true")
        .listener_with("submissions", stack.postfix.xclient.submission, "xclient", BEHIND_BALANCER)
        .start();
    let user = stack.user();
    let wire = gate.connect_for(client, "submissions");
    let mut wire = gate.secure("submissions", wire, &Offer::default().config());
    log_in(&mut wire, &user);
    wire.say("MAIL FROM:<sender@example.net>");
    wire.say(&format!("RCPT TO:<{}>", user.address));
    send(&mut wire, false);
    let field = field(&user);
    let from = "Received: from client.example.org (client.example.com [198.51.100.3])\n\t(using TLSv1.3";
    assert!(field.starts_with(from), "{field}");
    assert!(field.contains(&format!("\n\t(Authenticated sender: {})\n\tby ", user.name)), "{field}");
}

#[test]
fn a_client_certificate_is_named_in_the_field() {
    let (stack, _shown) = stack();
    let (ca, client) = (&pki().ca, &pki().client);
    let gate = Setup::new()
        .table(&format!("[tls]\nclient_certificates = \"request\"\nclient_ca = \"{}\"", ca.display()))
        .listener("smtp", stack.postfix.proxy.smtp, "proxy-v2")
        .start();
    let files = [ca, &client.chain, &client.key].map(|path| path.to_str().expect("UTF-8"));
    let verified = "(Client CN \"client.example.org\", Issuer \"Sealgate test authority\" (verified OK))";
    let [ca, chain, key] = files;
    let with = ["--cert", chain, "--key", key];
    for (certificate, line) in [(with.as_slice(), verified), (&[], "(Client did not present a certificate)")] {
        let user = stack.user();
        let url = format!("smtp://127.0.0.1:{}/client.example.org", gate.port("smtp"));
        let mut args = vec!["-sSv", "--ssl-reqd", "--cacert", ca, "--url", &url, "--upload-file", "-"];
        args.extend(["--mail-from", "sender@example.net", "--mail-rcpt", &user.address]);
        args.extend(certificate);
        run_program("curl", &args, &mail::mail("text\r\n")).success();
        // Folded where it is longer than a line.
        let field = field(&user).replace("\n\t", " ");
        assert!(field.contains(line), "{field}");
    }
}

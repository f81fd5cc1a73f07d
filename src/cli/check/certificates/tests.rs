use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use sealgate::config::ClientCertificates;

use super::*;
use crate::cli::check::finding::Verdict;

/// A certificate made for the test, valid for 90 days from 1 January 2026 on.
struct Made {
    pem: String,
    key: String,
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nameless"));
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    params
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(&["Test Authority"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(params: &CertificateParams, issuer: &CertifiedIssuer<'static, KeyPair>) -> Made {
    let key = KeyPair::generate().unwrap();
    Made { pem: params.signed_by(&key, issuer).unwrap().pem(), key: key.serialize_pem() }
}

/// That many days into 2026.
fn day(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) + Duration::from_secs(days * 24 * 3600)
}

fn judge(chain: &str, days: u64) -> Vec<(Verdict, String)> {
    let mut all = Vec::new();
    look_at_chain_file(chain.as_bytes(), day(days), &mut Findings::new("certificate", "x", &mut all));
    all.into_iter().map(|finding| (finding.verdict, finding.message)).collect()
}

/// The chain is told to be bad in exactly this way.
#[track_caller]
fn bad(chain: &str, days: u64, verdict: Verdict, message: &str) {
    let judged = judge(chain, days);
    let bad: Vec<_> = judged.iter().filter(|(verdict, _)| *verdict != Verdict::Ok).collect();
    let [(found, said)] = bad.as_slice() else { panic!("{judged:#?}") };
    assert!(*found == verdict && said.contains(message), "{judged:#?}");
}

#[test]
fn a_good_chain_is_told_with_its_days_names_and_key() {
    let authority = authority();
    let made = issue(&params(&["mail.example.com", "*.example.org"]), &authority);
    let expected = [
        (Verdict::Ok, String::from("good for 80 days, until 2026-04-01")),
        (Verdict::Ok, String::from("for mail.example.com, *.example.org, with an ECDSA key of 256 bits")),
    ];
    assert_eq!(judge(&format!("{}{}", made.pem, authority.pem()), 10), expected);
}

#[test]
fn the_chain_is_whole_and_in_order() {
    let authority = authority();
    let made = issue(&params(&["mail.example.com"]), &authority);
    let other = issue(&params(&["other.example.com"]), &authority);
    bad(&made.pem, 10, Verdict::Warn, "lacks the certificate of its issuer, CN=Test Authority");
    let mixed = format!("{}{}{}", made.pem, other.pem, authority.pem());
    bad(&mixed, 10, Verdict::Warn, "number 1 of the chain was not issued by the next one");
    let alone = CertifiedIssuer::self_signed(params(&["mail.example.com"]), KeyPair::generate().unwrap()).unwrap();
    bad(&alone.pem(), 10, Verdict::Warn, "signed by itself");
}

#[test]
fn days_left_are_counted_against_the_lifetime() {
    let authority = authority();
    let whole = |params: &CertificateParams| format!("{}{}", issue(params, &authority).pem, authority.pem());
    let quarter = whole(&params(&["mail.example.com"]));
    assert!(judge(&quarter, 67).iter().all(|(verdict, _)| *verdict == Verdict::Ok));
    let late = judge(&quarter, 70);
    assert_eq!(late[0], (Verdict::Warn, String::from("it expires in 20 days, on 2026-04-01")));
    let expired = judge(&quarter, 91);
    assert_eq!(expired[0], (Verdict::Fail, String::from("it expired on 2026-04-01")));
    assert_eq!(expired[1], (Verdict::Fail, String::from("CN=Test Authority, its issuer, expired on 2026-04-01")));
    let mut later = params(&["mail.example.com"]);
    later.not_before = rcgen::date_time_ymd(2026, 2, 1);
    bad(&whole(&later), 10, Verdict::Fail, "not valid before 2026-02-01");
    let mut long = params(&["mail.example.com"]);
    long.not_before = rcgen::date_time_ymd(2025, 3, 1);
    assert_eq!(judge(&whole(&long), 59)[0].0, Verdict::Ok);
    assert_eq!(judge(&whole(&long), 61)[0].0, Verdict::Warn);
}

#[test]
fn names_and_purpose_are_those_of_a_server() {
    let authority = authority();
    let whole = |params: &CertificateParams| format!("{}{}", issue(params, &authority).pem, authority.pem());
    bad(&whole(&params(&[])), 10, Verdict::Warn, "names no host");
    let mut client = params(&["mail.example.com"]);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    bad(&whole(&client), 10, Verdict::Fail, "not meant for servers");
}

#[test]
fn weak_signatures_and_keys_are_refused() {
    for (pem, told) in [
        (SIGNED_WITH_SHA1, Some("CN=mail.example.com is signed with MD5 or SHA-1, which clients refuse")),
        (RSA_1024, Some("CN=Short Key has an RSA key of 1024 bits, which clients refuse")),
        (&authority().pem(), None),
    ] {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut all = Vec::new();
        let certificate = X509Certificate::from_der(&der).unwrap().1;
        look_at_strength(&certificate, &mut Findings::new("certificate", "x", &mut all));
        let found: Vec<_> = all.iter().map(|finding| (finding.verdict, finding.message.as_str())).collect();
        assert_eq!(found, told.map(|told| (Verdict::Fail, told)).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_keeps_the_gate_from_starting_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    let made = issue(&params(&["mail.example.com"]), &authority);
    let path = |name: &str| directory.path().join(name);
    fs::write(path("chain.pem"), format!("{}{}", made.pem, authority.pem())).unwrap();
    fs::write(path("key.pem"), &made.key).unwrap();
    fs::write(path("other.pem"), issue(&params(&["mail.example.com"]), &authority).key).unwrap();
    for key in ["key.pem", "other.pem"] {
        fs::set_permissions(path(key), fs::Permissions::from_mode(0o640)).unwrap();
    }
    let bad = |chain: &str, key: &str, hostname: &str| {
        let tls = Tls {
            policy: sealgate::config::Policy::Intermediate,
            certificates: vec![CertificateFiles { chain: path(chain), key: path(key) }],
            client_certificates: ClientCertificates::Require { ca: path("ca.pem") },
            ticket_rotation: Some(Duration::from_secs(3600)),
        };
        let mut all = Vec::new();
        look(&tls, hostname, day(10), &mut all);
        let bad = all.into_iter().filter(|finding| finding.verdict != Verdict::Ok);
        bad.map(|finding| format!("{} {}", finding.area, finding.message)).collect::<Vec<_>>().join("\n")
    };
    let contains =
        |told: String, expected: &str| assert!(told.contains(expected) && told.lines().count() == 1, "{told}");

    contains(bad("absent.pem", "key.pem", "mail.example.com"), "absent.pem cannot be read");
    contains(bad("chain.pem", "other.pem", "mail.example.com"), "is not the key of the chain's first certificate");
    contains(bad("chain.pem", "chain.pem", "mail.example.com"), "holds no private key");
    contains(bad("chain.pem", "key.pem", "mail.example.com"), "tls tls.client_ca: ");
    contains(bad("key.pem", "chain.pem", "mail.example.com"), "chain.pem a certificate: the two are swapped");

    fs::write(path("ca.pem"), authority.pem()).unwrap();
    assert_eq!(bad("chain.pem", "key.pem", "mail.example.com"), "");
    contains(bad("chain.pem", "key.pem", "mx.example.com"), "no certificate is for this name");
    fs::set_permissions(path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    contains(bad("chain.pem", "key.pem", "mail.example.com"), "everybody on this host can read the private key");
}

#[test]
fn a_private_key_that_everybody_can_read_is_seen_in_whichever_file_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let made = issue(&params(&["mail.example.com"]), &authority());
    let path = |name: &str| directory.path().join(name);
    for (name, content) in
        [("chain.pem", made.pem.clone()), ("key.pem", made.key.clone()), ("both.pem", made.pem + &made.key)]
    {
        fs::write(path(name), content).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    for (chain, key, open) in [
        ("chain.pem", "key.pem", "key.pem"),
        ("key.pem", "chain.pem", "key.pem"),
        ("both.pem", "both.pem", "both.pem"),
        ("chain.pem", "chain.pem", ""),
    ] {
        let mut all = Vec::new();
        let files = CertificateFiles { chain: path(chain), key: path(key) };
        look_at_permissions(&files, &mut Findings::new("certificate", "x", &mut all));
        let advice: Vec<_> = all.iter().filter_map(|finding| finding.advice.clone()).collect();
        let expected: Vec<_> = [open]
            .into_iter()
            .filter(|open| !open.is_empty())
            .map(|open| format!("chmod o= {}", path(open).display()))
            .collect();
        assert_eq!(advice, expected, "{chain} {key}");
    }
}

#[test]
fn a_certificate_that_an_earlier_one_hides_is_pointed_out() {
    let authority = authority();
    let made = |names: &[&str], algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let pem = params(names).signed_by(&key, &authority).unwrap().pem();
        Certificate::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    };
    let ecdsa = |names: &[&str]| made(names, &rcgen::PKCS_ECDSA_P256_SHA256);
    let (a, b, c) = ("a.example.com", "b.example.com", "c.example.com");
    let all = [
        ecdsa(&[a]),
        ecdsa(&[b, c]),
        made(&[a], &rcgen::PKCS_ECDSA_P384_SHA384),
        made(&[a], &rcgen::PKCS_RSA_SHA256),
        ecdsa(&["*.example.com"]),
        ecdsa(&[a, "d.example.com"]),
        ecdsa(&[a]),
        ecdsa(&[b]),
        ecdsa(&[c, a]),
        made(&[a], &rcgen::PKCS_RSA_SHA256),
    ];
    let places: Vec<String> = (0..all.len()).map(|number| format!("{number}.pem")).collect();
    let hidden = all.iter().enumerate().filter_map(|(number, certificate)| {
        let mut found = Vec::new();
        let mut findings = Findings::new("certificate", "x", &mut found);
        look_at_earlier(certificate, all.iter().zip(&places).take(number), &mut findings);
        let finding = found.pop()?;
        assert_eq!(finding.verdict, Verdict::Warn);
        Some((number, finding.message))
    });
    let hidden: Vec<_> = hidden.collect();
    let told =
        |by: &str| format!("no client ever gets it: its names stand above it with a key of the same kind, in {by}");
    let expected = [(6, told("0.pem")), (7, told("1.pem")), (8, told("1.pem, 0.pem")), (9, told("3.pem"))];
    assert_eq!(hidden, expected);
}

#[test]
fn the_second_of_two_certificates_for_one_name_is_told_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    let path = |name: &str| directory.path().join(name);
    let certificates = ["first", "second"].map(|name| {
        let made = issue(&params(&["mail.example.com"]), &authority);
        let files = CertificateFiles { chain: path(&format!("{name}.pem")), key: path(&format!("{name}.key")) };
        fs::write(&files.chain, made.pem + &authority.pem()).unwrap();
        fs::write(&files.key, made.key).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files
    });
    let tls = Tls {
        policy: sealgate::config::Policy::Intermediate,
        certificates: certificates.into(),
        client_certificates: ClientCertificates::None,
        ticket_rotation: Some(Duration::from_secs(3600)),
    };
    let mut all = Vec::new();
    look(&tls, "mail.example.com", day(10), &mut all);
    let warned: Vec<_> = all.iter().filter(|finding| finding.verdict == Verdict::Warn).collect();
    let [warning] = warned.as_slice() else { panic!("{all:#?}") };
    assert_eq!(warning.subject, path("second.pem").display().to_string());
    assert!(warning.message.contains(&path("first.pem").display().to_string()), "{warning:?}");
}

/// Made with `openssl ca -md sha1`; the authority is another one.
const SIGNED_WITH_SHA1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBfzCCASagAwIBAgIBATAJBgcqhkjOPQQBMBgxFjAUBgNVBAMMDU9sZCBBdXRo
b3JpdHkwHhcNMjYwMTAxMDAwMDAwWhcNMjYwNDAxMDAwMDAwWjAbMRkwFwYDVQQD
DBBtYWlsLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE81Zs
ySsHCq3+9MZNAcQ2p/SnAVd3NYs2LSaIWrsizpigloqFEuk9kuFQ8rOs4HuF0u+V
5occ6x2z9lwuRCakqaNfMF0wGwYDVR0RBBQwEoIQbWFpbC5leGFtcGxlLmNvbTAd
BgNVHQ4EFgQUb1B2WjnFvQhiTpZBux0//8DAyiAwHwYDVR0jBBgwFoAUYNu+s8Yz
gn0Al/YRFmF9tROBGdUwCQYHKoZIzj0EAQNIADBFAiBKt6PXRIpHoroLI4yPVpda
YPcO1yfaaa5YT79c4z4/MwIhANHH+aoWz/DzFRWPYSfTthEbE1yUWn5xug3dGf62
kCYM
-----END CERTIFICATE-----";

/// Made with `openssl req -x509 -newkey rsa:1024`.
const RSA_1024: &str = "\
-----BEGIN CERTIFICATE-----
MIICBDCCAW2gAwIBAgIUSyq6ZLxhOSgMPSXPpJjiY5jYAnQwDQYJKoZIhvcNAQEL
BQAwFDESMBAGA1UEAwwJU2hvcnQgS2V5MB4XDTI2MTEyMTIzMDM1MVoXDTI3MDIx
OTIzMDM1MVowFDESMBAGA1UEAwwJU2hvcnQgS2V5MIGfMA0GCSqGSIb3DQEBAQUA
A4GNADCBiQKBgQCflUzZ0WVPN7+8NVTgHjtbByWhCXxdVCO/04hKC0HaG7pL4pwJ
OimP7WkAvQeSg4NfdsdZimuVLTYeFXakBPpharCW6Rcq0baFvy5E+rF34Y+nzSrm
XyiZTqhpNEWzd9aRn2ps/e2luAnnK/B8NRLzYnYrGAlarXoDILmyROEnrQIDAQAB
o1MwUTAdBgNVHQ4EFgQU9M3KRqQSbc5sGrUDE4aQDyVozLwwHwYDVR0jBBgwFoAU
9M3KRqQSbc5sGrUDE4aQDyVozLwwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0B
AQsFAAOBgQCGybADFB9WIi18SIBoBjIdBYG1cBQJdgrXdWpt0M+uh+keImmX8xDf
iRsntYguiVuVhwEtnewsUwTpSiK+MNwtbUr4pcWOJASvdpUdoQCPOa644pOvAxRt
yViATFF71Ui6PcNKD6w/f15zUTIwxLIdpfxykneXE3onEsGdyyid/Q==
-----END CERTIFICATE-----";

use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, duplex};
use tokio_rustls::TlsConnector;

use super::super::pair;
use super::*;

/// An authority's file and certificates `(subject, good until)` that it issued, or issued itself where `signed` is false.
fn issued(subject: &str, year: i32, signed: bool) -> (tempfile::NamedTempFile, CertificateDer<'static>) {
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut authority = named("Example Authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let mut client = named(subject);
    client.not_after = date_time_ymd(year, 1, 1);
    client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let client = if signed { client.signed_by(&key, &issuer) } else { client.self_signed(&key) }.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), issuer.pem()).unwrap();
    (file, client.der().clone())
}

fn fact(ca: config::ClientCertificates, presented: Option<&CertificateDer<'static>>) -> Option<ClientCertificate> {
    let presented = presented.map(std::slice::from_ref);
    ClientCertificates::new(&ca, None).unwrap().fact(presented, UnixTime::now())
}

fn presented(common_name: &str, issuer: &str, verified: bool) -> Option<ClientCertificate> {
    Some(ClientCertificate::Presented { common_name: common_name.into(), issuer: issuer.into(), verified })
}

#[test]
fn a_certificate_is_verified_or_not_and_a_demanded_one_must_be() {
    for (year, signed, verified) in [(2099, true, true), (2020, true, false), (2099, false, false)] {
        let (file, certificate) = issued("alice", year, signed);
        let ca = file.path().to_path_buf();
        let issuer = if signed { "Example Authority" } else { "alice" };
        let expected = presented("alice", issuer, verified);
        let request = config::ClientCertificates::Request { ca: ca.clone() };
        let require = config::ClientCertificates::Require { ca };
        assert_eq!(fact(request, Some(&certificate)), expected);
        assert_eq!(fact(require, Some(&certificate)), expected.filter(|_| verified));
    }
}

#[test]
fn no_certificate_is_a_fact_unless_one_was_demanded() {
    let (file, _) = issued("alice", 2099, true);
    let ca = file.path().to_path_buf();
    assert_eq!(fact(config::ClientCertificates::None, None), Some(ClientCertificate::NotRequested));
    let request = config::ClientCertificates::Request { ca: ca.clone() };
    assert_eq!(fact(request, None), Some(ClientCertificate::NotPresented));
    assert_eq!(fact(config::ClientCertificates::Require { ca }, None), None);
}

/// Without the alert it would come back with the same ticket. For a resumption nobody is asked, and so it is here.
#[tokio::test]
async fn rfc8446_6_2_a_client_whose_certificate_has_run_out_since_is_told_so() {
    let (file, _) = issued("alice", 2099, true);
    let demanding = config::ClientCertificates::Require { ca: file.path().to_path_buf() };
    let mut server = pair::asking(config::ClientCertificates::None);
    Arc::get_mut(&mut server.0).unwrap().client_certificates = ClientCertificates::new(&demanding, None).unwrap();
    let (theirs, ours) = duplex(1 << 14);
    let accepting = server.accept(ours, "smtp", "220 ready\r\n".into(), Duration::from_secs(20));
    let client = TlsConnector::from(Arc::new(pair::client(pair::TLS13)));
    let talking = async {
        let mut told = Vec::new();
        let mut stream = client.connect("mail.example.com".try_into().unwrap(), theirs).await.unwrap();
        (stream.read_to_end(&mut told).await.unwrap_err().to_string(), told)
    };
    let (refused, (end, told)) = tokio::join!(accepting, talking);
    assert_eq!(refused.map(|(_, facts)| facts).unwrap_err().reason.phrase, "client certificate rejected");
    assert_eq!(told, b"220 ready\r\n");
    assert_eq!(end, "received fatal alert: CertificateExpired");
}

#[test]
fn a_name_cannot_break_out_of_a_line() {
    let (file, certificate) = issued("al\r\nice \u{fc}\0", 2099, true);
    let request = config::ClientCertificates::Request { ca: file.path().to_path_buf() };
    assert_eq!(fact(request, Some(&certificate)), presented("al??ice ??", "Example Authority", true));
    let (file, certificate) = issued(&"x".repeat(1000), 2099, true);
    let request = config::ClientCertificates::Request { ca: file.path().to_path_buf() };
    assert_eq!(fact(request, Some(&certificate)), presented(&"x".repeat(256), "Example Authority", true));
}

#[test]
fn an_error_names_the_file_of_authorities_and_says_what_to_do() {
    let file = |content: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    };
    let (empty, cut) = (file(""), file("# authorities\n-----BEGIN CERTIFICATE-----\nAAAA\n"));
    let none = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (path, text) in [
        (empty.path(), "holds no certificate; write the authorities that sign"),
        (cut.path(), "the section that begins in line 2 has no END line of its own; copy"),
        (none.path(), "for certificate number 1 that is no X.509 certificate; copy"),
        (Path::new("/nonexistent/ca.pem"), "(os error 2); check the path in `client_ca` of [tls]"),
    ] {
        let error = ClientCertificates::new(&config::ClientCertificates::Require { ca: path.to_path_buf() }, None);
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with(&format!("{} ", path.display())) && error.contains(text), "{error}");
    }
}

//! Certificates as clients will judge them, straight from the PEM files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sealgate::config::{CertificateFiles, Tls};
use sealgate::secret::Secret;
use sealgate::tls::{Certificate, KeyKind, Server, holds_private_key};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::finding::{Finding, Findings, in_two};

const DAY: i64 = 24 * 3600;

/// Looks at everything that `[tls]` names.
pub fn look(tls: &Tls, hostname: &str, now: SystemTime, all: &mut Vec<Finding>) {
    let mut loaded: Vec<Certificate> = Vec::new();
    let mut places: Vec<String> = Vec::new();
    for files in &tls.certificates {
        let mut findings = Findings::new("certificate", files.chain.display().to_string(), all);
        look_at_permissions(files, &mut findings);
        match Certificate::load(files) {
            Ok(certificate) => {
                look_at_earlier(&certificate, loaded.iter().zip(&places), &mut findings);
                loaded.push(certificate);
                places.push(files.chain.display().to_string());
            }
            Err(error) => {
                let (message, advice) = in_two(&error.to_string());
                findings.fail(message, advice);
                continue;
            }
        }
        // It was read a moment ago.
        look_at_chain_file(&fs::read(&files.chain).unwrap_or_default(), now, &mut findings);
    }
    if !loaded.is_empty() && !loaded.iter().any(|certificate| certificate.is_for(hostname)) {
        Findings::new("certificate", hostname, all).warn(
            "no certificate is for this name",
            format!("get one that names {hostname}: clients and other servers know this host by it"),
        );
    }
    // What is wrong beyond single certificates: the authorities for client certificates.
    if loaded.len() == tls.certificates.len()
        && let Err(error) = Server::new(tls, loaded)
    {
        let (message, advice) = in_two(&error.to_string());
        Findings::new("tls", "server", all).fail(message, advice);
    }
}

/// A private key may stand in either file: in one for both, or in the wrong one.
fn look_at_permissions(files: &CertificateFiles, findings: &mut Findings<'_>) {
    let second = (files.key != files.chain).then_some(&files.key);
    for file in [&files.chain].into_iter().chain(second) {
        let path = file.display();
        let open = fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
        if open && Secret::read(file).is_ok_and(|pem| holds_private_key(pem.expose())) {
            let message = format!("everybody on this host can read the private key {path}");
            findings.warn(message, format!("chmod o= {path}"));
        }
    }
}

/// Of certificates for one name, a client gets the first that it can verify. What it can verify is told by the key alone.
fn look_at_earlier<'a>(
    certificate: &Certificate,
    earlier: impl Iterator<Item = (&'a Certificate, &'a String)> + Clone,
    findings: &mut Findings<'_>,
) {
    let same_kind = |other: &Certificate| match (other.key_kind(), certificate.key_kind()) {
        (KeyKind::Rsa { .. }, KeyKind::Rsa { .. }) => true,
        (one, another) => one == another,
    };
    let mut instead: Vec<&str> = Vec::new();
    for name in certificate.names() {
        let Some((_, place)) = earlier.clone().find(|(other, _)| same_kind(other) && other.names().contains(name))
        else {
            return; // for this name it is served
        };
        if !instead.contains(&place.as_str()) {
            instead.push(place);
        }
    }
    if !instead.is_empty() {
        findings.warn(
            format!("no client ever gets it: its names stand above it with a key of the same kind, in {}", instead.join(", ")),
            "leave one of them out; side by side stand certificates with keys of different kinds, such as ECDSA and RSA",
        );
    }
}

/// Judges a chain that could be loaded.
fn look_at_chain_file(pem: &[u8], now: SystemTime, findings: &mut Findings<'_>) {
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem).flatten().collect();
    let parsed = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    let parsed: Vec<X509Certificate<'_>> = parsed.map(|(_, certificate)| certificate).collect();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    look_at_dates(&parsed, i64::try_from(seconds).unwrap_or(i64::MAX), findings);
    if let Some(leaf) = parsed.first() {
        look_at_names(leaf, findings);
    }
    look_at_chain(&parsed, findings);
    for certificate in &parsed {
        look_at_strength(certificate, findings);
    }
}

fn look_at_chain(chain: &[X509Certificate<'_>], findings: &mut Findings<'_>) {
    if let Some(place) = chain.windows(2).position(|pair| matches!(pair, [one, next] if one.issuer() != next.subject()))
    {
        findings.warn(
            format!("certificate number {} of the chain was not issued by the next one", place + 1),
            "write the server's own certificate first, then the one that signed it, and so on; no others",
        );
    }
    match chain {
        [alone] if alone.issuer() == alone.subject() => findings.warn(
            "it is signed by itself: no client can verify it unless it was told about it",
            "get one from an authority that clients know, such as Let's Encrypt",
        ),
        [alone] => findings.warn(
            format!("the chain lacks the certificate of its issuer, {}", alone.issuer()),
            "use the full chain (certbot: fullchain.pem); many clients cannot find the rest themselves",
        ),
        _ => {}
    }
}

fn look_at_strength(certificate: &X509Certificate<'_>, findings: &mut Findings<'_>) {
    let subject = certificate.subject();
    // RFC 8017 Appendix A.2.4, RFC 3279 §2.2: md5WithRSA, sha1WithRSA, DSA and ECDSA with SHA-1.
    const BROKEN: [&str; 4] =
        ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10040.4.3", "1.2.840.10045.4.1"];
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    let self_signed = certificate.issuer() == certificate.subject();
    if BROKEN.contains(&signature.as_str()) && !self_signed {
        findings.fail(format!("{subject} is signed with MD5 or SHA-1, which clients refuse"), "have it issued anew");
    }
    if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed()
        && key.key_size() < 2048
    {
        findings.fail(
            format!("{subject} has an RSA key of {} bits, which clients refuse", key.key_size()),
            "have it issued anew for an ECDSA key, or RSA with at least 2048 bits",
        );
    }
}

fn look_at_dates(chain: &[X509Certificate<'_>], now: i64, findings: &mut Findings<'_>) {
    for (place, certificate) in chain.iter().enumerate() {
        let what = if place == 0 { String::from("it") } else { format!("{}, its issuer,", certificate.subject()) };
        let validity = certificate.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let left = until.saturating_sub(now);
        // A quarter of its life, and a month at most: every renewal that works has happened by then.
        let late = (until.saturating_sub(from) / 4).min(30 * DAY);
        let date = |time: &x509_parser::time::ASN1Time| time.to_datetime().date();
        if now < from {
            findings.fail(
                format!("{what} is not valid before {}", date(&validity.not_before)),
                "check this host's clock; otherwise wait, or use the certificate from before",
            );
        } else if left < 0 {
            findings.fail(format!("{what} expired on {}", date(&validity.not_after)), "renew it");
        } else if left < late {
            findings.warn(
                format!("{what} expires in {} days, on {}", left / DAY, date(&validity.not_after)),
                "see why it was not renewed yet (certbot: certbot renew --dry-run)",
            );
        } else if place == 0 {
            findings.ok(format!("good for {} days, until {}", left / DAY, date(&validity.not_after)));
        }
    }
}

fn look_at_names(leaf: &X509Certificate<'_>, findings: &mut Findings<'_>) {
    let alternative = leaf.subject_alternative_name().ok().flatten();
    let names: Vec<&str> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
        .collect();
    if names.is_empty() {
        findings.warn(
            "it names no host in its subject alternative names, the only ones that clients look at (RFC 9525)",
            "have it issued anew with the names of this host",
        );
    } else {
        findings.ok(format!("for {}, with {}", names.join(", "), describe_key(leaf)));
    }
    let usage = leaf.extended_key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        findings.fail("it is not meant for servers (extended key usage)", "have it issued anew, for a server");
    }
}

fn describe_key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("an RSA key of {} bits", key.key_size()),
        Ok(PublicKey::EC(key)) => format!("an ECDSA key of {} bits", key.key_size()),
        _ => String::from("a key of another kind"),
    }
}

#[cfg(test)]
mod tests;

//! The PROXY protocol, as a sender: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! `LOCAL` and `UNKNOWN` are never written: a Postfix relays for both as for itself.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use proxy_header::{Error, ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use super::Caller;
use crate::facts::{ClientCertificate, Peer, SignatureAlgorithm, TlsFacts};

/// What a Postfix peeks; it answers 421 to a header that is longer.
const HEADER_LIMIT: usize = 536;

/// PROXY protocol §2.2.5: PP2_TYPE_UNIQUE_ID has up to 128 octets.
const UNIQUE_ID_LIMIT: usize = 128;

/// PP2_SUBTYPE_SSL_GROUP and PP2_SUBTYPE_SSL_SIG_SCHEME (PROXY protocol §2.2.6).
const SSL_GROUP: u8 = 0x26;
const SSL_SIG_SCHEME: u8 = 0x27;

/// The optional fields that a header of this length still has, the first to go first.
const DIETS: [Fields; 4] = [
    Fields { unique_id: true, authority: true, common_name: true },
    Fields { unique_id: false, authority: true, common_name: true },
    Fields { unique_id: false, authority: false, common_name: true },
    Fields { unique_id: false, authority: false, common_name: false },
];

#[derive(Clone, Copy)]
struct Fields {
    unique_id: bool,
    authority: bool,
    common_name: bool,
}

/// A header of version 1: addresses and ports.
pub(super) fn v1(peer: &Peer) -> Result<Vec<u8>, Error> {
    let mut header = Vec::new();
    ProxyHeader::with_address(addresses(peer)).encode_v1(&mut header)?;
    Ok(header)
}

/// A header of version 2: addresses, ports, the session's identifier and its TLS.
pub(super) fn v2(caller: &Caller<'_>) -> Result<Vec<u8>, Error> {
    for fields in DIETS {
        let mut header = Vec::new();
        ProxyHeader::with_tlvs(Some(addresses(caller.peer)), tlvs(caller, fields)).encode_v2(&mut header)?;
        if header.len() <= HEADER_LIMIT {
            return Ok(header);
        }
    }
    // What cannot be left out has fixed names of ours and an ALPN that we know, so this is never reached.
    Err(Error::HeaderTooBig)
}

fn addresses(peer: &Peer) -> ProxiedAddress {
    let (source, destination) = match (peer.client, peer.local) {
        (SocketAddr::V6(_), SocketAddr::V4(_)) => (peer.client, mapped(peer.local)),
        (SocketAddr::V4(_), SocketAddr::V6(_)) => (mapped(peer.client), peer.local),
        same_family => same_family,
    };
    ProxiedAddress::stream(source, destination)
}

/// One header has room for one address family.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn tlvs<'a>(caller: &Caller<'a>, fields: Fields) -> impl Iterator<Item = Tlv<'a>> {
    let unique_id = caller.session.as_str().as_bytes();
    let alpn = caller.tls.and_then(|tls| tls.alpn.as_deref());
    let sni = caller.tls.and_then(|tls| tls.sni.as_deref());
    [
        alpn.and_then(short).map(|alpn| Tlv::Alpn(alpn.as_bytes().into())),
        sni.filter(|_| fields.authority).and_then(short).map(|sni| Tlv::Authority(sni.into())),
        (fields.unique_id && unique_id.len() <= UNIQUE_ID_LIMIT).then(|| Tlv::UniqueId(unique_id.into())),
        caller.tls.map(|tls| Tlv::Ssl(ssl(tls, fields.common_name))),
    ]
    .into_iter()
    .flatten()
}

/// What alone is longer than a whole header can be is not even tried: the length of a field has 16 bits.
fn short(value: &str) -> Option<&str> {
    Some(value).filter(|value| value.len() <= HEADER_LIMIT)
}

fn ssl(tls: &TlsFacts, with_common_name: bool) -> SslInfo<'static> {
    let (presented, verified, common_name) = match &tls.client_certificate {
        ClientCertificate::NotRequested | ClientCertificate::NotPresented => (false, false, None),
        ClientCertificate::Presented { common_name, verified, .. } => (true, *verified, Some(common_name.as_str())),
    };
    // PP2_CLIENT_CERT_CONN for a certificate on this connection, PP2_CLIENT_CERT_SESS for one that a resumed session
    // brought along. `verify` is 0 only when there was a certificate and it was verified.
    let mut ssl = SslInfo::new(true, presented && !tls.resumed(), presented && tls.resumed(), u32::from(!verified));
    ssl.append_tlv(Tlv::SslVersion(tls.version.as_str().into()));
    if let Some(name) = common_name.filter(|name| with_common_name && !name.is_empty()).and_then(short) {
        ssl.append_tlv(Tlv::SslCn(name.into()));
    }
    ssl.append_tlv(Tlv::SslCipher(tls.suite.openssl.into()));
    if let Some(signature) = &tls.signature {
        // PROXY protocol §2.2.5: the algorithm by which our certificate was signed, as HAProxy names it.
        if let Some(certificate) = signature.certificate {
            ssl.append_tlv(Tlv::SslSigAlg(certificate.into()));
        }
        ssl.append_tlv(Tlv::SslKeyAlg(key_algorithm(signature.algorithm)));
    }
    ssl.append_tlv(Tlv::Custom(SSL_GROUP, tls.group.iana().as_bytes().into()));
    if let Some(signature) = &tls.signature {
        ssl.append_tlv(Tlv::Custom(SSL_SIG_SCHEME, signature.iana.as_bytes().into()));
    }
    ssl
}

/// The certificate's key as HAProxy writes it: `RSA2048`, `EC256`.
fn key_algorithm(algorithm: SignatureAlgorithm) -> Cow<'static, str> {
    match algorithm {
        SignatureAlgorithm::RsaPss { bits } | SignatureAlgorithm::RsaPkcs1 { bits } => format!("RSA{bits}").into(),
        SignatureAlgorithm::Ecdsa { curve } => format!("EC{}", curve.trim_start_matches("P-")).into(),
        SignatureAlgorithm::Ed25519 => "ED25519".into(),
    }
}

#[cfg(test)]
mod tests;

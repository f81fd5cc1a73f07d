use aws_lc_rs::aead as reference;
use rustls::crypto::cipher::OutboundChunks;

use super::super::pair::{SUITES, is_tls13};
use super::*;

const IV: [u8; 12] = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 255, 254];
const SIZES: [usize; 12] = [0, 1, 15, 16, 17, 31, 33, 255, 1024, 4096, FRAGMENT_LIMIT - 1, FRAGMENT_LIMIT];
const SEQUENCE: [u64; 5] = [0, 1, 255, 256, 1 << 33];

fn key(suite: SupportedCipherSuite) -> Option<Vec<u8>> {
    Some((1..).take(algorithm(suite.suite())?.key_len()).collect())
}

/// All suites with AES-GCM, with a key for each.
fn suites() -> impl Iterator<Item = (SupportedCipherSuite, Vec<u8>)> {
    SUITES.into_iter().filter_map(|suite| Some((suite, key(suite)?)))
}

fn ours(suite: SupportedCipherSuite, key: &[u8]) -> AesGcm {
    AesGcm::new(suite, key, &Iv::from(IV)).unwrap()
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// What is behind a record's header, as the RFCs have it, by AWS-LC.
fn expected(suite: SupportedCipherSuite, key: &[u8], seq: u64, content: &[u8]) -> Vec<u8> {
    let algorithm = if key.len() == 16 { &reference::AES_128_GCM } else { &reference::AES_256_GCM };
    let key = reference::LessSafeKey::new(reference::UnboundKey::new(algorithm, key).unwrap());
    let mut nonce = IV;
    nonce[4..].iter_mut().zip(seq.to_be_bytes()).for_each(|(octet, count)| *octet ^= count);
    let unique = reference::Nonce::assume_unique_for_key(nonce);
    let mut sealed = content.to_vec();
    if is_tls13(suite) {
        // RFC 8446 §5.2: the content's type is sealed with it, and the header is authenticated.
        sealed.push(23);
        let length = u16::try_from(sealed.len() + 16).unwrap().to_be_bytes();
        let aad = reference::Aad::from([23, 3, 3, length[0], length[1]]);
        key.seal_in_place_append_tag(unique, aad, &mut sealed).unwrap();
        sealed
    } else {
        // RFC 5246 §6.2.3.3, RFC 5288 §3.
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let aad = [&seq.to_be_bytes()[..], &[23, 3, 3], &length].concat();
        key.seal_in_place_append_tag(unique, reference::Aad::from(aad), &mut sealed).unwrap();
        [&nonce[4..], &sealed].concat()
    }
}

fn open(opener: &mut AesGcm, record: &mut [u8], seq: u64) -> Result<(u8, Vec<u8>), Error> {
    let opaque = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, record);
    let plain = opener.decrypt(opaque, seq)?;
    Ok((u8::from(plain.typ), plain.payload.to_vec()))
}

#[test]
fn records_are_those_of_the_rfcs() {
    let mut tried = 0;
    for (suite, key) in suites() {
        let (mut sealer, mut opener) = (ours(suite, &key), ours(suite, &key));
        for (size, seq) in SIZES.into_iter().flat_map(|size| SEQUENCE.map(|seq| (size, seq))) {
            let content = content(size);
            let mut expected = expected(suite, &key, seq, &content);
            // Cut in two, as it may come from two buffers.
            let halves = [&content[..size / 2], &content[size / 2..]];
            let plain = OutboundPlainMessage {
                typ: ContentType::ApplicationData,
                version: ProtocolVersion::TLSv1_2,
                payload: OutboundChunks::new(&halves),
            };
            let sealed = sealer.encrypt(plain, seq).unwrap();
            assert_eq!((sealed.typ, sealed.version), (ContentType::ApplicationData, ProtocolVersion::TLSv1_2));
            assert_eq!(sealed.payload.as_ref(), expected, "{suite:?}: {size} octets, record {seq}");
            assert_eq!(
                open(&mut opener, &mut expected, seq),
                Ok((23, content)),
                "{suite:?}: {size} octets, record {seq}"
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 6 * SIZES.len() * SEQUENCE.len());
}

#[test]
fn what_was_changed_or_cut_on_the_way_is_refused() {
    for (suite, key) in suites() {
        let mut opener = ours(suite, &key);
        let record = expected(suite, &key, 5, b"a message");
        assert_eq!(open(&mut opener, &mut record.clone(), 5), Ok((23, b"a message".to_vec())));
        for seq in [0, 4, 6] {
            assert_eq!(open(&mut opener, &mut record.clone(), seq), Err(Error::DecryptError), "{suite:?} as {seq}");
        }
        for octet in 0..record.len() {
            let mut changed = record.clone();
            changed[octet] ^= 1;
            assert_eq!(open(&mut opener, &mut changed, 5), Err(Error::DecryptError), "{suite:?}, octet {octet}");
            let mut cut = record[..octet].to_vec();
            assert_eq!(open(&mut opener, &mut cut, 5), Err(Error::DecryptError), "{suite:?}, {octet} octets");
        }
    }
}

#[test]
fn a_record_that_is_too_long_inside_is_refused() {
    for (suite, key) in suites() {
        let mut record = expected(suite, &key, 0, &content(FRAGMENT_LIMIT + 1));
        assert_eq!(open(&mut ours(suite, &key), &mut record, 0), Err(Error::PeerSentOversizedRecord), "{suite:?}");
    }
}

#[test]
fn a_key_that_is_let_go_of_is_overwritten() {
    for (suite, key) in suites() {
        let mut forgetful = ours(suite, &key);
        forgetful.forget();
        let (zeros, nothing) = (vec![0; key.len()], expected(suite, &vec![0; key.len()], 3, b"secret"));
        assert_eq!(
            open(&mut forgetful, &mut nothing.clone(), 3),
            open(&mut ours(suite, &zeros), &mut nothing.clone(), 3)
        );
        assert_eq!(open(&mut forgetful, &mut expected(suite, &key, 3, b"secret"), 3), Err(Error::DecryptError));
    }
}

#[test]
fn other_suites_and_other_keys_are_left_alone() {
    let left: Vec<_> =
        SUITES.into_iter().filter(|suite| AesGcm::new(*suite, &[1; 32], &Iv::from(IV)).is_none()).collect();
    let name = |suite: &SupportedCipherSuite| suite.suite().as_str().unwrap();
    assert!(left.iter().all(|suite| name(suite).contains("CHACHA20") || name(suite).contains("AES_128")), "{left:?}");
    assert_eq!(left.len(), 6);
}

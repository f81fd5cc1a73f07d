use rustls::crypto::cipher::InboundOpaqueMessage;

use super::super::pair;
use super::*;

/// As long a key as `suite` has, and a nonce to go with it.
fn secrets(suite: SupportedCipherSuite) -> ConnectionTrafficSecrets {
    let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
    match suite.suite().as_str() {
        Some(name) if name.contains("AES_256") => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        Some(name) if name.contains("CHACHA20") => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
        other => panic!("no key of 32 octets: {other:?}"),
    }
}

/// The suite's own, whatever this processor is better served with.
fn own(suite: SupportedCipherSuite, first: u64) -> (Box<dyn MessageEncrypter>, Box<dyn MessageDecrypter>) {
    let (key, iv) = parts(secrets(suite)).unwrap();
    let sealer = own_encrypter(suite, key, iv, first).unwrap();
    let (key, iv) = parts(secrets(suite)).unwrap();
    (sealer, own_decrypter(suite, key, iv).unwrap())
}

#[test]
fn a_key_may_begin_in_the_middle_and_goes_on_from_there() {
    let mut tried = 0;
    for suite in
        pair::SUITES.into_iter().filter(|suite| !suite.suite().as_str().is_some_and(|name| name.contains("128")))
    {
        for first in [0, 1, 2, 3, 100, 1 << 23] {
            let (sealer, opener) = own(suite, first);
            let mut openers = [opener, decrypter(suite, secrets(suite)).unwrap()];
            for mut sealer in [sealer, encrypter(suite, secrets(suite), first).unwrap()] {
                for seq in first..first + 9 {
                    let plain = OutboundPlainMessage {
                        typ: ContentType::ApplicationData,
                        version: ProtocolVersion::TLSv1_2,
                        payload: OutboundChunks::from(&b"x"[..]),
                    };
                    let record = sealer.encrypt(plain, seq).unwrap().encode();
                    for opener in &mut openers {
                        let mut record = record.clone();
                        let (typ, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
                        let opaque = InboundOpaqueMessage::new(typ, version, &mut record[5..]);
                        let opened = opener.decrypt(opaque, seq).unwrap().payload;
                        assert_eq!(opened, b"x", "{suite:?} from {first}: {seq}");
                        tried += 1;
                    }
                }
            }
        }
    }
    assert_eq!(tried, 6 * 6 * 2 * 9 * 2);
}

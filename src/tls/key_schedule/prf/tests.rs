//! Against the suites' own function, whose every value must come out the same.

use rustls::NamedGroup;
use rustls::crypto::SharedSecret;

use super::super::Memory;
use super::*;

/// What a function makes of `seed` under `secret`, as long as a Finished holds, as the keys of the suites, and longer.
fn told(prf: &dyn Prf, secret: &[u8], label: &[u8], seed: &[u8]) -> Vec<Vec<u8>> {
    let tell = |length| {
        let mut output = vec![0; length];
        prf.for_secret(&mut output, secret, label, seed);
        output
    };
    [40, 12, 88, 72, 40, 1, 32, 33, 48, 49, 96, 97, 200].map(tell).into()
}

fn suites() -> [(&'static Tls12CipherSuite, &'static Tls12CipherSuite); 6] {
    use cipher_suite::*;
    [
        (&ECDSA_AES_256, &TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        (&ECDSA_AES_128, &TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (&ECDSA_CHACHA20, &TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        (&RSA_AES_256, &TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        (&RSA_AES_128, &TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        (&RSA_CHACHA20, &TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ]
    .map(|(ours, theirs): (_, &SupportedCipherSuite)| match theirs {
        SupportedCipherSuite::Tls12(theirs) => (ours, *theirs),
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_function_is_the_suites_own() {
    for (ours, theirs) in suites() {
        assert_eq!(ours.common.suite, theirs.common.suite);
        assert_eq!(ours.common.hash_provider.algorithm(), theirs.common.hash_provider.algorithm());
        assert_eq!((&ours.kx, ours.sign), (&theirs.kx, theirs.sign));
        for secret in [&[0x5a; 48][..], &[1], &[7; 200]] {
            for (label, seed) in
                [(&b"key expansion"[..], &[3; 64][..]), (b"client finished", &[4; 48]), (b"x", &[5; 300])]
            {
                let plain = told(theirs.prf_provider, secret, label, seed);
                assert_eq!(told(ours.prf_provider, secret, label, seed), plain);
                let mut memory = Memory::default();
                for _ in 0..2 {
                    assert_eq!(memory.during(|| told(ours.prf_provider, secret, label, seed)), plain);
                }
            }
        }
    }
}

/// An exchange whose outcome is known.
struct Known(Vec<u8>);

impl ActiveKeyExchange for Known {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Ok(self.0.into())
    }

    fn pub_key(&self) -> &[u8] {
        &[]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[test]
fn the_master_secret_is_the_suites_own() {
    for (ours, theirs) in suites() {
        for premaster in [vec![9; 32], vec![8; 48], vec![7; 200]] {
            let [ours, theirs] = [ours, theirs].map(|suite| {
                let (mut master, exchange) = ([0; 48], Box::new(Known(premaster.clone())));
                suite
                    .prf_provider
                    .for_key_exchange(&mut master, exchange, &[], b"extended master secret", &[1; 48])
                    .unwrap();
                master
            });
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn a_memory_tells_secrets_and_seeds_apart() {
    let tell = |secret: u8, seed: u8, length: usize| {
        let mut output = vec![0; length];
        SHA384.for_secret(&mut output, &[secret; 48], b"key expansion", &[seed; 64]);
        output
    };
    let all = || {
        let mut all = Vec::new();
        for (secret, seed) in [(1, 1), (1, 2), (2, 2), (1, 1), (2, 1)] {
            all.extend([12, 72, 40, 100].map(|length| tell(secret, seed, length)));
        }
        all
    };
    let plain = all();
    let mut memory = Memory::default();
    assert_eq!(memory.during(all), plain);
    assert_eq!(memory.during(all), plain);
    assert!(memory.prf.0.is_some());
}

//! Against the suites' own key schedule, whose every value must come out the same.

use super::*;

/// What an expander makes of `info`, as a block and as slices shorter and longer than one.
fn expanded(expander: &dyn HkdfExpander) -> Vec<Vec<u8>> {
    let long: &[&[u8]] = &[b"tls13 ", b"", b"derived", &[7; 200]];
    let label: &[&[u8]] = &[&[0, 32], &[9], b"tls13 ", b"key", &[0], b""];
    let slice = |length, info| {
        let mut output = vec![0; length];
        expander.expand_slice(info, &mut output).unwrap();
        output
    };
    let blocks = [long, label, long, label].map(|info| expander.expand_block(info).as_ref().to_vec());
    let slices = [0, 1, 12, 32, 48, 49, 200].into_iter().flat_map(|length| [slice(length, long), slice(length, label)]);
    blocks.into_iter().chain(slices).collect()
}

#[test]
fn the_key_schedule_is_the_suites_own() {
    for (ours, theirs) in [
        (&AES_256, &cipher_suite::TLS13_AES_256_GCM_SHA384),
        (&AES_128, &cipher_suite::TLS13_AES_128_GCM_SHA256),
        (&CHACHA20, &cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    ] {
        let theirs = theirs.tls13().unwrap();
        assert_eq!(ours.common.suite, theirs.common.suite);
        assert_eq!(ours.common.hash_provider.algorithm(), theirs.common.hash_provider.algorithm());
        let (ours, theirs) = (ours.hkdf_provider, theirs.hkdf_provider);
        let okm = OkmBlock::new(&[0x5a; 32]);
        assert_eq!(expanded(&*ours.expander_for_okm(&okm)), expanded(&*theirs.expander_for_okm(&okm)));
        let derived = derived(ours);
        for salt in [None, Some(&b"salt"[..]), Some(&[3; 300]), Some(derived.as_ref())] {
            assert_eq!(expanded(&*ours.extract_from_zero_ikm(salt)), expanded(&*theirs.extract_from_zero_ikm(salt)));
            let secret = [9; 32];
            assert_eq!(
                expanded(&*ours.extract_from_secret(salt, &secret)),
                expanded(&*theirs.extract_from_secret(salt, &secret))
            );
        }
        assert_eq!(ours.hmac_sign(&okm, b"message").as_ref(), theirs.hmac_sign(&okm, b"message").as_ref());
        let most = 255 * ours.expander_for_okm(&okm).hash_len();
        assert!(ours.expander_for_okm(&okm).expand_slice(&[], &mut vec![0; most]).is_ok());
        assert!(ours.expander_for_okm(&okm).expand_slice(&[], &mut vec![0; most + 1]).is_err());
    }
}

/// The salt of every Handshake Secret without a PSK, as rustls asks for it.
fn derived(hkdf: &dyn Hkdf) -> OkmBlock {
    let early = hkdf.extract_from_zero_ikm(None);
    let empty: &[u8] = if early.hash_len() == 32 { &Sha256::digest([]) } else { &Sha384::digest([]) };
    let length = [u8::try_from(empty.len()).unwrap()];
    early.expand_block(&[&[0, length[0]], &[13], b"tls13 ", b"derived", &length, empty])
}

#[test]
fn the_constants_are_the_ones_that_rustls_asks_for() {
    assert_eq!(derived(&SHA256).as_ref(), SHA256.constants().derived.as_ref());
    assert_eq!(derived(&SHA384).as_ref(), SHA384.constants().derived.as_ref());
    // RFC 8448 §3: {server} derive secret for handshake "tls13 derived".
    let published = "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba";
    assert_eq!(
        SHA256.constants().derived.as_ref().iter().map(|octet| format!("{octet:02x}")).collect::<String>(),
        published
    );
}

#[test]
fn a_memory_answers_as_no_memory_does() {
    let (one, two) = (OkmBlock::new(&[1; 48]), OkmBlock::new(&[2; 48]));
    let derive = |okm| expanded(&*SHA384.expander_for_okm(okm));
    let plain = [derive(&one), derive(&two)];
    assert_ne!(plain[0], plain[1]);
    let mut memory = Memory::default();
    for _ in 0..3 {
        // It may be another thread that goes on with the handshake.
        memory = std::thread::scope(|scope| {
            let step = || {
                let derived = memory.during(|| [derive(&one), derive(&two)]);
                (memory, derived)
            };
            let (memory, derived) = scope.spawn(step).join().unwrap();
            assert_eq!(derived, plain);
            assert_eq!(memory.len(), 2);
            memory
        });
    }
}

#[test]
fn a_memory_is_nobody_elses() {
    let okm = OkmBlock::new(&[1; 48]);
    let mut memory = Memory::default();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        memory.during(|| {
            SHA384.expander_for_okm(&okm);
            panic!("in the middle of a step");
        })
    }));
    assert!(panicked.is_err());
    assert!(MEMORY.with_borrow(Option::is_none), "what a step left behind is found by the next handshake");
    assert_eq!(memory.len(), 0);
    let mut other = Memory::default();
    other.during(|| SHA384.expander_for_okm(&okm));
    assert_eq!((memory.len(), other.len()), (0, 1));
    assert!(MEMORY.with_borrow(Option::is_none));
}

#[test]
fn what_is_remembered_never_moves_and_so_leaves_no_copy() {
    let mut memory = Memory::default();
    let mut places = Vec::new();
    for n in 0..3 * u8::try_from(SECRETS).unwrap() {
        memory.during(|| SHA384.expander_for_okm(&OkmBlock::new(&[n; 48])));
        places.push(memory.secrets.as_ptr());
    }
    assert!(places.iter().all(|place| *place == places[0]), "it was moved");
    assert_eq!(memory.len(), SECRETS);
}
